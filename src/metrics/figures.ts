/**
 * What the gateway has counted, by the routes, pools and backends of its configuration and by nothing that a client can
 * make up. Everything an exchange needs is bound once for each route; what a reload leaves keeps its numbers, and what
 * it takes away is forgotten.
 */
import type { Exchange, Try } from '../transport/exchange.ts'
import type { Forwarding } from '../transport/forwarding.ts'
import type { PoolEntry } from '../transport/pool-entry.ts'
import { lastOutcomeOf, outcomeOf, reasonOf, STATUSES, statusOf } from './outcomes.ts'
import { Durations, Latencies, Tally } from './series.ts'

/** Of requests that no route takes. */
const NONE = 'none'

export interface FiguresContent {
  readonly pools: ReadonlyMap<string, PoolEntry>
  readonly routes: ReadonlyArray<{ readonly forwarding: Forwarding }>
}

export interface BackendFigures {
  readonly labels: { readonly pool: string; readonly backend: string }
  readonly attempts: Tally
  /** To response headers; for those who look at one backend. */
  readonly latencies: Latencies
}

export interface PoolFigures {
  readonly labels: { readonly pool: string }
  /** By id. */
  readonly backends: ReadonlyMap<string, BackendFigures>
  readonly durations: Durations
  readonly retries: Tally
}

export interface RouteFigures {
  readonly labels: { readonly route: string }
  readonly durations: Durations
  /** By pool: routes that differ in their methods alone are one, and may lead to several. */
  readonly requests: Map<string, RequestFigures>
}

interface RequestFigures {
  readonly labels: { readonly route: string; readonly pool: string }
  readonly statuses: Tally
  readonly durations: Durations
}

export class Figures {
  readonly reloads = new Tally(['success', 'failure'])
  /** Of all requests that have ended: routes come and go. */
  readonly statuses = new Tally(STATUSES)
  readonly #none = routeFigures(NONE, undefined)
  readonly #unrouted = requestFigures(this.#none, NONE, undefined)
  #pools: ReadonlyMap<string, PoolFigures> = new Map()
  #routes: ReadonlyMap<string, RouteFigures> = new Map([[NONE, this.#none]])
  /** Also of configurations before, for as long as something of theirs is under way. */
  readonly #bound = new WeakMap<Forwarding, { readonly requests: RequestFigures; readonly pool: PoolFigures }>()

  get pools(): ReadonlyMap<string, PoolFigures> {
    return this.#pools
  }

  get routes(): ReadonlyMap<string, RouteFigures> {
    return this.#routes
  }

  /** Other routes, pools or backends. */
  adopt({ pools, routes }: FiguresContent): void {
    const names = [...pools]
    this.#pools = new Map(names.map(([name, { pool }]) => [name, this.#poolFigures(name, pool.members)]))
    const next = new Map([[NONE, this.#none]])
    for (const { forwarding } of routes) {
      const { name } = forwarding.pool
      const label = forwarding.route
      const before = this.#routes.get(label)
      const route = next.get(label) ?? routeFigures(label, before)
      next.set(label, route)
      const requests = route.requests.get(name) ?? requestFigures(route, name, before)
      const pool = this.#pools.get(name)
      if (pool !== undefined) this.#bound.set(forwarding, { requests, pool })
    }
    this.#routes = next
  }

  /** An exchange has ended. */
  exchange(exchange: Exchange, ms: number): void {
    const bound = this.#bound.get(exchange.forwarding)
    if (bound === undefined) return
    const { requests, pool } = bound
    const status = statusOf(exchange)
    this.statuses.add(status)
    requests.statuses.add(status)
    requests.durations.observe(ms)
    const { attempt, tries } = exchange
    if (attempt === undefined) return
    if (tries !== undefined) countRetried(pool, exchange.allTries.slice(0, -1))
    const backend = pool.backends.get(attempt.lease.member.id)
    backend?.attempts.add(lastOutcomeOf(exchange))
    // Others had no response headers to be timed to.
    if (typeof attempt.outcome !== 'number') return
    pool.durations.observe(attempt.ms)
    backend?.latencies.observe(attempt.ms)
  }

  /** A request has ended that never became an exchange; `forwarding` of the route that would have taken it, if any. */
  request(forwarding: Forwarding | undefined, status: string, ms: number): void {
    const requests =
      forwarding === undefined ? this.#unrouted : (this.#bound.get(forwarding)?.requests ?? this.#unrouted)
    this.statuses.add(status)
    requests.statuses.add(status)
    requests.durations.observe(ms)
  }

  #poolFigures(name: string, members: ReadonlyArray<{ readonly id: string }>): PoolFigures {
    const before = this.#pools.get(name)
    const backends = members.map(({ id }): [string, BackendFigures] => {
      const labels = { pool: name, backend: id }
      return [id, before?.backends.get(id) ?? { labels, attempts: new Tally(['2xx']), latencies: new Latencies() }]
    })
    return {
      labels: before?.labels ?? { pool: name },
      backends: new Map(backends),
      durations: before?.durations ?? new Durations(),
      retries: before?.retries ?? new Tally(),
    }
  }
}

function countRetried(pool: PoolFigures, tries: readonly Try[]): void {
  for (const { backend: id, outcome, ms } of tries) {
    const backend = pool.backends.get(id)
    backend?.attempts.add(outcomeOf(outcome))
    pool.retries.add(reasonOf(outcome))
    if (typeof outcome !== 'number') continue
    pool.durations.observe(ms)
    backend?.latencies.observe(ms)
  }
}

function routeFigures(route: string, before: RouteFigures | undefined): RouteFigures {
  return { labels: { route }, durations: before?.durations ?? new Durations(), requests: new Map() }
}

/** Puts them among those of the route. */
function requestFigures(
  { labels: { route }, durations, requests }: RouteFigures,
  pool: string,
  before: RouteFigures | undefined,
): RequestFigures {
  const figures = before?.requests.get(pool) ?? { labels: { route, pool }, statuses: new Tally(STATUSES), durations }
  requests.set(pool, figures)
  return figures
}
