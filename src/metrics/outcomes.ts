/**
 * How exchanges and attempts ended, in the few words that labels may have.
 */
import type { Exchange } from '../transport/exchange.ts'
import { FAILURES, type FailureKind } from '../transport/failure.ts'

/** The client left before it had an answer, or its answer's end. */
export const ABORTED = 'aborted'

/** What `status` of a request can be. */
export const STATUSES = ['2xx', '3xx', '4xx', '5xx', ABORTED] as const

/** A switch of protocols is a success; what is above 599 is as good as 599 (RFC 9110, section 15). */
export function classOf(status: number): string {
  if (status < 300) return '2xx'
  if (status < 400) return '3xx'
  return status < 500 ? '4xx' : '5xx'
}

/** What the client saw; `aborted` when it had left by then. */
export function statusOf({ outcome, res }: Pick<Exchange, 'outcome' | 'res'>): string {
  // The head of a tunnel goes past the response.
  if (outcome !== 'aborted' && (res.headersSent || res.statusCode === 101)) return classOf(res.statusCode)
  // Cut off before a hook of the application had let the head go.
  return outcome === 'broken' ? '5xx' : ABORTED
}

/** A class of status, or a kind of failure. */
export function outcomeOf(outcome: number | FailureKind | undefined): string {
  if (typeof outcome === 'number') return classOf(outcome)
  return outcome === undefined || outcome === 'client-gone' ? ABORTED : outcome
}

const FAILED: ReadonlySet<string> = new Set(
  Object.entries(FAILURES).flatMap(([kind, { verdict }]) => (verdict === 'ignored' ? [] : [kind])),
)

/** Whether an outcome, in that word, is held against the backend. */
export function isFailure(outcome: string): boolean {
  return outcome === '5xx' || FAILED.has(outcome)
}

/** The last attempt of an exchange may have failed after its head had come. */
export function lastOutcomeOf({ error, attempt }: Pick<Exchange, 'error' | 'attempt'>): string {
  return outcomeOf(error?.failure ?? attempt?.outcome)
}

/** Why there was another attempt, in the words of `retry.on`. */
export function reasonOf(outcome: number | FailureKind | undefined): string {
  const reason = typeof outcome === 'string' ? FAILURES[outcome].retry : outcome
  return reason === undefined ? 'other' : String(reason)
}
