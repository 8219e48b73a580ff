/**
 * When another attempt may be made, how long it waits, and the budget that keeps retries from becoming an avalanche:
 * a backend that fails because it has too much to do must not get more to do because it fails.
 */
import type { Clock, Random } from './clock.ts'

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
const WINDOW_BUCKETS = 10
const BUCKET_MS = 1000
/** Retries in a window that a quiet pool may make, as a multiple of what it may always have under way. */
const RESERVE = 10

export class RetryBudget {
  readonly #ratio: number
  readonly #minimum: number
  readonly #clock: Pick<Clock, 'now'>
  #requests = 0
  #retries = 0
  readonly #waiting = new Set<() => void>()
  readonly #begun = new Float64Array(WINDOW_BUCKETS)
  readonly #retried = new Float64Array(WINDOW_BUCKETS)
  #begunInWindow = 0
  #retriedInWindow = 0
  #bucket = 0
  #bucketEnd: number

  constructor({ ratio, minimum }: RetryRules['budget'], clock: Pick<Clock, 'now'>) {
    this.#ratio = ratio
    this.#minimum = minimum
    this.#clock = clock
    this.#bucketEnd = clock.now() + BUCKET_MS
  }

  /** A request arrives, at `now` on the budget's clock. */
  begin(now: number): void {
    if (now >= this.#bucketEnd) this.#advance(now)
    this.#requests++
    this.#begunInWindow++
    this.#begun[this.#bucket] = (this.#begun[this.#bucket] ?? 0) + 1
  }

  /** A request is over. */
  end(): void {
    this.#requests--
  }

  /** A place for a retry, to be given back; false when the budget is spent. */
  take(): boolean {
    const now = this.#clock.now()
    if (now >= this.#bucketEnd) this.#advance(now)
    if (this.#retries + 1 > Math.max(this.#minimum, this.#ratio * this.#requests)) return false
    const mostInWindow = Math.max(RESERVE * this.#minimum, this.#ratio * this.#begunInWindow)
    if (this.#retriedInWindow + 1 > mostInWindow) return false
    this.#retries++
    this.#retriedInWindow++
    this.#retried[this.#bucket] = (this.#retried[this.#bucket] ?? 0) + 1
    return true
  }

  giveBack(): void {
    this.#retries--
    for (const granted of this.#waiting) {
      if (!this.take()) return
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

  #advance(now: number): void {
    const passed = 1 + Math.floor((now - this.#bucketEnd) / BUCKET_MS)
    this.#bucketEnd += passed * BUCKET_MS
    for (let i = 0; i < Math.min(passed, WINDOW_BUCKETS); i++) {
      this.#bucket = (this.#bucket + 1) % WINDOW_BUCKETS
      this.#begunInWindow -= this.#begun[this.#bucket] ?? 0
      this.#retriedInWindow -= this.#retried[this.#bucket] ?? 0
      this.#begun[this.#bucket] = 0
      this.#retried[this.#bucket] = 0
    }
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
