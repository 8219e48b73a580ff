/**
 * The wiring: which plugins in which order, then the routes. The order of the lines is the architecture.
 */
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'

import accessLog from '../plugins/access-log.ts'
import adminErrors from '../plugins/admin-errors.ts'
import adminGuard from '../plugins/admin-guard.ts'
import algorithms from '../plugins/algorithms.ts'
import checks from '../plugins/checks.ts'
import configuration from '../plugins/configuration.ts'
import errors from '../plugins/errors.ts'
import events from '../plugins/events.ts'
import forward from '../plugins/forward.ts'
import lifecycle from '../plugins/lifecycle.ts'
import metrics from '../plugins/metrics.ts'
import observers from '../plugins/observers.ts'
import requestId from '../plugins/request-id.ts'
import snapshot from '../plugins/snapshot.ts'
import tracing from '../plugins/tracing.ts'
import underPressure from '../plugins/under-pressure.ts'
import userPlugins from '../plugins/user-plugins.ts'
import admin from '../routes/admin.ts'
import backends from '../routes/backends.ts'
import configurationRoutes from '../routes/configuration.ts'
import dashboard from '../routes/dashboard.ts'
import eventRoutes from '../routes/events.ts'
import explain from '../routes/explain.ts'
import { explainer } from '../routes/explain-field.ts'
import { findRoute } from '../routes/find-route.ts'
import metricsRoute from '../routes/metrics.ts'
import proxy from '../routes/proxy.ts'
import { algorithmCheck } from './algorithm-check.ts'
import { ConfigError } from './config/check.ts'
import type { Candidate } from './config/configuration.ts'
import type { Settings } from './config/settings.ts'
import { offerHttp2 } from './http2.ts'
import { checkBytes } from './large-config.ts'
import { adminOptions, gatewayOptions, outfitAdmin, outfitServers, pseudonym, renewCertificate } from './listener.ts'
import { logStream } from './log/stream.ts'
import { VERSION } from './package.ts'
import { Peers } from './transport/peer.ts'
import type { Target } from './transport/target.ts'
import { takeUpgrades } from './upgrades.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The admin listener, an application of its own; `undefined` when it is switched off. */
    readonly admin: FastifyInstance | undefined
  }
}

/** Where a configuration came from. */
export interface Origin {
  /** A short hash of what was read. */
  readonly hash: string
  /** What relative paths in a configuration are relative to. */
  readonly folder: string
  /** What goes before any configuration, such as the command line. */
  readonly override?: ((settings: Settings) => Settings) | undefined
}

export async function createGateway(settings: Settings, origin: Origin): Promise<FastifyInstance> {
  const peers = new Peers(settings.listen.trustedProxies)
  const app = Fastify(gatewayOptions(settings, peers))
  const { pools, routes, listen } = settings
  const find = ({ raw }: FastifyRequest, target: Target) =>
    findRoute(app.snapshot, raw.method ?? '', raw.headers.host, target)?.forwarding

  await app.register(lifecycle, {
    graceMs: () => graceOf(app),
  })
  takeUpgrades(app, () => true)
  outfitServers(app, listen.maxConnections, listen.tls === undefined ? () => undefined : offerHttp2(app, listen))
  await app.register(observers, { peers })
  await app.register(requestId)
  await app.register(errors, { others: 'answer' })
  await app.register(accessLog, {
    rules: () => app.configuration.inForce.settings.log.access,
    peers,
    destination: logStream(),
  })
  await app.register(tracing, {
    settings: settings.tracing.export,
    version: VERSION,
    graceMs: () => graceOf(app),
  })
  await app.register(algorithms)
  await app.register(events)
  await app.register(snapshot, { pools, routes, clientBodyMs: listen.bodyTimeoutMs, drainMs: settings.reload.drainMs })
  await app.register(checks)
  await app.register(configuration, {
    first: { settings, hash: origin.hash },
    renewCertificate: (tls) => renewCertificate(app, tls),
  })
  if (settings.admin) await app.register(metrics, { find })
  await app.register(underPressure, { settings: () => app.configuration.inForce.settings.overload, peers })
  await app.register(forward)
  await app.register(userPlugins, { plugins: settings.plugins })
  await app.register(proxy, {
    peers,
    via: pseudonym(listen.via),
    closing: () => app.lifecycle.closing,
    tracing: () => app.configuration.inForce.settings.tracing,
    strict: true,
    find,
    explain: explainer(app, settings.admin ? settings.admin.token : ''),
  })

  const adminApp = settings.admin && Fastify(adminOptions())
  app.decorate('admin', adminApp)
  if (settings.admin && adminApp) {
    outfitAdmin(adminApp, app.log)
    await adminApp.register(requestId)
    await adminApp.register(adminErrors, { log: app.log })
    await adminApp.register(adminGuard, { settings: settings.admin, log: app.log })
    await adminApp.register(admin, { gateway: app, version: VERSION })
    await adminApp.register(dashboard)
    await adminApp.register(metricsRoute, { gateway: app })
    await adminApp.register(backends, { gateway: app })
    await adminApp.register(explain, { gateway: app })
    await adminApp.register(eventRoutes, { gateway: app, version: VERSION })
    await adminApp.register(configurationRoutes, {
      gateway: app,
      read: (content, kind) => read(app, content, kind, origin),
    })
    app.addHook('onClose', () => adminApp.close())
  }
  return app
}

function graceOf(app: FastifyInstance): number {
  return app.configuration.inForce.settings.shutdown.graceMs
}

/** A configuration that came by a call. @throws {ConfigError} when it is none */
async function read(
  app: FastifyInstance,
  content: Buffer,
  kind: 'yaml' | 'json',
  { folder, override }: Origin,
): Promise<Candidate> {
  const options = { kind, folder, env: process.env }
  const { settings, problems, hash } = await checkBytes(content, options, algorithmCheck(app.algorithms))
  if (settings === undefined) throw new ConfigError(problems)
  return { settings: override?.(settings) ?? settings, hash }
}
