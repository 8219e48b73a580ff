/**
 * `app.figures`: what has been counted of requests, attempts and reloads, each request at its end. fastify-metrics by
 * itself counts in Fastify's onResponse, which misses those that were aborted.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { Figures } from '../src/metrics/figures.ts'
import { classOf, statusOf } from '../src/metrics/outcomes.ts'
import type { Forwarding } from '../src/transport/forwarding.ts'
import { targetOf, type Target } from '../src/transport/target.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly figures: Figures
  }
}

export interface MetricsOptions {
  /** Which route takes a request, if any. */
  readonly find: (request: FastifyRequest, target: Target) => Forwarding | undefined
}

export default fp<MetricsOptions>(
  (app, { find }, done) => {
    const figures = new Figures()
    app.decorate('figures', figures)
    app.onPools(() => figures.adopt(app.snapshot))
    app.observers.push({
      exchange: (exchange, ms) => figures.exchange(exchange, ms),
      request(request, { raw }, ms) {
        const status = statusOf({ outcome: undefined, res: raw })
        figures.request(routeOf(request), status, ms)
      },
      unreadable: ({ status }) => figures.request(undefined, classOf(status), 0),
    })
    app.events.listen(({ what, to }) => {
      if (what === 'reload') figures.reloads.add(to === 'refused' ? 'failure' : 'success')
    })
    done()

    /** A route of the application's own is none of ours. */
    function routeOf(request: FastifyRequest): Forwarding | undefined {
      const target = request.routeOptions.url === '/*' ? targetOf(request.raw) : undefined
      return target === undefined ? undefined : find(request, target)
    }
  },
  { name: 'sluice-metrics', dependencies: ['sluice-observers', 'sluice-snapshot', 'sluice-events'] },
)
