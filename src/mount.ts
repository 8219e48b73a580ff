/**
 * A pool on a route of somebody's own Fastify application: `app.register(sluice, { prefix: '/reports', pool })`. All in
 * one encapsulated context: the application's hooks hold for it, nothing of it leaks into the application.
 */
import type { FastifyInstance } from 'fastify'

import accessLog from '../plugins/access-log.ts'
import algorithms from '../plugins/algorithms.ts'
import checks from '../plugins/checks.ts'
import errors from '../plugins/errors.ts'
import events from '../plugins/events.ts'
import forward from '../plugins/forward.ts'
import lifecycle from '../plugins/lifecycle.ts'
import observers from '../plugins/observers.ts'
import requestId from '../plugins/request-id.ts'
import snapshot from '../plugins/snapshot.ts'
import tracingPlugin from '../plugins/tracing.ts'
import proxy from '../routes/proxy.ts'
import { checkObject, ConfigError, type Problem } from './config/check.ts'
import type { Config, PoolConfig, RouteConfig } from './config/schema.ts'
import type { AlgorithmFactory } from './core/algorithms/algorithm.ts'
import { pseudonym } from './listener.ts'
import { VERSION } from './package.ts'
import { Peers } from './transport/peer.ts'
import { takeUpgrades } from './upgrades.ts'

export interface MountOptions extends Pick<RouteConfig, 'rewrite' | 'requestHeaders' | 'responseHeaders'> {
  /** Everything below goes to the pool; the path goes on as it came, unless `rewrite` says otherwise. */
  readonly prefix?: string
  readonly pool: PoolConfig
  /** Addresses and CIDRs of the proxies in front of the application whose X-Forwarded-* fields are believed. */
  readonly trustedProxies?: readonly string[]
  /** The longest pause between two pieces of a client's body, such as '30s' (the default). */
  readonly bodyTimeout?: string | number
  /** What is done about traces: see `tracing` of the configuration. */
  readonly tracing?: NonNullable<Config['tracing']>
  /** Algorithms of the application's own, by name. */
  readonly algorithms?: Readonly<Record<string, AlgorithmFactory<never>>>
}

/** @throws {ConfigError} when the options are wrong; its `problems` name each mistake */
export async function sluice(app: FastifyInstance, options: MountOptions): Promise<void> {
  const { prefix } = app
  refuseUnknown(options, prefix)
  const { pool, trustedProxies = [], bodyTimeout = '30s', tracing = {} } = options
  const { rewrite, requestHeaders, responseHeaders } = options
  const rules = Object.entries({ rewrite, requestHeaders, responseHeaders }).filter(([, rule]) => rule !== undefined)
  const { settings, problems } = checkObject({
    listen: { trustedProxies: [...trustedProxies], bodyTimeout },
    tracing,
    pools: { pool },
    routes: [{ path: `${prefix}/*`, pool: 'pool', ...Object.fromEntries(rules) }],
  })
  if (settings === undefined) throw new ConfigError(problems.map(asOption))
  const { listen, pools, routes } = settings
  const peers = new Peers(listen.trustedProxies)

  // The application waits for requests in its own way; a tunnel would keep it for ever.
  await app.register(lifecycle, { graceMs: () => 0 })
  takeUpgrades(app, (path) => path === prefix || path.startsWith(`${prefix}/`))
  await app.register(observers, { peers })
  await app.register(requestId)
  await app.register(errors, { others: 'leave' })
  await app.register(accessLog, { rules: () => undefined, peers })
  await app.register(tracingPlugin, {
    settings: settings.tracing.export,
    version: VERSION,
    graceMs: () => Infinity,
  })
  await app.register(algorithms)
  for (const [name, factory] of Object.entries(options.algorithms ?? {})) app.algorithms.register(name, factory)
  await app.register(events)
  await app.register(snapshot, { pools, routes, clientBodyMs: listen.bodyTimeoutMs, drainMs: 0 })
  await app.register(checks)
  await app.register(forward)
  await app.register(proxy, {
    peers,
    via: pseudonym(listen.via),
    closing: () => app.lifecycle.closing,
    tracing: () => settings.tracing,
    // Whether by an option of its server or a flag of the process.
    strict: false,
    find: () => app.snapshot.routes[0]?.forwarding,
  })
}

// The last three are Fastify's, for any plugin.
const OPTIONS: ReadonlySet<string> = new Set([
  'pool',
  'rewrite',
  'requestHeaders',
  'responseHeaders',
  'trustedProxies',
  'bodyTimeout',
  'tracing',
  'algorithms',
  'prefix',
  'logLevel',
  'logSerializers',
])

function refuseUnknown(options: MountOptions, prefix: string): void {
  const problems: Problem[] = Object.keys(options)
    .filter((name) => !OPTIONS.has(name))
    .map((name) => ({ path: name, message: `unknown option, expected one of ${[...OPTIONS].join(', ')}` }))
  if (prefix.endsWith('/')) problems.push({ path: 'prefix', message: 'expected no slash at the end' })
  if (!('pool' in options)) problems.push({ path: 'pool', message: 'expected a pool, as in { backends: [URL] }' })
  if (problems.length > 0) throw new ConfigError(problems)
}

/** A problem in the words of the options: the pool and the route around them are ours. */
function asOption(problem: Problem): Problem {
  return { ...problem, path: problem.path.replace(/^pools\.pool/, 'pool').replace(/^(?:routes\[0\]|listen)\.?/, '') }
}
