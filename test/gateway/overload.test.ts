/**
 * What clients, operators and logs see of a gateway that has too much to do. Where a limit is so low that it is always
 * passed, everything is as it would be in need.
 */
import { connect as connectHttp2 } from 'node:http2'

import { test, type Test } from 'tap'

import type { Config } from '../../src/index.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { replaced } from '../helpers/changing.ts'
import { backend, type Backend } from '../helpers/gateway.ts'
import { ended, scrape } from '../helpers/metrics.ts'
import { Chronicle } from '../helpers/moody-backend.ts'
import { ask, get, inTurn, RawClient, valuesOf, type Answer } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

/** The process of the test holds more than these 4 MiB. */
const FULL = { heap: 0.001 }

interface Overloaded extends AdminGateway {
  readonly server: Backend
  readonly seen: Chronicle
  readonly config: Config
}

/** Refuses everything, from when it is there. */
async function overloaded(t: Test, more: Partial<Config> = {}): Promise<Overloaded> {
  const server = await backend(t)
  const config: Config = { pools: { web: { backends: [server.url] } }, overload: FULL, ...more }
  const gateway = await startWithAdmin(t, { config })
  const seen = new Chronicle(gateway.app)
  if (gateway.app.overload.state === 'normal') await seen.next({ what: 'overload', to: 'overloaded' })
  return { ...gateway, server, seen, config }
}

function isOverloaded(t: Test, answer: Answer, name: string, retryAfter = '1'): void {
  t.equal(answer.status, 503, name)
  t.same(valuesOf(answer, 'retry-after'), [retryAfter], name)
  const [requestId = ''] = valuesOf(answer, 'x-request-id')
  t.match(requestId, /./, `${name}: a request id`)
  t.match(JSON.parse(answer.body.toString()), { statusCode: 503, code: 'SLUICE_OVERLOADED', requestId }, name)
}

void test('OV-02: clients are refused with 503 and Retry-After, before anything is done for them', async (t) => {
  const gateway = await overloaded(t, { overload: { heap: 0.001, retryAfter: '1500ms' } })
  const { port, server } = gateway
  const client = await RawClient.open(t, port)
  await inTurn(['GET', 'DELETE', 'HEAD'], async (method) => {
    client.send(get().replace('GET', method))
    const answer = await client.answer(method)
    if (method === 'HEAD') t.equal(answer.status, 503)
    else isOverloaded(t, answer, method, '2')
    t.same(valuesOf(answer, 'connection'), ['keep-alive'], 'the connection stays')
  })
  t.equal(server.connections(), 0)
  t.equal(gateway.app.overload.refused.heap, 3)
})

void test('OV-02: WebSockets are refused, too, and their connection is closed', async (t) => {
  const { port, server } = await overloaded(t)
  const client = await RawClient.open(t, port)
  client.send(
    get('/chat', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: a']),
  )
  isOverloaded(t, await client.answer(), 'an upgrade')
  t.equal(await client.end(), 'end')
  t.equal(server.connections(), 0)
})

void test('OV-02: requests over HTTP/2 are refused alike', async (t) => {
  const { port } = await overloaded(t, { listen: { tls: SERVER } })
  const client = connectHttp2(`https://127.0.0.1:${port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/', ':method': 'POST' })
  stream.write('the beginning of a body')
  const [headers] = await new Promise<[Record<string, unknown>]>((resolve) => {
    stream.once('response', (fields) => resolve([fields]))
  })
  let body = ''
  stream.setEncoding('utf8').on('data', (piece: string) => (body += piece))
  await new Promise((resolve) => void stream.once('close', resolve))
  t.match(headers, { ':status': 503, 'retry-after': '1' })
  t.match(JSON.parse(body), { code: 'SLUICE_OVERLOADED' })
})

void test('OV-02: a client that goes on sending its body can read why it is refused', async (t) => {
  const { port } = await overloaded(t)
  const client = await RawClient.open(t, port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n')
  const piece = Buffer.alloc(1_000_000, 'x')
  for (let i = 0; i < 20; i++) client.socket.write(piece)
  const answer = await client.answer()
  isOverloaded(t, answer, 'with a body')
  t.same(valuesOf(answer, 'connection'), ['close'])
  t.equal(await client.end(), 'end', 'no reset, which could overtake the answer')
})

void test('OV-05: the admin listener answers as ever, and says what is the matter', async (t) => {
  const gateway = await overloaded(t)
  await ask(t, gateway.port, get())
  await ask(t, gateway.port, get())
  const admin = `http://127.0.0.1:${gateway.adminPort}`
  for (const path of ['/healthz', '/readyz', '/explain?path=/', '/config', '/events']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.equal((await fetch(admin + path)).status, 200, path)
  }
  const status: unknown = await (await fetch(`${admin}/status`)).json()
  t.match(status, {
    overload: { state: 'overloaded', limit: 'heap', share: 0, refused: { heap: 2, rss: 0, eventLoopDelay: 0 } },
  })
  const found = await ended(gateway, 2)
  t.equal(found.sum('sluice_overloaded'), 1)
  t.same(found.counts('sluice_requests_shed_total', 'limit'), { heap: 2 })
  t.equal(found.values('sluice_requests_shed_total').length, 4, 'the others are there, too')
  t.same(found.counts('sluice_requests_total', 'status', { route: '/*', pool: 'web' }), { '5xx': 2 })
  t.equal(found.sum('sluice_attempts_total'), 0)
})

void test('it begins and ends with one event each, and a flood of refused requests is a few lines', async (t) => {
  const gateway = await overloaded(t)
  let others = 0
  Object.assign(gateway.app.accessLog, { write: () => others++ })
  const client = await RawClient.open(t, gateway.port)
  await inTurn(Array.from({ length: 300 }), async () => {
    client.send(get())
    t.equal((await client.answer()).status, 503)
  })
  const refused = gateway.warnings.filter(({ message }) => message.startsWith('request refused'))
  t.ok(refused.length > 0 && refused.length < 100, `${refused.length} lines`)
  t.equal(others, 0, 'nor are they lines of another kind')
  t.match(refused[0], { client: '127.0.0.1', method: 'GET', path: '/', requestId: /./ })
  await replaced(gateway, { ...gateway.config, overload: { eventLoopDelay: 0 } })
  const { cause } = await gateway.seen.next({ what: 'overload', to: 'normal' })
  t.match(cause, /^everything is within its limits; it took [\d.]+ s and 300 refused requests$/)
  t.same(
    gateway.app.events.latest.filter(({ what }) => what === 'overload').map(({ from, to }) => `${from} > ${to}`),
    ['normal > overloaded', 'overloaded > normal'],
  )
  const begin = gateway.app.events.latest.find(({ what }) => what === 'overload')
  t.match(begin?.cause, /^the heap takes [\d.]+ % of what it may, more than 0\.1 %$/)
  t.match(
    gateway.warnings.map(({ message }) => message),
    [/^the gateway is overloaded: the heap takes/],
  )
})

void test('the line of those refused names the client behind a proxy, and no secret of the target', async (t) => {
  const gateway = await overloaded(t, { listen: { trustedProxies: ['127.0.0.1'] } })
  await ask(t, gateway.port, get('http://me:secret@a/b?token=secret', ['Forwarded: for=192.0.2.7']))
  const line = gateway.warnings.find(({ message }) => message.startsWith('request refused'))
  t.match(line, { client: '192.0.2.7', path: 'http://a/b' })
  t.notMatch(JSON.stringify(gateway.warnings), /secret/)
})

void test('limits change with the configuration, and `false` ends it', async (t) => {
  const gateway = await overloaded(t)
  await replaced(gateway, { ...gateway.config, overload: false })
  const { cause } = await gateway.seen.next({ what: 'overload', to: 'normal' })
  t.match(cause, /^it is switched off/)
  t.equal((await ask(t, gateway.port, get())).status, 200)
  await replaced(gateway, gateway.config)
  await gateway.seen.next({ what: 'overload', to: 'overloaded' })
  isOverloaded(t, await ask(t, gateway.port, get()), 'again')
  t.equal((await scrape(gateway)).sum('sluice_overloaded'), 1)
})

void test("users' plugins may bring the package themselves", async (t) => {
  const gateway = await overloaded(t, { plugins: ['@fastify/under-pressure'] })
  t.ok(gateway.app.hasDecorator('memoryUsage'), 'theirs')
  isOverloaded(t, await ask(t, gateway.port, get()), 'ours')
})

void test('OV-07: with 300 idle connections the service goes on', async (t) => {
  const server = await backend(t)
  const gateway = await startWithAdmin(t, { config: { pools: { web: { backends: [server.url] } } } })
  const idle = await Promise.all(Array.from({ length: 300 }, () => RawClient.open(t, gateway.port)))
  await inTurn(Array.from({ length: 50 }), async () => {
    t.equal((await ask(t, gateway.port, get())).status, 200)
  })
  t.same(
    idle.filter(({ inbox }) => inbox.closed),
    [],
  )
  idle[299]?.send(get())
  t.equal((await idle[299]?.answer())?.status, 200, 'each of them can still be used')
})
