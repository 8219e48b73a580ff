/**
 * The gateway as a TLS server: which versions it speaks, what becomes of who does not speak TLS or never finishes its
 * handshake, and that HTTP/1.1 is the same inside.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'

import { test, type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'

import type { Config, PoolConfig } from '../../src/index.ts'
import { backend, gatewayTo, isError, sha256, startGateway, totals, type Gateway } from '../helpers/gateway.ts'
import {
  answering,
  ask,
  askAll,
  type Bytes,
  get,
  guarded,
  inTurn,
  RawClient,
  settled,
  valuesOf,
} from '../helpers/raw.ts'
import { CA, SERVER, tlsTail } from '../helpers/secure.ts'

const MIB = 1024 ** 2

async function start(
  t: Test,
  backends: ReadonlyArray<{ readonly url: string } | string>,
  listen: NonNullable<Config['listen']> = {},
  pool: Omit<PoolConfig, 'backends'> = {},
): Promise<Gateway> {
  return gatewayTo(t, backends, pool, { listen: { tls: SERVER, ...listen } })
}

/** A port on which plain clients reach the gateway by TLS. */
async function inside(t: Test, { port }: Gateway): Promise<number> {
  return tlsTail(t, port)
}

/** The protocol of a handshake with the gateway, or why there is none. */
async function shake(t: Test, port: number, options: ConnectionOptions): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: CA, ...options })
  t.teardown(() => socket.destroy())
  const done = Promise.race([once(socket, 'secureConnect'), once(socket, 'close')])
  try {
    await guarded(done, () => 'a handshake')
    return `${socket.getProtocol()} ${socket.alpnProtocol}`
  } catch (error) {
    return `refused: ${error instanceof Error && 'code' in error ? String(error.code) : ''}`
  } finally {
    socket.destroy()
  }
}

// What this side would refuse by itself must be allowed, so that it is the gateway who refuses.
const OLD = { minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const

void test('TLS 1.2 and up by default, 1.3 alone when that is asked for', async (t) => {
  const server = await backend(t)
  const either = await start(t, [server])
  t.match(await shake(t, either.port, { maxVersion: 'TLSv1.2' }), /^TLSv1\.2/)
  t.match(await shake(t, either.port, {}), /^TLSv1\.3/)
  t.match(
    await shake(t, either.port, { ...OLD, maxVersion: 'TLSv1.1' }),
    /^refused: ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION/,
  )
  const newest = await start(t, [server], { tls: { ...SERVER, minVersion: 'TLSv1.3' } })
  t.match(await shake(t, newest.port, { maxVersion: 'TLSv1.2' }), /^refused: ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION/)
  t.match(await shake(t, newest.port, {}), /^TLSv1\.3/)
})

void test('the protocol is agreed on in the handshake; who names none gets HTTP/1.1', async (t) => {
  const gateway = await start(t, [await backend(t)])
  const { port } = gateway
  t.equal(await shake(t, port, { ALPNProtocols: ['h2', 'http/1.1'] }), 'TLSv1.3 h2')
  t.equal(await shake(t, port, { ALPNProtocols: ['http/1.1', 'h2'] }), 'TLSv1.3 h2')
  t.equal(await shake(t, port, { ALPNProtocols: ['http/1.1'] }), 'TLSv1.3 http/1.1')
  t.equal(await shake(t, port, {}), 'TLSv1.3 false')
  t.match(await shake(t, port, { ALPNProtocols: ['spdy/3'] }), /^refused: .*NO_APPLICATION_PROTOCOL/)
  const plain = await tlsTail(t, port, { ALPNProtocols: ['http/1.1'] })
  t.equal((await ask(t, plain, get())).status, 200)
  t.equal((await ask(t, await inside(t, gateway), get())).status, 200)
})

const NO_TLS: ReadonlyArray<readonly [what: string, bytes: Bytes]> = [
  ['plain HTTP', get()],
  ['random bytes', Buffer.from(Array.from({ length: 100 }, (_, n) => (n * 37) % 256))],
  ['a handshake that is none', Buffer.concat([Buffer.from([0x16, 3, 1, 0, 100]), Buffer.alloc(100, 0xff)])],
  ['a TLS alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 40])],
  ['a record that is too large', Buffer.concat([Buffer.from([0x16, 3, 1, 0xff, 0xff]), Buffer.alloc(65_535)])],
]

void test('RL-18: what is no TLS is closed, and harms nobody', async (t) => {
  const server = await backend(t)
  const gateway = await start(t, [server])
  await inTurn(NO_TLS, async ([what, bytes]) => {
    const client = await RawClient.open(t, gateway.port)
    client.send(bytes)
    await client.end()
    t.notMatch(client.inbox.text, /HTTP\/1\.1 200/, what)
    client.socket.destroy()
  })
  t.equal(server.connections(), 0)
  t.equal((await ask(t, await inside(t, gateway), get())).status, 200)
  await countIs(gateway, 0)
})

/** Waits until the gateway has so many connections of clients. */
async function countIs({ app }: Gateway, expected: number): Promise<void> {
  const reached = new Promise<void>((resolve) => {
    const look = (): void =>
      void app.server.getConnections((_error, count) => void (count === expected ? resolve() : setTimeout(look, 20)))
    look()
  })
  await guarded(reached, () => `${expected} connections of clients`)
}

/** Reads what TLS a client would say first. */
async function clientHello(t: Test): Promise<Buffer> {
  const { port, accepted } = await answering(t, '')
  const socket = connectTls({ port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  const hello = await guarded(
    (async () => {
      for (;;) {
        const bytes = accepted[0]?.inbox.bytes ?? Buffer.alloc(0)
        if (bytes.length > 5 && bytes.length >= 5 + bytes.readUInt16BE(3)) return Buffer.from(bytes)
        // oxlint-disable-next-line no-await-in-loop -- until it is there
        await new Promise(setImmediate)
      }
    })(),
    () => 'a ClientHello',
  )
  socket.destroy()
  return hello
}

void test('TO-03: a client that never finishes its handshake is cut, also one that sends a byte now and then', async (t) => {
  const gateway = await start(t, [await backend(t)], { headersTimeout: 500 })
  const hello = await clientHello(t)
  const silent = await RawClient.open(t, gateway.port)
  const half = await RawClient.open(t, gateway.port)
  half.send(hello.subarray(0, 40))
  const waiting = await RawClient.open(t, gateway.port)
  waiting.send(hello)
  const slow = await RawClient.open(t, gateway.port)
  let at = 0
  const drip = setInterval(() => slow.send(hello.subarray(at, ++at)), 100)
  t.teardown(() => clearInterval(drip))
  await inTurn([silent, half, waiting, slow], async (client) => {
    await client.end()
    client.socket.destroy()
  })
  t.ok(at < hello.length, 'it was not at its end')
  await countIs(gateway, 0)
})

void test('TO-03: a client that says nothing behind its handshake is cut', async (t) => {
  const gateway = await start(t, [await backend(t)], { headersTimeout: 500 })
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', servername: 'localhost', ca: CA })
  t.teardown(() => socket.destroy())
  await guarded(once(socket.resume(), 'close'), () => 'a connection that says nothing')
  await countIs(gateway, 0)
})

void test('clients that leave in the middle of their handshakes leave nothing behind', async (t) => {
  // Whoever stayed for that long would be seen.
  const gateway = await start(t, [await backend(t)], { headersTimeout: '1m' })
  const hello = await clientHello(t)
  await inTurn(Array.from({ length: 50 }), async (_, n) => {
    const client = await RawClient.open(t, gateway.port)
    client.send(n % 3 === 0 ? hello.subarray(0, 30) : hello)
    if (n % 2 === 0) client.socket.resetAndDestroy()
    else client.socket.destroy()
  })
  await countIs(gateway, 0)
  t.equal((await ask(t, await inside(t, gateway), get())).status, 200)
})

// --- HTTP/1.1 inside ---

void test('the backend learns that the client spoke https, and from whom it came', async (t) => {
  const server = await backend(t)
  const plain = await inside(t, await start(t, [server]))
  await ask(t, plain, get('/', ['X-Forwarded-Proto: http', 'X-Forwarded-For: 192.0.2.1']))
  t.match((await server.request(0)).headers, {
    'x-forwarded-proto': 'https',
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-host': 'gateway.example',
    host: 'gateway.example',
  })
  const trusting = await inside(t, await start(t, [server], { trustedProxies: ['127.0.0.1'] }))
  await ask(t, trusting, get('/', ['X-Forwarded-Proto: http', 'X-Forwarded-For: 192.0.2.1']))
  t.match((await server.request(1)).headers, {
    'x-forwarded-proto': 'http',
    'x-forwarded-for': '192.0.2.1, 127.0.0.1',
  })
})

void test('KP-01 KP-04 KP-05: connections are kept, requests answered in order, the last one closes', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url === '/slow') setTimeout(() => response.end('/slow'), 50)
    else response.end(request.url)
  })
  const gateway = await start(t, [server])
  const client = await RawClient.open(t, await inside(t, gateway))
  client.send(get('/1'))
  t.equal((await client.answer()).body.toString(), '/1')
  client.send(`${get('/slow')}${get('/3')}${get('/4')}${get('/5', ['Connection: close'])}${get('/never')}`)
  await inTurn(['/slow', '/3', '/4', '/5'], async (path) => {
    t.equal((await client.answer()).body.toString(), path)
  })
  await client.end()
  t.equal(client.inbox.length, 0)
  t.same(
    server.requests.map(({ url }) => url),
    ['/1', '/slow', '/3', '/4', '/5'],
  )
})

void test('chunks, lengths, HEAD, 100-continue and HTTP/1.0', async (t) => {
  const server = await backend(t)
  const plain = await inside(t, await start(t, [server]))
  const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n'
  t.equal((await ask(t, plain, chunked)).body.toString(), 'ok')
  t.equal((await server.request(0)).body().toString(), 'hello')
  t.match(await ask(t, plain, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', 'HEAD'), { status: 200, complete: true })
  const old = await RawClient.open(t, plain)
  old.send('GET / HTTP/1.0\r\n\r\n')
  t.equal((await old.answer()).body.toString(), 'ok')
  await old.end()
  const expecting = await RawClient.open(t, plain)
  expecting.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
  await expecting.inbox.until(() => (expecting.inbox.text.includes('100 Continue') ? true : undefined))
  expecting.send('hello')
  t.equal((await expecting.answer()).status, 200)
})

void test('what a client sent before it closed its side is answered when it is no request', async (t) => {
  const plain = await inside(t, await start(t, [await backend(t)]))
  await inTurn(['nothing\r\n\r\n', 'GET / HTTP/1.1\nHost: a\n'], async (bytes) => {
    const answers = await askAll(t, plain, bytes, true)
    t.same(
      answers.map(({ status }) => status),
      [400],
    )
  })
})

const BROKEN: ReadonlyArray<readonly [what: string, bytes: string]> = [
  ['FR-01', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
  [
    'a length and chunks',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['HO-01', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n'],
  ['RL-02', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
  ['RL-18', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['RL-18', 'nothing\r\n\r\n'],
]

void test('FR-01 HO-01 RL-02 RL-18: framing that is wrong is answered 400, and the connection closed', async (t) => {
  const server = await backend(t)
  const plain = await inside(t, await start(t, [server]))
  await inTurn(BROKEN, async ([id, bytes]) => {
    const client = await RawClient.open(t, plain)
    client.send(bytes)
    isError(t, await client.answer(), 'SLUICE_BAD_REQUEST', [], `${id}: ${JSON.stringify(bytes.slice(0, 30))}`)
    await client.end()
  })
  t.equal(server.requests.length, 0)
})

void test('HO-01: a request without Host', async (t) => {
  const plain = await inside(t, await start(t, [await backend(t)]))
  t.equal((await ask(t, plain, 'GET / HTTP/1.1\r\n\r\n')).status, 400)
})

void test('a head that is too large is answered 431, one that never ends 408', async (t) => {
  const gateway = await start(t, [await backend(t)], { maxHeaderSize: 2048, headersTimeout: 500 })
  const plain = await inside(t, gateway)
  t.equal((await ask(t, plain, get('/', [`X-Large: ${'x'.repeat(3000)}`]))).status, 431)
  const client = await RawClient.open(t, plain)
  client.send('GET / HTTP/1.1\r\nHo')
  isError(t, await client.answer(), 'SLUICE_CLIENT_TIMEOUT')
  await client.end()
  await countIs(gateway, 0)
})

void test('BD-12: 5 MB up and down at once, byte for byte', async (t) => {
  const content = randomBytes(5 * MIB)
  const server = await backend(t, (request, response) => void request.pipe(response))
  const client = await RawClient.open(t, await inside(t, await start(t, [server])))
  client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n\r\n`)
  client.send(content)
  const answer = await client.answer()
  t.ok(answer.complete)
  t.equal(sha256(answer.body), sha256(content))
})

void test('CA-01 CA-04: a client that leaves takes its request along', async (t) => {
  const cases = [get(), 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf']
  await inTurn(cases, async (bytes) => {
    const server = await backend(t, () => {})
    const gateway = await start(t, [server])
    const socket = connectTls({ port: gateway.port, host: '127.0.0.1', servername: 'localhost', ca: CA })
    t.teardown(() => socket.destroy())
    socket.write(bytes)
    const request = await server.request(0)
    socket.destroy()
    await request.over
    t.equal(request.complete(), bytes === get())
    t.match(await gateway.line(() => true), { status: 499, outcome: 'aborted' })
    await server.openAtMost(0)
    t.match(totals(gateway), { inFlight: 0, failures: 0 })
  })
})

void test('a client that takes nothing stops the backend, and gets it all when it reads on', async (t) => {
  const size = 64 * MIB
  let written = 0
  const server = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-length': size })
    const piece = Buffer.alloc(MIB / 4)
    const more = (): void => {
      while (written < size) {
        written += piece.length
        if (!response.write(piece)) return
      }
      response.end()
    }
    response.on('drain', more)
    more()
  })
  const gateway = await start(t, [server])
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', servername: 'localhost', ca: CA })
  t.teardown(() => socket.destroy())
  socket.pause()
  socket.write(get('/', ['Connection: close']))
  await server.request(0)
  await settled(() => written)
  t.ok(written < 40 * MIB, `${written} bytes taken`)
  let read = 0
  socket.on('data', (piece: Buffer) => (read += piece.length)).resume()
  await guarded(once(socket, 'end'), () => `the rest: ${read} bytes`)
  t.ok(read > size)
})

void test('BF-18: an answer that breaks off is not ended', async (t) => {
  const server = await answering(t, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'ends')
  const answer = await ask(t, await inside(t, await start(t, [server])), get())
  t.match({ status: answer.status, complete: answer.complete }, { status: 200, complete: false })
})

void test('WS-02: WebSocket over TLS, to a backend that is reached without', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  server.on('connection', (socket) => socket.on('message', (message, binary) => socket.send(message, { binary })))
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  const target = typeof address === 'object' && address !== null ? address.port : 0
  const gateway = await start(t, [`http://127.0.0.1:${target}`])
  const client = new WebSocket(`wss://localhost:${gateway.port}/`, { ca: CA })
  t.teardown(() => client.terminate())
  await once(client, 'open')
  await inTurn(['hello', randomBytes(MIB)], async (message) => {
    client.send(message)
    const [echo]: unknown[] = await guarded(once(client, 'message'), () => 'an echo')
    t.ok(Buffer.isBuffer(echo) && echo.equals(Buffer.from(message)))
  })
  client.close(4321, 'bye')
  await guarded(once(client, 'close'), () => 'the end')
  t.match(await gateway.line(() => true), { status: 101, outcome: 'answered' })
  t.equal(totals(gateway).inFlight, 0)
})

void test('hooks of plugins see that it is https', async (t) => {
  const server = await backend(t)
  const seen: string[] = []
  const gateway = await startGateway(
    t,
    { listen: { tls: SERVER }, pools: { web: { backends: [server.url] } } },
    (app) => {
      app.addHook('onRequest', async (request) => void seen.push(request.protocol, request.ip))
    },
  )
  t.equal((await ask(t, await inside(t, gateway), get())).status, 200)
  t.same(seen, ['https', '127.0.0.1'])
})

void test('SD-01: closing lets requests finish, and ends idle connections', async (t) => {
  const { promise: finishing, resolve: finish } = Promise.withResolvers<void>()
  const server = await backend(t, (_request, response) => void finishing.then(() => response.end('finished')))
  const gateway = await start(t, [server])
  const plain = await inside(t, gateway)
  const client = await RawClient.open(t, plain)
  client.send(get())
  await server.request(0)
  const closed = gateway.app.close()
  // oxlint-disable-next-line no-await-in-loop -- until it has begun
  while (!gateway.app.lifecycle.closing) await new Promise(setImmediate)
  finish()
  const answer = await client.answer()
  t.equal(answer.body.toString(), 'finished')
  t.same(valuesOf(answer, 'connection'), ['close'])
  await client.end()
  await guarded(closed, () => 'closing')
})

void test('SD-01: closing does not wait for who is still shaking hands, longer than for the grace', async (t) => {
  const gateway = await gatewayTo(t, [await backend(t)], {}, { listen: { tls: SERVER }, shutdown: { grace: 200 } })
  const silent = await RawClient.open(t, gateway.port)
  await countIs(gateway, 1)
  await guarded(gateway.app.close(), () => 'closing')
  await silent.end()
  t.pass()
})

void test('the listener asks clients for no certificate, and its names are not looked at', async (t) => {
  const { port } = await start(t, [await backend(t)])
  const socket: TLSSocket = connectTls({
    port,
    host: '127.0.0.1',
    servername: 'anything.example',
    rejectUnauthorized: false,
  })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  t.equal(socket.getPeerCertificate().subject.CN, 'localhost')
  socket.write(get())
  const [piece]: unknown[] = await once(socket, 'data')
  t.match(String(piece), /^HTTP\/1\.1 200 OK\r\n/)
})
