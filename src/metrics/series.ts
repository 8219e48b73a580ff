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
