/**
 * `app.figures`: what has been counted of requests, attempts and reloads. Exchanges are counted at their end, from the
 * 'close' of the response; so are requests that never became one. Fastify's onResponse would miss those that were
 * aborted, and fastify-metrics with it.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { Figures } from '../src/metrics/figures.ts'
import { statusOf } from '../src/metrics/outcomes.ts'
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
    app.observers.push((exchange) => figures.exchange(exchange))
    app.events.listen(({ what, to }) => {
      if (what === 'reload') figures.reloads.add(to === 'refused' ? 'failure' : 'success')
    })
    // Before the hooks of users' plugins, which may answer by themselves.
    app.addHook('onRequest', (request, reply, next) => {
      const startedAt = performance.now()
      reply.raw.on('close', () => {
        if (request.exchange !== null) return
        const status = statusOf({ outcome: undefined, res: reply.raw })
        figures.request(routeOf(request), status, performance.now() - startedAt)
      })
      next()
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
