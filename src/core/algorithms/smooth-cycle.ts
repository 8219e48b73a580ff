/**
 * Smooth weighted round robin, as in nginx (src/http/ngx_http_upstream_round_robin.c, "smooth weighted round-robin
 * balancing", commit 52327e0627f4): at each pick every candidate gains its weight, the one that has most is picked and
 * pays the sum of all weights. Weights 5:1:1 give A A B A C A A, never five in a row. A pick costs as many additions
 * as there are candidates.
 */
import type { Cycle } from './turns.ts'

/** The most candidates for which going through all of them is as good as heaps (`npm run bench -- algorithms`). */
export const FEW = 128

export class SmoothCycle implements Cycle {
  readonly credits: Float64Array
  readonly #weights: Float64Array
  readonly #total: number

  constructor(weights: Float64Array, total: number, credits: Float64Array) {
    this.#weights = weights
    this.#total = total
    this.credits = credits
  }

  get stepCost(): number {
    return this.credits.length
  }

  /** One step of the cycle. Among equals the first wins, as in nginx. */
  next(): number {
    const weights = this.#weights
    const credits = this.credits
    let best = 0
    let most = -Infinity
    for (let index = 0; index < credits.length; index += 1) {
      const credit = (credits[index] ?? 0) + (weights[index] ?? 0)
      credits[index] = credit
      if (credit > most) {
        best = index
        most = credit
      }
    }
    credits[best] = most - this.#total
    return best
  }

  peek(): number {
    return this.copy().next()
  }

  /** For trying out what would come. */
  copy(): SmoothCycle {
    return new SmoothCycle(this.#weights, this.#total, this.credits.slice())
  }

  /**
   * The same among the first `count` of `indices` alone: only they gain, and only what they gained is paid. It is how
   * nginx breaks the ties of its least_conn (ngx_http_upstream_least_conn_module.c).
   */
  nextAmong(indices: Int32Array, count: number): number {
    let best = 0
    let most = -Infinity
    let total = 0
    for (let nth = 0; nth < count; nth += 1) {
      const index = indices[nth] ?? 0
      const weight = this.#weights[index] ?? 0
      const credit = (this.credits[index] ?? 0) + weight
      this.credits[index] = credit
      total += weight
      if (credit > most) {
        best = index
        most = credit
      }
    }
    this.credits[best] = most - total
    return best
  }
}
