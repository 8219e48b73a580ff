/**
 * From a configuration that was found good to settings: defaults filled in, short forms written out, units resolved.
 */
import type { BreakerRules } from '../core/breaker.ts'
import type { RetryRules } from '../core/retry.ts'
import { hostAndPort, hostName } from './addresses.ts'
import { statusRanges } from './health.ts'
import { pluginPath } from './meaning.ts'
import { ordinary } from './object.ts'
import type { PemReader } from './pem.ts'
import { routeHost, withoutSlash } from './routes.ts'
import {
  Access,
  Active,
  type ActiveConfig,
  Admin,
  type BackendConfig,
  BackendTls,
  type BackendTlsConfig,
  Breaker,
  type BreakerConfig,
  type Config,
  Connections,
  DEFAULT_ALGORITHM,
  DEFAULT_FORWARDED,
  DEFAULT_HOST_HEADER,
  DEFAULT_LINK_LOCAL,
  DEFAULT_MAX_BODY_SIZE,
  DEFAULT_PANIC,
  DEFAULT_WEIGHT,
  filled,
  type HeaderRulesConfig,
  Guard,
  Health,
  type HealthConfig,
  Listen,
  ListenTls,
  type ListenTlsConfig,
  Log,
  Overload,
  Passive,
  type PassiveConfig,
  type PluginConfig,
  type PoolConfig,
  Retry,
  RetryBackoff,
  RetryBudget,
  type RetryConfig,
  Rewrite,
  type ReloadConfig,
  type RouteConfig,
  Reload,
  Shutdown,
  Timeouts,
  Tracing,
  type TracingConfig,
  TracingExport,
} from './schema.ts'
import type {
  ActiveSettings,
  AdminSettings,
  AlgorithmSettings,
  BackendSettings,
  BackendTlsSettings,
  HeaderRules,
  HealthSettings,
  ListenSettings,
  ListenTlsSettings,
  LogSettings,
  OverloadSettings,
  PassiveSettings,
  PluginSettings,
  PoolSettings,
  ReloadSettings,
  RouteSettings,
  Settings,
  TracingSettings,
} from './settings.ts'
import { parseDuration, parseSize } from './units.ts'

export function complete(config: Config, folder: string, pems: PemReader): Settings {
  const shutdown = filled(Shutdown, config.shutdown)
  const pools = Object.entries(config.pools).map(([name, pool]) => [name, completePool(name, pool, pems)] as const)
  return {
    listen: completeListen(config.listen, pems),
    admin: config.admin === false ? undefined : completeAdmin(config.admin),
    log: completeLog(config.log),
    tracing: completeTracing(config.tracing),
    shutdown: { delayMs: ms(shutdown.delay), graceMs: ms(shutdown.grace) },
    reload: completeReload(config.reload),
    overload: config.overload === false ? undefined : completeOverload(config.overload),
    pools: new Map(pools),
    routes: routesOf(config).map(completeRoute),
    plugins: (config.plugins ?? []).map((plugin) => completePlugin(plugin, folder)),
  }
}

/** Without routes, the only pool takes everything. */
function routesOf(config: Config): readonly RouteConfig[] {
  if (config.routes !== undefined && config.routes.length > 0) return config.routes
  return Object.keys(config.pools).map((pool) => ({ path: '/*', pool }))
}

function completeListen(listen: Config['listen'], pems: PemReader): ListenSettings {
  const { headersTimeout, bodyTimeout, keepAlive, maxHeaderSize, ...rest } = filled(Listen, listen)
  return {
    ...rest,
    headersTimeoutMs: ms(headersTimeout),
    bodyTimeoutMs: ms(bodyTimeout),
    keepAliveMs: ms(keepAlive),
    maxHeaderSize: bytes(maxHeaderSize),
    tls: completeListenTls(listen?.tls, pems),
  }
}

function completeLog(config: Config['log']): LogSettings {
  const { level, access } = filled(Log, config)
  if (access === false) return { level, access: undefined }
  const { slow, headers, ...rest } = filled(Access, access === true ? undefined : access)
  return { level, access: { ...rest, slowMs: ms(slow), headers: headers.map((name) => name.toLowerCase()) } }
}

function completeAdmin(config: Exclude<Config['admin'], false>): AdminSettings {
  const { hosts, ...rest } = filled(Admin, config)
  return { ...rest, hosts: hosts.map((host) => hostName(host) ?? host.toLowerCase()) }
}

function completeOverload(config: Exclude<Config['overload'], false>): OverloadSettings {
  const { eventLoopDelay, retryAfter, ...rest } = filled(Overload, config)
  return { ...rest, eventLoopDelayMs: ms(eventLoopDelay), retryAfterMs: ms(retryAfter) }
}

function completeListenTls(tls: ListenTlsConfig | undefined, pems: PemReader): ListenTlsSettings | undefined {
  if (tls === undefined) return undefined
  const { cert, key, minVersion } = filled(ListenTls, tls)
  return { cert: pemText(cert, pems), key: pemText(key, pems), minVersion }
}

function completePool(name: string, pool: PoolConfig, pems: PemReader): PoolSettings {
  const timeouts = filled(Timeouts, pool.timeouts)
  const connections = filled(Connections, pool.connections)
  return {
    name,
    algorithm: completeAlgorithm(pool.algorithm ?? DEFAULT_ALGORITHM),
    backends: pool.backends.map(completeBackend),
    hostHeader: pool.hostHeader ?? DEFAULT_HOST_HEADER,
    forwarded: pool.forwarded ?? DEFAULT_FORWARDED,
    timeouts: {
      connectMs: ms(timeouts.connect),
      tlsMs: ms(timeouts.tls),
      headersMs: ms(timeouts.headers),
      bodyMs: ms(timeouts.body),
      totalMs: ms(timeouts.total),
      tunnelMs: ms(timeouts.tunnel),
    },
    connections: {
      max: connections.max,
      pending: connections.pending,
      queueMs: ms(connections.queue),
      idleMs: ms(connections.idle),
    },
    tls: completeBackendTls(pool.tls, pems),
    linkLocal: pool.linkLocal ?? DEFAULT_LINK_LOCAL,
    maxBodySize: bytes(pool.maxBodySize ?? DEFAULT_MAX_BODY_SIZE),
    retry: completeRetry(pool.retry),
    health: completeHealth(pool.health),
    breaker: completeBreaker(pool.breaker),
    panic: pool.panic ?? DEFAULT_PANIC,
  }
}

function completeBackendTls(tls: BackendTlsConfig | undefined, pems: PemReader): BackendTlsSettings | undefined {
  if (tls === undefined) return undefined
  const { ca, cert, key, serverName } = tls
  return {
    ca: ca === undefined ? undefined : pemText(ca, pems),
    cert: cert === undefined ? undefined : pemText(cert, pems),
    key: key === undefined ? undefined : pemText(key, pems),
    serverName: serverName === undefined ? undefined : hostName(serverName),
    rejectUnauthorized: filled(BackendTls, tls).rejectUnauthorized,
  }
}

function completeRetry(retry: RetryConfig | undefined): RetryRules {
  const { attempts, on, budget, backoff, bufferBody } = filled(Retry, retry)
  const { ratio, minimum } = filled(RetryBudget, budget)
  const { base, max } = filled(RetryBackoff, backoff)
  return {
    attempts,
    on: new Set(on),
    budget: { ratio, minimum },
    backoff: { baseMs: ms(base), maxMs: ms(max) },
    bufferBody: bytes(bufferBody),
  }
}

function completeReload(reload: ReloadConfig | undefined): ReloadSettings {
  const { watch, drain, keep, save } = filled(Reload, reload)
  const guard = reload?.guard && filled(Guard, reload.guard)
  return {
    watch,
    drainMs: ms(drain),
    keep,
    save,
    guard: guard && { windowMs: ms(guard.window), errorRate: guard.errorRate, minimum: guard.minimum },
  }
}

function completeTracing(tracing: TracingConfig | undefined): TracingSettings {
  const { propagate, accept, sample } = filled(Tracing, tracing)
  if (tracing?.export === undefined) return { propagate, accept, sample, export: undefined }
  const { timeout, ...rest } = filled(TracingExport, tracing.export)
  return { propagate, accept, sample, export: { ...rest, timeoutMs: ms(timeout) } }
}

function completeHealth(health: HealthConfig | undefined): HealthSettings {
  const { strategy, warmup } = filled(Health, health)
  return {
    strategy,
    active: health?.active && completeActive(health.active),
    passive: health?.passive === false ? undefined : completePassive(health?.passive),
    warmupMs: ms(warmup),
  }
}

function completeActive(active: ActiveConfig): ActiveSettings {
  const { type, path, method, headers, expect, interval, timeout, fall, rise } = filled(Active, active)
  return {
    type,
    path,
    method: method.toUpperCase(),
    host: active.host,
    headers: Object.entries(headers),
    expect: statusRanges(expect),
    body: active.body,
    intervalMs: ms(interval),
    timeoutMs: ms(timeout),
    fall,
    rise,
  }
}

function completePassive(passive: PassiveConfig | undefined): PassiveSettings {
  const { window, minimum, degrade, eject, recover, ejection, maxEjected } = filled(Passive, passive)
  return {
    window: passive?.over === undefined ? window : { overMs: ms(passive.over) },
    minimum,
    degrade,
    eject,
    recover,
    ejectionMs: ms(ejection),
    maxEjected,
  }
}

function completeBreaker(breaker: BreakerConfig | undefined): BreakerRules | undefined {
  if (breaker === false) return undefined
  const { window, slowCall, open, maxOpen, ...rest } = filled(Breaker, breaker)
  return {
    ...rest,
    windowMs: ms(window),
    slowCallMs: ms(slowCall),
    openMs: ms(open),
    maxOpenMs: ms(maxOpen),
  }
}

function completeAlgorithm(algorithm: NonNullable<PoolConfig['algorithm']>): AlgorithmSettings {
  if (typeof algorithm === 'string') return { type: algorithm, options: {} }
  const { type, ...options } = algorithm
  return { type, options: ordinaryRecord(options) }
}

function completeBackend(backend: BackendConfig): BackendSettings {
  const { url: written, id, weight } = typeof backend === 'string' ? { url: backend } : backend
  const url = new URL(written)
  return { id: id ?? hostAndPort(url), url, weight: weight ?? DEFAULT_WEIGHT }
}

function completeRoute(route: RouteConfig): RouteSettings {
  const rewrite = filled(Rewrite, route.rewrite)
  const stripPrefix = withoutSlash(rewrite.stripPrefix)
  const addPrefix = withoutSlash(rewrite.addPrefix)
  return {
    path: route.path,
    host: route.host === undefined ? undefined : routeHost(route.host),
    methods: route.methods && [...new Set(route.methods.map((method) => method.toUpperCase()))],
    pool: route.pool,
    rewrite: stripPrefix === '' && addPrefix === '' ? undefined : { stripPrefix, addPrefix },
    requestHeaders: completeHeaders(route.requestHeaders),
    responseHeaders: completeHeaders(route.responseHeaders),
  }
}

/** `undefined` when there is nothing to change, so that the data path has nothing to look at. */
function completeHeaders(rules: HeaderRulesConfig | undefined): HeaderRules | undefined {
  const set = Object.entries(rules?.set ?? {})
  const remove = (rules?.remove ?? []).map((name) => name.toLowerCase())
  return set.length === 0 && remove.length === 0 ? undefined : { set, remove: [...new Set(remove)] }
}

function completePlugin(plugin: PluginConfig, folder: string): PluginSettings {
  const { path, options } = typeof plugin === 'string' ? { path: plugin } : plugin
  return { path: pluginPath(path, folder), options: ordinaryRecord(options ?? {}) }
}

function ordinaryRecord(options: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, ordinary(value)]))
}

/** The check has read every quantity before: one that cannot be read is a mistake in Sluice. */
function ms(value: unknown): number {
  const result = parseDuration(value)
  if (result === undefined) throw new TypeError(`not a duration: ${String(value)}`)
  return result
}

function pemText(written: string, pems: PemReader): string {
  const found = pems.read(written)
  if (found.wrong !== undefined) throw new TypeError(found.wrong)
  return found.value.text
}

function bytes(value: unknown): number {
  const result = parseSize(value)
  if (result === undefined) throw new TypeError(`not a size: ${String(value)}`)
  return result
}
