/**
 * `app.snapshot`: all that one configuration built - pools, connections, routes. Requests consult it and nothing else;
 * it is never changed, only replaced as a whole. It is built when every plugin has had its chance to register
 * algorithms.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

import { ConfigError, formatPath } from '../src/config/problem.ts'
import type { PoolSettings, RouteSettings } from '../src/config/settings.ts'
import type { Algorithm } from '../src/core/algorithms/algorithm.ts'
import { Member } from '../src/core/member.ts'
import { Pool } from '../src/core/pool.ts'
import { RetryBudget } from '../src/core/retry.ts'
import { RouteTable } from '../src/routing/table.ts'
import { Connections } from '../src/transport/connections.ts'
import { Standings } from '../src/core/standing.ts'
import { compileForwarding, type Forwarding, type PoolEntry } from '../src/transport/forwarding.ts'
import { secureOptions } from '../src/transport/secure.ts'
import { systemClock } from '../src/transport/system-clock.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly snapshot: Snapshot
  }
}

export interface Route extends RouteSettings {
  readonly forwarding: Forwarding
}

export interface Snapshot {
  readonly pools: ReadonlyMap<string, PoolEntry>
  readonly routes: readonly Route[]
  readonly table: RouteTable<Route>
}

export interface SnapshotOptions {
  readonly pools: ReadonlyMap<string, PoolSettings>
  readonly routes: readonly RouteSettings[]
  /** The longest pause between two pieces of a client's body, in milliseconds. */
  readonly clientBodyMs: number
}

export default fp<SnapshotOptions>(
  (app, options, done) => {
    const EMPTY: Snapshot = { pools: new Map(), routes: [], table: new RouteTable<Route>([]) }
    let snapshot = EMPTY
    app.decorate('snapshot', { getter: () => snapshot })
    app.addHook('onReady', (ready) => {
      snapshot = build(app, options)
      ready()
    })
    app.addHook('onClose', (_instance, closed) => {
      for (const { connections, standings } of snapshot.pools.values()) {
        standings.stop()
        for (const each of connections.values()) each.destroy()
      }
      closed()
    })
    done()
  },
  { name: 'sluice-snapshot', dependencies: ['sluice-algorithms', 'sluice-events'] },
)

function build(app: FastifyInstance, options: SnapshotOptions): Snapshot {
  const pools = new Map<string, PoolEntry>()
  for (const settings of options.pools.values()) pools.set(settings.name, buildPool(app, settings))
  const routes = options.routes.map((route): Route => {
    const entry = pools.get(route.pool)
    if (entry === undefined) throw new Error(`Route ${route.path}: there is no pool "${route.pool}"`)
    return { ...route, forwarding: compileForwarding(route, entry, options.clientBodyMs) }
  })
  return { pools, routes, table: new RouteTable(routes) }
}

const SUPPLY = {
  enough: 'backends can be chosen again',
  panic: 'so few backends can be used that all of them are',
  empty: 'no backend can be chosen',
} as const

function buildPool(app: FastifyInstance, settings: PoolSettings): PoolEntry {
  const { name, backends, connections, timeouts } = settings
  const { connectMs, tlsMs } = timeouts
  const secure = secureOptions(settings)
  const limits = { ...connections, connectMs, tlsMs, secure }
  const members = backends.map(({ id, url, weight }) => new Member(id, url, weight))
  const pool = new Pool({
    name,
    members,
    algorithm: createAlgorithm(app, settings),
    clock: systemClock,
    onAlgorithmError: (error) => app.log.error({ err: error, pool: name }, 'the algorithm failed; picked in turn'),
    panic: settings.panic,
    onSupply: (from, to) => app.events.emit({ what: 'pool', pool: name, from, to, cause: SUPPLY[to] }),
  })
  const { health, breaker } = settings
  const rules = { health, breaker, maxEjected: health.passive?.maxEjected ?? 0 }
  const standings = new Standings(pool, rules, {
    clock: systemClock,
    random: Math.random,
    onFlip: (flip) => app.events.emit({ pool: name, ...flip }),
  })
  return {
    settings,
    pool,
    connections: new Map(members.map((member) => [member, new Connections(member.url, limits)])),
    secure,
    standings,
    checkers: new Map(),
    budget: new RetryBudget(settings.retry.budget, systemClock),
  }
}

/** Only now, with every plugin's algorithms registered, is it certain whether the configuration names one that exists. */
function createAlgorithm(app: FastifyInstance, { name, algorithm }: PoolSettings): Algorithm {
  try {
    return app.algorithms.create(algorithm.type, algorithm.options, { clock: systemClock, random: Math.random })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ConfigError([{ path: formatPath(['pools', name, 'algorithm']), message }])
  }
}
