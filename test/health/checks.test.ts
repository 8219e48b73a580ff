/**
 * What a check is on the wire: what it asks, what it takes for well, on which connection - and that it is no traffic.
 */
import { createServer, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import type { Socket } from 'node:net'

import { test } from 'tap'

import type { ActiveConfig } from '../../src/config/schema.ts'
import type { Config, PoolConfig } from '../../src/index.ts'
import { blackHole } from '../helpers/black-hole.ts'
import { backend, closedPort, rawValues, totals, type Backend, type Recorded } from '../helpers/gateway.ts'
import { named, watched } from '../helpers/moody-backend.ts'
import { ask, get, guarded, inTurn, ok, portOf, RawClient, rawBackend } from '../helpers/raw.ts'
import { CA, CLIENT, OTHER, tlsFront } from '../helpers/secure.ts'

const ACTIVE = { interval: 20, timeout: 10_000 } as const

function checkedBy(path: string): Pick<PoolConfig, 'health'> {
  return { health: { active: { ...ACTIVE, path } } }
}

/** The checks among a backend's requests, at least `count` of them, as soon as there are so many. */
async function checksOf(checked: Backend, count: number, path = '/health'): Promise<Recorded[]> {
  for (let n = 0; ; n++) {
    const found = checked.requests.filter(({ url }) => url === path)
    if (found.length >= count) return found
    // oxlint-disable-next-line no-await-in-loop -- until there are enough
    await checked.request(n)
  }
}

void test('HC-04: checks go on while requests have all connections; they are counted and logged nowhere', async (t) => {
  const sockets = { checks: new Set<Socket>(), traffic: new Set<Socket>() }
  const busy = await backend(t, (request, response) => {
    request.resume()
    sockets[request.url === '/health' ? 'checks' : 'traffic'].add(request.socket)
    if (request.url === '/health') response.end('well')
    else if (request.url === '/once') response.end('once')
  })
  const gateway = await watched(t, { busy }, { connections: { max: 1 }, health: { active: ACTIVE } })
  await ask(t, gateway.port, get('/once'))
  const held = await RawClient.open(t, gateway.port)
  held.send(get('/held'))
  const before = (await checksOf(busy, 1)).length
  await checksOf(busy, before + 10)
  t.same(totals(gateway), { inFlight: 1, requests: 2, failures: 0 })
  t.match((await gateway.status()).get('busy'), { requests: 2, health: { passive: { outcomes: 1 } } })
  t.equal(gateway.lines.length, 1, 'of the one request that has ended')
  t.same(gateway.seen.story(undefined, 'health'), [])
  t.equal(sockets.traffic.size, 1)
  t.equal(sockets.checks.size, 1, 'a connection that is kept')
  t.notOk(
    [...sockets.checks].some((socket) => sockets.traffic.has(socket)),
    'and is no other',
  )
})

void test('HC-08: of a thousand backends, never more than ten are checked at once', async (t) => {
  let now = 0
  let most = 0
  const order: Socket[] = []
  let enough: () => void
  const all = new Promise<void>((resolve) => void (enough = resolve))
  const server = createServer((request: IncomingMessage, response) => {
    most = Math.max(most, ++now)
    if (order.push(request.socket) === 1500) enough()
    // So long that all of them together take longer than the interval: who is not held back would be seen.
    setTimeout(() => {
      now--
      response.end()
    }, 10)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close().closeAllConnections())
  const url = `http://127.0.0.1:${portOf(server)}`
  const peers = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`peer-${n}`, { url }]))
  const gateway = await watched(t, peers, { health: { active: { interval: 900, timeout: 10_000 } } })
  await guarded(all, () => `${order.length} checks`)
  t.equal(most, 10)
  t.ok(new Set(order.slice(0, 800)).size === 800, 'nobody has a second check while others wait for their first')
  t.same(gateway.seen.story(undefined, 'health'), [])
})

void test('HC-08: first checks are spread over the interval', async (t) => {
  const firsts = new Map<Socket, number>()
  const spread = await backend(t, (request, response) => {
    if (!firsts.has(request.socket)) firsts.set(request.socket, performance.now())
    request.resume()
    response.end()
  })
  const [count, interval] = [50, 500]
  const peers = Object.fromEntries(Array.from({ length: count }, (_, n) => [`peer-${n}`, spread]))
  let ready = 0
  const health = { active: { interval, timeout: 10_000 } }
  await watched(t, peers, { health }, {}, () => void (ready = performance.now()))
  for (let n = 0; firsts.size < count; n++) {
    // oxlint-disable-next-line no-await-in-loop -- until all have come; each has a connection of its own
    await spread.request(n)
  }
  // No timer is early by more than a millisecond: who comes sooner was meant to.
  const early = [...firsts.values()].filter((at, index) => at - ready < (index / count) * interval - 2)
  t.same(early, [])
})

void test('the request of a check is what the configuration says', async (t) => {
  const plain = await backend(t)
  const special = await backend(t)
  const active: ActiveConfig = {
    ...ACTIVE,
    path: '/alive?deep=1',
    method: 'HEAD',
    host: 'internal.example',
    headers: { 'X-Probe': 'yes', Authorization: 'Bearer abc' },
  }
  const pools = { special: { backends: [special.url], health: { active } } }
  const routes = [{ path: '/*', pool: 'web' }]
  const { seen } = await watched(t, { plain }, { health: { active: ACTIVE } }, { pools, routes })
  const [bare] = await checksOf(plain, 2)
  t.match(bare, { method: 'GET', url: '/health' })
  t.same(rawValues(bare?.rawHeaders ?? [], 'host'), [`127.0.0.1:${plain.port}`])
  const [full] = await checksOf(special, 2, '/alive?deep=1')
  t.match(full, { method: 'HEAD' })
  t.same(rawValues(full?.rawHeaders ?? [], 'host'), ['internal.example'])
  t.match(full?.headers, { 'x-probe': 'yes', authorization: 'Bearer abc' })
  t.same(seen.story(undefined, 'health'), [])
})

const FINE = true
const BAD = false
/** `expect`, the text that has to be there, what is answered, and whether that is well. */
const JUDGED: ReadonlyArray<readonly [ActiveConfig['expect'], string | undefined, number, string, boolean]> = [
  [undefined, undefined, 200, '', FINE],
  [undefined, undefined, 204, '', FINE],
  [undefined, undefined, 301, '', FINE],
  [undefined, undefined, 399, '', FINE],
  [undefined, undefined, 400, '', BAD],
  [undefined, undefined, 503, '', BAD],
  [204, undefined, 204, '', FINE],
  [204, undefined, 200, '', BAD],
  ['401', undefined, 401, '', FINE],
  ['200-204', undefined, 205, '', BAD],
  [[200, '300-302'], undefined, 302, '', FINE],
  [[200, '300-302'], undefined, 303, '', BAD],
  [[200, '300-302'], undefined, 201, '', BAD],
  [undefined, '"up"', 200, '{"status":"up"}', FINE],
  [undefined, '"up"', 200, '{"status":"down"}', BAD],
  [undefined, '"up"', 200, '', BAD],
  [undefined, '"up"', 500, '"up"', BAD],
  [undefined, 'end', 200, `${'x'.repeat(30_000)}end`, FINE],
]

void test('which answers are well: their status, and their content where it is looked at', async (t) => {
  const judged = await backend(t, (request, response) => {
    const [, , status, content] = JUDGED[Number(request.url?.slice(1))] ?? [undefined, undefined, 404, '']
    request.resume()
    response.writeHead(status).end(content)
  })
  const pools: Record<string, PoolConfig> = {}
  for (const [n, [expect, body]] of JUDGED.entries()) {
    const wanted = { ...(expect === undefined ? {} : { expect }), ...(body === undefined ? {} : { body }) }
    pools[`pool-${n}`] = { backends: [judged.url], health: { active: { ...ACTIVE, path: `/${n}`, ...wanted } } }
  }
  const routes: Config['routes'] = [{ path: '/*', pool: 'web' }]
  const { seen } = await watched(t, { judged }, {}, { pools, routes })
  // With its second check the first one is judged.
  await inTurn(JUDGED.keys(), async (n) => checksOf(judged, 2, `/${n}`))
  for (const [n, [expect, body, status, , fine]] of JUDGED.entries()) {
    const flips = seen.events.filter(({ pool, to }) => pool === `pool-${n}` && to === 'unhealthy')
    t.equal(flips.length, fine ? 0 : 1, `${status} when expecting ${String(expect)} and ${String(body)}`)
    const missing = status === 200 && body !== undefined ? ' without the expected content' : ''
    if (!fine) t.equal(flips[0]?.cause, `the first check failed: answered ${status}${missing}`)
  }
})

void test('a backend that says that it is degraded gets half of its share until it no longer says so', async (t) => {
  let degraded = true
  const honest = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(200, degraded ? { 'X-Health-Status': 'Degraded' } : {}).end()
  })
  const gateway = await watched(t, { honest, other: await backend(t) }, { health: { active: ACTIVE } })
  const { cause } = await gateway.seen.next({ backend: 'honest', from: 'healthy', to: 'degraded' })
  t.equal(cause, 'its check says that it is degraded')
  t.match((await gateway.status()).get('honest'), { state: 'degraded', effectiveWeight: 0.5 })
  await checksOf(honest, 8)
  t.equal(gateway.seen.story('honest', 'health').length, 1, 'once, not with each check')
  degraded = false
  await gateway.seen.next({ backend: 'honest', from: 'degraded', to: 'healthy' })
  t.match((await gateway.status()).get('honest'), { state: 'healthy', effectiveWeight: 1 })
})

void test('a connection that the backend closes between checks is no failed check', async (t) => {
  const closing = await rawBackend(t, {
    onRequest: (connection) => {
      connection.send(ok())
      connection.socket.end()
    },
  })
  const saying = await rawBackend(t, {
    onRequest: (connection) => connection.send(ok('ok', ['Connection: close'])),
  })
  const { seen } = await watched(t, { closing, saying }, { health: { active: ACTIVE } })
  await Promise.all([closing.connection(8), saying.connection(8)])
  t.same(seen.story(undefined, 'health'), [])
})

void test('what is no HTTP is no good answer', async (t) => {
  const talking = await rawBackend(t, { onRequest: (connection) => connection.send('220 mail.example ready\r\n\r\n') })
  const { seen } = await watched(t, { talking }, { health: { active: ACTIVE } })
  await seen.next({ backend: 'talking', to: 'unhealthy' })
  t.match(seen.story('talking', 'health')[0], /the first check failed: ./)
})

void test('checks over TLS trust whom the pool trusts, and show what the pool shows', async (t) => {
  const behind = await backend(t)
  const plain = await tlsFront(t, behind.port)
  const asking = await tlsFront(t, behind.port, { requestCert: true, rejectUnauthorized: true, ca: CA })
  const unknown = await tlsFront(t, behind.port, OTHER)
  const pools: Config['pools'] = {
    trusted: { backends: [{ id: 'trusted', url: plain.url }], tls: { ca: CA }, ...checkedBy('/trusted') },
    shown: { backends: [{ id: 'shown', url: asking.url }], tls: { ca: CA, ...CLIENT }, ...checkedBy('/shown') },
    nameless: { backends: [{ id: 'nameless', url: asking.url }], tls: { ca: CA }, ...checkedBy('/nameless') },
    distrusted: { backends: [{ id: 'distrusted', url: unknown.url }], tls: { ca: CA }, ...checkedBy('/distrusted') },
    misnamed: {
      backends: [{ id: 'misnamed', url: plain.url }],
      tls: { ca: CA, serverName: 'other.test' },
      ...checkedBy('/misnamed'),
    },
    careless: {
      backends: [{ id: 'careless', url: unknown.url }],
      tls: { rejectUnauthorized: false },
      ...checkedBy('/careless'),
    },
  }
  const routes: Config['routes'] = [{ path: '/*', pool: 'web' }]
  const { seen } = await watched(t, { behind }, {}, { pools, routes })
  await inTurn(['/trusted', '/shown', '/careless'], async (path) => checksOf(behind, 3, path))
  await seen.each(['nameless', 'distrusted', 'misnamed'], 'unhealthy')
  const down = (pool: string): string[] => seen.story(pool, 'health')
  t.same([down('trusted'), down('shown'), down('careless')], [[], [], []])
  t.match(down('distrusted')[0], /the first check failed: .*(?:certificate|self-signed)/i)
  t.match(down('misnamed')[0], /the first check failed: .*other\.test/)
  t.notOk(behind.requests.some(({ url }) => url === '/distrusted' || url === '/misnamed'))
})

void test('tcp checks connect, say nothing and leave', async (t) => {
  const open = await rawBackend(t, {})
  const closed = { url: `http://127.0.0.1:${await closedPort()}` }
  const { seen } = await watched(t, { open, closed }, { health: { active: { ...ACTIVE, type: 'tcp' } } })
  const { cause } = await seen.next({ backend: 'closed', to: 'unhealthy' })
  t.match(cause, /^the first check failed: .*ECONNREFUSED/)
  const connection = await open.connection(4)
  await connection.inbox.end()
  t.ok(open.accepted.slice(0, 5).every(({ inbox }) => inbox.length === 0))
  t.same(seen.story('open', 'health'), [])
})

void test('HC-02: tcp checks where connecting takes for ever fail at their timeout', async (t) => {
  const hole = { url: `http://127.0.0.1:${await blackHole(t)}` }
  const active = { type: 'tcp', interval: '1h', timeout: 50 } as const
  const { seen } = await watched(t, { hole }, { health: { active } })
  const { cause } = await seen.next({ to: 'unhealthy' })
  t.equal(cause, 'the first check failed: no answer within 50 ms')
})

void test('backends of one pool that are checked by different ones of their paths do not get mixed up', async (t) => {
  const good = await backend(t, named('good'))
  const bad = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(500).end()
  })
  const gateway = await watched(t, { good, bad }, { health: { active: ACTIVE } })
  await gateway.seen.next({ backend: 'bad', to: 'unhealthy' })
  await checksOf(good, 5)
  await inTurn(Array.from({ length: 10 }), async () => {
    t.equal((await ask(t, gateway.port, get())).body.toString(), 'good')
  })
  t.same(gateway.seen.story('good', 'health'), [])
})
