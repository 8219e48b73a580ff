/**
 * GET /events?figures=1s: how everything stands and what happened since the last look, for dashboards.
 */
import { test, type Test } from 'tap'

import { Feeds, LONGEST_MS, SHORTEST_MS } from '../../src/metrics/feeds.ts'
import { Latencies, quantile } from '../../src/metrics/series.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { replaced } from '../helpers/changing.ts'
import { Listener } from '../helpers/event-stream.ts'
import { backend, closedPort } from '../helpers/gateway.ts'
import { guarded, inTurn } from '../helpers/raw.ts'

const QUICK = '/events?figures=250ms'

async function watch(t: Test, all: AdminGateway, path = QUICK): Promise<Listener> {
  return Listener.connect(t, all, {}, path)
}

async function visit({ port }: AdminGateway, path = '/'): Promise<void> {
  await (await fetch(`http://127.0.0.1:${port}${path}`)).arrayBuffer()
}

void test('quantiles are right to an eighth, from microseconds to minutes', (t) => {
  for (const scale of [0.3, 7, 150, 4000, 60_000]) {
    const latencies = new Latencies()
    for (let n = 1; n <= 1000; n++) latencies.observe((n / 500) * scale)
    for (const share of [0.01, 0.5, 0.9, 0.99, 1]) {
      const found = quantile(latencies.counts, latencies.count, share)
      const exact = share * 2 * scale
      t.ok(Math.abs(found - exact) <= exact / 8 + 1 / 32, `${share} of ${scale}: ${found}, not ${exact}`)
    }
  }
  const long = new Latencies()
  for (const ms of [0, 1e9, Infinity]) long.observe(ms)
  t.equal(long.count, 3)
  t.match(quantile(long.counts, 3, 1), 131_072, 'beyond two minutes they count as that')
  t.end()
})

void test('every request and attempt shows in one look, and in one only', async (t) => {
  const one = await backend(t, (request, response) => {
    response.writeHead(Number(request.url?.slice(1))).end()
  })
  const pools = {
    web: { backends: [one.url], retry: { attempts: 1 }, breaker: false as const },
    idle: { backends: ['http://127.0.0.1:9'] },
  }
  const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/*', pool: 'web' }] } })
  await visit(all, '/200')
  const listener = await watch(t, all)
  const statuses = [200, 200, 404, 500, 503, 301]
  await Promise.all(statuses.map((status) => fetch(`http://127.0.0.1:${all.port}/${status}`, { redirect: 'manual' })))
  const { gateway } = await listener.look((each) => Object.values(each.gateway.requests).reduce((a, b) => a + b) === 7)
  t.same(gateway.requests, { '2xx': 3, '3xx': 1, '4xx': 1, '5xx': 2, aborted: 0 })
  const sum = (read: (index: number) => number): number =>
    Math.round(listener.figures.reduce((total, _, index) => total + read(index), 0))
  const seconds = (index: number): number => (listener.figures[index]?.overMs ?? 0) / 1000
  const gained = (word: string): number =>
    sum((index) => (listener.figures[index]?.gateway.perSecond?.[word] ?? 0) * seconds(index))
  t.same([gained('2xx'), gained('3xx'), gained('4xx'), gained('5xx')], [2, 1, 1, 2], 'what was before is not counted')
  t.equal(
    sum((index) => (listener.figures[index]?.backends[0]?.[4] ?? 0) * seconds(index)),
    6,
    'attempts of the backend',
  )
  t.equal(
    sum((index) => (listener.figures[index]?.pools[0]?.[1] ?? 0) * seconds(index)),
    6,
    'and of its pool',
  )
  const busy = listener.figures.find(({ pools: rows }) => (rows[0]?.[1] ?? 0) > 0)
  const [, , failing, p50 = 0, p99 = 0] = busy?.pools[0] ?? []
  t.ok(Number(failing) > 0 && Number(failing) < 1, 'a share of failures')
  t.ok(Number(p50) > 0 && Number(p99) >= Number(p50), 'latencies')
  t.equal(busy?.backends[1]?.[4], 0, 'others have none')
  t.same(busy?.backends[1]?.slice(5, 8), [null, null, null])
  t.same(listener.told, [], 'and none of it is an event')
})

void test('what is there comes first and when it changes, reasons when they change', async (t) => {
  const one = await backend(t)
  const dead = `http://127.0.0.1:${await closedPort()}`
  const active = { interval: '1s', timeout: '1s' }
  const pools = {
    web: {
      backends: [
        { id: 'up', url: one.url },
        { id: 'down', url: dead },
      ],
      health: { active },
      breaker: false as const,
    },
  }
  const all = await startWithAdmin(t, { config: { pools } })
  await all.warned((warnings) => warnings.some(({ backend: id }) => id === 'down'))
  const listener = await watch(t, all)
  const { hash } = all.app.configuration.inForce
  const figures = await listener.look(({ backends }) => backends[0]?.[9] !== null)
  t.match(listener.layouts, [
    {
      hash,
      pools: [
        {
          name: 'web',
          algorithm: 'least-connections',
          checks: true,
          breaker: false,
          backends: [
            ['up', one.url],
            ['down', dead],
          ],
        },
      ],
    },
  ])
  const { states = [], breakers = [] } = listener.layouts[0] ?? {}
  const [up, down] = figures.backends
  t.same([states[up?.[0] ?? -1], up?.[2], breakers[up?.[8] ?? -1], up?.[11]], ['healthy', 1, 'closed', 0])
  t.same([states[down?.[0] ?? -1], down?.[1], down?.[2]], ['unhealthy', 1, 0])
  t.ok(Number(down?.[11]) > 0 && Number(down?.[10]) >= 0)
  t.match(listener.reasons, [[[1, /ECONNREFUSED/, /ECONNREFUSED/, '']]])
  await listener.until(() => listener.figures.length > 2, 'more figures')
  t.equal(listener.layouts.length, 1)
  t.equal(listener.reasons.length, 1)

  await replaced(all, { pools: { ...pools, more: { backends: [one.url] } }, routes: [{ path: '/*', pool: 'web' }] })
  await listener.until(() => listener.layouts.length > 1, 'another layout')
  t.match(listener.layouts[1], {
    hash: 'test',
    pools: [{ name: 'web' }, { name: 'more', checks: false, breaker: true }],
  })
  t.same(listener.reasons[1], listener.reasons[0], 'places may mean others by now, so all are told')
  await listener.look(({ backends }) => backends.length === 3)
  t.match(listener.told, [{ what: 'health', to: 'unhealthy' }, { what: 'reload' }])
})

void test('one computation for all in the same rhythm, and none for nobody', async (t) => {
  const all = await startWithAdmin(t)
  let looks = 0
  const { standings } = all.app.snapshot.pools.get('web') ?? {}
  if (standings === undefined) throw new Error('there is no pool')
  const stateOf = standings.stateOf.bind(standings)
  Object.assign(standings, {
    stateOf: (member: Parameters<typeof stateOf>[0]) => {
      looks++
      return stateOf(member)
    },
  })
  const plain = await Listener.connect(t, all)
  const [first, second] = [await watch(t, all), await watch(t, all)]
  await Promise.all([first, second].map((each) => each.until(() => each.figures.length >= 4, 'four looks')))
  // Each asks twice: for the word, and for the weight.
  t.ok(looks / 2 < first.figures.length + second.figures.length - 1, `${looks / 2} looks for two who look`)
  t.same(
    first.figures[3],
    second.figures.find(({ at }) => at === first.figures[3]?.at),
    'and the very same',
  )
  t.equal(plain.figures.length, 0)
  for (const each of [first, second]) each.response.destroy()
  await guarded(startsAnew(t, all), () => 'a first look')
})

/** When nobody looks any more, the next one to look finds nothing to compare with. */
async function startsAnew(t: Test, all: AdminGateway): Promise<void> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- until it is so
    const listener = await watch(t, all)
    // oxlint-disable-next-line no-await-in-loop
    const { overMs } = await listener.look(() => true)
    if (overMs === null) return
    listener.response.destroy()
  }
}

void test('who looks in rhythms of their own shares those there are: there are never many', async (t) => {
  const { app } = await startWithAdmin(t)
  const feeds = new Feeds(app.figures, {
    pools: () => app.snapshot.pools,
    hash: () => '',
    openConnections: () => 0,
    version: '',
    startedAt: new Date(),
  })
  const stops = Array.from({ length: LONGEST_MS - SHORTEST_MS + 1 }, (_, more) =>
    feeds.listen(SHORTEST_MS + more, () => undefined),
  )
  t.equal(feeds.size, 8)
  for (const stop of stops) stop()
  t.equal(feeds.size, 0)
})

void test('only rhythms that make sense', async (t) => {
  const all = await startWithAdmin(t)
  await inTurn(['', '1', '0s', '249ms', '61s', '1h', 'abc', '-1s', '1s&figures=2s'], async (figures) => {
    const answer = await fetch(`http://127.0.0.1:${all.adminPort}/events?figures=${figures}`)
    t.equal(answer.status, 400, figures)
    t.match(await answer.json(), { code: 'SLUICE_BAD_REQUEST', message: /250ms to 1m/ })
  })
  const once = await fetch(`http://127.0.0.1:${all.adminPort}/events?figures=1s`)
  t.same(await once.json(), [], 'without the stream it means nothing')
})

void test('100 pools of 20 backends are little text', async (t) => {
  const ids = Array.from({ length: 20 }, (_, index) => ({ id: `backend-${index}`, url: `http://10.0.0.${index}:8080` }))
  const pools = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`pool-${index}`, { backends: ids }]))
  const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/*', pool: 'pool-0' }] } })
  const listener = await watch(t, all)
  await listener.until(() => listener.sizes.length > 1, 'figures')
  t.equal(listener.figures[1]?.backends.length, 2000)
  t.ok(Math.max(...listener.sizes) < 150_000, `${Math.max(...listener.sizes)} characters`)
})
