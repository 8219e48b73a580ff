/**
 * Sends the spans of recorded exchanges to a collector, where the configuration names one; what that takes is loaded
 * only then. Requests never wait for it, whatever the collector does.
 */
import fp from 'fastify-plugin'

import type { TracingExportSettings } from '../src/config/settings.ts'
import { openExport } from '../src/tracing/export.ts'

export interface TracingOptions {
  /** `undefined` to send nothing. */
  readonly settings: TracingExportSettings | undefined
  /** Of this gateway. */
  readonly version: string
  /** How long closing may take. */
  readonly graceMs: () => number
}

export default fp<TracingOptions>(
  async (app, { settings, version, graceMs }) => {
    if (settings === undefined) return
    const spans = await openExport(settings, version, (message) => app.log.warn(message))
    app.observers.push({ exchange: (exchange) => spans.add(exchange) })
    app.addHook('onClose', () => spans.close(graceMs()))
  },
  { name: 'sluice-tracing', dependencies: ['sluice-observers'] },
)
