/**
 * GET /metrics of the admin listener: everything, as Prometheus reads it.
 */
import type { FastifyInstance } from 'fastify'
import fastifyMetrics from 'fastify-metrics'

import { logStream } from '../src/log/stream.ts'
import { catalogue } from '../src/metrics/catalogue.ts'
import { createRegistry } from '../src/metrics/registry.ts'

export interface MetricsRouteOptions {
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
}

export default async function metrics(app: FastifyInstance, { gateway }: MetricsRouteOptions): Promise<void> {
  // What it would count by itself would be the calls of this listener.
  const nothing = { endpoint: null, defaultMetrics: { enabled: false }, routeMetrics: { enabled: false } }
  await app.register(fastifyMetrics.default, nothing)
  const sights = {
    pools: () => gateway.snapshot.pools.values(),
    lastReloadOk: () => gateway.configuration.lastReload.ok,
    openConnections: () => gateway.lifecycle.open.size,
    logLinesLost: () => logStream().lost,
    overload: gateway.overload,
  }
  const registry = createRegistry(app.metrics.client, catalogue(gateway.figures, sights))
  app.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}
