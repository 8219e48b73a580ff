/**
 * WebSocket through the gateway, with a real client and a real server: messages and endings arrive as without it, and
 * everything that holds for other requests holds for the handshake.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import Fastify from 'fastify'
import { test, type Test } from 'tap'
import { WebSocket, WebSocketServer, type ClientOptions, type ServerOptions } from 'ws'

import { sluice } from '../../src/index.ts'
import { gatewayTo, rawValues, sha256, startGateway, totals, type Gateway } from '../helpers/gateway.ts'
import { startGateway as startProcess } from '../helpers/process.ts'
import { ask, get, guarded, inTurn, portOf, RawClient, valuesOf } from '../helpers/raw.ts'
import { CA, SERVER, tlsFront } from '../helpers/secure.ts'
import {
  ACCEPT,
  BINARY,
  CONTINUATION,
  closeFrame,
  conversations,
  frame,
  handshake,
  PING,
  PONG,
  TEXT,
  type Conversation,
} from '../helpers/websocket-frames.ts'

const MIB = 1024 ** 2

// --- both ends ---

interface Echo {
  readonly port: number
  readonly url: string
  readonly server: WebSocketServer
  /** The handshakes, in the order they came. */
  readonly requests: readonly IncomingMessage[]
  /** The n-th socket, from 0 on, as soon as there is one. */
  socket(n: number): Promise<WebSocket>
}

/** A server that sends every message back. */
async function echoServer(t: Test, options: ServerOptions = {}): Promise<Echo> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options })
  const sockets: WebSocket[] = []
  const requests: IncomingMessage[] = []
  server.on('connection', (socket, request) => {
    requests.push(request)
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('listens on no port')
  const { port } = address
  const socket = async (n: number): Promise<WebSocket> => {
    // oxlint-disable-next-line no-await-in-loop -- until it has come
    while (sockets[n] === undefined) await once(server, 'connection')
    return sockets[n]
  }
  const named = async (n: number): Promise<WebSocket> => guarded(socket(n), () => `socket ${n}`)
  return { port, url: `http://127.0.0.1:${port}`, server, requests, socket: named }
}

/** A client whose handshake is over. */
async function dial(t: Test, port: number, target = '/', options: ClientOptions = {}): Promise<WebSocket> {
  const socket = new WebSocket(`${'ca' in options ? 'wss' : 'ws'}://127.0.0.1:${port}${target}`, options)
  t.teardown(() => socket.terminate())
  await guarded(once(socket, 'open'), () => `a handshake with ${target}`)
  socket.on('error', () => {})
  return socket
}

/** Sends a message and waits for what comes back. */
async function exchange(socket: WebSocket, message: Buffer | string): Promise<{ data: Buffer; binary: boolean }> {
  const answer = once(socket, 'message')
  socket.send(message)
  const [data, binary] = await guarded(answer, () => `a message of ${message.length} back`)
  if (!(data instanceof Buffer)) throw new TypeError('not one buffer')
  return { data, binary: binary === true }
}

async function closeOf(socket: WebSocket): Promise<{ code: unknown; reason: string }> {
  const [code, reason] = await guarded(once(socket, 'close'), () => 'the end of a socket')
  return { code, reason: String(reason) }
}

/** The tunnels are over for the gateway too. */
async function areOver(t: Test, gateway: Gateway, count: number): Promise<void> {
  await gateway.line(() => gateway.lines.length >= count)
  t.equal(gateway.lines.length, count, 'one line each')
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
}

// --- messages ---

void test('WS-02: text and binary messages of any size come back as they were sent', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  const socket = await dial(t, gateway.port)
  await inTurn([0, 1, 125, 126, 127, 128, 65_535, 65_536, MIB], async (size) => {
    const bytes = randomBytes(size)
    const binary = await exchange(socket, bytes)
    t.ok(binary.binary && binary.data.equals(bytes), `${size} bytes`)
    const text = 'κόσμε '.repeat(size / 6 + 1).slice(0, size)
    const back = await exchange(socket, text)
    t.ok(!back.binary && back.data.toString() === text, `${size} characters`)
  })
})

void test('messages of 16 MB both ways, and large ones with TLS on either side', async (t) => {
  const server = await echoServer(t)
  const front = await tlsFront(t, server.port)
  const gateways = {
    ws: await gatewayTo(t, [server]),
    wss: await gatewayTo(t, [server], {}, { listen: { tls: SERVER } }),
    'a backend with TLS': await gatewayTo(t, [front], { tls: { ca: CA } }),
  }
  await inTurn(Object.entries(gateways), async ([name, gateway]) => {
    const socket = await dial(t, gateway.port, '/', name === 'wss' ? { ca: CA } : {})
    const bytes = randomBytes(name === 'ws' ? 16 * MIB : 4 * MIB)
    const { data } = await exchange(socket, bytes)
    t.equal(sha256(data), sha256(bytes), name)
    socket.close(1000)
    t.equal((await closeOf(socket)).code, 1000, name)
    await areOver(t, gateway, 1)
  })
})

void test('WS-03: fragments with a ping between, and every byte on its own, pass in order', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  const frames = [
    frame(TEXT, 'one ', { fin: false }),
    frame(PING, 'between'),
    frame(CONTINUATION, 'two ', { fin: false }),
    frame(CONTINUATION, 'three'),
    frame(BINARY, Buffer.from([0, 255])),
    closeFrame(1000),
  ]
  const expected = Buffer.concat([
    frame(PONG, 'between', { masked: false }),
    frame(TEXT, 'one two three', { masked: false }),
    frame(BINARY, Buffer.from([0, 255]), { masked: false }),
    Buffer.from('880203e8', 'hex'),
  ])
  const bytes = Buffer.concat(frames)
  await inTurn([frames, Array.from(bytes, (byte) => Buffer.from([byte]))], async (pieces) => {
    const { received, ended } = await hold(t, gateway.port, { name: '', extensions: '', pieces })
    t.equal(received.toString('hex'), expected.toString('hex'), `${pieces.length} pieces`)
    t.equal(ended, 'end')
  })
})

void test('pings and pongs pass with what is in them, both ways', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  const client = await dial(t, gateway.port)
  const backend = await server.socket(0)
  await inTurn([client, backend], async (socket) => {
    await inTurn(['', 'hello', 'x'.repeat(125)], async (content) => {
      const pong = once(socket, 'pong')
      socket.ping(content)
      t.equal(String((await guarded(pong, () => 'a pong'))[0]), content)
    })
  })
})

void test('compression and subprotocols are agreed on by the two ends', async (t) => {
  const server = await echoServer(t, { perMessageDeflate: { threshold: 0 } })
  const gateway = await gatewayTo(t, [server])
  await inTurn([true, false], async (perMessageDeflate) => {
    const socket = await dial(t, gateway.port, '/', { perMessageDeflate })
    t.equal(socket.extensions, perMessageDeflate ? 'permessage-deflate' : '')
    const message = 'the same again and again, '.repeat(40_000)
    t.equal((await exchange(socket, message)).data.toString(), message)
  })
  const speaks = new WebSocket(`ws://127.0.0.1:${gateway.port}`, ['second.v1', 'first.v2'])
  t.teardown(() => speaks.terminate())
  await once(speaks, 'open')
  t.equal(speaks.protocol, 'second.v1')
  t.equal(server.requests[2]?.headers['sec-websocket-protocol'], 'second.v1,first.v2')
})

// --- endings ---

void test('WS-05: code and reason of a close reach the other side, and both connections end', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  await inTurn([0, 1], async (n) => {
    const client = await dial(t, gateway.port)
    const backend = await server.socket(n)
    const [one, other] = n === 0 ? [client, backend] : [backend, client]
    const ends = [closeOf(one), closeOf(other)]
    one.close(4321, 'bye')
    t.same(await Promise.all(ends), [
      { code: 4321, reason: 'bye' },
      { code: 4321, reason: 'bye' },
    ])
    await areOver(t, gateway, n + 1)
  })
})

void test('a side that disappears without a word is told to the other one', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  await inTurn([0, 1], async (n) => {
    const client = await dial(t, gateway.port)
    const backend = await server.socket(n)
    const [one, other] = n === 0 ? [client, backend] : [backend, client]
    const end = closeOf(other)
    one.terminate()
    t.equal((await end).code, 1006)
    await areOver(t, gateway, n + 1)
  })
})

/** Keeps every time limit but that of tunnels short. */
const SHORT = { connect: '1s', headers: '1s', body: '1s', total: '1s' }

void test('WS-15: three seconds of silence, with every other time limit shorter', async (t) => {
  const server = await echoServer(t)
  const listen = { bodyTimeout: '1s', headersTimeout: '1s', keepAlive: '1s' }
  const gateways = [
    await gatewayTo(t, [server], { timeouts: SHORT, connections: { idle: '1s' } }, { listen }),
    await gatewayTo(t, [server], { timeouts: SHORT }, { listen: { ...listen, tls: SERVER } }),
  ]
  const [plain, secure] = gateways
  const sockets = [await dial(t, plain?.port ?? 0), await dial(t, secure?.port ?? 0, '/', { ca: CA })]
  await new Promise((resolve) => setTimeout(resolve, 3000))
  await inTurn(sockets, async (socket) => {
    t.equal((await exchange(socket, 'still there?')).data.toString(), 'still there?')
    socket.terminate()
  })
  await inTurn(gateways, async (gateway) => areOver(t, gateway, 1))
})

void test('WS-15: `tunnel` ends what is silent both ways, and nothing else', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server], { timeouts: { tunnel: '500ms' } })
  const [up, down, silent] = [
    await dial(t, gateway.port, '/up'),
    await dial(t, gateway.port, '/down'),
    await dial(t, gateway.port, '/silent'),
  ]
  const [from, to] = [await server.socket(1), await server.socket(2)]
  const ends = [closeOf(silent), closeOf(to)]
  // One way only, and more often than the limit. A pong is answered by nobody.
  const busy = setInterval(() => {
    up.pong()
    from.pong()
  }, 50)
  t.teardown(() => clearInterval(busy))
  t.same(
    (await Promise.all(ends)).map(({ code }) => code),
    [1006, 1006],
    'both sides of the silent one end',
  )
  t.match(await gateway.line(() => true), { path: '/silent', status: 101, reason: /silent for 500 ms/ })
  t.equal(gateway.lines.length, 1)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  await inTurn([up, down], async (socket) => {
    t.equal((await exchange(socket, 'hello')).data.toString(), 'hello')
  })
})

// --- the handshake ---

void test('routes, rewriting and header rules hold for the handshake', async (t) => {
  const [server, other] = [await echoServer(t), await echoServer(t)]
  server.server.on('headers', (headers) => headers.push('X-Secret: inside', 'X-Kept: kept'))
  const gateway = await startGateway(t, {
    pools: { web: { backends: [server.url], hostHeader: 'backend' }, other: { backends: [other.url] } },
    routes: [
      {
        path: '/chat/*',
        pool: 'web',
        rewrite: { stripPrefix: '/chat', addPrefix: '/v1' },
        requestHeaders: { set: { 'x-added': 'yes' }, remove: ['x-dropped'] },
        responseHeaders: { set: { 'x-answer': 'yes' }, remove: ['x-secret'] },
      },
      { path: '/other/*', pool: 'other' },
    ],
  })
  const headers = { 'x-dropped': 'no', 'x-kept': 'yes', cookie: 'a=b', origin: 'http://shop.example' }
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/chat/room?x=1&y=%20`, { headers })
  t.teardown(() => socket.terminate())
  const [upgrade] = await once(socket, 'upgrade')
  t.match(upgrade, { headers: { 'x-answer': 'yes', 'x-kept': 'kept', 'x-request-id': /./ } })
  t.notOk('x-secret' in upgrade.headers)
  const [request] = server.requests
  t.equal(request?.url, '/v1/room?x=1&y=%20')
  t.match(request?.headers, { 'x-added': 'yes', 'x-kept': 'yes', cookie: 'a=b', origin: 'http://shop.example' })
  t.notOk('x-dropped' in (request?.headers ?? {}))
  t.equal(request?.headers.host, `127.0.0.1:${server.port}`)
  await dial(t, gateway.port, '/other/x')
  t.equal(other.requests[0]?.url, '/other/x')
  t.equal(other.requests[0]?.headers.host, `127.0.0.1:${gateway.port}`, "the client's own Host")
  const nowhere = await ask(t, gateway.port, handshake('/nowhere'))
  t.equal(nowhere.status, 404)
  t.match(nowhere.body.toString(), /SLUICE_NO_ROUTE/)
  t.equal((await ask(t, gateway.port, handshake('/chat/../other/x'))).status, 400)
})

void test('a backend learns who the client is from us alone', async (t) => {
  const server = await echoServer(t)
  const gateways = [
    await gatewayTo(t, [server]),
    await gatewayTo(t, [server], {}, { listen: { tls: SERVER } }),
    await gatewayTo(t, [server], {}, { listen: { trustedProxies: ['127.0.0.1'] } }),
  ]
  const claims = { 'x-forwarded-for': '10.9.8.7', 'x-forwarded-proto': 'https', 'x-real-ip': '10.9.8.7' }
  await inTurn(gateways, async ({ port }, n) => dial(t, port, '/', { headers: claims, ...(n === 1 ? { ca: CA } : {}) }))
  const said = server.requests.map(({ headers }) => [headers['x-forwarded-for'], headers['x-forwarded-proto']])
  t.same(said, [
    ['127.0.0.1', 'http'],
    ['127.0.0.1', 'https'],
    ['10.9.8.7, 127.0.0.1', 'https'],
  ])
  t.equal(server.requests[0]?.headers['x-real-ip'], undefined)
  t.equal(server.requests[0]?.headers['x-forwarded-host'], `127.0.0.1:${gateways[0]?.port}`)
  for (const { rawHeaders } of server.requests) {
    t.same(rawValues(rawHeaders, 'upgrade'), ['websocket'])
    t.same(rawValues(rawHeaders, 'connection'), ['Upgrade'])
    t.equal(rawValues(rawHeaders, 'sec-websocket-key').length, 1)
  }
})

void test('the access log has one line for a tunnel, when it ends', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server])
  const socket = await dial(t, gateway.port, '/chat?secret=1')
  await exchange(socket, 'hello')
  t.same(gateway.lines, [], 'nothing while it lasts')
  t.match(totals(gateway), { inFlight: 1, requests: 1 })
  socket.close()
  await areOver(t, gateway, 1)
  t.match(gateway.lines[0], {
    level: 'info',
    status: 101,
    outcome: 'answered',
    attempts: 1,
    path: '/chat',
    pool: 'web',
  })
})

void test('a thousand sockets at once, each of which is counted while it lasts', async (t) => {
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server], { connections: { max: 1000 } })
  const sockets: WebSocket[] = []
  await inTurn(Array.from({ length: 10 }), async () => {
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, async () => dial(t, gateway.port)))))
  })
  t.equal(totals(gateway).inFlight, 1000)
  const answers = await Promise.all(sockets.map(async (socket, n) => exchange(socket, `message ${n}`)))
  t.ok(answers.every(({ data }, n) => data.toString() === `message ${n}`))
  const ends = Promise.all(sockets.map(closeOf))
  for (const socket of sockets) socket.close(1000)
  t.ok((await ends).every(({ code }) => code === 1000))
  await areOver(t, gateway, 1000)
})

void test('what a quiet tunnel holds is small, whatever it has passed on', async (t) => {
  // What both ends and the gateway keep for a tunnel of which nothing is under way.
  const bound = 32 * 1024
  const count = 500
  const server = await echoServer(t)
  const gateway = await gatewayTo(t, [server], { connections: { max: count } })
  const sockets: WebSocket[] = []
  await inTurn(Array.from({ length: count }), async () => sockets.push(await dial(t, gateway.port)))
  const before = await collected()
  // The second size comes in a single read of the gateway's.
  await inTurn([65_536, 40_000], async (size) => {
    const message = randomBytes(size)
    await inTurn(sockets, async (socket) => exchange(socket, message))
    const each = Math.round(((await collected()) - before) / count)
    t.ok(each < bound, `${each} bytes each after ${size}`)
  })
})

/** Memory outside of the heap once all that nobody holds is gone. */
async function collected(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  for (let round = 0; round < 3; round++) {
    if (typeof collect === 'function') Reflect.apply(collect, undefined, [])
    // oxlint-disable-next-line no-await-in-loop -- what is freed is freed in turns
    await setImmediate()
  }
  return process.memoryUsage().external
}

// --- stopping ---

void test('tunnels live on while the gateway stops, and are cut when the grace is over', async (t) => {
  const server = await echoServer(t)
  await inTurn([{}, { tls: SERVER }], async (listen, n) => {
    const gateway = await gatewayTo(t, [server], {}, { listen, shutdown: { grace: '300ms' } })
    const socket = await dial(t, gateway.port, '/', n === 1 ? { ca: CA } : {})
    const backend = await server.socket(n)
    const ends = [closeOf(socket), closeOf(backend)]
    const closed = gateway.app.close()
    t.equal((await exchange(socket, 'still there?')).data.toString(), 'still there?')
    await guarded(closed, () => 'the end of the gateway')
    await Promise.all(ends)
    await areOver(t, gateway, 1)
    t.equal(gateway.lines[0]?.status, 101)
  })
})

void test('a process that is told to stop does so although a tunnel is open', async (t) => {
  const server = await echoServer(t)
  const config = `pools: { web: { backends: ["${server.url}"] } }\nshutdown: { grace: 500ms }\n`
  const { url, process: running } = await startProcess(t, config)
  const socket = await dial(t, Number(new URL(url).port))
  const end = closeOf(socket)
  running.signal('SIGTERM')
  await running.logged(/^stopping/)
  t.equal((await exchange(socket, 'still there?')).data.toString(), 'still there?')
  await end
  const { code, stderr } = await running.ended
  t.equal(code, 0)
  t.equal(stderr, '')
})

// --- in somebody's application ---

void test('a mounted pool takes the upgrades below its prefix and leaves all others to the application', async (t) => {
  const server = await echoServer(t)
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sluice, { prefix: '/reports', pool: { backends: [server.url] } })
  await app.register(sluice, { prefix: '/more', pool: { backends: [server.url] } })
  const live = new WebSocketServer({ noServer: true })
  app.server.on('upgrade', (request, socket, head) => {
    if (request.url === '/live') live.handleUpgrade(request, socket, head, (client) => client.send('live'))
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const port = portOf(app.server)
  await inTurn(['/reports', '/reports/x?y=/live', '/more/x'], async (target, n) => {
    const socket = await dial(t, port, target)
    t.equal((await exchange(socket, target)).data.toString(), target)
    t.equal(server.requests[n]?.url, target)
  })
  const socket = new WebSocket(`ws://127.0.0.1:${port}/live`)
  t.teardown(() => socket.terminate())
  t.equal(String((await guarded(once(socket, 'message'), () => 'what is live'))[0]), 'live')
  t.equal(server.requests.length, 3, "the application's own never reaches a backend")
})

void test('without other listeners, upgrades beside the prefix of a mounted pool are ordinary requests', async (t) => {
  const server = await echoServer(t)
  const app = Fastify({ forceCloseConnections: true })
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers.authorization === undefined) return reply.code(401).send('who are you?')
    return undefined
  })
  app.get('/own', () => 'own')
  await app.register(sluice, { prefix: '/reports', pool: { backends: [server.url] } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const port = portOf(app.server)
  const allowed = ['Authorization: yes']
  t.equal((await ask(t, port, handshake('/own', allowed))).body.toString(), 'own')
  await inTurn(['/reportsx', '/', '//reports/x', '/nowhere'], async (target) => {
    t.equal((await ask(t, port, handshake(target, allowed))).status, 404, target)
  })
  t.equal((await ask(t, port, handshake('/reports/x'))).status, 401, "the application's hooks are in force")
  t.equal(server.requests.length, 0)
  await dial(t, port, '/reports/x', { headers: { authorization: 'yes' } })
  t.equal((await ask(t, port, get('/own', allowed))).status, 200)
})

// --- the whole protocol ---

interface Course {
  /** What was agreed on in the handshake. */
  readonly agreed: readonly string[]
  readonly received: Buffer
  readonly ended: 'end' | 'reset'
}

/** Has a conversation until the other side ends it. */
async function hold(t: Test, port: number, { extensions, pieces }: Conversation): Promise<Course> {
  const client = await RawClient.open(t, port)
  client.send(handshake('/', extensions === '' ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]))
  const answer = await client.answer()
  for (const piece of pieces) {
    if (client.inbox.ended !== undefined) break
    client.send(piece)
    // oxlint-disable-next-line no-await-in-loop -- in packets of their own
    await setImmediate()
  }
  const ended = await client.end()
  client.socket.destroy()
  const agreed = ['sec-websocket-accept', 'sec-websocket-extensions'].flatMap((name) => valuesOf(answer, name))
  return { agreed, received: client.inbox.bytes, ended }
}

void test('WS-20: hundreds of conversations go as they do without the gateway', async (t) => {
  const server = await echoServer(t, { perMessageDeflate: { threshold: 0 } })
  const gateway = await gatewayTo(t, [server])
  const all = conversations()
  t.ok(all.length > 500, `${all.length} conversations`)
  const queue = all.values()
  let bytes = 0
  const differences: string[] = []
  const work = async (): Promise<void> => {
    for (const each of queue) {
      // oxlint-disable-next-line no-await-in-loop -- a few at a time
      const [direct, through] = await Promise.all([hold(t, server.port, each), hold(t, gateway.port, each)])
      bytes += direct.received.length
      if (direct.agreed[0] !== ACCEPT || direct.received.length === 0) differences.push(`${each.name}: nothing direct`)
      else if (!same(direct, through)) differences.push(`${each.name}: ${told(direct)} became ${told(through)}`)
    }
  }
  await Promise.all(Array.from({ length: 16 }, work))
  t.same(differences, [])
  t.ok(bytes > 8 * MIB, `${bytes} bytes compared`)
  await areOver(t, gateway, all.length)
})

function same(one: Course, other: Course): boolean {
  return one.agreed.join() === other.agreed.join() && one.received.equals(other.received) && one.ended === other.ended
}

function told({ agreed, received, ended }: Course): string {
  return `${agreed.join()} ${received.subarray(0, 100).toString('hex')} (${received.length} bytes), ${ended}`
}
