/**
 * What another attempt of an exchange takes: that it may be made, a backend that has not failed yet, a place in the
 * pool's budget, and a wait. Whether it is made is decided in routes/proxy.ts.
 */
import { backoffMs, type RetryCondition } from '../core/retry.ts'
import type { Exchange } from './exchange.ts'

/** Whether a pool could want a status to be retried. */
export function isRetryStatus(status: number): status is RetryCondition & number {
  return status === 503 || status === 502 || status === 504 || status === 500 || status === 429
}

/** Whether the pool wants it, and it does no harm. */
export function mayRepeat(exchange: Exchange, condition: RetryCondition, unsent: boolean): boolean {
  const { retry } = exchange.forwarding
  return exchange.attempts < retry.attempts && retry.on.has(condition) && (unsent || exchange.repeatable)
}

/** Turns to the backends that have not failed, if there are any; else to all but the one that failed last. */
export function turnElsewhere(exchange: Exchange): boolean {
  const { candidates } = exchange.forwarding.pool
  const last = exchange.attempt?.lease.member
  if (last === undefined) return false
  const tried = (exchange.tried ??= new Set())
  tried.add(last)
  if (candidates.some((candidate) => !tried.has(candidate))) return true
  tried.clear()
  if (candidates.length > 1) tried.add(last)
  return false
}

/** Takes a place in the budget, unless it has one. */
export function takePlace(exchange: Exchange): boolean {
  if (!exchange.retrying) exchange.retrying = exchange.forwarding.budget.take()
  return exchange.retrying
}

export function givePlaceBack(exchange: Exchange): void {
  if (exchange.retrying) exchange.forwarding.budget.giveBack()
  exchange.retrying = false
}

/** Waits for a place, for as long as a wait before an attempt may take. */
export function awaitPlace(exchange: Exchange, granted: () => void, refused: () => void): void {
  const { budget, retry } = exchange.forwarding
  const leave = budget.wait(() => {
    exchange.stopWaiting?.()
    exchange.retrying = true
    granted()
  })
  const timer = setTimeout(() => {
    leave()
    refused()
  }, retry.backoff.maxMs)
  exchange.stopWaiting = () => {
    leave()
    clearTimeout(timer)
  }
}

/** Calls `again` after a wait; false when the time for the whole request would be over by then. */
export function backOff(exchange: Exchange, again: () => void): boolean {
  const { retry, totalMs } = exchange.forwarding
  const delayMs = backoffMs(retry.backoff, exchange.attempts - 1, Math.random)
  if (performance.now() + delayMs >= exchange.startedAt + totalMs) return false
  const timer = setTimeout(again, delayMs)
  exchange.stopWaiting = () => clearTimeout(timer)
  return true
}
