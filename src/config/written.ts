/**
 * Settings turned back into the words of a file: keys without `Ms`, durations and sizes with their units, `false` for
 * what is switched off. For showing them: what is secret is hidden.
 */
import { formatPath, kind, type Path } from './problem.ts'
import type { HeaderRules, HealthSettings, PoolSettings, RouteSettings, Settings } from './settings.ts'
import { formatDuration, formatSize } from './units.ts'

/** What JSON can hold. */
export type Written = string | number | boolean | null | readonly Written[] | { readonly [key: string]: Written }

export type Group = Readonly<Record<string, unknown>>

export const HIDDEN = '(not shown)'

/** Keys and whole groups: who sees a difference need not be who may see these. */
const SECRETS = [
  'admin.token',
  'listen.tls.cert',
  'listen.tls.key',
  'tracing.export.headers',
  'tls.ca',
  'tls.cert',
  'tls.key',
  'requestHeaders.set',
  'health.active.headers',
]

const SIZES: ReadonlySet<unknown> = new Set(['maxHeaderSize', 'maxBodySize', 'bufferBody'])

/** All but the pools, the routes and the plugins. */
export function writtenFile({ listen, admin, log, tracing, shutdown, reload, overload }: Settings): Group {
  return {
    listen,
    admin: admin ?? false,
    log: { ...log, access: log.access ?? false },
    tracing,
    shutdown,
    reload,
    overload: overload ?? false,
  }
}

/** All but its name and its backends. */
export function writtenPool({ name: _name, backends: _backends, algorithm, ...pool }: PoolSettings): Group {
  const { type, options } = algorithm
  return {
    algorithm: Object.keys(options).length === 0 ? type : { type, ...options },
    ...pool,
    retry: { ...pool.retry, on: [...pool.retry.on].toSorted((one, other) => (String(one) < String(other) ? -1 : 1)) },
    health: writtenHealth(pool.health),
    breaker: pool.breaker ?? false,
  }
}

function writtenHealth({ active, passive, ...health }: HealthSettings): Group {
  return {
    ...health,
    active: active && {
      ...active,
      headers: Object.fromEntries(active.headers),
      expect: active.expect.map(([from, to]) => (from === to ? from : `${from}-${to}`)),
    },
    passive: passive === undefined ? false : { ...passive, ...writtenWindow(passive.window) },
  }
}

/** A window of time has a key of its own in the file. */
function writtenWindow(window: number | { readonly overMs: number }): Group {
  return typeof window === 'number' ? { window } : { window: undefined, ...window }
}

/** What it does, without the requests that it takes. Of `{}`: what a route does that says nothing. */
export function writtenRoute(route: Partial<RouteSettings>): Group {
  return {
    pool: route.pool,
    rewrite: route.rewrite ?? { stripPrefix: '', addPrefix: '' },
    requestHeaders: writtenHeaders(route.requestHeaders),
    responseHeaders: writtenHeaders(route.responseHeaders),
  }
}

function writtenHeaders(rules: HeaderRules | undefined): Group {
  return { set: Object.fromEntries(rules?.set ?? []), remove: rules?.remove ?? [] }
}

/** The path of a key as the file has it, from the path of a setting. */
export function writtenKey(path: Path): string {
  return formatPath(isVerbatim(path) ? path : path.map((step) => (isMs(step) ? step.slice(0, -2) : step)))
}

/** @returns `undefined` for what is not there */
export function written(value: unknown, path: Path): Written | undefined {
  const group = groupOf(value)
  if (group !== undefined) return writtenGroup(group, path)
  if (Array.isArray(value)) return value.map((item: unknown) => written(item, path) ?? null)
  if (value === undefined) return undefined
  // An empty text is how one leaves a token out.
  if (isSecret(path)) return value === '' ? undefined : HIDDEN
  return writtenLeaf(value, path)
}

function writtenGroup(group: Group, path: Path): Written {
  const entries = Object.entries(group).flatMap(([key, item]): Array<[string, Written]> => {
    const at = [...path, key]
    const shown = written(item, at)
    return shown === undefined ? [] : [[isVerbatim(at) || !isMs(key) ? key : key.slice(0, -2), shown]]
  })
  return Object.fromEntries(entries)
}

function writtenLeaf(value: unknown, path: Path): Written {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value !== 'number' || !Number.isFinite(value)) return `(${kind(value)})`
  const key = path.at(-1)
  if (isVerbatim(path)) return value
  if (isMs(key)) return formatDuration(value)
  return SIZES.has(key) ? formatSize(value) : value
}

/** What holds further keys; objects of the user's own classes are values. */
export function groupOf(value: unknown): Group | undefined {
  return isGroup(value) ? value : undefined
}

function isGroup(value: unknown): value is Group {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Whether a key is this one or inside it. */
export function isWithin(key: string, group: string): boolean {
  return key.startsWith(group) && (key.length === group.length || /^[.[]/.test(key.slice(group.length)))
}

function isSecret(path: Path): boolean {
  const key = writtenKey(path)
  return SECRETS.some((secret) => isWithin(key, secret))
}

/** Algorithms name their options themselves, and header fields have any name. */
function isVerbatim([top, , inside]: Path): boolean {
  return top === 'algorithm' || top === 'requestHeaders' || top === 'responseHeaders' || inside === 'headers'
}

function isMs(step: unknown): step is string {
  return typeof step === 'string' && step.endsWith('Ms')
}

/** The whole configuration as the file would have it with nothing left to defaults, and without its secrets. */
export function writtenSettings(settings: Settings): Written {
  const { pools, routes, plugins } = settings
  const writtenPools = [...pools.values()].map((pool): [string, Written] => {
    const backends = pool.backends.map(({ id, url, weight }) => ({ url: url.origin, id, weight }))
    return [pool.name, { backends, ...asGroup(written(writtenPool(pool), [])) }]
  })
  return {
    ...asGroup(written(writtenFile(settings), [])),
    pools: Object.fromEntries(writtenPools),
    routes: routes.map(listedRoute),
    plugins: plugins.map(({ path, options }) => (Object.keys(options).length === 0 ? path : { path, options: HIDDEN })),
  }
}

/** With the requests that it takes. */
function listedRoute(route: RouteSettings): Written {
  const { path, host, methods } = route
  return asGroup(written({ path, host, methods, ...writtenRoute(route) }, []))
}

function asGroup(value: Written | undefined): { readonly [key: string]: Written } {
  return typeof value === 'object' && value !== null && !isList(value) ? value : {}
}

function isList(value: Written): value is readonly Written[] {
  return Array.isArray(value)
}
