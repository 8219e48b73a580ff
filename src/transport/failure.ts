/**
 * What can go wrong in an attempt: a closed list, and for each kind what it says of the backend, which answer the client
 * gets, and what makes it worth another attempt. Only what the backend is to blame for may ever count against it; else a
 * client could open every breaker.
 */
import type { Verdict } from '../core/lease.ts'
import type { RetryCondition } from '../core/retry.ts'
import type { ErrorCode } from '../errors.ts'

interface Kind {
  readonly verdict: Exclude<Verdict, 'success'>
  /** undefined for what cannot be answered any more. */
  readonly code: ErrorCode | undefined
  /** What a pool's `retry.on` calls it; undefined for what no other attempt would mend. */
  readonly retry: RetryCondition | undefined
  /** True when the backend cannot have seen a byte of the request. */
  readonly unsent: boolean
  /** True when the same backend may do better in a moment, as when it restarts. */
  readonly passing: boolean
}

function unsent(code: ErrorCode, verdict: Kind['verdict']): Kind {
  return { verdict, code, retry: 'connect', unsent: true, passing: false }
}

function sent(code: ErrorCode | undefined, retry?: RetryCondition, verdict: Kind['verdict'] = 'failure'): Kind {
  return { verdict, code, retry, unsent: false, passing: false }
}

const KINDS = {
  refused: { ...unsent('SLUICE_CONNECT_FAILED', 'unreachable'), passing: true },
  // Another backend may have a connection already.
  'no-means': unsent('SLUICE_CONNECT_FAILED', 'ignored'),
  'connect-timeout': unsent('SLUICE_CONNECT_TIMEOUT', 'unreachable'),
  // A check that only connects would not notice.
  'tls-failed': unsent('SLUICE_CONNECT_FAILED', 'failure'),
  'tls-timeout': unsent('SLUICE_CONNECT_TIMEOUT', 'failure'),
  reset: { ...sent('SLUICE_RESET', 'reset'), passing: true },
  // What the client would get for it says which condition it is.
  'bad-response': sent('SLUICE_BAD_RESPONSE', 502),
  'headers-timeout': sent('SLUICE_HEADERS_TIMEOUT', 'timeout'),
  'body-timeout': sent(undefined),
  'tunnel-timeout': sent(undefined, undefined, 'ignored'),
  'total-timeout': sent('SLUICE_TOTAL_TIMEOUT'),
  // Another backend may have room at once. Who has waited in vain already has had its time.
  'queue-full': unsent('SLUICE_QUEUE_FULL', 'ignored'),
  'queue-timeout': sent('SLUICE_QUEUE_TIMEOUT', undefined, 'ignored'),
  'body-too-large': sent('SLUICE_BODY_TOO_LARGE', undefined, 'ignored'),
  'bad-body': sent('SLUICE_BAD_REQUEST', undefined, 'ignored'),
  'client-timeout': sent('SLUICE_CLIENT_TIMEOUT', undefined, 'ignored'),
  'client-gone': sent(undefined, undefined, 'ignored'),
  unsendable: sent('SLUICE_INTERNAL', undefined, 'ignored'),
} as const

export type FailureKind = keyof typeof KINDS

export const FAILURES: Readonly<Record<FailureKind, Kind>> = KINDS

export class AttemptError extends Error {
  override readonly name = 'AttemptError'
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string, cause?: Error) {
    super(message, cause === undefined ? undefined : { cause })
    this.kind = kind
  }
}

/**
 * What keeps this process from connecting to anybody: no file descriptors, memory or local ports are left (see errno(3)
 * and connect(2)), or the resolver does not answer, which is another thing than that it knows no such name.
 */
const OUR_OWN: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'EAI_AGAIN'])

/** Whether it is no backend's fault that there is no connection. */
export function isOurOwn(error: Error | undefined): boolean {
  // Every address of a name was tried: one that was really refused says more than those that could not be.
  if (error instanceof AggregateError) return error.errors.every((each) => each instanceof Error && isOurOwn(each))
  return error !== undefined && OUR_OWN.has(Reflect.get(error, 'code'))
}
