/**
 * What can go wrong in an attempt: a closed list, and for each kind who is to blame, which answer the client gets, and
 * what makes it worth another attempt. Only a failure that the backend is to blame for may ever count against it; else a
 * client could open every breaker.
 */
import type { RetryCondition } from '../core/retry.ts'
import type { ErrorCode } from '../errors.ts'

interface Kind {
  readonly blame: 'backend' | 'client' | 'gateway'
  /** undefined for what cannot be answered any more. */
  readonly code: ErrorCode | undefined
  /** What a pool's `retry.on` calls it; undefined for what no other attempt would mend. */
  readonly retry: RetryCondition | undefined
  /** True when the backend cannot have seen a byte of the request. */
  readonly unsent: boolean
  /** True when the same backend may do better in a moment, as when it restarts. */
  readonly passing: boolean
}

function unsent(code: ErrorCode, blame: Kind['blame'] = 'backend'): Kind {
  return { blame, code, retry: 'connect', unsent: true, passing: false }
}

function sent(code: ErrorCode | undefined, retry?: RetryCondition, blame: Kind['blame'] = 'backend'): Kind {
  return { blame, code, retry, unsent: false, passing: false }
}

const KINDS = {
  refused: { ...unsent('SLUICE_CONNECT_FAILED'), passing: true },
  'connect-timeout': unsent('SLUICE_CONNECT_TIMEOUT'),
  'tls-failed': unsent('SLUICE_CONNECT_FAILED'),
  'tls-timeout': unsent('SLUICE_CONNECT_TIMEOUT'),
  reset: { ...sent('SLUICE_RESET', 'reset'), passing: true },
  // What the client would get for it says which condition it is.
  'bad-response': sent('SLUICE_BAD_RESPONSE', 502),
  'headers-timeout': sent('SLUICE_HEADERS_TIMEOUT', 'timeout'),
  'body-timeout': sent(undefined),
  'tunnel-timeout': sent(undefined, undefined, 'gateway'),
  'total-timeout': sent('SLUICE_TOTAL_TIMEOUT'),
  // Another backend may have room at once. Who has waited in vain already has had its time.
  'queue-full': unsent('SLUICE_QUEUE_FULL', 'gateway'),
  'queue-timeout': sent('SLUICE_QUEUE_TIMEOUT', undefined, 'gateway'),
  'body-too-large': sent('SLUICE_BODY_TOO_LARGE', undefined, 'client'),
  'bad-body': sent('SLUICE_BAD_REQUEST', undefined, 'client'),
  'client-timeout': sent('SLUICE_CLIENT_TIMEOUT', undefined, 'client'),
  'client-gone': sent(undefined, undefined, 'client'),
  unsendable: sent('SLUICE_INTERNAL', undefined, 'gateway'),
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
