/**
 * The clients and servers of ws speak through the gateway as they do without it, in the clear and over TLS.
 */
import { randomBytes } from 'node:crypto'
import { once, type EventEmitter } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'

import { test, type Test } from 'tap'
import { WebSocket, WebSocketServer, type ClientOptions, type ServerOptions } from 'ws'

import { gatewayTo, type Gateway } from '../helpers/gateway.ts'
import { guarded, inTurn, portOf } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

interface Ends {
  readonly client: WebSocket
  readonly server: WebSocket
  readonly request: IncomingMessage
}

/** A server of ws behind a gateway. */
interface Tunnels {
  readonly gateway: Gateway
  readonly wss: WebSocketServer
  readonly url: string
  /** A client, not connected yet. */
  readonly client: (options?: ClientOptions & { readonly protocols?: string[] }) => WebSocket
  /** Both ends of a new connection. */
  readonly open: (options?: ClientOptions) => Promise<Ends>
}

async function tunnels(t: Test, options: ServerOptions = {}, tls = false): Promise<Tunnels> {
  const http = createServer()
  const wss = new WebSocketServer({ server: http, ...options })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => {
    for (const each of wss.clients) each.terminate()
    http.close()
  })
  const gateway = await gatewayTo(t, [`http://127.0.0.1:${portOf(http)}`], {}, tls ? { listen: { tls: SERVER } } : {})
  const url = `${tls ? 'wss' : 'ws'}://127.0.0.1:${gateway.port}/socket?a=1`
  const client: Tunnels['client'] = ({ protocols, ...rest } = {}) => {
    const socket = new WebSocket(url, protocols, { ca: CA, ...rest })
    // Who waits for something of it hears of its errors.
    socket.on('error', () => undefined)
    t.teardown(() => socket.terminate())
    return socket
  }
  const open: Tunnels['open'] = async (rest) => {
    const accepted = next<[WebSocket, IncomingMessage]>(wss, 'connection')
    const socket = client(rest)
    await guarded(once(socket, 'open'), () => 'the handshake')
    const [server, request] = await accepted
    return { client: socket, server, request }
  }
  return { gateway, wss, url, client, open }
}

/** What an event brings, the next time it happens. */
async function next<T extends unknown[]>(emitter: EventEmitter, event: string): Promise<T> {
  let failed: ((error: Error) => void) | undefined
  const happened = new Promise<T>((resolve, reject) => {
    failed = reject
    emitter.once('error', failed)
    emitter.once(event, (...values: T) => resolve(values))
  })
  try {
    return await guarded(happened, () => `'${event}'`)
  } finally {
    if (failed !== undefined) emitter.off('error', failed)
  }
}

/** Sends a message and gets one from the other end. */
async function passes(from: WebSocket, to: WebSocket, message: string | Buffer): Promise<boolean> {
  const arrived = next<[Buffer, boolean]>(to, 'message')
  from.send(message)
  const [data, isBinary] = await arrived
  return data.equals(Buffer.from(message)) && isBinary === Buffer.isBuffer(message)
}

const SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1024 ** 2]

void test('WS-02: text and binary of all sizes, both ways, packed and not, in the clear and over TLS', async (t) => {
  await inTurn([false, true], async (tls) => {
    await inTurn([false, true], async (perMessageDeflate) => {
      const { open } = await tunnels(t, { perMessageDeflate }, tls)
      const { client, server, request } = await open({ perMessageDeflate })
      const name = `${tls ? 'TLS' : 'in the clear'}, ${perMessageDeflate ? 'packed' : 'not packed'}`
      t.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '', name)
      t.equal(request.url, '/socket?a=1', name)
      t.equal(request.headers['x-forwarded-proto'], tls ? 'https' : 'http', name)
      await inTurn(SIZES, async (size) => {
        const binary = randomBytes(size)
        const text = '☃'.repeat(Math.floor(size / 3))
        t.ok(await passes(client, server, binary), `${name}: ${size} bytes up`)
        t.ok(await passes(server, client, binary), `${name}: ${size} bytes down`)
        t.ok(await passes(client, server, text), `${name}: text up`)
        t.ok(await passes(server, client, text), `${name}: text down`)
      })
    })
  })
})

void test('WS-03: pings between the pieces of a message, both ways', async (t) => {
  const { open } = await tunnels(t)
  const { client, server } = await open()
  await inTurn([[client, server] as const, [server, client] as const], async ([from, to]) => {
    const arrived = next<[Buffer, boolean]>(to, 'message')
    const pinged = next<[Buffer]>(to, 'ping')
    const ponged = next<[Buffer]>(from, 'pong')
    from.send('one ', { fin: false })
    from.ping('between')
    from.send('message', { fin: true })
    t.equal((await pinged)[0].toString(), 'between')
    t.equal((await ponged)[0].toString(), 'between')
    t.equal((await arrived)[0].toString(), 'one message')
  })
})

void test('WS-05: a close with code and reason reaches the other end, from either', async (t) => {
  const { open, gateway } = await tunnels(t)
  await inTurn(['client', 'server'] as const, async (who) => {
    const ends = await open()
    const [closes, other] = who === 'client' ? [ends.client, ends.server] : [ends.server, ends.client]
    const [heard, answered] = [next<[number, Buffer]>(other, 'close'), next<[number, Buffer]>(closes, 'close')]
    closes.close(4321, 'bye ☃')
    await inTurn([heard, answered], async (end) => {
      const [code, reason] = await end
      t.same([code, reason.toString()], [4321, 'bye ☃'], who)
    })
  })
  await gateway.line(() => gateway.lines.length === 2)
  t.match(gateway.lines, [
    { status: 101, outcome: 'answered' },
    { status: 101, outcome: 'answered' },
  ])
})

void test('an end that is gone without a word is gone for the other, too', async (t) => {
  const { open } = await tunnels(t)
  await inTurn(['client', 'server'] as const, async (who) => {
    const ends = await open()
    const [leaves, other] = who === 'client' ? [ends.client, ends.server] : [ends.server, ends.client]
    const heard = next<[number]>(other, 'close')
    leaves.terminate()
    // "Abnormal closure": there was no close frame.
    t.equal((await heard)[0], 1006, who)
  })
})

void test('WS-06 WS-07: messages right behind the handshake, from both ends, are not lost', async (t) => {
  const { wss, client } = await tunnels(t)
  await inTurn(Array.from({ length: 20 }), async () => {
    const received = new Promise<string>((resolve) => {
      wss.once('connection', (socket) => {
        socket.send('from the server')
        socket.once('message', (data: Buffer) => resolve(data.toString()))
      })
    })
    const socket = client()
    const greeting = next<[Buffer]>(socket, 'message')
    socket.once('open', () => socket.send('from the client'))
    t.equal((await greeting)[0].toString(), 'from the server')
    t.equal(await received, 'from the client')
    socket.terminate()
  })
})

void test('protocols, cookies and origin are negotiated with the server, not with the gateway', async (t) => {
  const { wss, client } = await tunnels(t, { handleProtocols: (offered) => [...offered].at(-1) ?? false })
  wss.on('headers', (lines) => void lines.push('Set-Cookie: session=2', 'X-Server: ws'))
  const accepted = next<[WebSocket, IncomingMessage]>(wss, 'connection')
  const socket = client({
    protocols: ['v1.chat', 'v2.chat'],
    origin: 'https://app.example',
    headers: { cookie: 'session=1', authorization: 'Bearer token' },
  })
  const upgraded = next<[IncomingMessage]>(socket, 'upgrade')
  const [answer] = await upgraded
  const [server, request] = await accepted
  t.same([socket.protocol, server.protocol], ['v2.chat', 'v2.chat'])
  t.match(answer.headers, { 'set-cookie': ['session=2'], 'x-server': 'ws' })
  t.match(request.headers, { origin: 'https://app.example', cookie: 'session=1', authorization: 'Bearer token' })
})

void test('WS-08: a handshake that the server refuses is refused with its own words', async (t) => {
  const { client } = await tunnels(t, { verifyClient: (_info, done) => done(false, 401, 'no', { 'x-why': 'token' }) })
  const socket = client()
  const refused = new Promise<IncomingMessage>((resolve) => {
    socket.once('unexpected-response', (_request, answer) => resolve(answer))
  })
  const answer = await guarded(refused, () => 'a refusal')
  t.match(answer, { statusCode: 401, headers: { 'x-why': 'token' } })
  let body = ''
  for await (const piece of answer) body += String(piece)
  t.equal(body, 'no')
})

void test('100 at once: each hears what was said to it, in order', async (t) => {
  const { wss, open } = await tunnels(t)
  wss.on('connection', (socket) => socket.on('message', (data: Buffer) => socket.send(data)))
  const talk = async (_: unknown, index: number): Promise<boolean> => {
    const { client } = await open()
    const said = Array.from({ length: 20 }, (__, line) => `${index}: ${line}`)
    const heard: string[] = []
    const all = new Promise<void>((resolve) => {
      client.on('message', (data: Buffer) => {
        heard.push(data.toString())
        if (heard.length === said.length) resolve()
      })
    })
    for (const line of said) client.send(line)
    await all
    return heard.join('\n') === said.join('\n')
  }
  const talks = await guarded(Promise.all(Array.from({ length: 100 }, talk)), () => `${wss.clients.size} connections`)
  t.equal(talks.filter(Boolean).length, 100)
})
