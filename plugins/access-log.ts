/**
 * One log line an exchange: who asked for what, which backend answered, how long it took, and why not, if not.
 */
import fp from 'fastify-plugin'

import type { Exchange } from '../src/transport/exchange.ts'

export interface AccessLogOptions {
  /** Whether every exchange is logged; those that failed always are. */
  readonly all: () => boolean
}

export default fp<AccessLogOptions>(
  (app, options, done) => {
    app.observers.push((exchange) => {
      const failed = exchange.outcome === 'refused' || exchange.outcome === 'broken'
      if (!failed && !options.all()) return
      const entry = describe(exchange)
      // A client that asks for what it cannot have is no concern of whoever reads the warnings.
      if (failed && (exchange.outcome === 'broken' || exchange.res.statusCode >= 500))
        app.log.warn(entry, 'request failed')
      else if (failed) app.log.info(entry, 'request refused')
      else app.log.info(entry, 'request')
    })
    done()
  },
  { name: 'sluice-access-log', dependencies: ['sluice-observers'] },
)

function describe(exchange: Exchange): object {
  const { raw, res, request, forwarding, attempt, outcome, error } = exchange
  return {
    requestId: request.id,
    client: exchange.ip,
    method: raw.method,
    path: exchange.path,
    status: outcome === 'aborted' ? 499 : res.statusCode,
    outcome,
    pool: forwarding.pool.name,
    backend: attempt?.lease.member.id,
    attempts: exchange.attempts,
    ...(exchange.tries === undefined ? {} : { tries: exchange.allTries }),
    ms: Math.round((performance.now() - exchange.startedAt) * 10) / 10,
    ...(error === undefined ? {} : error),
  }
}
