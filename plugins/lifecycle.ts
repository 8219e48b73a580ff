/**
 * `app.lifecycle`: whether the gateway is starting, takes traffic, or is on its way out. Readiness, and the
 * `Connection: close` that sends clients elsewhere, follow from it; and so does the end of what is still open when the
 * time for ending is over.
 */
import type { Duplex } from 'node:stream'

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
  /** Clients' connections that a closing server would wait for, maybe for ever: tunnels, streams, requests. */
  readonly open: Set<Duplex>
}

export interface LifecycleOptions {
  /** How long after the beginning of the end open connections are cut, in milliseconds. */
  readonly graceMs: () => number
}

export default fp<LifecycleOptions>(
  (app, { graceMs }, done) => {
    const open = new Set<Duplex>()
    const lifecycle: Lifecycle = { state: 'starting', closing: false, startedAt: new Date(), open }
    app.decorate('lifecycle', lifecycle)
    app.addHook('preClose', (next) => {
      lifecycle.state = 'stopping'
      lifecycle.closing = true
      // What is open keeps the process alive, not this.
      const ms = graceMs()
      setTimeout(cut, ms, ms).unref()
      next()
    })
    done()

    function cut(ms: number): void {
      if (open.size === 0) return
      app.log.warn(`${open.size} connections were still open after ${ms} ms and are cut off`)
      for (const socket of open) socket.destroy()
    }
  },
  { name: 'sluice-lifecycle' },
)
