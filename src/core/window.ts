/**
 * What is remembered of how things went: the last N outcomes, or those of the last stretch of time. Whoever asks gets
 * running counts; nothing is ever scanned, and adding allocates nothing.
 */
import type { Clock } from './clock.ts'

/** Outcomes that are recent enough to matter, and how many of them were failures. */
export interface OutcomeWindow {
  add(failed: boolean): void
  readonly total: number
  readonly failures: number
  clear(): void
}

/** The last `size` outcomes, however old. */
export class CountWindow implements OutcomeWindow {
  readonly #size: number
  /**
   * A bit an outcome, 32 to a number. A plain array, since a typed one costs 200 bytes before it holds anything, and a
   * window of 100 takes 80 bytes like this.
   */
  readonly #bits: number[]
  #next = 0
  #total = 0
  #failures = 0

  constructor(size: number) {
    if (!Number.isInteger(size) || size < 1) throw new RangeError(`A window of ${size} outcomes holds nothing`)
    this.#size = size
    this.#bits = zeros(Math.ceil(size / 32))
  }

  get total(): number {
    return this.#total
  }

  get failures(): number {
    return this.#failures
  }

  add(failed: boolean): void {
    const word = this.#next >>> 5
    const bit = 1 << (this.#next & 31)
    const bits = this.#bits[word] ?? 0
    // A place that was never taken holds 0: there is nothing to subtract for it.
    if ((bits & bit) !== 0) this.#failures -= 1
    if (failed) this.#failures += 1
    if (this.#total < this.#size) this.#total += 1
    this.#bits[word] = failed ? bits | bit : bits & ~bit
    this.#next = this.#next + 1 === this.#size ? 0 : this.#next + 1
  }

  clear(): void {
    this.#bits.fill(0)
    this.#total = 0
    this.#failures = 0
  }
}

const OUTCOMES = 0
const FAILURES = 1

/** The outcomes of the last `overMs`, however many. What an outcome is remembered for is said at `SlidingCounts`. */
export class TimeWindow implements OutcomeWindow {
  readonly #clock: Pick<Clock, 'now'>
  readonly #counts: SlidingCounts

  constructor(overMs: number, clock: Pick<Clock, 'now'>) {
    this.#clock = clock
    this.#counts = new SlidingCounts(overMs, 2, clock.now())
  }

  get total(): number {
    return this.#current().sum(OUTCOMES)
  }

  get failures(): number {
    return this.#current().sum(FAILURES)
  }

  add(failed: boolean): void {
    const counts = this.#current()
    counts.count(OUTCOMES)
    if (failed) counts.count(FAILURES)
  }

  clear(): void {
    this.#counts.clear()
  }

  #current(): SlidingCounts {
    this.#counts.moveTo(this.#clock.now())
    return this.#counts
  }
}

const BUCKETS = 10

/**
 * Counts of several kinds over a time that slides on by a tenth of itself, so that what is counted is forgotten when it
 * is between nine and ten tenths of it old. Time comes with the calls: whoever counts has usually read the clock already.
 * When time stands still nothing is forgotten, and a jump forward, however far, costs no more than emptying it.
 */
export class SlidingCounts {
  readonly #kinds: number
  readonly #bucketMs: number
  /** Rows of a count for each kind: first the sums of all buckets, then the buckets. One array is smaller than several. */
  readonly #counts: number[]
  /** Where the row of this moment's bucket begins. */
  #bucket: number
  #bucketEnd: number

  /** @param kinds how many things are counted; they go by their numbers, from 0 */
  constructor(overMs: number, kinds: number, now: number) {
    if (!(overMs > 0 && overMs < Infinity)) throw new RangeError(`A window of ${overMs} ms holds nothing`)
    this.#kinds = kinds
    this.#bucketMs = overMs / BUCKETS
    this.#counts = zeros((1 + BUCKETS) * kinds)
    this.#bucket = kinds
    this.#bucketEnd = now + this.#bucketMs
  }

  /** Forgets what is too old at `now`: to be called before counting and before asking for a sum. */
  moveTo(now: number): void {
    if (now >= this.#bucketEnd) this.#advance(now)
  }

  count(kind: number): void {
    const at = this.#bucket + kind
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1
  }

  sum(kind: number): number {
    return this.#counts[kind] ?? 0
  }

  clear(): void {
    this.#counts.fill(0)
  }

  #advance(now: number): void {
    const passed = 1 + Math.floor((now - this.#bucketEnd) / this.#bucketMs)
    this.#bucketEnd += passed * this.#bucketMs
    for (let i = 0; i < Math.min(passed, BUCKETS); i += 1) this.#reuseOldest()
  }

  #reuseOldest(): void {
    const next = this.#bucket + this.#kinds
    this.#bucket = next === this.#counts.length ? this.#kinds : next
    for (let kind = 0; kind < this.#kinds; kind += 1) {
      const at = this.#bucket + kind
      this.#counts[kind] = this.sum(kind) - (this.#counts[at] ?? 0)
      this.#counts[at] = 0
    }
  }
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0)
}
