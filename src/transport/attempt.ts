/**
 * One attempt: one try of an exchange against one backend. It gives the backend's verdict to the pool when the answer
 * begins, gives its place back when the answer ends, and passes everything else between connection and client.
 */
import type { Lease, Verdict } from '../core/lease.ts'
import { SluiceError } from '../errors.ts'
import type { Call, CallLimits, Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { AttemptError, FAILURES } from './failure.ts'
import { isGone } from './peer.ts'
import type { BodyFault } from './request-body.ts'
import type { ResponseHead } from './response-head.ts'

// Sent again on a fresh connection without doing harm, should the first have been read after all (RFC 9110, 9.2.2).
const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
  'PROPFIND',
  'QUERY',
])

export class Attempt implements Call {
  readonly exchange: Exchange
  readonly lease: Lease
  readonly #connections: Connections
  connection: Connection | undefined
  sentAt = 0
  readonly method: string
  readonly head: string
  readonly repeatable: boolean
  readonly limits: CallLimits
  readonly headBy: number
  readonly #onFailed: (exchange: Exchange, error: AttemptError) => void

  /** @throws {SluiceError} when the request may not be forwarded; the lease is then still the caller's */
  constructor(
    exchange: Exchange,
    lease: Lease,
    connections: Connections | undefined,
    onFailed: (exchange: Exchange, error: AttemptError) => void,
  ) {
    if (connections === undefined) throw new SluiceError('SLUICE_NO_BACKEND')
    const { forwarding, method, body } = exchange
    this.exchange = exchange
    this.lease = lease
    this.#connections = connections
    this.#onFailed = onFailed
    this.method = method
    this.head = exchange.headFor(lease.member)
    this.repeatable = body === undefined && IDEMPOTENT.has(method)
    this.limits = forwarding.limits
    this.headBy = exchange.startedAt + forwarding.totalMs
  }

  get body(): Exchange['body'] {
    return this.exchange.body
  }

  get abandoned(): boolean {
    return isGone(this.exchange.raw.socket)
  }

  get flushed(): boolean {
    return this.exchange.flushed
  }

  send(): void {
    this.#connections.send(this)
  }

  resume(): void {
    this.connection?.resume(this)
  }

  /** The client has left: whatever the backend is doing for it is in vain, and no fault of the backend. */
  abort(): void {
    this.exchange.body?.stop()
    this.lease.release('aborted')
    this.#connections.cancel(this)
  }

  /** Something is wrong with the client's body: the backend must not take what it has for a whole request. */
  refuseBody(kind: BodyFault, message: string): void {
    if (this.lease.end === undefined) this.#giveUp(new AttemptError(kind, message))
  }

  #giveUp(error: AttemptError): void {
    this.#connections.cancel(this)
    this.onFailure(error)
  }

  // --- what the connection reports ---

  onInformation(): void {
    // Interim answers end here: nothing that Sluice does yet depends on them.
  }

  onHead(head: ResponseHead, alone: boolean): void {
    this.#settle(head.status >= 500 ? 'failure' : 'success')
    try {
      this.exchange.begin(head, alone)
    } catch (error) {
      this.#giveUp(asAttemptError(error))
    }
  }

  onData(chunk: Buffer): boolean {
    return this.exchange.write(chunk)
  }

  onEnd(): void {
    this.#done()
    this.exchange.end()
  }

  onWhole(head: ResponseHead, content: string): void {
    this.#settle(head.status >= 500 ? 'failure' : 'success')
    this.#done()
    try {
      this.exchange.answer(head, content)
    } catch (error) {
      this.onFailure(asAttemptError(error))
    }
  }

  onFailure(error: AttemptError): void {
    this.exchange.body?.stop()
    this.#settle(FAILURES[error.kind].blame === 'backend' ? 'failure' : 'ignored')
    this.lease.release(this.exchange.begun ? 'broken' : 'failed')
    this.#onFailed(this.exchange, error)
  }

  #settle(verdict: Verdict): void {
    // What never got as far as being sent took no time of the backend's.
    this.lease.settle(verdict, this.sentAt === 0 ? 0 : performance.now() - this.sentAt)
  }

  #done(): void {
    this.exchange.outcome = 'answered'
    this.exchange.body?.stop()
    this.lease.release('answered')
  }
}

/** Only what hooks of the application set on the reply can make a head impossible to send: a backend's is checked. */
function asAttemptError(error: unknown): AttemptError {
  if (error instanceof AttemptError) return error
  return new AttemptError('unsendable', error instanceof Error ? error.message : String(error))
}
