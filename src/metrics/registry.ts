/**
 * Puts our metrics beside Node's own into a registry of fastify-metrics' client, which writes them as Prometheus reads
 * them. Its own counters would hash all their labels at every request, and take two backends whose names differ by where
 * a `|` stands for one; so they are numbers of ours (series.ts), which it asks for at every scrape.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { IFastifyMetrics } from 'fastify-metrics'

import type { Metric } from './catalogue.ts'

type Client = IFastifyMetrics['client']
export type Registry = InstanceType<Client['Registry']>

/** Node's own are the process's, however many gateways are in it. */
let node: Registry | undefined

/** promtool complains of their names; what they say is in others, too. */
const MISNAMED = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_eventloop_utilization_summary',
  'nodejs_eventloop_utilization_histogram',
]

export function createRegistry(client: Client, metrics: readonly Metric[]): Registry {
  node ??= nodeRegistry(client)
  const own = new client.Registry()
  let last: Promise<unknown> = Promise.resolve()
  for (const { name, help, type, read } of metrics) {
    const carrier = new client.Gauge({ name, help, registers: [own] })
    const get = async (): Promise<object> => {
      // Requests come between: of 2000 backends, all metrics at once would keep them waiting for 40 ms.
      last = last.then(() => nextTurn())
      await last
      return { name, help, type, values: [...read()] }
    }
    Object.assign(carrier, { get })
  }
  return client.Registry.merge([own, node])
}

function nodeRegistry(client: Client): Registry {
  const registry = new client.Registry(client.Registry.PROMETHEUS_CONTENT_TYPE)
  client.collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  return registry
}
