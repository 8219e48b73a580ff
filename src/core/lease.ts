/**
 * What the pool hands out for one attempt: the member it may go to, and the way back. The verdict falls at the response
 * head (`settle`), the place is given back at the very end (`release`); each has its effect once, however often and in
 * whatever order the many endings of an exchange call them.
 */
import type { Member } from './member.ts'

/**
 * How an attempt went for the backend's reputation. `unreachable` is a failure to get a connection at all, which a check
 * that gets one disproves; `ignored` is what says nothing about it, such as a client that left.
 */
export type Verdict = 'success' | 'failure' | 'unreachable' | 'ignored'

/** How an attempt ended: whole answer sent, no answer, an answer cut off by the backend, or the client left. */
export type AttemptEnd = 'answered' | 'failed' | 'broken' | 'aborted'

/** Who wants to know how attempts went and when they ended; the pool, which passes it on to its algorithm. */
export interface Learner {
  learn(member: Member, responseMs: number, verdict: 'success' | 'failure'): void
  released(member: Member): void
}

/** Who watches how a member's attempts go, and may let only some of them in. */
export interface Guard {
  /** An attempt begins; what this gives is given back to `settle`, exactly once. */
  enter(): number
  settle(entry: number, verdict: Verdict, responseMs: number, now: number): void
}

export class Lease {
  readonly member: Member
  readonly #learner: Learner
  readonly #guard: Guard | undefined
  readonly #entry: number
  #waits = false
  #verdict: Verdict | undefined
  #end: AttemptEnd | undefined

  /** Counts the attempt from here on. */
  constructor(member: Member, learner: Learner) {
    this.member = member
    this.#learner = learner
    member.inFlight += 1
    member.requests += 1
    this.#guard = member.guard
    this.#entry = this.#guard === undefined ? 0 : this.#guard.enter()
  }

  /** `undefined` until it is settled. */
  get verdict(): Verdict | undefined {
    return this.#verdict
  }

  /** `undefined` while the attempt is under way. */
  get end(): AttemptEnd | undefined {
    return this.#end
  }

  /**
   * The request has gone out whole: from now on it is the backend that keeps it waiting. The first call counts.
   *
   * @param now on the clock of the pool
   */
  sent(now: number): void {
    if (this.#waits || this.#verdict !== undefined) return
    this.#waits = true
    const { member } = this
    member.waiting += 1
    member.silentSince ??= now
  }

  /**
   * The first call counts. The caller measures `responseMs`, from sending to the response head: it reads the clock there
   * anyway, for its metrics, and alone knows how much of the time was spent waiting for a connection.
   *
   * @param now on the clock of the pool
   */
  settle(verdict: Verdict, responseMs: number, now: number): void {
    if (this.#verdict !== undefined) return
    this.#verdict = verdict
    this.#breakSilence(verdict, now)
    this.#guard?.settle(this.#entry, verdict, responseMs, now)
    if (verdict === 'ignored') return
    if (verdict !== 'success') this.member.failures += 1
    this.#learner.learn(this.member, responseMs, verdict === 'success' ? verdict : 'failure')
  }

  /** Neither a client that left nor a time that ran out is an answer. */
  #breakSilence(verdict: Verdict, now: number): void {
    const { member } = this
    if (this.#waits) member.waiting -= 1
    if (member.waiting === 0) member.silentSince = undefined
    else if (verdict === 'success') member.silentSince = now
  }

  /** The first call counts. What was never settled said nothing about the backend. */
  release(end: AttemptEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    if (this.#verdict === undefined) this.settle('ignored', 0, 0)
    this.member.inFlight -= 1
    this.#learner.released(this.member)
  }
}
