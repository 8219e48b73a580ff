/**
 * What the connections of a load share: how many requests are still to be made, how long each took, and its end.
 */
export interface Result {
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

export class Course {
  readonly result: Promise<Result>
  readonly #latencies: Float64Array
  #left: number
  #answered = 0
  #startedAt = performance.now()
  #resolve: (result: Result) => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  constructor(requests: number) {
    this.#left = requests
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
  }

  /** @returns false when enough have been sent */
  take(): boolean {
    return this.#left-- > 0
  }

  answered(ms: number): void {
    this.#latencies[this.#answered++] = ms
    if (this.#answered < this.#latencies.length) return
    const seconds = (performance.now() - this.#startedAt) / 1000
    const sorted = this.#latencies.toSorted()
    const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? NaN
    this.#resolve({ seconds, p50: at(0.5), p99: at(0.99) })
  }

  fail(error: Error): void {
    this.#reject(error)
  }
}
