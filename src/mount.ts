/**
 * A pool on a route of somebody's own Fastify application: `app.register(sluice, { prefix: '/reports', pool })`. All in
 * one encapsulated context: the application's hooks hold for it, nothing of it leaks into the application.
 */
import type { FastifyInstance } from 'fastify'

import algorithms from '../plugins/algorithms.ts'
import errors from '../plugins/errors.ts'
import forward from '../plugins/forward.ts'
import lifecycle from '../plugins/lifecycle.ts'
import observers from '../plugins/observers.ts'
import snapshot from '../plugins/snapshot.ts'
import proxy from '../routes/proxy.ts'
import { checkObject, ConfigError } from './config/check.ts'
import type { PoolConfig, RouteConfig } from './config/schema.ts'
import type { AlgorithmFactory } from './core/algorithms/algorithm.ts'
import { Peers } from './transport/peer.ts'

export interface MountOptions extends Pick<RouteConfig, 'rewrite' | 'requestHeaders' | 'responseHeaders'> {
  /** Everything below goes to the pool; the path goes on as it came, unless `rewrite` says otherwise. */
  readonly prefix?: string
  readonly pool: PoolConfig
  /** Addresses and CIDRs of the proxies in front of the application whose X-Forwarded-* fields are believed. */
  readonly trustedProxies?: readonly string[]
  /** The longest pause between two pieces of a client's body, such as '30s' (the default). */
  readonly bodyTimeout?: string | number
  /** Algorithms of the application's own, by name. */
  readonly algorithms?: Readonly<Record<string, AlgorithmFactory<never>>>
}

/** @throws {ConfigError} when the options are wrong; its `problems` name each mistake */
export async function sluice(app: FastifyInstance, options: MountOptions): Promise<void> {
  const { prefix } = app
  const { pool, trustedProxies = [], bodyTimeout = '30s', rewrite, requestHeaders, responseHeaders } = options
  const rules = Object.entries({ rewrite, requestHeaders, responseHeaders }).filter(([, rule]) => rule !== undefined)
  const { settings, problems } = checkObject({
    listen: { trustedProxies: [...trustedProxies], bodyTimeout },
    pools: { pool },
    routes: [{ path: `${prefix}/*`, pool: 'pool', ...Object.fromEntries(rules) }],
  })
  if (settings === undefined) throw new ConfigError(problems)
  const { listen, pools, routes } = settings

  await app.register(lifecycle)
  await app.register(errors)
  await app.register(observers)
  await app.register(algorithms)
  for (const [name, factory] of Object.entries(options.algorithms ?? {})) app.algorithms.register(name, factory)
  await app.register(snapshot, { pools, routes, clientBodyMs: listen.bodyTimeoutMs })
  await app.register(forward)
  await app.register(proxy, {
    peers: new Peers(listen.trustedProxies),
    closing: () => app.lifecycle.closing,
    find: () => app.snapshot.routes[0]?.forwarding,
  })
}
