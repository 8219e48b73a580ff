/**
 * The data path, whole: route, exchange, lease, attempt - and the one place that decides about another attempt.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { sendAttempt } from '../plugins/forward.ts'
import { EXPLAIN } from '../src/core/fields.ts'
import { sendError, SluiceError, type ErrorCode } from '../src/errors.ts'
import { Attempt, type Decider } from '../src/transport/attempt.ts'
import { Exchange, type ExchangeContext } from '../src/transport/exchange.ts'
import { FAILURES } from '../src/transport/failure.ts'
import type { Forwarding } from '../src/transport/forwarding.ts'
import {
  awaitPlace,
  backOff,
  givePlaceBack,
  isRetryStatus,
  mayRepeat,
  takePlace,
  turnElsewhere,
} from '../src/transport/repetition.ts'
import { targetOf, type Target } from '../src/transport/target.ts'
import { catchAll, hasSendHooks } from './catch-all.ts'

export interface ProxyOptions extends ExchangeContext {
  /** Which route takes a request, if any. */
  readonly find: (request: FastifyRequest, target: Target) => Forwarding | undefined
  /** Looks at the choice that is about to be made, if the client may know; what it gives tells of it later. */
  readonly explain?: (exchange: Exchange) => Exchange['explanation']
}

// Async, so that what goes wrong in here, such as a route that a plugin has taken, is the registration's failure.
export default async function proxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  catchAll(app, handle)

  function handle(request: FastifyRequest, reply: FastifyReply): void {
    const target = targetOf(request.raw)
    if (target === undefined) throw new SluiceError('SLUICE_BAD_REQUEST')
    const forwarding = options.find(request, target)
    if (forwarding === undefined) throw new SluiceError('SLUICE_NO_ROUTE')
    // While hooks took their time, the client may have left.
    if (request.over) return
    const throughHooks = hasSendHooks(request)
    const exchange = new Exchange(request, reply, target, forwarding, options, throughHooks, request)
    request.exchange = exchange
    exchange.onClose = end
    forwarding.budget.begin(exchange.startedAt)
    // What is left to do, its 'close' does.
    if (exchange.gone) return
    // Of pipelined requests only the first has the connection: one client holds one place at a time.
    if (reply.raw.socket === null) exchange.awaitTurn(() => attempt(exchange))
    else attempt(exchange)
  }

  function attempt(exchange: Exchange): void {
    const { pool, connections } = exchange.forwarding
    if (exchange.attempt !== undefined) exchange.remember(exchange.attempt)
    else if (exchange.raw.headers[EXPLAIN] !== undefined) exchange.explanation = options.explain?.(exchange)
    // Those that it was to turn to may have gone meanwhile.
    const lease = pool.acquire(exchange, exchange.tried) ?? pool.acquire(exchange)
    if (lease === undefined) return refuse(exchange, 'SLUICE_NO_BACKEND')
    try {
      exchange.attempt = new Attempt(exchange, lease, connections.get(lease.member), decider)
    } catch (error) {
      lease.release('failed')
      return refuse(exchange, error instanceof SluiceError ? error.code : 'SLUICE_BAD_REQUEST')
    }
    exchange.attempts++
    sendAttempt(exchange.reply)
  }

  const decider: Decider = {
    replaces(exchange, head) {
      givePlaceBack(exchange)
      if (!isRetryStatus(head.status) || !mayRepeat(exchange, head.status, false)) return false
      // Who answered has answered, and may have said when to come back: only another backend can do better now. And an
      // answer in the hand is worth more than one that may come once the budget has room again.
      return turnElsewhere(exchange) && takePlace(exchange) && backOff(exchange, () => attempt(exchange))
    },

    failed(exchange, error) {
      givePlaceBack(exchange)
      const { code, retry, unsent, passing } = FAILURES[error.kind]
      exchange.error = { code, failure: error.kind, reason: error.message }
      // Its 'close' says the rest.
      if (error.kind === 'client-gone') return void exchange.res.destroy()
      if (exchange.begun || code === undefined) return exchange.cut()
      if (retry === undefined || !mayRepeat(exchange, retry, unsent)) return refuse(exchange, code)
      const elsewhere = turnElsewhere(exchange)
      // What no backend has seen costs nobody anything when it goes to another one: at once, beside the budget.
      if (elsewhere && unsent) attempt(exchange)
      else if (elsewhere || passing) repeat(exchange, code)
      else refuse(exchange, code)
    },
  }

  /** Makes another attempt as soon as the budget has room. */
  function repeat(exchange: Exchange, code: ErrorCode): void {
    if (!takePlace(exchange)) {
      awaitPlace(
        exchange,
        () => repeat(exchange, code),
        () => refuse(exchange, code),
      )
    } else if (!backOff(exchange, () => attempt(exchange))) refuse(exchange, code)
  }
}

function end(exchange: Exchange): void {
  exchange.stopWaiting?.()
  givePlaceBack(exchange)
  exchange.forwarding.budget.end()
  if (exchange.outcome === undefined || exchange.undelivered) exchange.outcome = 'aborted'
  exchange.attempt?.abort()
}

function refuse(exchange: Exchange, code: ErrorCode): void {
  const error = new SluiceError(code)
  exchange.error ??= { code, reason: error.message }
  exchange.outcome = 'refused'
  exchange.body?.stop()
  if (exchange.gone) return
  if (exchange.explanation !== undefined) exchange.reply.header(EXPLAIN, exchange.explanation())
  sendError(error, exchange.request, exchange.reply)
}
