/**
 * Server-Sent Events: each reaches the client before the next one exists, whatever stands in the way; a client that
 * leaves is not sent for any longer; and hundreds of open streams cost little.
 */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { constants, createGunzip, createGzip } from 'node:zlib'

import { test, type Test } from 'tap'

import { backend, gatewayTo, startGateway, totals } from '../helpers/gateway.ts'
import { startGateway as startProcess } from '../helpers/process.ts'
import { ask, get, guarded, inTurn, rawBackend, RawClient, type Accepted } from '../helpers/raw.ts'

const EVENTS = ['data: one\n\n', ': a comment\n\n', 'id: 2\nevent: x\ndata: two\ndata: lines\n\n', 'data: \xe4\n\n']
const TYPE = 'Content-Type: text/event-stream'

/** How a backend may frame a stream: its head, an event, and the end if there is one. */
const FRAMINGS: Readonly<Record<string, readonly [head: string, frame: (event: string) => string]>> = {
  chunked: [
    `HTTP/1.1 200 OK\r\n${TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    (event) => `${event.length.toString(16)}\r\n${event}\r\n`,
  ],
  'chunks of a byte': [
    `HTTP/1.1 200 OK\r\n${TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    (event) => event.replace(/[^]/g, (byte) => `1\r\n${byte}\r\n`),
  ],
  'until it closes': [`HTTP/1.1 200 OK\r\n${TYPE}\r\nCache-Control: no-cache\r\n\r\n`, (event) => event],
  'HTTP/1.0': [`HTTP/1.0 200 OK\r\n${TYPE}\r\n\r\n`, (event) => event],
}

const ASKING: Readonly<Record<string, string>> = {
  'an EventSource': get('/', ['Accept: text/event-stream', 'Cache-Control: no-cache', 'Last-Event-ID: 7']),
  'who would take it compressed': get('/', ['Accept: text/event-stream', 'Accept-Encoding: gzip, deflate, br, zstd']),
  'who has an old copy': get('/', ['If-None-Match: "x"', 'If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT']),
  'an HTTP/1.0 client': 'GET / HTTP/1.0\r\nHost: a\r\n\r\n',
}

/** What has come of an answer's content, whichever way it is framed. */
function contentOf(text: string): string {
  const start = text.indexOf('\r\n\r\n') + 4
  if (start === 3) return ''
  if (!/\r\ntransfer-encoding: chunked\r\n/i.test(text.slice(0, start))) return text.slice(start)
  return text.slice(start).replace(/([0-9a-f]+)\r\n([^]*?)\r\n(?=[0-9a-f]+\r\n|$)/g, '$2')
}

void test('SS-05: each event arrives before the next one exists, however it is framed and asked for', async (t) => {
  await inTurn(Object.entries(FRAMINGS), async ([framing, [head, frame]]) => {
    await inTurn(Object.entries(ASKING), async ([who, request]) => {
      const server = await rawBackend(t, { onRequest: (connection) => connection.send(head) })
      const { port } = await gatewayTo(t, [server])
      const client = await RawClient.open(t, port)
      client.send(request)
      await client.inbox.until(() => client.inbox.text.includes('\r\n\r\n') || undefined)
      const { socket } = await server.connection(0)
      let expected = ''
      await inTurn(EVENTS, async (event) => {
        socket.write(frame(event), 'latin1')
        expected += event
        await client.inbox.until(() => contentOf(client.inbox.text) === expected || undefined)
      })
      t.match(
        client.inbox.text,
        /^HTTP\/1\.1 200 OK\r\n[^]*content-type: text\/event-stream\r\n/i,
        `${framing}, ${who}`,
      )
    })
  })
})

void test('SS-05: events pass the hooks of an application one by one, compressed there or not', async (t) => {
  await inTurn(['as it is', 'compressed'], async (how) => {
    const { promise: streaming, resolve: stream } = Promise.withResolvers<ServerResponse>()
    const server = await backend(t, (_request, response) => {
      stream(response.writeHead(200, { 'content-type': 'text/event-stream' }))
    })
    const { port } = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
      app.addHook('onSend', async (_request, reply, payload) => {
        if (how === 'as it is' || !(payload instanceof Readable)) return payload
        void reply.header('content-encoding', 'gzip')
        return payload.pipe(createGzip({ flush: constants.Z_SYNC_FLUSH }))
      })
    })
    const asked = fetch(`http://127.0.0.1:${port}/`)
    const source = await guarded(streaming, () => `${how}: a request`)
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
    await inTurn(EVENTS, async (event) => {
      source.write(event, 'latin1')
      reader ??= (await guarded(asked, () => `${how}: an answer`)).body?.getReader()
      const piece = await guarded(reader?.read() ?? Promise.reject(new Error('no body')), () => `${how}: ${event}`)
      t.equal(Buffer.from(piece.value ?? []).toString('latin1'), event, how)
    })
    await reader?.cancel()
  })
})

void test('SS-05: a stream that its backend has compressed arrives as it was, event by event', async (t) => {
  const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
  const server = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
    gzip.pipe(response)
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get('/', ['Accept-Encoding: gzip']))
  await server.request(0)
  const plain = createGunzip()
  let seen = 0
  await inTurn(EVENTS, async (event) => {
    gzip.write(Buffer.from(event, 'latin1'))
    const decoded = once(plain, 'data')
    await client.inbox.until(() => contentOf(client.inbox.text).length > seen || undefined)
    plain.write(Buffer.from(contentOf(client.inbox.text).slice(seen), 'latin1'))
    seen = contentOf(client.inbox.text).length
    const [piece]: unknown[] = await guarded(decoded, () => event)
    t.equal(piece instanceof Buffer && piece.toString('latin1'), event)
  })
  t.match(client.inbox.text, /\r\ncontent-encoding: gzip\r\n/i)
})

const LEAVING: Readonly<Record<string, (client: RawClient) => void>> = {
  closes: (client) => client.socket.destroy(),
  resets: (client) => client.socket.resetAndDestroy(),
}

void test('SS-03: a client that leaves takes the connection to the backend along, be the stream idle or busy', async (t) => {
  const hooks = [undefined, 'hooks']
  await inTurn(Object.entries(LEAVING), async ([how, leave]) => {
    await inTurn(['idle', 'busy'], async (state) => {
      await inTurn(hooks, async (through) => {
        const server = await backend(t, (_request, response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.write('data: first\n\n')
          if (state === 'idle') return
          const timer = setInterval(() => response.write('data: next\n\n'), 1)
          response.on('close', () => clearInterval(timer))
        })
        const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
          if (through !== undefined) app.addHook('onSend', async (_request, _reply, payload) => payload)
        })
        const client = await RawClient.open(t, gateway.port)
        client.send(get())
        await client.inbox.until(() => client.inbox.text.includes('data: first\n\n') || undefined)
        leave(client)
        await server.openAtMost(0)
        const name = `${state}, ${how}, ${through ?? 'no hooks'}`
        t.match(await gateway.line(() => true), { outcome: 'aborted' }, name)
        t.match(totals(gateway), { inFlight: 0, requests: 1, failures: 0 }, name)
      })
    })
  })
})

const STREAMS = 500
const KIB = 1024

/** What a process holds in memory, in bytes. */
function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * KIB
}

const OPTIONS = { skip: existsSync('/proc/self/status') ? false : 'the memory of a process is read from /proc' }

/** Opens streams, each of which has got its first event. */
async function openStreams(t: Test, port: number, count: number): Promise<RawClient[]> {
  return Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const client = await RawClient.open(t, port)
      client.send(get(`/stream/${n}`))
      await client.inbox.until(() => client.inbox.text.includes(`data: hello ${n}\n\n`) || undefined)
      return client
    }),
  )
}

void test('SS-04: 500 open streams cost less than 64 kB each, and others are served meanwhile', OPTIONS, async (t) => {
  const streams = new Map<string, Accepted>()
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      const [, n] = /^GET \/stream\/(\d+) /.exec(head) ?? []
      if (n === undefined) return connection.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      streams.set(n, connection)
      connection.send(`HTTP/1.1 200 OK\r\n${TYPE}\r\n\r\ndata: hello ${n}\n\n`)
    },
  })
  const gateway = await startProcess(
    t,
    JSON.stringify({
      listen: { host: '127.0.0.1' },
      log: { access: false },
      pools: { web: { backends: [server.url], connections: { max: STREAMS + 50 } } },
    }),
    { plain: true },
  )
  const port = Number(new URL(gateway.url).port)
  const pid = gateway.process.child.pid ?? 0
  const ordinary = async (): Promise<void> =>
    inTurn(Array.from({ length: 50 }), async () => t.equal((await ask(t, port, get())).body.toString(), 'ok'))
  // Code is compiled and the heap has its working size before the count begins. Only a few streams: what many of them
  // once took would stay with the process, and cover up what they take.
  await inTurn(Array.from({ length: 20 }), async () => {
    for (const client of await openStreams(t, port, 10)) client.socket.destroy()
    await ordinary()
  })
  const before = memoryOf(pid)
  const clients = await openStreams(t, port, STREAMS)
  await inTurn(EVENTS, async (event, round) => {
    for (const [n, connection] of streams) connection.send(`${event}data: ${n} ${round}\n\n`)
    await Promise.all(
      clients.map(async ({ inbox }, n) =>
        inbox.until(() => inbox.text.includes(`data: ${n} ${round}\n\n`) || undefined),
      ),
    )
    await ordinary()
  })
  const each = Math.round((memoryOf(pid) - before) / STREAMS)
  t.ok(each < 64 * KIB, `${each} bytes each`)
  const mixedUp = clients.filter(({ inbox }, n) =>
    [...inbox.text.matchAll(/data: (?:hello )?(\d+)(?: \d)?\n/g)].some(([, of]) => of !== String(n)),
  )
  t.same(mixedUp, [], 'nobody got the events of another')
})
