/**
 * Which series there are: as many as the configuration makes, whatever clients send; and what reloads make of them.
 */
import { METHODS } from 'node:http'

import { test, type Test } from 'tap'
import { Pool, type Dispatcher } from 'undici'

import { buildGateway, type Config } from '../../src/index.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { backend, closedPort } from '../helpers/gateway.ts'
import { replaced } from '../helpers/changing.ts'
import { ended, scrape, scraped, stateIn } from '../helpers/metrics.ts'
import { ask, get, inTurn, portOf, RawClient, rawBackend } from '../helpers/raw.ts'
import { CA, SERVER, tlsTail } from '../helpers/secure.ts'

/** Node's own come and go by themselves. */
function ours(keys: readonly string[]): string[] {
  return keys.filter((key) => key.startsWith('sluice_'))
}

async function manyRequests(t: Test, port: number, count: number): Promise<Record<string, number>> {
  const client = new Pool(`http://127.0.0.1:${port}`, { connections: 32 })
  t.teardown(async () => client.destroy())
  const seen: Record<string, number> = {}
  // CONNECT is no request to a gateway; the answer to HEAD has no end of its own in some clients.
  const methods = METHODS.filter((method) => method !== 'CONNECT')
  const one = async (n: number): Promise<void> => {
    const { statusCode, body } = await client.request({
      path: `/${200 + (n % 400)}/${n}?client=${n}`,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types know fewer than Node's parser
      method: methods[n % methods.length] as Dispatcher.HttpMethod,
      headers: { host: `host-${n}.example`, 'user-agent': `agent-${n}`, 'x-forwarded-for': `10.0.0.${n}` },
    })
    await body.dump()
    const status = `${String(statusCode)[0]}xx`
    seen[status] = (seen[status] ?? 0) + 1
  }
  let next = 0
  const worker = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- 32 at a time
    while (next < count) await one(next++)
  }
  await Promise.all(Array.from({ length: 32 }, worker))
  return seen
}

void test('MC-01: 10 000 paths, methods, hosts, statuses and clients make no series', async (t) => {
  const one = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(Number(request.url?.split('/')[1])).end()
  })
  const pools = {
    web: { backends: [one.url], retry: { attempts: 1 }, breaker: false as const, health: { passive: false as const } },
  }
  const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/*', pool: 'web' }] } })
  await inTurn([200, 300, 400, 500], (status) =>
    fetch(`http://127.0.0.1:${all.port}/${status}`, { redirect: 'manual' }),
  )
  const before = await ended(all, 4)
  const seen = await manyRequests(t, all.port, 10_000)
  const after = await ended(all, 10_004)
  t.same(ours(after.keys), ours(before.keys))
  t.same([...after.valuesOf('route')].toSorted(), ['/*', 'none'])
  const counted = after.counts('sluice_requests_total', 'status', { route: '/*' })
  const earlier = before.counts('sluice_requests_total', 'status', { route: '/*' })
  t.same(Object.fromEntries(Object.entries(counted).map(([status, n]) => [status, n - (earlier[status] ?? 0)])), seen)
  t.equal(after.sum('sluice_attempts_total'), 10_004)
})

void test('MC-01: nor do paths that no route takes', async (t) => {
  const one = await backend(t)
  const pools = { web: { backends: [one.url] } }
  const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/only', pool: 'web' }] } })
  const before = await scrape(all)
  const seen = await manyRequests(t, all.port, 1000)
  t.same(seen, { '4xx': 1000 })
  const after = await ended(all, 1000)
  t.same(ours(after.keys), ours(before.keys))
  t.equal(after.sum('sluice_requests_total', { route: 'none', pool: 'none', status: '4xx' }), 1000)
})

void test('MC-02: names with quotes, backslashes and bars are escaped, and stay apart', async (t) => {
  const one = await backend(t)
  const names = ['a"b', 'a\\b', 'a\\nb', 'a|b', 'ä 🙂']
  const routes = names.map((pool, index) => ({ path: `/"${index}|{}=,`, pool }))
  const pools = Object.fromEntries(
    names.map((name) => [
      name,
      {
        backends: [
          { id: `${name}|c`, url: one.url },
          { id: `c|${name}`, url: one.url },
        ],
      },
    ]),
  )
  // The same, should anything put names together with bars.
  Object.assign(pools, { a: { backends: [{ id: 'b|a|b|c', url: one.url }] } })
  const all = await startWithAdmin(t, { config: { pools, routes: [...routes, { path: '/*', pool: 'a' }] } })
  // As it is: a URL would have it otherwise.
  await inTurn(routes, ({ path }) => ask(t, all.port, get(path)))
  await fetch(`http://127.0.0.1:${all.port}/other`)
  const found = await ended(all, names.length + 1)
  for (const pool of [...names, 'a']) {
    t.equal(found.sum('sluice_attempts_total', { pool }), 1, pool)
    t.equal(found.sum('sluice_requests_total', { pool }), 1, pool)
  }
  for (const { path } of routes) t.ok(found.valuesOf('route').has(path), path)
  for (const name of names) t.equal(found.sum('sluice_backend_weight', { pool: name, backend: `${name}|c` }), 1, name)
})

void test('MC-02: a name that would be a line of its own is refused', async (t) => {
  const pools = { web: { backends: [{ id: 'a\nsluice_open_connections 9', url: 'http://127.0.0.1:9' }] } }
  await t.rejects(buildGateway({ pools }))
})

void test('MC-04: a reload keeps what stays, and takes away what goes', async (t) => {
  const [one, two] = [await backend(t), await backend(t)]
  const first = { id: 'one', url: one.url }
  const second = { id: 'two', url: two.url }
  const config = (backends: readonly object[], rest: object = {}): Config => {
    const pools = { web: { backends: [...backends], ...rest }, other: { backends: [second] } }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return {
      pools,
      routes: [
        { path: '/web', pool: 'web' },
        { path: '/other', pool: 'other' },
      ],
    } as Config
  }
  const all = await startWithAdmin(t, { config: config([first, second]) })
  const visit = async (path: string): Promise<unknown> => fetch(`http://127.0.0.1:${all.port}${path}`)
  await inTurn(['/web', '/web', '/other', '/none'], visit)
  const before = await ended(all, 4)
  t.equal(before.sum('sluice_attempts_total', { pool: 'web', backend: 'one' }), 1)

  await replaced(all, config([first], { retry: { attempts: 1 }, algorithm: 'random' }))
  const after = await scrape(all)
  t.equal(after.sum('sluice_attempts_total', { pool: 'web', backend: 'one' }), 1, 'who stays keeps its count')
  t.equal(after.sum('sluice_requests_total', { route: '/web' }), 2)
  t.equal(after.sum('sluice_request_duration_seconds_count', { route: '/web' }), 2)
  t.equal(after.sum('sluice_attempt_duration_seconds_count', { pool: 'web' }), 2)
  t.equal(after.sum('sluice_requests_total', { route: 'none' }), 1)
  t.notOk(
    after.keys.some((key) => key.includes('"web"') && key.includes('"two"')),
    'who goes is gone',
  )
  t.equal(after.sum('sluice_attempts_total', { pool: 'other', backend: 'two' }), 1, 'but not from where it stays')
  await inTurn(['/web', '/other'], visit)
  t.equal((await ended(all, 6)).sum('sluice_attempts_total', { pool: 'web', backend: 'one' }), 2, 'and counts go on')

  await replaced(all, { pools: { web: { backends: [first, second] } }, routes: [{ path: '/new/*', pool: 'web' }] })
  const last = await scrape(all)
  t.notOk(
    last.keys.some((key) => key.includes('"other"') || key.includes('"/web"')),
    'pools and routes, too',
  )
  t.equal(last.sum('sluice_requests_total', { route: '/new/*', pool: 'web' }), 0)
  t.equal(last.sum('sluice_attempts_total', { pool: 'web', backend: 'two' }), 0, 'who comes back begins anew')
  t.same(last.counts('sluice_config_reloads_total', 'result'), { success: 2 })
})

void test('MC-04: what is under way when its route goes brings no series back', async (t) => {
  const answer = Promise.withResolvers<void>()
  const one = await backend(t, (_request, response) => void answer.promise.then(() => response.end()))
  const pools = { web: { backends: [one.url] } }
  const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/old', pool: 'web' }] } })
  const over = fetch(`http://127.0.0.1:${all.port}/old`)
  await one.request(0)
  await replaced(all, { pools: { web: { backends: [one.url], panic: 0.1 } }, routes: [{ path: '/new', pool: 'web' }] })
  answer.resolve()
  t.equal((await over).status, 200)
  const found = await scraped(all, (each) => each.sum('sluice_attempts_total') === 1)
  t.notOk(found.valuesOf('route').has('/old'))
})

void test('reloads are counted by whether they took effect', async (t) => {
  const all = await startWithAdmin(t)
  const before = await scrape(all)
  t.equal(before.sum('sluice_config_last_reload_success'), 1)
  t.same(before.values('sluice_config_reloads_total'), [0, 0])
  const pools = { web: { backends: ['http://127.0.0.1:9'] } }
  await t.rejects(replaced(all, { pools, listen: { maxHeaderSize: 20_000 } }))
  const refused = await scrape(all)
  t.equal(refused.sum('sluice_config_last_reload_success'), 0)
  t.same(refused.counts('sluice_config_reloads_total', 'result'), { failure: 1 })
  await replaced(all, { pools })
  const good = await scrape(all)
  t.equal(good.sum('sluice_config_last_reload_success'), 1)
  t.same(good.counts('sluice_config_reloads_total', 'result'), { success: 1, failure: 1 })
})

void test('MC-05: gauges are back at 0 when everybody has left', async (t) => {
  const one = await backend(t, () => undefined)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(t, all.port)))
  for (const client of clients) client.send(get('/'))
  await one.request(4)
  const during = await scrape(all)
  t.equal(during.sum('sluice_open_connections'), 5)
  t.equal(during.sum('sluice_backend_in_flight', { pool: 'web' }), 5)
  for (const client of clients) client.socket.destroy()
  const after = await scraped(all, (found) => found.sum('sluice_open_connections') === 0)
  t.equal(after.sum('sluice_backend_in_flight'), 0)
  t.equal(after.sum('sluice_requests_total', { status: 'aborted' }), 5)
})

void test('MC-05: a tunnel over TLS is one connection', async (t) => {
  const one = await rawBackend(t, {
    onRequest: (connection) => connection.send('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
  })
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } }, listen: { tls: SERVER } } })
  const client = await RawClient.open(t, await tlsTail(t, all.port, { ca: CA }))
  client.send(get('/', ['Connection: Upgrade', 'Upgrade: x']))
  t.equal((await client.answer()).status, 101)
  t.equal((await scrape(all)).sum('sluice_open_connections'), 1)
  client.socket.destroy()
  await scraped(all, (found) => found.sum('sluice_open_connections') === 0)
})

void test('states and weights are those of the moment', async (t) => {
  const one = await backend(t)
  const web = {
    backends: [
      { id: 'one', url: one.url, weight: 4 },
      { id: 'two', url: one.url },
    ],
  }
  const all = await startWithAdmin(t, { config: { pools: { web } } })
  const before = await scrape(all)
  t.equal(stateIn(t, before, 'sluice_backend_state', { backend: 'one' }), 'healthy')
  t.equal(stateIn(t, before, 'sluice_breaker_state', { backend: 'one' }), 'closed')
  t.equal(before.values('sluice_backend_state', { backend: 'one' }).length, 6)
  t.equal(before.sum('sluice_backend_weight', { backend: 'one' }), 4)
  const answer = await fetch(`http://127.0.0.1:${all.adminPort}/pools/web/backends/one`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ state: 'draining' }),
  })
  t.equal(answer.status, 200)
  const after = await scrape(all)
  t.equal(stateIn(t, after, 'sluice_backend_state', { backend: 'one' }), 'draining')
  t.equal(after.sum('sluice_backend_weight', { backend: 'one' }), 0)
  t.equal(stateIn(t, after, 'sluice_backend_state', { backend: 'two' }), 'healthy')
})

void test('an open breaker and an ejected backend are seen', async (t) => {
  const one = await backend(t, (_request, response) => void response.writeHead(500).end())
  const web = { backends: [one.url], breaker: { minimum: 2, open: '60s' }, health: { passive: false as const } }
  const all = await startWithAdmin(t, { config: { pools: { web } } })
  await inTurn([1, 2], () => fetch(`http://127.0.0.1:${all.port}/`))
  t.equal(stateIn(t, await ended(all, 2), 'sluice_breaker_state', { pool: 'web' }), 'open')
})

void test('checks are counted by what they found, over reloads, and have an age', async (t) => {
  const one = await backend(t, (_request, response) => void response.writeHead(204).end())
  const port = await closedPort()
  const backends = [
    { id: 'good', url: one.url },
    { id: 'bad', url: `http://127.0.0.1:${port}` },
  ]
  const web = (timeout: string): Config['pools'] => ({
    web: { backends, health: { active: { interval: '50ms', timeout } } },
    unchecked: { backends: [one.url] },
  })
  const routes = [{ path: '/*', pool: 'web' }]
  const all = await startWithAdmin(t, { config: { pools: web('40ms'), routes } })
  const before = await scraped(all, (found) => {
    const failed = found.sum('sluice_health_checks_total', { backend: 'bad', result: 'failed' }) ?? 0
    return failed > 1 && (found.sum('sluice_health_checks_total', { backend: 'good', result: 'passed' }) ?? 0) > 1
  })
  t.equal(before.sum('sluice_health_checks_total', { backend: 'good', result: 'failed' }), 0)
  t.equal(before.sum('sluice_health_checks_total', { backend: 'bad', result: 'passed' }), 0)
  t.ok((before.sum('sluice_health_check_age_seconds', { backend: 'good' }) ?? -1) >= 0)
  t.equal(before.sum('sluice_health_checks_total', { pool: 'unchecked' }), undefined)
  t.equal(before.sum('sluice_health_check_age_seconds', { pool: 'unchecked' }), undefined)
  await replaced(all, { pools: web('45ms'), routes })
  const after = await scrape(all)
  const passed = { backend: 'good', result: 'passed' }
  t.ok(
    (after.sum('sluice_health_checks_total', passed) ?? 0) >= (before.sum('sluice_health_checks_total', passed) ?? 0),
  )
})

void test('two gateways of one process count apart, with Node itself in both', async (t) => {
  const one = await backend(t)
  const config = { pools: { web: { backends: [one.url] } } }
  const [left, right] = [await startWithAdmin(t, { config }), await startWithAdmin(t, { config })]
  await fetch(`http://127.0.0.1:${left.port}/`)
  t.equal((await ended(left, 1)).sum('sluice_requests_total'), 1)
  const other = await scrape(right)
  t.equal(other.sum('sluice_requests_total'), 0)
  for (const name of ['process_cpu_seconds_total', 'nodejs_heap_size_used_bytes', 'nodejs_eventloop_lag_seconds'])
    t.ok(other.names.has(name), name)
})

void test('the call asks for the token, and says what it answers', async (t) => {
  const one = await backend(t)
  const config = { pools: { web: { backends: [one.url] } }, admin: { token: 'a-token-of-some-length' } }
  const app = await buildGateway({ log: { level: 'silent' }, ...config })
  t.teardown(() => app.close())
  if (app.admin === undefined) throw new Error('no admin listener')
  await app.ready()
  await app.admin.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${portOf(app.admin.server)}/metrics`
  t.equal((await fetch(url)).status, 401)
  const answer = await fetch(url, { headers: { authorization: 'Bearer a-token-of-some-length' } })
  t.equal(answer.status, 200)
  t.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
})
