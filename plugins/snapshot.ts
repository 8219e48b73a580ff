/**
 * `app.snapshot`: all that one configuration built - pools, connections, routes. Requests consult it and nothing else;
 * it is never changed, only replaced as a whole. The first is built when every plugin has had its chance to register
 * algorithms; `app.prepare` makes the next ones.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

import { isSame } from '../src/config/difference.ts'
import { ConfigError, formatPath } from '../src/config/problem.ts'
import type { PoolSettings, RouteSettings } from '../src/config/settings.ts'
import type { Algorithm } from '../src/core/algorithms/algorithm.ts'
import { RouteTable, type Routable } from '../src/routing/table.ts'
import { compileForwarding, type Forwarding } from '../src/transport/forwarding.ts'
import {
  createEntry,
  prepareEntry,
  retireEntry,
  type PoolEntry,
  type PoolSurroundings,
} from '../src/transport/pool-entry.ts'
import { Retiring } from '../src/transport/retiring.ts'
import { systemClock } from '../src/transport/system-clock.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly snapshot: Snapshot
    /**
     * Builds what a configuration asks for, with no effect yet.
     *
     * @returns puts it in force, at once and without fail
     * @throws {ConfigError} when it cannot be built
     */
    prepare(content: SnapshotContent): () => void
    /** Told, before the next request comes, which pools are new or changed and which are gone. */
    onPools(listener: PoolsListener): void
  }
}

export type PoolsListener = (changed: readonly PoolEntry[], gone: readonly PoolEntry[]) => void

export interface Route extends RouteSettings {
  readonly forwarding: Forwarding
}

export interface SnapshotContent {
  readonly pools: ReadonlyMap<string, PoolSettings>
  readonly routes: readonly RouteSettings[]
  /** How long a backend that is taken out may take to end what it has, in milliseconds. */
  readonly drainMs: number
}

export interface SnapshotOptions extends SnapshotContent {
  /** The longest pause between two pieces of a client's body, in milliseconds. */
  readonly clientBodyMs: number
}

/** A place in the list of routes: what stands there may change while the table stays. */
interface Place extends Routable {
  readonly index: number
}

export class Snapshot {
  readonly pools: ReadonlyMap<string, PoolEntry>
  readonly routes: readonly Route[]
  readonly table: RouteTable<Place>

  constructor(pools: Snapshot['pools'], routes: Snapshot['routes'], table?: RouteTable<Place>) {
    this.pools = pools
    this.routes = routes
    this.table =
      table ?? new RouteTable(routes.map(({ path, host, methods }, index) => ({ path, host, methods, index })))
  }

  /** Which route takes a request; `host` is the value of the field, `path` without the query. */
  find(method: string, host: string | undefined, path: string): Route | undefined {
    const place = this.table.find(method, host, path)
    return place === undefined ? undefined : this.routes[place.index]
  }
}

const SUPPLY = {
  enough: 'backends can be chosen again',
  panic: 'so few backends can be used that all of them are',
  empty: 'no backend can be chosen',
} as const

export default fp<SnapshotOptions>(
  (app, options, done) => {
    let snapshot = new Snapshot(new Map(), [])
    const listeners: PoolsListener[] = []
    const retiring = new Retiring(systemClock)
    const around = surroundings(app, retiring)

    app.decorate('snapshot', { getter: () => snapshot })
    app.decorate('onPools', (listener: PoolsListener) => void listeners.push(listener))
    app.decorate('prepare', prepare)
    app.addHook('onReady', (ready) => {
      prepare(options)()
      ready()
    })
    app.addHook('onClose', (_instance, closed) => {
      retiring.cut('the gateway is stopping')
      for (const { connections, standings } of snapshot.pools.values()) {
        standings.stop()
        for (const each of connections.values()) each.destroy()
      }
      closed()
    })
    done()

    function prepare({ pools: wanted, routes, drainMs }: SnapshotContent): () => void {
      const before = snapshot
      const pools = new Map<string, PoolEntry>()
      const changed: PoolEntry[] = []
      const commits: Array<() => void> = []
      for (const [name, settings] of wanted) {
        const present = before.pools.get(name)
        const isAsBefore = present !== undefined && isSame(present.settings, settings)
        const entry = isAsBefore ? present : change(present, settings, commits)
        pools.set(name, entry)
        if (!isAsBefore) changed.push(entry)
      }
      const next = new Snapshot(...routesOf(routes, pools, before, options.clientBodyMs))
      const gone = [...before.pools.values()].filter(({ settings }) => !pools.has(settings.name))
      return () => {
        retiring.drainMs = drainMs
        for (const commit of commits) commit()
        snapshot = next
        for (const entry of gone) retireEntry(entry, around)
        for (const listener of listeners) listener(changed, gone)
      }
    }

    function change(present: PoolEntry | undefined, settings: PoolSettings, commits: Array<() => void>): PoolEntry {
      if (present === undefined) return createEntry(settings, around)
      const { entry, commit } = prepareEntry(present, settings, around)
      commits.push(commit)
      return entry
    }
  },
  { name: 'sluice-snapshot', dependencies: ['sluice-algorithms', 'sluice-events'] },
)

/** Routes of which neither they nor their pool have changed are taken over, and the table if all have stayed. */
function routesOf(
  wanted: readonly RouteSettings[],
  pools: ReadonlyMap<string, PoolEntry>,
  before: Snapshot,
  clientBodyMs: number,
): ConstructorParameters<typeof Snapshot> {
  let sameTable = wanted.length === before.routes.length
  const routes = wanted.map((settings, index): Route => {
    const entry = pools.get(settings.pool)
    if (entry === undefined) throw new Error(`Route ${settings.path}: there is no pool "${settings.pool}"`)
    const present = before.routes[index]
    const stays = present !== undefined && isSameRoute(present, settings)
    if (!stays) sameTable = false
    if (stays && before.pools.get(settings.pool) === entry) return present
    return { ...settings, forwarding: compileForwarding(settings, entry, clientBodyMs) }
  })
  return sameTable ? [pools, routes, before.table] : [pools, routes]
}

function isSameRoute({ forwarding, ...present }: Route, settings: RouteSettings): boolean {
  return forwarding.pool.name === settings.pool && isSame(present, settings)
}

function surroundings(app: FastifyInstance, retiring: Retiring): PoolSurroundings {
  return {
    clock: systemClock,
    random: Math.random,
    createAlgorithm: (settings) => createAlgorithm(app, settings),
    onAlgorithmError: (pool, error) => app.log.error({ err: error, pool }, 'the algorithm failed; picked in turn'),
    onSupply: (pool, from, to) => app.events.emit({ what: 'pool', pool, from, to, cause: SUPPLY[to] }),
    onFlip: (pool, flip) => app.events.emit({ pool, ...flip }),
    onRetired: (connections, whose) => retiring.add(connections, whose),
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
