/**
 * One attempt: one try of an exchange against one backend. It gives the backend's verdict to the pool when the answer
 * begins, gives its place back when the answer ends, and passes everything else between connection and client.
 */
import type { Lease, Verdict } from '../core/lease.ts'
import { SluiceError } from '../errors.ts'
import type { Call, CallBody, CallLimits, Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { Exchange, Try } from './exchange.ts'
import { AttemptError, FAILURES, type FailureKind } from './failure.ts'
import type { BodyFault } from './request-body.ts'
import type { ResponseHead } from './response-head.ts'
import { newSpanId } from './trace.ts'

/** Who decides about another attempt. */
export interface Decider {
  /** Whether this answer is not passed on, because another attempt takes its place. */
  replaces(exchange: Exchange, head: ResponseHead): boolean
  failed(exchange: Exchange, error: AttemptError): void
}

/** As much of the time for the whole request as a backend must have had to be to blame when it is up. */
const FAIR_SHARE = 0.5

export class Attempt implements Call {
  readonly exchange: Exchange
  readonly lease: Lease
  readonly #connections: Connections
  connection: Connection | undefined
  sentAt = 0
  servedAt = 0
  writtenAt = 0
  readonly method: string
  /** Its own in the trace; '' without one. */
  readonly spanId: string
  readonly head: string
  readonly repeatable: boolean
  readonly limits: CallLimits
  readonly headBy: number
  readonly upgrade: string
  readonly #decider: Decider
  readonly startedAt = performance.now()
  /** The status of the answer, or what went wrong; undefined until then. */
  outcome: number | FailureKind | undefined
  /** How long it took until then, in milliseconds. */
  ms = 0
  /** From the end of the request to the head of the answer; undefined when none came. */
  firstByteMs: number | undefined

  /** @throws {SluiceError} when the request may not be forwarded; the lease is then still the caller's */
  constructor(exchange: Exchange, lease: Lease, connections: Connections | undefined, decider: Decider) {
    if (connections === undefined) throw new SluiceError('SLUICE_NO_BACKEND')
    const { forwarding, method, body, idempotent, upgrade, trace } = exchange
    this.exchange = exchange
    this.lease = lease
    this.#connections = connections
    this.#decider = decider
    this.method = method
    this.spanId = trace === undefined ? '' : newSpanId()
    this.head = exchange.headFor(connections.host, this.spanId)
    this.repeatable = body === undefined && idempotent
    this.upgrade = upgrade
    this.limits = forwarding.limits
    this.headBy = exchange.startedAt + forwarding.totalMs
  }

  get body(): Exchange['body'] {
    return this.exchange.body
  }

  get recycles(): boolean {
    return this.exchange.recycles
  }

  get abandoned(): boolean {
    return this.exchange.abandoned
  }

  get record(): Try {
    return { backend: this.lease.member.id, outcome: this.outcome, ms: Math.round(this.ms * 10) / 10 }
  }

  /** How long it waited for a connection. */
  get queueMs(): number {
    return this.servedAt === 0 ? this.#lastedMs : this.servedAt - this.startedAt
  }

  /** How long the connection took to be made; 0 for one that was kept. */
  get connectMs(): number {
    if (this.servedAt === 0) return 0
    return this.writtenAt === 0 ? this.#lastedMs - this.queueMs : this.writtenAt - this.servedAt
  }

  get #lastedMs(): number {
    return this.ms === 0 ? performance.now() - this.startedAt : this.ms
  }

  send(): void {
    this.#connections.send(this)
  }

  resume(): void {
    this.connection?.resume(this)
  }

  /** The client has left: whatever the backend is doing for it is in vain, and no fault of the backend. */
  abort(): void {
    if (this.lease.end !== undefined) return
    this.exchange.body?.stop()
    // A tunnel has to be ended by someone.
    this.lease.release(this.exchange.outcome === 'answered' ? 'answered' : 'aborted')
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

  onSent(now: number): void {
    this.lease.sent(now)
  }

  onInformation(head: ResponseHead): void {
    try {
      this.exchange.inform(head)
    } catch {
      // It is only a hint: one that cannot be written is left out.
    }
  }

  onUpgrade(head: ResponseHead): CallBody | undefined {
    this.#settle('success', head.status)
    try {
      return this.exchange.openTunnel(head)
    } catch (error) {
      this.#giveUp(asAttemptError(error))
      return undefined
    }
  }

  onHead(head: ResponseHead, alone: boolean): void {
    this.#settle(verdictOf(head), head.status)
    if (this.#decider.replaces(this.exchange, head)) return this.#drop()
    try {
      this.exchange.begin(head, alone)
    } catch (error) {
      this.#giveUp(asAttemptError(error))
    }
  }

  onData(chunk: Buffer, release?: () => void): boolean {
    return this.exchange.write(chunk, release)
  }

  onEnd(trailers: string, last?: Buffer, release?: () => void): void {
    this.#done()
    this.exchange.end(trailers, last, release)
  }

  onWhole(head: ResponseHead, content: string): void {
    this.#settle(verdictOf(head), head.status)
    if (this.#decider.replaces(this.exchange, head)) return this.#drop()
    this.#done()
    try {
      this.exchange.answer(head, content)
    } catch (error) {
      this.onFailure(asAttemptError(error))
    }
  }

  onFailure(error: AttemptError): void {
    this.exchange.body?.hold()
    this.#settle(this.#verdictOn(error.kind), error.kind)
    this.lease.release(this.exchange.begun ? 'broken' : 'failed')
    this.#decider.failed(this.exchange, error)
  }

  /** The time for the whole is up: whoever had little of it, behind an upload or other attempts, is not to blame. */
  #verdictOn(kind: FailureKind): Verdict {
    const hadMs = performance.now() - (this.sentAt === 0 ? this.startedAt : this.sentAt)
    const { totalMs } = this.exchange.forwarding
    return kind === 'total-timeout' && hadMs < totalMs * FAIR_SHARE ? 'ignored' : FAILURES[kind].verdict
  }

  /** Its answer is not wanted: another attempt takes its place. */
  #drop(): void {
    this.exchange.body?.hold()
    this.lease.release('failed')
    this.#connections.cancel(this)
  }

  #settle(verdict: Verdict, outcome: number | FailureKind): void {
    const now = performance.now()
    this.outcome ??= outcome
    if (this.ms === 0) this.ms = now - this.startedAt
    if (typeof outcome === 'number') this.firstByteMs = now - this.sentAt
    // What never got as far as being sent took no time of the backend's.
    this.lease.settle(verdict, this.sentAt === 0 ? 0 : now - this.sentAt, now)
  }

  #done(): void {
    this.exchange.outcome = 'answered'
    this.exchange.body?.stop()
    this.lease.release('answered')
  }
}

function verdictOf({ status }: ResponseHead): Verdict {
  return status >= 500 ? 'failure' : 'success'
}

/** Only what hooks of the application set on the reply can make a head impossible to send: a backend's is checked. */
function asAttemptError(error: unknown): AttemptError {
  if (error instanceof AttemptError) return error
  return new AttemptError('unsendable', error instanceof Error ? error.message : String(error))
}
