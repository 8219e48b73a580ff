/**
 * When another attempt may be made, how long it waits, and the budget that keeps retries from becoming an avalanche:
 * a backend that fails because it has too much to do must not get more to do because it fails.
 */
import type { Clock, Random } from './clock.ts'
import { SlidingCounts } from './window.ts'

/** What can make an attempt worth repeating: a stage it failed in, or the status a backend answered with. */
export type RetryCondition = 'connect' | 'reset' | 'timeout' | 429 | 500 | 502 | 503 | 504

export interface RetryRules {
  /** Tries in all; 1 switches retries off. */
  readonly attempts: number
  readonly on: ReadonlySet<RetryCondition>
  /** Retries at once, as a share of the requests under way, and how many are always allowed. */
  readonly budget: { readonly ratio: number; readonly minimum: number }
  /** The wait before a retry doubles from `baseMs` to `maxMs`; what is really waited is drawn from 0 to that. */
  readonly backoff: { readonly baseMs: number; readonly maxMs: number }
  /** Bytes of a request's body that are kept so that it can be sent again. */
  readonly bufferBody: number
}

// Fast failures are over before the next begins, so that few are ever under way: what is under way alone would let
// every request be repeated. Over a window the share of requests counts as well.
const WINDOW_MS = 10_000
const BEGUN = 0
const RETRIED = 1
/** Retries in a window that a quiet pool may make, as a multiple of what it may always have under way. */
const RESERVE = 10

export class RetryBudget {
  #ratio = 0
  #minimum = 0
  readonly #clock: Pick<Clock, 'now'>
  #requests = 0
  #retries = 0
  #exhausted = 0
  readonly #waiting = new Set<() => void>()
  readonly #inWindow: SlidingCounts

  constructor(rules: RetryRules['budget'], clock: Pick<Clock, 'now'>) {
    this.adopt(rules)
    this.#clock = clock
    this.#inWindow = new SlidingCounts(WINDOW_MS, 2, clock.now())
  }

  /** Other rules, for the same requests and retries. */
  adopt({ ratio, minimum }: RetryRules['budget']): void {
    this.#ratio = ratio
    this.#minimum = minimum
  }

  /** A request arrives, at `now` on the budget's clock. */
  begin(now: number): void {
    this.#requests++
    this.#inWindow.moveTo(now)
    this.#inWindow.count(BEGUN)
  }

  /** A request is over. */
  end(): void {
    this.#requests--
  }

  /** A place for a retry, to be given back; false when the budget is spent. */
  take(): boolean {
    const taken = this.#take()
    if (!taken) this.#exhausted++
    return taken
  }

  /** How often it was spent when a place was wanted. */
  get exhausted(): number {
    return this.#exhausted
  }

  #take(): boolean {
    const window = this.#inWindow
    window.moveTo(this.#clock.now())
    if (this.#retries + 1 > Math.max(this.#minimum, this.#ratio * this.#requests)) return false
    const mostInWindow = Math.max(RESERVE * this.#minimum, this.#ratio * window.sum(BEGUN))
    if (window.sum(RETRIED) + 1 > mostInWindow) return false
    this.#retries++
    window.count(RETRIED)
    return true
  }

  giveBack(): void {
    this.#retries--
    for (const granted of this.#waiting) {
      if (!this.#take()) return
      this.#waiting.delete(granted)
      granted()
    }
  }

  /**
   * Waits for a place, in the order of calls. When a backend dies, all that it had under way wants one at the same moment.
   *
   * @param granted called with the place taken, once one is given back
   * @returns ends the waiting; may be called at any time
   */
  wait(granted: () => void): () => void {
    this.#waiting.add(granted)
    return () => void this.#waiting.delete(granted)
  }
}

/**
 * How long to wait before another attempt: "full jitter", a uniform draw from 0 to a bound that doubles. It spreads what
 * failed together better than a fixed wait with some noise (M. Brooker, "Exponential Backoff And Jitter", 2015).
 *
 * @param round 0 for the first wait
 */
export function backoffMs({ baseMs, maxMs }: RetryRules['backoff'], round: number, random: Random): number {
  return random() * Math.min(maxMs, baseMs * 2 ** round)
}
