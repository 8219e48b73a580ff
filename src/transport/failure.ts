/**
 * What can go wrong in an attempt: a closed list, and for each kind who is to blame and which answer the client gets.
 * Only a failure that the backend is to blame for may ever count against it; else a client could open every breaker.
 */
import type { ErrorCode } from '../errors.ts'

interface Kind {
  readonly blame: 'backend' | 'client' | 'gateway'
  readonly code: ErrorCode
  /** True when the backend cannot have seen a byte of the request. */
  readonly unsent: boolean
}

export const FAILURES = {
  refused: { blame: 'backend', code: 'SLUICE_CONNECT_FAILED', unsent: true },
  'connect-timeout': { blame: 'backend', code: 'SLUICE_CONNECT_TIMEOUT', unsent: true },
  reset: { blame: 'backend', code: 'SLUICE_RESET', unsent: false },
  'bad-response': { blame: 'backend', code: 'SLUICE_BAD_RESPONSE', unsent: false },
  'headers-timeout': { blame: 'backend', code: 'SLUICE_HEADERS_TIMEOUT', unsent: false },
  'body-timeout': { blame: 'backend', code: 'SLUICE_HEADERS_TIMEOUT', unsent: false },
  'total-timeout': { blame: 'backend', code: 'SLUICE_TOTAL_TIMEOUT', unsent: false },
  'queue-full': { blame: 'gateway', code: 'SLUICE_QUEUE_FULL', unsent: true },
  'queue-timeout': { blame: 'gateway', code: 'SLUICE_QUEUE_TIMEOUT', unsent: true },
  'body-too-large': { blame: 'client', code: 'SLUICE_BODY_TOO_LARGE', unsent: false },
  'bad-body': { blame: 'client', code: 'SLUICE_BAD_REQUEST', unsent: false },
  'client-timeout': { blame: 'client', code: 'SLUICE_CLIENT_TIMEOUT', unsent: false },
  unsendable: { blame: 'gateway', code: 'SLUICE_INTERNAL', unsent: false },
  'client-gone': { blame: 'client', code: 'SLUICE_BAD_REQUEST', unsent: false },
} as const satisfies Record<string, Kind>

export type FailureKind = keyof typeof FAILURES

export class AttemptError extends Error {
  override readonly name = 'AttemptError'
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string, cause?: Error) {
    super(message, cause === undefined ? undefined : { cause })
    this.kind = kind
  }
}
