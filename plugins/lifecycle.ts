/**
 * `app.lifecycle`: whether the gateway is starting, takes traffic, or is on its way out. Readiness, and the
 * `Connection: close` that sends clients elsewhere, follow from it.
 */
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    readonly lifecycle: Lifecycle
  }
}

export interface Lifecycle {
  /** `ready`: takes traffic; `stopping`: says that it is not ready, but still serves. */
  state: 'starting' | 'ready' | 'stopping'
  /** From the moment on which nothing new is let in: every answer asks its client to close the connection. */
  closing: boolean
  readonly startedAt: Date
}

export default fp(
  (app, _options, done) => {
    const lifecycle: Lifecycle = { state: 'starting', closing: false, startedAt: new Date() }
    app.decorate('lifecycle', lifecycle)
    app.addHook('preClose', (next) => {
      lifecycle.state = 'stopping'
      lifecycle.closing = true
      next()
    })
    done()
  },
  { name: 'sluice-lifecycle' },
)
