/**
 * What a new configuration would change: pool by pool, backend by backend, route by route, key by key. What stays as it
 * is does not appear, nor does a secret. The order of backends, routes and keys plays no part.
 */
import { isDeepStrictEqual } from 'node:util'
import { formatPath, type Path } from './problem.ts'
import { pathShape } from './routes.ts'
import type { BackendSettings, PluginSettings, PoolSettings, RouteSettings, Settings } from './settings.ts'
import {
  type Group,
  groupOf,
  HIDDEN,
  isWithin,
  type Written,
  written,
  writtenFile,
  writtenKey,
  writtenPool,
  writtenRoute,
} from './written.ts'

/** JSON can hold all of it. */
export interface Difference {
  readonly pools: readonly PoolChange[]
  /** Of the pools that both configurations have. */
  readonly backends: readonly BackendChange[]
  readonly routes: readonly RouteChange[]
  /** Routes that lose requests to others, which they did not before. */
  readonly shadowed: readonly Shadow[]
  /** What is outside of pools and routes. */
  readonly keys: readonly KeyChange[]
}

export interface PoolChange {
  readonly pool: string
  readonly change: Change
  readonly keys: readonly KeyChange[]
}

export interface BackendChange {
  readonly pool: string
  readonly id: string
  readonly change: Change
  readonly keys: readonly KeyChange[]
}

export interface RouteChange {
  readonly route: RouteName
  readonly change: Change
  readonly keys: readonly KeyChange[]
}

/** With another path, host or set of methods it is another route. */
export interface RouteName {
  /** In alphabetical order; left out for every method. */
  readonly methods?: readonly string[]
  /** Left out for every host. */
  readonly host?: string
  readonly path: string
}

export interface Shadow {
  readonly route: RouteName
  /** The methods whose requests go elsewhere. */
  readonly methods: readonly string[]
  readonly to: readonly RouteName[]
}

export type Change = 'added' | 'removed' | 'changed'

export interface KeyChange {
  /** As in the file, from the pool, backend or route on: `retry.attempts`. */
  readonly key: string
  /** As in the file; left out when it was not there, and hidden when it is secret. */
  readonly from?: Written
  readonly to?: Written
  /** The gateway cannot change this while it runs. */
  readonly restart?: true
}

/** What needs a restart: keys and all that is in them, */
const FIXED = ['listen', 'admin', 'plugins', 'tracing.export']
/** except for these, which a listener takes for the connections that come next. */
const CHANGEABLE: ReadonlySet<string> = new Set(['listen.tls.cert', 'listen.tls.key'])

export function differenceOf(from: Settings, to: Settings): Difference {
  const routes = routeChanges(from.routes, to.routes)
  return {
    ...poolChanges(from.pools, to.pools),
    routes,
    shadowed: routes.some(({ change }) => change === 'added') ? newShadows(from.routes, to.routes) : [],
    keys: [...keyChanges(writtenFile(from), writtenFile(to)), ...pluginChanges(from.plugins, to.plugins)].map(marked),
  }
}

export function isEmpty({ pools, backends, routes, shadowed, keys }: Difference): boolean {
  return pools.length + backends.length + routes.length + shadowed.length + keys.length === 0
}

/** The keys whose change the running gateway has to refuse. */
export function keysThatNeedRestart({ keys }: Difference): readonly string[] {
  return keys.filter(({ restart }) => restart).map(({ key }) => key)
}

function marked(change: KeyChange): KeyChange {
  const isFixed = FIXED.some((group) => isWithin(change.key, group)) && !CHANGEABLE.has(change.key)
  return isFixed ? { ...change, restart: true } : change
}

function poolChanges(
  from: Settings['pools'],
  to: Settings['pools'],
): { readonly pools: PoolChange[]; readonly backends: BackendChange[] } {
  const pools: PoolChange[] = []
  const backends: BackendChange[] = []
  for (const [name, before] of from) {
    const after = to.get(name)
    if (after === undefined) pools.push({ pool: name, change: 'removed', keys: keyChanges(summary(before), {}) })
    else if (!isSame(before, after)) {
      const keys = keyChanges(writtenPool(before), writtenPool(after))
      if (keys.length > 0) pools.push({ pool: name, change: 'changed', keys })
      backends.push(...backendChanges(name, before.backends, after.backends))
    }
  }
  for (const [name, after] of to) {
    if (!from.has(name)) pools.push({ pool: name, change: 'added', keys: keyChanges({}, summary(after)) })
  }
  return { pools, backends }
}

/** What there is to say of a pool that comes or goes as a whole. */
function summary(pool: PoolSettings): Group {
  return { algorithm: writtenPool(pool)['algorithm'], backends: pool.backends.map(({ url }) => url.origin) }
}

function backendChanges(
  pool: string,
  from: readonly BackendSettings[],
  to: readonly BackendSettings[],
): readonly BackendChange[] {
  const changes = thingChanges(
    new Map(from.map((backend) => [backend.id, backend])),
    new Map(to.map((backend) => [backend.id, backend])),
    ({ url, weight }) => ({ url: url.origin, weight }),
    {},
  )
  return changes.map(([{ id }, change, keys]) => ({ pool, id, change, keys }))
}

function routeChanges(from: readonly RouteSettings[], to: readonly RouteSettings[]): readonly RouteChange[] {
  if (isSame(from, to)) return []
  const changes = thingChanges(byName(from), byName(to), writtenRoute, writtenRoute({}))
  return changes.map(([route, change, keys]) => ({ route: nameOf(route), change, keys }))
}

function byName(routes: readonly RouteSettings[]): ReadonlyMap<string, RouteSettings> {
  return new Map(routes.map((route) => [routeText(nameOf(route)), route]))
}

function nameOf({ methods, host, path }: RouteSettings): RouteName {
  return {
    ...(methods && { methods: methods.toSorted() }),
    ...(host !== undefined && { host }),
    path,
  }
}

/** `GET, POST shop.example.com/orders/*` */
export function routeText({ methods = [], host = '', path }: RouteName): string {
  return `${methods.join(', ')} ${host}${path}`.trimStart()
}

function thingChanges<T extends object>(
  from: ReadonlyMap<string, T>,
  to: ReadonlyMap<string, T>,
  write: (thing: T) => Group,
  nothing: Group,
): ReadonlyArray<readonly [thing: T, change: Change, keys: readonly KeyChange[]]> {
  const changes: Array<readonly [T, Change, readonly KeyChange[]]> = []
  for (const [name, before] of from) {
    const after = to.get(name)
    if (after === undefined) changes.push([before, 'removed', keyChanges(write(before), nothing)])
    else if (!isSame(before, after)) {
      const keys = keyChanges(write(before), write(after))
      if (keys.length > 0) changes.push([after, 'changed', keys])
    }
  }
  for (const [name, after] of to) if (!from.has(name)) changes.push([after, 'added', keyChanges(nothing, write(after))])
  return changes
}

function newShadows(from: readonly RouteSettings[], to: readonly RouteSettings[]): readonly Shadow[] {
  const before = shadows(from)
  return [...shadows(to)].flatMap(([name, shadow]): readonly Shadow[] => {
    const lost = new Set(before.get(name)?.methods)
    const methods = shadow.methods.filter((method) => !lost.has(method))
    const taking = shadow.to.filter((other) => other.methods?.some((method) => !lost.has(method)))
    return methods.length === 0 ? [] : [{ route: shadow.route, methods, to: taking }]
  })
}

/**
 * By the route that loses requests. Only one for every method can lose some and still pass the checks, which refuse
 * what loses all of them.
 */
function shadows(routes: readonly RouteSettings[]): ReadonlyMap<string, Shadow> {
  const found = new Map<string, Shadow>()
  for (const group of Map.groupBy(routes, requestsOf).values()) {
    const all = group.find(({ methods }) => methods === undefined)
    if (all === undefined || group.length === 1) continue
    const methods = group.flatMap((route) => route.methods ?? []).toSorted()
    const route = nameOf(all)
    found.set(routeText(route), { route, methods, to: group.filter((other) => other !== all).map(nameOf) })
  }
  return found
}

function requestsOf({ host = '', path }: RouteSettings): string {
  return `${host} ${pathShape(path)}`
}

/** Options of plugins are theirs alone: nobody but they knows what in them is secret. */
function pluginChanges(from: readonly PluginSettings[], to: readonly PluginSettings[]): readonly KeyChange[] {
  const paths = keyChanges({ plugins: from.map(({ path }) => path) }, { plugins: to.map(({ path }) => path) })
  if (paths.length > 0) return paths
  return from.flatMap(({ options }, index) => {
    const key = formatPath(['plugins', index, 'options'])
    return isSame(options, to[index]?.options) ? [] : [{ key, from: HIDDEN, to: HIDDEN }]
  })
}

function keyChanges(from: Group, to: Group): KeyChange[] {
  const changes: KeyChange[] = []
  compare(from, to, [], changes)
  return changes
}

function compare(from: unknown, to: unknown, path: Path, changes: KeyChange[]): void {
  const before = groupOf(from)
  const after = groupOf(to)
  if (before !== undefined && after !== undefined) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(before[key], after[key], [...path, key], changes)
    }
  } else if (!isSame(from, to)) {
    const was = written(from, path)
    const becomes = written(to, path)
    changes.push({
      key: writtenKey(path),
      ...(was !== undefined && { from: was }),
      ...(becomes !== undefined && { to: becomes }),
    })
  }
}

/**
 * The same as isDeepStrictEqual for what settings hold, in a third of its time; whatever else there may be in options is
 * left to it. Functions are told apart by their text, because a file that is read twice makes each of them twice.
 */
export function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (typeof one === 'function') return typeof other === 'function' && String(one) === String(other)
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (Array.isArray(one)) return Array.isArray(other) && areSame(one, other)
  if (one instanceof URL) return other instanceof URL && one.href === other.href
  if (one instanceof Set)
    return other instanceof Set && one.size === other.size && [...one].every((item) => other.has(item))
  const group = groupOf(one)
  const otherGroup = groupOf(other)
  if (group === undefined || otherGroup === undefined) return isDeepStrictEqual(one, other)
  const keys = Object.keys(group)
  if (keys.length !== Object.keys(otherGroup).length) return false
  for (const key of keys) if (!Object.hasOwn(otherGroup, key) || !isSame(group[key], otherGroup[key])) return false
  return true
}

function areSame(some: readonly unknown[], others: readonly unknown[]): boolean {
  if (some.length !== others.length) return false
  for (let i = 0; i < some.length; i++) if (!isSame(some[i], others[i])) return false
  return true
}
