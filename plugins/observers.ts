/**
 * `app.observers`: who wants to know that an exchange has ended, however it did. Called from the 'close' of the
 * client's response, the only event that follows every ending.
 */
import fp from 'fastify-plugin'

import type { Exchange } from '../src/transport/exchange.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly observers: Array<(exchange: Exchange) => void>
  }
}

export default fp(
  (app, _options, done) => {
    app.decorate('observers', [])
    done()
  },
  { name: 'sluice-observers' },
)
