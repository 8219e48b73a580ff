/**
 * A bad day: a backend dies, another turns slow, clients leave, a configuration is none, the gateway has too much to do. What is happening, to whom,
 * since when, and why: the metrics alone tell it, and the log alone, equal to the request to what the clients counted.
 */
import { test, type Test } from 'tap'

import { ended, stateIn, type Scrape } from '../helpers/metrics.ts'
import { babble, beginDay, type Day, leave, overload, reloadBadly, type Seen, visit } from './day.ts'

void test('a bad day, as metrics and log tell it', async (t) => {
  const day = await beginDay(t)
  const { dies, slows } = day.backends
  await visit(day, '/shop/good/', 200)
  await dies.kill()
  await visit(day, '/shop/dead/', 200)
  await slows.be('slow')
  await visit(day, '/shop/slow/', 60)
  await visit(day, '/nowhere/', 7)
  await leave(t, day, 3)
  await babble(t, day, 2)
  await overload(day)
  const refused = await reloadBadly(day)
  t.match(refused, /^422 /)
  const found = await ended({ adminPort: Number(new URL(day.admin).port) }, day.seen.length)
  metricsTell(t, found, day)
  day.process.signal('SIGTERM')
  const { stdout, code } = await day.process.ended
  t.equal(code, 0)
  logTells(t, linesOf(stdout), day)
})

/** How many there are of each. */
function counted<T>(items: Iterable<T>, by: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[by(item)] = (counts[by(item)] ?? 0) + 1
  return counts
}

function classOf({ status }: Seen): string {
  return status === 'aborted' ? status : `${String(status)[0]}xx`
}

function metricsTell(t: Test, found: Scrape, { seen }: Day): void {
  const statuses = (route: string): object => found.counts('sluice_requests_total', 'status', { route })
  const under = (path: string): Seen[] => seen.filter((each) => each.path.startsWith(path))
  t.same(statuses('/shop/*'), counted(under('/shop/'), classOf), 'metrics: what the clients of the shop saw')
  t.same(statuses('/stuck/*'), counted(under('/stuck/'), classOf), 'metrics: who left')
  const others = seen.filter(({ path }) => !/^\/(?:shop|stuck)\//.test(path))
  t.same(statuses('none'), counted(others, classOf), 'metrics: what no route takes')
  t.equal(found.sum('sluice_request_duration_seconds_count'), seen.length)

  const answers = (backend: string): number => seen.filter((each) => each.backend === backend).length
  for (const backend of ['dies', 'slows', 'lasts']) {
    const labels = { pool: 'shop', backend }
    t.equal(found.sum('sluice_attempts_total', { ...labels, outcome: '2xx' }), answers(backend), `metrics: ${backend}`)
  }
  const failed = found.counts('sluice_attempts_total', 'outcome', { pool: 'shop', backend: 'dies' })
  delete failed['2xx']
  const failures = Object.values(failed).reduce((sum, count) => sum + count, 0)
  t.ok(failures > 0, 'metrics: who dies has failures')
  t.equal(found.sum('sluice_retries_total', { pool: 'shop' }), failures, 'each of which was made good for')

  t.equal(stateIn(t, found, 'sluice_backend_state', { pool: 'shop', backend: 'dies' }), 'unhealthy')
  t.equal(found.sum('sluice_backend_weight', { pool: 'shop', backend: 'dies' }), 0, 'why not that one')
  t.equal(stateIn(t, found, 'sluice_backend_state', { pool: 'shop', backend: 'lasts' }), 'healthy')
  const mean = (backend: string): number => {
    const of = (part: string): number => found.sum(`sluice_backend_response_seconds_${part}`, { backend }) ?? NaN
    return of('sum') / of('count')
  }
  t.ok(mean('slows') > mean('lasts'), 'metrics: who is slow')
  const shed = seen.filter(({ status }) => status === 503).length
  t.equal(found.sum('sluice_requests_shed_total'), shed, 'metrics: how many the gateway itself refused')
  t.same(found.counts('sluice_requests_shed_total', 'limit'), { eventLoopDelay: shed }, 'metrics: and why')
  t.equal(found.sum('sluice_overloaded'), 0, 'metrics: it is over')
  t.equal(found.sum('sluice_config_last_reload_success'), 0)
  t.same(found.counts('sluice_config_reloads_total', 'result'), { failure: 1 })
  t.equal(found.sum('sluice_backend_in_flight'), 0)
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN
}

interface Line {
  readonly time: number
  readonly level: number
  readonly msg: string
  readonly path?: string
  readonly status?: number
  readonly outcome?: string
  readonly requestId?: string
  readonly client?: string
  readonly count?: number
  readonly bytesOut?: number
  readonly backend?: string
  readonly code?: string
  readonly reason?: string
  readonly tries?: ReadonlyArray<{ readonly backend: string; readonly outcome: number | string; readonly ms: number }>
  readonly what?: string
  readonly to?: string
  readonly cause?: string
}

function linesOf(stdout: string): Line[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Line => JSON.parse(line))
}

function asked({ path, status }: { readonly path?: string; readonly status?: number | string }): string {
  return `${path} ${status === 'aborted' ? 499 : status}`
}

function logTells(t: Test, lines: readonly Line[], { seen }: Day): void {
  const exchanges = lines.filter(({ path, outcome }) => path !== undefined && outcome !== undefined)
  const shed = seen.filter(({ status }) => status === 503)
  const readable = seen.filter((each) => each.path !== '' && !shed.includes(each))
  t.equal(exchanges.length, readable.length, 'log: a line a request')
  t.same(counted(exchanges, asked), counted(readable, asked), 'log: what each of them saw')
  const byId = new Map(exchanges.map((line) => [line.requestId, line]))
  const answered = readable.filter(({ backend }) => backend !== '')
  t.same(
    answered.filter(({ requestId, backend, bytes }) => {
      const line = byId.get(requestId)
      return line?.backend !== backend || line.bytesOut !== bytes
    }),
    [],
    'log: which backend answered, and how much',
  )
  t.ok(
    exchanges.every(({ client }) => client === '127.0.0.1'),
    'log: to whom',
  )
  const unreadable = lines.filter(({ msg, path }) => msg.startsWith('request refused') && path === undefined)
  t.equal(
    unreadable.reduce((sum, { count = 1 }) => sum + count, 0),
    seen.length - readable.length - shed.length,
  )
  t.match(unreadable[0], { status: 400, code: 'SLUICE_BAD_REQUEST', reason: /^HPE_/ })

  const tries = exchanges.flatMap((line) => line.tries ?? [])
  const failures = tries.filter(({ outcome }) => outcome !== 200 && outcome !== null)
  t.same(Object.keys(counted(failures, ({ backend }) => backend)), ['dies'], 'log: who failed')
  const late = exchanges.filter(({ path }) => path?.startsWith('/shop/slow/')).flatMap((line) => line.tries ?? [])
  const typical = (name: string): number => median(late.filter(({ backend }) => backend === name).map(({ ms }) => ms))
  t.ok(typical('slows') > typical('lasts'), 'log: who is slow')

  const flips = lines.filter(({ what, backend }) => (what === 'health' || what === 'breaker') && backend === 'dies')
  t.ok(
    flips.some(({ to }) => to === 'unhealthy' || to === 'open'),
    'log: who is out',
  )
  const [first] = flips
  const good = exchanges.filter(({ path }) => path?.startsWith('/shop/good/')).map(({ time }) => time)
  const slowOnes = exchanges.filter(({ path }) => path?.startsWith('/shop/slow/')).map(({ time }) => time)
  const since = first?.time ?? NaN
  t.ok(since >= Math.max(...good) && since <= Math.min(...slowOnes), 'log: since when')
  t.match(first?.cause, /\d+ of \d+|ECONNREFUSED|failed/, 'log: and why')
  const refusals = lines.filter(({ msg }) => msg.startsWith('request refused: the gateway is overloaded'))
  t.equal(
    refusals.reduce((sum, { count = 1 }) => sum + count, 0),
    shed.length,
    'log: how many were refused for overload',
  )
  const overloads = lines.filter(({ what }) => what === 'overload')
  t.match(overloads, [{ to: 'overloaded', cause: /event loop is .* late, more than 300 ms/ }, { to: 'normal' }])
  const reload = lines.find(({ what, to }) => what === 'reload' && to === 'refused')
  t.match(reload?.msg, /gateway\.json:1:\d+: pools\.shop\.backends\[0\]: /, 'log: what is wrong with the configuration')
  t.match(lines.at(-1)?.msg, /^stopped$/)
}
