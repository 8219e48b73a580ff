/**
 * Fields that HTTP/2 libraries are strict about, but HTTP is not: they pass as they came, and never end the process.
 */
import { once } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect as connectTls } from 'node:tls'

import { test, type Test } from 'tap'

import { gatewayTo, startGateway, totals, type Gateway } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, RawClient, rawBackend } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

async function over2(t: Test, bytes: string): Promise<{ gateway: Gateway; client: ClientHttp2Session }> {
  const server = await answering(t, bytes)
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const client = connectHttp2(`https://127.0.0.1:${gateway.port}`, { ca: CA })
  t.teardown(() => client.destroy())
  return { gateway, client }
}

const TWICE = 'ETag: "a"\r\nETag: "b"\r\nX-Content-Type-Options: nosniff\r\nX-Content-Type-Options: nosniff\r\n'
const IN_PAIRS = [
  'etag',
  '"a"',
  'etag',
  '"b"',
  'x-content-type-options',
  'nosniff',
  'x-content-type-options',
  'nosniff',
]

function rawOf(flags: unknown): string[] {
  return Array.isArray(flags)
    ? flags.map(String).filter((_, index) => !String(flags[index - (index % 2)]).startsWith(':'))
    : []
}

void test('a field that a backend sends twice is sent twice: in an answer, before it and behind it', async (t) => {
  const { client } = await over2(
    t,
    `HTTP/1.1 103 Early Hints\r\n${TWICE}\r\nHTTP/1.1 200 OK\r\n${TWICE}__proto__: 1\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `2\r\nok\r\n0\r\n${TWICE}\r\n`,
  )
  const stream = client.request({ ':path': '/', te: 'trailers' })
  stream.resume()
  const seen: Record<string, string[]> = {}
  for (const name of ['headers', 'response', 'trailers'])
    stream.on(name, (_fields: unknown, _flags: unknown, raw: unknown) => (seen[name] = rawOf(raw)))
  await once(stream, 'close')
  t.same(seen['headers'], IN_PAIRS)
  t.same(seen['response']?.slice(0, 10), [...IN_PAIRS, '__proto__', '1'])
  t.same(seen['trailers'], IN_PAIRS)
})

void test('rules for fields hold for interim answers, too', async (t) => {
  const server = await answering(
    t,
    `HTTP/1.1 103 Early Hints\r\nServer: secret\r\nX-Request-Id: evil\r\nLink: </a>\r\n\r\n${ok().toString()}`,
  )
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/*', pool: 'web', responseHeaders: { remove: ['server'] } }],
  })
  const client = await RawClient.open(t, port)
  client.send(get())
  t.equal((await client.answer()).status, 200)
  t.same(client.interim, ['HTTP/1.1 103 Early Hints\r\nLink: </a>'])
})

void test('an HTTP/1.0 client over TLS whose backend breaks off sees a reset, not an end', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      connection.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
      connection.socket.write('', () => connection.reset())
    },
  })
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', ca: CA })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  socket.resume()
  const error: unknown = await new Promise((resolve) => {
    socket.once('error', resolve)
    socket.once('end', () => resolve('an end'))
  })
  t.match(error, { code: 'ECONNRESET' })
  t.match(totals(gateway), { inFlight: 0 })
})

void test('what hooks set from what clients sent cannot split an answer, be it a 101 or an error', async (t) => {
  const switching = await rawBackend(t, {
    onRequest: (connection) =>
      connection.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'),
  })
  const gateway = await startGateway(t, { pools: { web: { backends: [switching.url] } } }, (app) => {
    app.addHook('onRequest', async (request, reply) => {
      reply.header('x-lang', decodeURIComponent(request.url.split('lang=')[1] ?? 'en'))
    })
  })
  const evil = '/?lang=de%0d%0aSet-Cookie:%20evil=1'
  const answer = await ask(t, gateway.port, get(evil, ['Connection: Upgrade', 'Upgrade: echo']))
  t.equal(answer.status, 500)
  t.notMatch(answer.head, /evil/)
  await inTurn(
    [`GET ${evil} HTTP/1.1\r\nHost: a\r\n\r\n`, `GET ${evil} HTTP/1.1\r\nHost: a b\r\n\r\n`],
    async (bytes) => {
      const refused = await ask(t, gateway.port, bytes)
      t.ok([400, 500, 502].includes(refused.status), String(refused.status))
      t.notMatch(refused.head, /evil/)
    },
  )
  const good = await ask(t, gateway.port, get('/?lang=de', ['Connection: Upgrade', 'Upgrade: echo']))
  t.equal(good.status, 101)
  t.match(good.head, /x-lang: de/)
  t.match(totals(gateway), { inFlight: 1 })
})
