/**
 * Draws by weight: the running sums of the weights, searched by halves. A draw costs one number from the generator and
 * the logarithm of the number of candidates.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import { sumOf, weightsOf } from './weights.ts'

const LIMIT = 2 ** 31

/**
 * Whole numbers from 0 up to, not including, 2^31, each as likely; `random` gives the seed. A fraction that comes out of
 * a function is an object on the heap, a whole number of 31 bits is not: so a pick by chance allocates nothing.
 * Mulberry32 (Tommy Ettinger, 2017): 32 bits of state, passes gjrand.
 */
export function wholeNumbers(random: Random): () => number {
  let state = Math.floor(random() * 2 ** 32) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 1
  }
}

export class WeightedDraw {
  readonly #whole: () => number
  #list: readonly Backend[] | undefined
  #sums: Float64Array = new Float64Array(0)
  #total = 0
  /** The last position that has a weight, and the first. */
  #last = 0
  #first = 0

  /** @param whole draws a whole number from 0 up to, not including, 2^31 */
  constructor(whole: () => number) {
    this.#whole = whole
  }

  /** The sum of weights. */
  get total(): number {
    return this.#total
  }

  /** To be called before draws; derives what they need if the list is another one. */
  of(candidates: readonly Backend[]): this {
    // Apart, since a function that makes a closure allocates for it at each call.
    if (candidates !== this.#list) this.#turnTo(candidates)
    return this
  }

  #turnTo(candidates: readonly Backend[]): void {
    const weights = weightsOf(candidates)
    this.#total = sumOf(weights)
    let sum = 0
    this.#sums = weights.map((weight) => (sum += weight))
    this.#first = weights.findIndex((weight) => weight > 0)
    this.#last = weights.findLastIndex((weight) => weight > 0)
    this.#list = candidates
  }

  /** A position, with the probability of its weight. */
  one(): number {
    return this.#search((this.#whole() / LIMIT) * this.#total, 0, this.#last)
  }

  /**
   * One of the other positions, by their weights among themselves; `taken` itself if there is no other. Drawn from what
   * is left when the part of `taken` is cut out, and not again and again until it differs: next to a weight of 1000, the
   * only other one, of 1, would take a thousand draws.
   */
  another(taken: number): number {
    if (this.#first === this.#last) return taken
    const below = this.#sums[taken - 1] ?? 0
    const upTo = this.#sums[taken] ?? 0
    const at = (this.#whole() / LIMIT) * (this.#total - (upTo - below))
    const isBelow = at < below || taken === this.#last
    // The bounds keep rounding from leading back to `taken`, or to somebody without a weight.
    return this.#search(
      isBelow ? Math.min(at, below * (1 - Number.EPSILON)) : Math.max(at + (upTo - below), upTo),
      isBelow ? 0 : taken + 1,
      isBelow ? taken - 1 : this.#last,
    )
  }

  /** The first position from `low` to `high` whose running sum is above `at`; the last one if rounding left none. */
  #search(at: number, low: number, high: number): number {
    let from = low
    let to = high
    while (from < to) {
      const middle = (from + to) >>> 1
      if ((this.#sums[middle] ?? 0) > at) to = middle
      else from = middle + 1
    }
    return from
  }
}
