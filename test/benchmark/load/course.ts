/**
 * What the connections of a load share: when each may make its next request, how long each took, and its end. Either as
 * fast as they can, each when it has its answer; or so many a second, which asks for the same work of whoever is slow.
 * Then a request takes its time from when it was due: one that finds all connections waiting for answers waits like
 * them, and who is slow must not be asked less often for it ("coordinated omission", Gil Tene, "How NOT to Measure
 * Latency", 2013).
 */

/** Makes a request whose time runs from `since` on, on the clock of `performance.now()`. */
export type Begin = (since: number) => void

export interface Result {
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

export class Course {
  readonly result: Promise<Result>
  readonly #latencies: Float64Array
  readonly #perSecond: number
  /** Of those who wait for their turn, the one that has waited longest first. */
  readonly #waiting: Begin[] = []
  #begun = 0
  #answered = 0
  #startedAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  #resolve: (result: Result) => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  /** @param perSecond how many requests a second; undefined for as many as can be */
  constructor(requests: number, perSecond = Infinity) {
    this.#perSecond = perSecond
    this.#latencies = new Float64Array(requests)
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get progress(): string {
    return `${this.#answered} of ${this.#latencies.length} requests answered`
  }

  start(): void {
    this.#startedAt = performance.now()
    if (this.#perSecond < Infinity) this.#timer = setInterval(() => this.#beginDue(), 1)
  }

  /** @param begin makes a request, unless enough have been made */
  ready(begin: Begin): void {
    if (this.#perSecond < Infinity) this.#waiting.push(begin)
    else this.#begin(begin, performance.now())
  }

  #beginDue(): void {
    const due = ((performance.now() - this.#startedAt) / 1000) * this.#perSecond
    for (let next = this.#waiting[0]; next !== undefined && this.#begun < due; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#begin(next, this.#startedAt + (1000 * this.#begun) / this.#perSecond)
    }
  }

  #begin(begin: Begin, since: number): void {
    if (this.#begun === this.#latencies.length) return
    this.#begun += 1
    begin(since)
  }

  /** @param since when its time began */
  answered(since: number): void {
    this.#latencies[this.#answered++] = performance.now() - since
    if (this.#answered < this.#latencies.length) return
    clearInterval(this.#timer)
    const seconds = (performance.now() - this.#startedAt) / 1000
    const sorted = this.#latencies.toSorted()
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? NaN
    this.#resolve({ seconds, p50: at(0.5), p99: at(0.99) })
  }

  fail(error: Error): void {
    clearInterval(this.#timer)
    this.#reject(error)
  }
}
