/**
 * Switched protocols by the byte: what becomes a tunnel and what never does, that nothing is lost, doubled or reordered
 * in one, and that it ends on both sides however one of them ends it.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import dns from 'node:dns'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { isIP, Socket } from 'node:net'

import { array, assert, asyncProperty, constantFrom, uint8Array } from 'fast-check'
import { test, type Test } from 'tap'

import { buildGateway } from '../../src/index.ts'
import { backend, gatewayTo, isError, sha256, startGateway, totals, type Gateway } from '../helpers/gateway.ts'
import { UNSET } from '../helpers/process.ts'
import {
  answering,
  ask,
  type Bytes,
  get,
  guarded,
  Inbox,
  inTurn,
  portOf,
  pour,
  rawBackend,
  RawClient,
  valuesOf,
  settled,
} from '../helpers/raw.ts'
import { SERVER, tlsFront, tlsTail } from '../helpers/secure.ts'

const MIB = 1024 ** 2

// --- both ends ---

/** A request to switch protocols; `lines` stand besides what it needs. */
function upgrade(protocol = 'echo', lines: readonly string[] = [], target = '/'): string {
  return get(target, ['Connection: Upgrade', `Upgrade: ${protocol}`, ...lines])
}

function switched(protocol = 'echo'): string {
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`
}

interface Switching {
  readonly port: number
  readonly url: string
  readonly requests: readonly IncomingMessage[]
  /** The n-th tunnel, from 0 on, as soon as there is one; nobody reads it yet. */
  tunnel(n: number): Promise<Socket>
}

/** A backend that switches to whatever it is asked for, and answers "plain" to all else. */
async function switching(t: Test, onTunnel: (socket: Socket) => void = () => {}): Promise<Switching> {
  const requests: IncomingMessage[] = []
  const tunnels: Socket[] = []
  const waiting: Array<() => void> = []
  const server = createServer((request, response) => {
    requests.push(request)
    request.resume().on('end', () => response.end('plain'))
  })
  server.on('upgrade', (request: IncomingMessage, socket) => {
    if (!(socket instanceof Socket)) throw new TypeError('not a socket')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    requests.push(request)
    socket.write(switched(request.headers.upgrade))
    tunnels.push(socket)
    onTunnel(socket)
    for (const wake of waiting.splice(0)) wake()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const port = portOf(server)
  const find = async (n: number): Promise<Socket> => {
    for (;;) {
      const found = tunnels[n]
      if (found !== undefined) return found
      // oxlint-disable-next-line no-await-in-loop -- until it has come
      await new Promise<void>((resolve) => void waiting.push(resolve))
    }
  }
  const tunnel = async (n: number): Promise<Socket> => guarded(find(n), () => `tunnel ${n}`)
  return { port, url: `http://127.0.0.1:${port}`, requests, tunnel }
}

function echo(socket: Socket): void {
  socket.pipe(socket)
}

/** A client that is gone for good at the end of its test: one that only closed its side could still be waiting. */
async function open(t: Test, port: number): Promise<RawClient> {
  const client = await RawClient.open(t, port)
  t.teardown(() => client.socket.resetAndDestroy())
  return client
}

/** A client whose protocol is switched. */
async function openTunnel(t: Test, port: number, request: Bytes = upgrade()): Promise<RawClient> {
  const client = await open(t, port)
  client.send(request)
  const answer = await client.answer()
  t.equal(answer.status, 101, 'switched')
  return client
}

/** Waits for so many bytes. */
async function arrival(inbox: Inbox, length: number): Promise<Buffer> {
  await inbox.until(() => (inbox.length >= length ? true : undefined))
  return inbox.bytes
}

async function closed(inbox: Inbox): Promise<void> {
  await inbox.until(() => (inbox.closed ? true : undefined))
}

/** The tunnel is over for the gateway too: logged once, counted nowhere. */
async function isOver(t: Test, gateway: Gateway, outcome: string, name = outcome): Promise<void> {
  const line = await gateway.line(() => true)
  t.match(line, { outcome }, `${name}: ${JSON.stringify(line)}`)
  t.equal(gateway.lines.length, 1, `${name}: logged once`)
  t.match(totals(gateway), { inFlight: 0, failures: 0 }, name)
}

// --- the handshake ---

void test('WS-06: what comes in the same packet as the 101 arrives', async (t) => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'
  await inTurn(['', hints], async (before) => {
    const server = await answering(t, `${before}${switched()}first words`)
    const gateway = await gatewayTo(t, [server])
    const client = await openTunnel(t, gateway.port)
    t.equal((await arrival(client.inbox, 11)).toString(), 'first words')
    t.equal(client.interim.length, before === '' ? 0 : 1)
    client.send('heard')
    const { inbox } = await server.connection(0)
    await inbox.until(() => (inbox.text.endsWith('\r\n\r\nheard') ? true : undefined))
  })
})

void test('WS-07: what a client sends before it is answered arrives, in order and once', async (t) => {
  const server = await rawBackend(t, {})
  const gateway = await gatewayTo(t, [server])
  const client = await open(t, gateway.port)
  client.send(`${upgrade()}one `)
  const connection = await server.connection(0)
  await connection.inbox.until(() => (connection.inbox.text.includes('\r\n\r\n') ? true : undefined))
  const head = connection.inbox.length
  client.send('two ')
  const much = randomBytes(300_000)
  client.send(much)
  await client.inbox.until(() => (client.socket.writableLength < much.length ? true : undefined))
  t.equal(connection.inbox.length, head, 'nothing goes to a backend that has not switched')
  connection.send(switched())
  t.equal((await client.answer()).status, 101)
  client.send(' three')
  const expected = Buffer.concat([Buffer.from('one two '), much, Buffer.from(' three')])
  const all = await arrival(connection.inbox, head + expected.length)
  t.ok(all.subarray(head).equals(expected))
})

const NOT_SWITCHED: Readonly<Record<string, readonly [status: number, bytes: string, body: string]>> = {
  'a refusal': [403, 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: so\r\n\r\nno', 'no'],
  'an ordinary answer': [200, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n', 'yes'],
  'another version, please': [
    426,
    'HTTP/1.1 426 Upgrade\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n',
    '',
  ],
  'a redirect': [302, 'HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n', ''],
  'an answer that ends with its connection': [401, 'HTTP/1.1 401 Who\r\nConnection: close\r\n\r\nare you', 'are you'],
  'no content': [204, 'HTTP/1.1 204 No Content\r\n\r\n', ''],
}

void test('WS-08: an answer to the handshake that is no switch reaches the client', async (t) => {
  await inTurn(Object.entries(NOT_SWITCHED), async ([name, [status, bytes, body]]) => {
    const server = await answering(t, bytes, bytes.includes('close') ? 'ends' : 'stays')
    const gateway = await gatewayTo(t, [server])
    const client = await open(t, gateway.port)
    client.send(upgrade('websocket'))
    const answer = await client.answer()
    t.match(answer, { status, complete: true }, name)
    t.equal(answer.body.toString(), body, name)
    t.same(valuesOf(answer, 'upgrade'), [], name)
    t.equal(await client.end(), 'end', `${name}: nothing else can come on this connection`)
    client.socket.destroy()
    await isOver(t, gateway, 'answered', name)
  })
})

void test('WS-08: a large refusal reaches a slow client as a whole, whatever else the client has sent', async (t) => {
  const page = randomBytes(MIB)
  const server = await backend(t, (_request, response) => {
    response.writeHead(403, { 'content-length': page.length }).end(page)
  })
  const gateways = {
    'with a hook': await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
      app.addHook('onSend', async (_request, _reply, payload) => payload)
    }),
    without: await gatewayTo(t, [server]),
  }
  const ways = Object.entries(gateways).flatMap(([name, { port }]) =>
    [0, 100, 300_000].map((early) => ({ name: `${name}, ${early} bytes sent`, port, early })),
  )
  const read = ways.map(async ({ name, port, early }) => {
    const client = await open(t, port)
    client.socket.pause()
    client.send(upgrade('websocket'))
    client.send(Buffer.alloc(early))
    // Longer than the gateway lingers: that it closed too early would show only afterwards.
    await new Promise((resolve) => setTimeout(resolve, 1200))
    client.socket.resume()
    const answer = await client.answer()
    t.match(answer, { status: 403, complete: true }, name)
    t.equal(sha256(answer.body), sha256(page), name)
  })
  await Promise.all(read)
})

void test('WS-09: bytes behind a refused handshake are never taken for a request', async (t) => {
  const server = await answering(t, 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
  const gateway = await gatewayTo(t, [server])
  await inTurn(['websocket', 'echo'], async (protocol) => {
    const client = await open(t, gateway.port)
    client.send(`${upgrade(protocol)}${get('/smuggled')}`)
    t.equal((await client.answer()).status, 403)
    client.send(get('/smuggled'))
    t.equal(await client.end(), 'end')
    t.equal(client.inbox.length, 0, 'one answer')
  })
  t.equal((await ask(t, gateway.port, get('/after'))).status, 403)
  t.same(
    server.heads.map((head) => head.split(' ', 2)[1]),
    ['/', '/', '/after'],
  )
})

void test('WS-10: a backend that is not there, breaks off, hangs or answers nonsense', async (t) => {
  const cases: Record<string, readonly [code: string, bytes: string | undefined, then: 'stays' | 'ends' | 'resets']> = {
    'ends without a word': ['SLUICE_RESET', '', 'ends'],
    'resets without a word': ['SLUICE_RESET', '', 'resets'],
    'ends in the head': ['SLUICE_RESET', 'HTTP/1.1 101 Switching', 'ends'],
    'no HTTP': ['SLUICE_BAD_RESPONSE', 'welcome\r\n\r\n', 'stays'],
    'another protocol than asked for': ['SLUICE_BAD_RESPONSE', `${switched('other')}bytes`, 'stays'],
    'more than asked for': ['SLUICE_BAD_RESPONSE', `${switched('echo, other')}bytes`, 'stays'],
    'a switch to nothing': ['SLUICE_BAD_RESPONSE', 'HTTP/1.1 101 Switching\r\n\r\nbytes', 'stays'],
    hangs: ['SLUICE_HEADERS_TIMEOUT', '', 'stays'],
    'hangs in the head': ['SLUICE_HEADERS_TIMEOUT', 'HTTP/1.1 101 Switching', 'stays'],
  }
  await inTurn(Object.entries(cases), async ([name, [code, bytes, then]]) => {
    const server = await answering(t, bytes ?? '', then)
    const gateway = await gatewayTo(t, [server], { timeouts: { headers: '200ms' } })
    const client = await open(t, gateway.port)
    client.send(`${upgrade()}early`)
    isError(t, await client.answer(), code, [server.port], `${name}: ${code}`)
    t.equal(await client.end(), 'end', name)
    client.socket.resetAndDestroy()
    await gateway.line(({ outcome }) => outcome === 'refused')
    t.equal(totals(gateway).inFlight, 0, name)
    for (const { inbox } of server.accepted)
      t.notMatch(inbox.text, /early/, `${name}: no byte of a client without a tunnel`)
  })
  const { url, port } = await unreachable(t)
  const gateway = await gatewayTo(t, [url])
  isError(t, await ask(t, gateway.port, upgrade()), 'SLUICE_CONNECT_FAILED', [port])
})

/** Where a backend was a moment ago. */
async function unreachable(t: Test): Promise<{ readonly url: string; readonly port: number }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  server.close()
  await once(server, 'close')
  t.ok(port)
  return { url: `http://127.0.0.1:${port}`, port }
}

const NEVER: Readonly<Record<string, string>> = {
  h2c: get('/', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']),
  H2C: upgrade('H2C'),
  h2: upgrade('h2'),
  'HTTP/2.0': upgrade('HTTP/2.0'),
  https: upgrade('https/1.1'),
  'TLS/1.0': upgrade('TLS/1.0'),
  'a list': upgrade('websocket, h2c'),
  'two fields': upgrade('websocket', ['Upgrade: h2c']),
  'no protocol': upgrade('/'),
  'without Connection': get('/', ['Upgrade: websocket']),
  'with another Connection': get('/', ['Upgrade: websocket', 'Connection: upgrades']),
  'with a body': `${upgrade('websocket', ['Content-Length: 5'])}hello`,
  'with a chunked body': `${upgrade('websocket', ['Transfer-Encoding: chunked'])}5\r\nhello\r\n0\r\n\r\n`,
  'HTTP/1.0': upgrade('websocket', ['Connection: keep-alive']).replace('HTTP/1.1', 'HTTP/1.0'),
}

void test('WS-14: what may not be tunnelled is an ordinary request, whatever it says', async (t) => {
  await inTurn(Object.entries(NEVER), async ([name, bytes]) => {
    const server = await rawBackend(t, {
      onRequest: (connection, head) => {
        connection.send(
          /^upgrade:/im.test(head) ? switched('websocket') : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
        )
      },
    })
    const gateway = await gatewayTo(t, [server])
    const client = await open(t, gateway.port)
    client.send(bytes)
    const answer = await client.answer()
    t.equal(answer.status, 200, name)
    if (!name.includes('body')) {
      client.send(get('/next'))
      t.equal((await client.answer()).status, 200, `${name}: the connection goes on`)
      t.match(server.heads[1], /^GET \/next /, name)
    }
    const [head = ''] = server.heads
    t.notMatch(head, /^(?:upgrade|http2-settings|connection: *.*upgrade)/im, `${name}: ${head}`)
    if (name.includes('body')) t.match(server.accepted[0]?.inbox.text, /hello/, `${name}: its body is forwarded`)
  })
})

void test('an upgrade behind another request is an ordinary one, and answers keep their order', async (t) => {
  const server = await switching(t, echo)
  const gateway = await gatewayTo(t, [server])
  const client = await open(t, gateway.port)
  client.send(`${get('/first')}${upgrade('websocket', [], '/second')}`)
  await inTurn(['/first', '/second'], async (target) => {
    const answer = await client.answer()
    t.match(answer, { status: 200, complete: true }, target)
    t.equal(answer.body.toString(), 'plain', target)
  })
  t.same(
    server.requests.map(({ url }) => url),
    ['/first', '/second'],
  )
  t.equal(server.requests[1]?.headers.upgrade, undefined)
})

void test('WS-09: bytes behind an upgrade that is none are requests of their own, or the connection ends', async (t) => {
  const server = await switching(t, echo)
  const content = get('/smuggled')
  const post = `POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n\r\n`
  const ways = {
    'another protocol': `${upgrade('h2c')}${post}`,
    'behind another': `${get()}${upgrade()}${post}`,
    'with a body': `${upgrade('echo', ['Content-Length: 2'])}ab${post}`,
    'with a chunked body': `${upgrade('echo', ['Transfer-Encoding: chunked'])}0\r\n\r\n${post}`,
  }
  await inTurn([false, true], async (secure) => {
    const gateway = await gatewayTo(t, [server], {}, secure ? { listen: { tls: SERVER } } : {})
    const port = secure ? await tlsTail(t, gateway.port) : gateway.port
    await inTurn(Object.entries(ways), async ([name, bytes]) => {
      const client = await open(t, port)
      client.send(bytes)
      t.equal((await client.answer()).status, 200, name)
      client.send(content)
      // Another answer, or the end: whatever it is, it comes behind what the gateway made of the rest.
      await Promise.race([client.answer(), client.end()])
    })
  })
  for (const { url } of server.requests) t.not(url, '/smuggled', 'the body of a request is not a request')
})

void test('an upgrade on a connection whose requests are all answered is one', async (t) => {
  const server = await switching(t, echo)
  const gateway = await gatewayTo(t, [server])
  const client = await open(t, gateway.port)
  await inTurn(['/one', '/two'], async (target) => {
    client.send(get(target))
    t.equal((await client.answer()).body.toString(), 'plain')
  })
  client.send(upgrade('echo', [], '/three'))
  t.equal((await client.answer()).status, 101)
  client.send('hello')
  t.equal((await arrival(client.inbox, 5)).toString(), 'hello')
})

const OTHERS: Readonly<Record<string, string>> = {
  'a list in Connection': get('/', ['Connection: keep-alive, Upgrade', 'Upgrade: websocket']),
  'another case': get('/', ['connection: UPGRADE', 'UPGRADE: WebSocket']),
  'any protocol': upgrade('my-own_protocol.v2/1.0'),
  'a method of its own': upgrade('SPDY/3.1').replace('GET', 'POST'),
  // What many clients send with a POST that has no body.
  'a length of nothing': upgrade('SPDY/3.1', ['Content-Length: 0']).replace('GET', 'POST'),
}

void test('any protocol passes, however it is spelled, with any byte in it', async (t) => {
  const everything = Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256))
  await inTurn(Object.entries(OTHERS), async ([name, bytes]) => {
    const server = await switching(t, echo)
    // A tunnel is no body.
    const gateway = await gatewayTo(t, [server], { maxBodySize: 10 })
    const client = await open(t, gateway.port)
    client.send(bytes)
    const answer = await client.answer()
    t.equal(answer.status, 101, name)
    if (answer.status !== 101) return
    t.same(valuesOf(answer, 'connection'), ['Upgrade'], name)
    t.equal(valuesOf(answer, 'upgrade').length, 1, name)
    client.send(everything)
    t.ok((await arrival(client.inbox, everything.length)).equals(everything), name)
  })
})

// --- hooks of the application ---

void test('a hook that refuses is in force for upgrades, before any backend hears of them', async (t) => {
  const server = await switching(t, echo)
  const config = { pools: { web: { backends: [server.url] } } }
  const gateway = await startGateway(t, config, (app) => {
    app.addHook('onRequest', async (request, reply) => {
      if (request.headers.authorization !== 'Bearer right') return reply.code(401).send({ error: 'who are you?' })
      return undefined
    })
  })
  await inTurn([[], ['Authorization: Bearer wrong']], async (lines) => {
    const client = await open(t, gateway.port)
    client.send(`${upgrade('websocket', lines)}early bytes${get('/smuggled')}`)
    const answer = await client.answer()
    t.equal(answer.status, 401)
    t.match(answer.body.toString(), /who are you/)
    client.send('bytes')
    t.equal(await client.end(), 'end')
    t.equal(client.inbox.length, 0, 'and nothing else')
  })
  t.equal(server.requests.length, 0)
  await openTunnel(t, gateway.port, upgrade('websocket', ['Authorization: Bearer right']))
  t.equal(server.requests.length, 1)
})

void test('what a hook puts into the head of an answer cannot end it', async (t) => {
  const server = await switching(t, echo)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', async (request, reply) => {
      const value = new URL(request.url, 'http://any').searchParams.get('say') ?? ''
      reply.header('x-said', value)
    })
  })
  const said = await open(t, gateway.port)
  said.send(upgrade('echo', [], '/?say=hello'))
  t.same(valuesOf(await said.answer(), 'x-said'), ['hello'])
  await inTurn(['a%0d%0aSet-Cookie:%20evil=1', 'a%0d%0a%0d%0aevil', 'a%00b', '%e2%82%ac'], async (value) => {
    const client = await open(t, gateway.port)
    client.send(upgrade('echo', [], `/?say=${value}`))
    const answer = await client.answer()
    // The same as for any other answer that cannot be sent.
    t.equal(answer.status, 500, value)
    t.notMatch(`${answer.head}${client.inbox.text}`, /evil/, value)
    client.socket.destroy()
  })
  said.socket.destroy()
  await gateway.line(() => gateway.lines.length === 5)
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

// --- in a tunnel ---

void test('random bytes in random pieces, both ways at once, arrive as they were sent', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server])
  let count = 0
  const pieces = array(uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 12 })
  await assert(
    asyncProperty(pieces, pieces, async (up, down) => {
      const client = await openTunnel(t, gateway.port)
      const socket = await server.tunnel(count++)
      const inbox = new Inbox(socket)
      for (const piece of up) client.send(Buffer.from(piece))
      for (const piece of down) socket.write(piece)
      const [sentUp, sentDown] = [Buffer.concat(up), Buffer.concat(down)]
      const [gotUp, gotDown] = await Promise.all([
        arrival(inbox, sentUp.length),
        arrival(client.inbox, sentDown.length),
      ])
      client.socket.destroy()
      return gotUp.equals(sentUp) && gotDown.equals(sentDown)
    }),
    { numRuns: 60 },
  )
})

void test('large amounts both ways at once arrive as they were sent, with TLS on either side too', async (t) => {
  const [up, down] = [randomBytes(12 * MIB), randomBytes(12 * MIB)]
  await inTurn(['plain', 'TLS to the client', 'TLS to the backend'], async (name) => {
    const server = await switching(t)
    const secure = name === 'TLS to the client'
    const front = name === 'TLS to the backend' ? await tlsFront(t, server.port) : server
    const pool = { backends: [front.url], ...(front === server ? {} : { tls: { rejectUnauthorized: false } }) }
    const gateway = await startGateway(t, { pools: { web: pool }, ...(secure ? { listen: { tls: SERVER } } : {}) })
    const client = await openTunnel(t, secure ? await tlsTail(t, gateway.port) : gateway.port)
    const socket = await server.tunnel(0)
    const inbox = new Inbox(socket)
    client.send(up)
    socket.write(down)
    const [gotUp, gotDown] = await Promise.all([arrival(inbox, up.length), arrival(client.inbox, down.length)])
    t.ok(gotUp.equals(up), `${name}: up`)
    t.ok(gotDown.equals(down), `${name}: down`)
  })
})

void test('WS-17: who does not read makes the other side wait, both ways', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server])
  const client = await openTunnel(t, gateway.port)
  const socket = await server.tunnel(0)
  const up = await pour(client.socket, 96 * MIB)
  t.ok(up > 0 && up < 40 * MIB, `${up} bytes taken from the client`)
  client.socket.pause()
  const down = await pour(socket, 96 * MIB)
  t.ok(down > 0 && down < 40 * MIB, `${down} bytes taken from the backend`)
  const inbox = new Inbox(socket)
  client.socket.resume()
  await Promise.all([
    inbox.until(() => (inbox.length === 96 * MIB ? true : undefined)),
    client.inbox.until(() => (client.inbox.length === 96 * MIB ? true : undefined)),
  ])
  t.pass('and all of it arrives when they read again')
})

// --- endings ---

void test('a client that ends its side: all before arrives, and the answer to it too', async (t) => {
  const sent = randomBytes(8 * MIB)
  const server = await switching(t)
  await inTurn(['plain', 'TLS'], async (name, n) => {
    const listen = name === 'TLS' ? { tls: SERVER } : {}
    const gateway = await gatewayTo(t, [server], {}, { listen })
    const client = await openTunnel(t, name === 'TLS' ? await tlsTail(t, gateway.port) : gateway.port)
    const socket = await server.tunnel(n)
    client.send(sent)
    client.socket.end('last words')
    // It reads late: as much is under way as fits, and the end behind it or still to come.
    await settled(() => client.socket.writableLength)
    const inbox = new Inbox(socket)
    t.equal(await inbox.end(), 'end', name)
    t.equal(inbox.length, sent.length + 10, name)
    t.ok(inbox.bytes.subarray(0, sent.length).equals(sent), name)
    socket.write('thanks, ')
    socket.end('goodbye')
    t.equal(await client.end(), 'end', name)
    t.equal(client.inbox.text, 'thanks, goodbye', name)
    await isOver(t, gateway, 'answered', name)
  })
})

void test('a backend that ends its side: all before arrives', async (t) => {
  const sent = randomBytes(8 * MIB)
  const server = await switching(t, (socket) => {
    socket.write(sent)
    socket.end('last words')
  })
  const gateway = await gatewayTo(t, [server])
  const client = await open(t, gateway.port)
  client.socket.pause()
  client.send(upgrade())
  const socket = await server.tunnel(0)
  const inbox = new Inbox(socket)
  client.socket.resume()
  t.equal((await client.answer()).status, 101)
  t.equal(await client.end(), 'end')
  t.equal(client.inbox.length, sent.length + 10)
  t.ok(client.inbox.bytes.subarray(0, sent.length).equals(sent))
  await closed(inbox)
  client.socket.end()
  await closed(client.inbox)
  await isOver(t, gateway, 'answered')
})

void test('a backend that ends its side while the client is slow: the last bytes arrive as well', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server])
  const clients: Socket[] = []
  gateway.app.server.on('connection', (socket: Socket) => void clients.push(socket))
  const client = await openTunnel(t, gateway.port)
  const socket = await server.tunnel(0)
  client.socket.pause()
  let sent = 0
  // Until the system's buffers are full, and a little more than that lies in the gateway.
  while (clients[0]?.writableLength === 0) {
    sent += 16_384
    socket.write(Buffer.alloc(16_384))
    // oxlint-disable-next-line no-await-in-loop -- until it has arrived there
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  socket.end()
  // Longer than the gateway lingers: what it threw away would be missing only afterwards.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  client.socket.resume()
  await client.end()
  t.equal(client.inbox.length, sent)
})

void test('a side that dies takes the other one along', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server])
  const client = await openTunnel(t, gateway.port)
  const inbox = new Inbox(await server.tunnel(0))
  client.send('alive')
  await arrival(inbox, 5)
  client.socket.resetAndDestroy()
  await inbox.end()
  await isOver(t, gateway, 'answered', 'the client')
  const other = await gatewayTo(t, [server])
  const bereft = await openTunnel(t, other.port)
  const socket = await server.tunnel(1)
  bereft.send('alive')
  await arrival(new Inbox(socket), 5)
  socket.resetAndDestroy()
  await bereft.end()
  bereft.socket.destroy()
  await isOver(t, other, 'broken', 'the backend')
})

void test('a client that dies while its backend takes nothing in takes the tunnel along', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server])
  const client = await openTunnel(t, gateway.port)
  await server.tunnel(0)
  await pour(client.socket, 96 * MIB)
  client.socket.resetAndDestroy()
  await gateway.line(() => true)
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

/** A backend of its own, which says its port and switches to anything. */
const PROCESS = `
  const server = require('node:http').createServer()
  server.on('upgrade', (request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`

void test('a backend whose process is killed takes its tunnels along', async (t) => {
  const child = spawn('env', [...UNSET, process.execPath, '-e', PROCESS], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [port] = await guarded(once(child.stdout, 'data'), () => 'the port of a process')
  const gateway = await gatewayTo(t, [`http://127.0.0.1:${Number(port)}`])
  const clients = await Promise.all(Array.from({ length: 5 }, async () => openTunnel(t, gateway.port)))
  await inTurn(clients, async (client) => {
    client.send('alive')
    await arrival(client.inbox, 5)
  })
  child.kill('SIGKILL')
  await inTurn(clients, async (client) => {
    await client.end()
    client.socket.destroy()
  })
  await gateway.line(() => gateway.lines.length === 5)
  t.equal(totals(gateway).inFlight, 0)
})

void test('a client that leaves while the backend thinks takes the connection to it along', async (t) => {
  const ways: Record<string, (socket: Socket) => void> = {
    closes: (socket) => socket.destroy(),
    ends: (socket) => socket.end(),
    resets: (socket) => socket.resetAndDestroy(),
  }
  await inTurn(Object.entries(ways), async ([how, leave]) => {
    const server = await rawBackend(t, {})
    const gateway = await gatewayTo(t, [server])
    const client = await open(t, gateway.port)
    client.send(upgrade())
    const { inbox } = await server.connection(0)
    await inbox.until(() => (inbox.text.includes('\r\n\r\n') ? true : undefined))
    leave(client.socket)
    await inbox.end()
    await isOver(t, gateway, 'aborted', how)
    t.equal(gateway.lines[0]?.status, 499, how)
  })
})

void test('a client that has sent bytes already and is reset while the backend thinks', async (t) => {
  const server = await rawBackend(t, {})
  const gateway = await gatewayTo(t, [server])
  const client = await open(t, gateway.port)
  client.send(`${upgrade()}early`)
  const { inbox } = await server.connection(0)
  await inbox.until(() => (inbox.text.includes('\r\n\r\n') ? true : undefined))
  client.socket.resetAndDestroy()
  await inbox.end()
  await isOver(t, gateway, 'aborted')
})

const ACTIONS = [
  'client sends',
  'backend sends',
  'client ends',
  'backend ends',
  'client resets',
  'backend resets',
] as const

void test('whatever both sides do, in whatever order, a tunnel ends, and what arrived was sent', async (t) => {
  const server = await switching(t)
  const gateway = await gatewayTo(t, [server], { connections: { max: 1000 } })
  let count = 0
  await assert(
    asyncProperty(array(constantFrom(...ACTIONS), { maxLength: 10 }), async (actions) => {
      const client = await openTunnel(t, gateway.port)
      const socket = await server.tunnel(count++)
      const inbox = new Inbox(socket)
      let [up, down] = ['', '']
      for (const [index, action] of actions.entries()) {
        const text = `${index} `.repeat(1000)
        if (action === 'client sends' && client.socket.writable) client.send((up += text).slice(-text.length))
        if (action === 'backend sends' && socket.writable) socket.write((down += text).slice(-text.length))
        if (action === 'client ends') client.socket.end()
        if (action === 'backend ends') socket.end()
        if (action === 'client resets') client.socket.resetAndDestroy()
        if (action === 'backend resets') socket.resetAndDestroy()
        // oxlint-disable-next-line no-await-in-loop -- one after the other, with some of it under way
        await new Promise((resolve) => setImmediate(resolve))
      }
      client.socket.end()
      socket.end()
      await Promise.all([closed(client.inbox), closed(inbox)])
      await gateway.line(() => gateway.lines.length === count)
      return up.startsWith(inbox.text) && down.startsWith(client.inbox.text) && totals(gateway).inFlight === 0
    }),
    { numRuns: 80 },
  )
  t.equal(gateway.lines.length, count, 'one line each')
})

// --- places ---

void test('a tunnel holds its connection, and who waits gets it afterwards', async (t) => {
  const server = await switching(t, echo)
  const gateway = await gatewayTo(t, [server], { connections: { max: 1, pending: 5, queue: '15s' } })
  const first = await openTunnel(t, gateway.port)
  const second = await open(t, gateway.port)
  second.send(upgrade('echo', [], '/second'))
  const third = await open(t, gateway.port)
  third.send(get('/third'))
  first.send('hello')
  await arrival(first.inbox, 5)
  t.equal(server.requests.length, 1, 'the others wait')
  first.socket.destroy()
  t.equal((await second.answer()).status, 101)
  second.send('hello')
  await arrival(second.inbox, 5)
  t.equal(server.requests.length, 2, 'one still waits')
  second.socket.end()
  t.equal((await third.answer()).status, 200)
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('an upgrade that waits too long for a connection is refused, and its client may leave before', async (t) => {
  const server = await switching(t, echo)
  const gateway = await gatewayTo(t, [server], { connections: { max: 1, pending: 1, queue: '300ms' } })
  await openTunnel(t, gateway.port)
  const waits = await open(t, gateway.port)
  waits.send(upgrade())
  const refused = await waits.answer()
  isError(t, refused, 'SLUICE_QUEUE_TIMEOUT', [server.port])
  const leaver = await open(t, gateway.port)
  leaver.send(upgrade())
  leaver.socket.end()
  await gateway.line(({ outcome }) => outcome === 'aborted')
  t.equal(totals(gateway).inFlight, 1, 'the one that is open')
})

void test('a handshake that a backend refuses goes to another one', async (t) => {
  const { url } = await unreachable(t)
  const busy = await answering(t, 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n')
  const server = await switching(t, echo)
  await inTurn([url, busy.url], async (bad) => {
    const gateway = await gatewayTo(t, [bad, server], { algorithm: 'round-robin' })
    await inTurn([1, 2, 3, 4], async () => {
      const client = await openTunnel(t, gateway.port, `${upgrade()}early`)
      t.equal((await arrival(client.inbox, 5)).toString(), 'early', 'sent once, to the right one')
      client.socket.destroy()
    })
    await gateway.line(() => gateway.lines.length === 4)
    t.ok(
      gateway.lines.some(({ attempts }) => attempts === 2),
      'some had to',
    )
  })
  for (const head of busy.heads) t.notMatch(head, /early/)
})

void test('tunnels count for least-connections', async (t) => {
  const servers = [await switching(t, echo), await switching(t, echo)]
  const gateway = await gatewayTo(t, servers, { algorithm: 'least-connections' })
  await inTurn([1, 2, 3, 4, 5, 6], async () => openTunnel(t, gateway.port))
  t.same(
    servers.map(({ requests }) => requests.length),
    [3, 3],
  )
  t.equal(totals(gateway).inFlight, 6)
})

// --- more than one address ---

/** Makes localhost two addresses, as it is on most machines; Fastify then listens with one server for each. */
function twoAddresses(t: Test): void {
  const { lookup } = dns
  t.teardown(() => Object.assign(dns, { lookup }))
  const second = process.platform === 'linux' ? '127.0.0.2' : '::1'
  const both = [second, '127.0.0.1'].map((address) => ({ address, family: isIP(address) }))
  const replaced = (host: string, options: unknown, done: unknown): void => {
    const all = typeof options === 'object' && options !== null && Reflect.get(options, 'all') === true
    if (host === 'localhost' && all && typeof done === 'function')
      setImmediate(() => void Reflect.apply(done, undefined, [null, both]))
    else Reflect.apply(lookup, dns, [host, options, done])
  }
  Object.assign(dns, { lookup: replaced })
}

void test('WS-14: the same holds on every address that the gateway listens on', async (t) => {
  twoAddresses(t)
  const server = await switching(t, echo)
  const pools = { web: { backends: [server.url] } }
  const app = await buildGateway({ admin: false, log: { level: 'silent' }, pools })
  t.teardown(() => app.close())
  await app.listen({ host: 'localhost', port: 0 })
  const port = portOf(app.server)
  const address = app.server.address()
  t.notMatch(address, { address: '127.0.0.1' }, 'what is asked is not the main server')
  await inTurn(Object.entries(NEVER), async ([name, bytes]) => {
    const client = await open(t, port)
    client.send(bytes)
    t.equal((await client.answer()).status, 200, name)
  })
  const pipelined = await open(t, port)
  pipelined.send(`${get('/first')}${upgrade()}`)
  t.equal((await pipelined.answer()).status, 200)
  const allowed = await openTunnel(t, port)
  allowed.send('hello')
  await arrival(allowed.inbox, 5)
  t.equal(server.requests.filter(({ headers }) => headers.upgrade !== undefined).length, 1, 'one upgrade was taken')
})
