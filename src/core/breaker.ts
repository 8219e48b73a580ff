/**
 * A circuit breaker for one backend. Closed, it counts calls; when too many of the latest failed or were slow it opens,
 * and the backend is left alone for a time; then it is half-open, and a few trials decide between closing and opening
 * for longer. It says what it would admit and tells of its flips: leaving the backend out is up to the pool.
 *
 * An outcome must find its way back to the state in which its request was let in, or requests that were under way when
 * a breaker opened would decide about the trials. So the way in gives a generation, which the way back takes along;
 * every flip begins a new one, and what comes back with an old one is dropped.
 */
import type { Clock, Random } from './clock.ts'
import type { Verdict } from './lease.ts'
import { SlidingCounts } from './window.ts'

export interface BreakerRules {
  /** Who observes counts and flips all the same, but admits everything. */
  readonly mode: 'enforce' | 'observe'
  /** How far back calls count; with fewer of them than `minimum` in it, a breaker never opens. */
  readonly windowMs: number
  readonly minimum: number
  /** The share of failures from which on it opens. */
  readonly failureRate: number
  /** A call is slow when it took longer than this; 0 for no call ever is. */
  readonly slowCallMs: number
  /** The share of slow calls from which on it opens. */
  readonly slowCallRate: number
  /** How long it is open at first, and at most: the time doubles with every trial that fails. */
  readonly openMs: number
  readonly maxOpenMs: number
  /** Trials at once when it is half-open, and successes that close it. */
  readonly halfOpen: number
}

export type BreakerState = 'closed' | 'open' | 'half-open'

export interface BreakerOptions {
  readonly clock: Clock
  readonly random: Random
  /** Told when everything about the flip is done; `cause` is the evidence, in words. */
  readonly onFlip: (from: BreakerState, to: BreakerState, cause: string) => void
  /** Told when there are places for trials again though none has ended. */
  readonly onPlaces?: () => void
}

/** What `enter` gives to whom it does not admit: who goes all the same passes by the breaker, and tells it nothing. */
export const OUTSIDE = 0

/** Breakers that opened together, because of one cause, must not all send their trials at the same moment. */
const JITTER = 0.1

const CALLS = 0
const FAILED = 1
const SLOW = 2
const KINDS = 3

interface Closed {
  readonly is: 'closed'
  readonly since: number
}

interface Open {
  readonly is: 'open'
  /** Whether what opened it was that there was no connection. */
  readonly unreachable: boolean
  readonly forMs: number
  readonly until: number
  readonly cancelTimer: () => void
}

interface HalfOpen {
  readonly is: 'half-open'
  /** Under way. */
  trials: number
  /** How many may be under way. */
  places: number
  successes: number
  /** While all places are taken. */
  cancelTimer: () => void
}

interface Stopped {
  readonly is: 'stopped'
  readonly was: BreakerState
}

export class Breaker {
  #rules: BreakerRules
  readonly #clock: Clock
  readonly #random: Random
  readonly #onFlip: BreakerOptions['onFlip']
  readonly #onPlaces: () => void
  #counts: SlidingCounts
  #state: Closed | Open | HalfOpen | Stopped
  #cause = ''
  #generation = OUTSIDE + 1
  /** How often in a row trials have failed. */
  #reopenings = 0

  constructor(rules: BreakerRules, { clock, random, onFlip, onPlaces }: BreakerOptions) {
    this.#rules = rules
    this.#clock = clock
    this.#random = random
    this.#onFlip = onFlip
    this.#onPlaces = onPlaces ?? nothing
    const now = clock.now()
    this.#counts = new SlidingCounts(rules.windowMs, KINDS, now)
    this.#state = { is: 'closed', since: now }
  }

  /** Half-open from the moment that the open time is over, even if the timer that says so is late. */
  get state(): BreakerState {
    const state = this.#state
    if (state.is === 'stopped') return state.was
    return state.is === 'open' && this.#isOver(state) ? 'half-open' : state.is
  }

  /** The evidence for its last flip; '' before the first one. */
  get cause(): string {
    return this.#cause
  }

  /** Until when it is open, on its clock; undefined when it is not. */
  get openUntil(): number | undefined {
    return this.#state.is === 'open' ? this.#state.until : undefined
  }

  /** How many trials are under way. */
  get trials(): number {
    return this.#state.is === 'half-open' ? this.#state.trials : 0
  }

  /** Whether a request may be let in now. Besides flips, it changes as trials take the places there are and end. */
  get admits(): boolean {
    const state = this.#state
    if (state.is === 'closed' || this.#rules.mode === 'observe') return true
    if (state.is === 'half-open') return state.trials < state.places
    return state.is === 'open' && this.#isOver(state)
  }

  /**
   * A request is let in. What comes back must be given to `settle` exactly once, however the request ends: a trial
   * holds its place until then.
   */
  enter(): number {
    const state = this.#state
    if (state.is === 'closed') return this.#generation
    if (state.is === 'half-open' && state.trials < state.places) {
      state.trials += 1
      if (state.trials === state.places) this.#limit(state)
      return this.#generation
    }
    if (state.is !== 'open' || !this.#isOver(state)) return OUTSIDE
    this.#halfOpen(state)
    return this.enter()
  }

  /**
   * How a request went that was let in.
   *
   * @param generation what `enter` gave
   * @param now the time of the breaker's clock, for those who have read it to measure `responseMs`
   */
  settle(generation: number, verdict: Verdict, responseMs: number, now = this.#clock.now()): void {
    if (generation !== this.#generation) return
    const state = this.#state
    const slow = this.#rules.slowCallMs > 0 && responseMs > this.#rules.slowCallMs
    if (state.is === 'half-open') this.#judge(state, verdict, slow, now)
    else if (state.is === 'closed' && verdict !== 'ignored') this.#record(state, verdict, slow, now)
  }

  /** The backend can be reached: a breaker that is open because it could not be lets its trials in now. */
  reached(): void {
    const state = this.#state
    if (state.is === 'open' && state.unreachable) this.#halfOpen(state, 'its checks pass')
  }

  /** Other rules. The state it is in stays, and so does what it has counted unless the window is another. */
  adopt(rules: BreakerRules): void {
    if (rules.windowMs !== this.#rules.windowMs) {
      this.#counts = new SlidingCounts(rules.windowMs, KINDS, this.#clock.now())
    }
    this.#rules = rules
  }

  /** For a backend that is gone: nothing flips any more, and no timer is left. */
  stop(): void {
    const state = this.#state
    if (state.is === 'stopped') return
    const was = this.state
    if (state.is === 'open' || state.is === 'half-open') state.cancelTimer()
    this.#state = { is: 'stopped', was }
  }

  #record(state: Closed, verdict: Verdict, slow: boolean, now: number): void {
    const counts = this.#counts
    counts.moveTo(now)
    counts.count(CALLS)
    if (verdict !== 'success') counts.count(FAILED)
    if (slow) counts.count(SLOW)
    const cause = causeToTrip(this.#rules, counts.sum(CALLS), counts.sum(FAILED), counts.sum(SLOW))
    if (cause === undefined) return
    if (now - state.since >= this.#probationMs) this.#reopenings = 0
    this.#open(cause, now, verdict === 'unreachable')
  }

  #judge(state: HalfOpen, verdict: Verdict, slow: boolean, now: number): void {
    state.trials -= 1
    state.cancelTimer()
    if (verdict === 'ignored') return
    const failed = verdict !== 'success'
    if (failed || slow) {
      this.#reopenings += 1
      const cause = failed ? 'a trial failed' : `a trial took over ${this.#rules.slowCallMs} ms`
      this.#open(cause, now, verdict === 'unreachable')
      return
    }
    state.successes += 1
    if (state.successes >= this.#rules.halfOpen) this.#close(state.successes, now)
  }

  #open(cause: string, now: number, unreachable: boolean): void {
    const forMs = this.#openMs * (1 + JITTER * (2 * this.#random() - 1))
    const cancelTimer = this.#clock.schedule(() => this.#halfOpen(state), forMs)
    const state: Open = { is: 'open', unreachable, forMs, until: now + forMs, cancelTimer }
    this.#flip(state, cause)
  }

  /** By the timer, or by the first who comes when it is due: both are right, and a clock that stands still hinders none. */
  #halfOpen(state: Open, cause = `${readable(state.forMs)} are over`): void {
    state.cancelTimer()
    const { halfOpen: places } = this.#rules
    this.#flip({ is: 'half-open', trials: 0, places, successes: 0, cancelTimer: nothing }, cause)
  }

  /**
   * Trials can last for as long as their clients like: three endless uploads must not keep a backend out for good. What
   * has said nothing for a window goes on, and may yet decide, but others get places beside it.
   */
  #limit(state: HalfOpen): void {
    state.cancelTimer = this.#clock.schedule(() => {
      state.places += this.#rules.halfOpen
      this.#onPlaces()
    }, this.#rules.windowMs)
  }

  #close(successes: number, now: number): void {
    this.#counts.clear()
    this.#flip({ is: 'closed', since: now }, successes === 1 ? 'a trial succeeded' : `${successes} trials succeeded`)
  }

  #flip(to: Closed | Open | HalfOpen, cause: string): void {
    const from = this.#state.is
    if (from === 'stopped') return
    this.#state = to
    this.#cause = cause
    this.#generation += 1
    this.#onFlip(from, to.is, cause)
  }

  /** Before jitter. */
  get #openMs(): number {
    return Math.min(this.#rules.maxOpenMs, this.#rules.openMs * 2 ** this.#reopenings)
  }

  /**
   * How long it must stay closed until the open time is the first one again: as long as it was open, so that trust takes
   * as long to return as it took to go, and a whole window at least, since judging takes one.
   */
  get #probationMs(): number {
    return Math.max(this.#rules.windowMs, this.#openMs)
  }

  #isOver(state: Open): boolean {
    return this.#clock.now() >= state.until
  }
}

/**
 * Why a breaker should open on calls like these, or `undefined`. The share is a quotient on purpose: 11 / 20 is the very
 * number that 0.55 is, while 0.55 * 20 is a little more than 11.
 */
export function causeToTrip(rules: BreakerRules, calls: number, failed: number, slow: number): string | undefined {
  if (calls < rules.minimum) return undefined
  if (failed > 0 && failed / calls >= rules.failureRate) return `${failed} of ${calls} requests failed`
  if (slow > 0 && slow / calls >= rules.slowCallRate) {
    return `${slow} of ${calls} requests took over ${rules.slowCallMs} ms`
  }
  return undefined
}

function readable(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function nothing(): void {}
