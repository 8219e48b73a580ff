/**
 * What is counted while requests run: plain numbers, which cost next to nothing to change. They become text when somebody
 * asks for them.
 */

/** How often each of a closed set of words was counted. */
export class Tally {
  readonly #counts = new Map<string, number>()

  /** @param known those that are there from the start: what appears only with its first count has no rate before it */
  constructor(known: Iterable<string> = []) {
    for (const word of known) this.#counts.set(word, 0)
  }

  add(word: string): void {
    this.#counts.set(word, (this.#counts.get(word) ?? 0) + 1)
  }

  entries(): Iterable<readonly [word: string, count: number]> {
    return this.#counts
  }
}

/** Upper bounds in seconds: from what a backend beside us takes up to the longest that anybody waits. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

/** How long something took, as a histogram. */
export class Durations {
  /** The last is of those beyond all bounds. */
  readonly #counts = [...BOUNDS.map(() => 0), 0]
  #sum = 0
  #count = 0

  observe(ms: number): void {
    const seconds = ms / 1000
    this.#sum += seconds
    this.#count++
    let at = 0
    while (seconds > (BOUNDS[at] ?? Infinity)) at++
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  get sum(): number {
    return this.#sum
  }

  get count(): number {
    return this.#count
  }

  /** Each bound with how many took no longer than it. */
  *buckets(): Iterable<readonly [bound: string, count: number]> {
    let total = 0
    for (const [index, bound] of BOUNDS.entries()) {
      total += this.#counts[index] ?? 0
      yield [String(bound), total]
    }
    yield ['+Inf', this.#count]
  }
}

/** The unit of `Latencies`: 31 microseconds. */
const UNITS_PER_MS = 32
/** 131 seconds; what takes longer counts as that. */
const LONGEST = 2 ** 22 - 1
/** Each doubling is cut into eight: an eighth is as exact as anybody looks. */
const CUT = 8
const CUT_BITS = 3

/** How many counts `Latencies` has. */
export const CELLS = cellOf(LONGEST) + 1

/**
 * How long things took, finely enough for quantiles of what came between two looks. Not for Prometheus: a series for each
 * of these counts would be too many.
 */
export class Latencies {
  readonly counts = new Uint32Array(CELLS)
  #count = 0
  #sumMs = 0

  observe(ms: number): void {
    this.#sumMs += ms
    const cell = cellOf(Math.min(ms * UNITS_PER_MS, LONGEST))
    this.counts[cell] = (this.counts[cell] ?? 0) + 1
    this.#count++
  }

  get count(): number {
    return this.#count
  }

  /** In seconds. */
  get sum(): number {
    return this.#sumMs / 1000
  }
}

/** @returns milliseconds; inside a cell as if they lay evenly in it */
export function quantile(counts: Uint32Array, total: number, share: number): number {
  const rank = share * total
  let below = 0
  // Thousands of these are made at a time: with an iterator a look at 2000 backends would take twice as long.
  for (let cell = 0; cell < CELLS; cell++) {
    const count = counts[cell] ?? 0
    if (count > 0 && below + count >= rank) {
      const [from, width] = spanOf(cell)
      return (from + (width * (rank - below)) / count) / UNITS_PER_MS
    }
    below += count
  }
  return 0
}

/** The first eight are a unit wide, then eight for each doubling. */
function cellOf(units: number): number {
  const whole = units | 0
  if (whole < CUT) return whole
  const doublings = 31 - Math.clz32(whole) - CUT_BITS
  return (doublings << CUT_BITS) + (whole >> doublings)
}

function spanOf(cell: number): readonly [from: number, width: number] {
  if (cell < CUT) return [cell, 1]
  const doublings = (cell >> CUT_BITS) - 1
  return [(CUT + (cell & (CUT - 1))) << doublings, 1 << doublings]
}
