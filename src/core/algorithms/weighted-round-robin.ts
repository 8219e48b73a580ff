/**
 * Smooth weighted round robin, as in nginx (src/http/ngx_http_upstream_round_robin.c, "smooth weighted round-robin
 * balancing", commit 52327e0627f4): at each pick every candidate gains its weight, the one that has most is picked and
 * pays the sum of all weights. Weights 5:1:1 give A A B A C A A, never five in a row.
 *
 * What a candidate has gained and not yet been paid is kept with the backend, not with the list: who stays, or comes
 * back, goes on where it was, and what left the pool is forgotten with it.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { Algorithm, AlgorithmFactory } from './algorithm.ts'
import { refuseOptions } from './options.ts'

/** Additions spent, once in the life of an instance, on entering its cycle: about a millisecond. */
const ENTRY_BUDGET = 2 ** 20

/** A candidate's credit, and the sum of weights that it was counted in: a change of scale must not change its meaning. */
interface Credit {
  current: number
  total: number
}

export const weightedRoundRobin: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new WeightedRoundRobin(deps.random)
}

class WeightedRoundRobin implements Algorithm {
  readonly #random: Random
  readonly #credits = new WeakMap<Backend, Credit>()
  #list: readonly Backend[] | undefined
  #weights = new Float64Array(0)
  #current = new Float64Array(0)
  #total = 0

  constructor(random: Random) {
    this.#random = random
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    if (candidates !== this.#list) this.#turnTo(candidates)
    const picked = candidates[this.#advance()]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    return picked
  }

  /** One step of the cycle. Among equals the first wins, as in nginx. */
  #advance(): number {
    const weights = this.#weights
    const current = this.#current
    let best = 0
    let most = -Infinity
    for (let index = 0; index < current.length; index += 1) {
      const credit = (current[index] ?? 0) + (weights[index] ?? 0)
      current[index] = credit
      if (credit > most) {
        best = index
        most = credit
      }
    }
    current[best] = most - this.#total
    return best
  }

  #turnTo(candidates: readonly Backend[]): void {
    const weights = Float64Array.from(candidates, (backend) => backend.weight)
    const total = sumOfWeights(weights)
    this.#remember()
    const isFirst = this.#list === undefined
    const current = this.#creditsOf(candidates, total)
    this.#weights = weights
    this.#current = current
    this.#total = total
    this.#list = candidates
    if (isFirst) this.#enterAnywhere()
  }

  #remember(): void {
    for (const [index, backend] of (this.#list ?? []).entries()) {
      const current = this.#current[index] ?? 0
      // What has no weight is given -Infinity below, never to be picked, and starts anew when it gets some.
      if (!Number.isFinite(current)) this.#credits.delete(backend)
      else this.#credits.set(backend, { current, total: this.#total })
    }
  }

  /**
   * A newcomer starts with nothing. Who left took its credit or debt along, so the rest need not add up to 0; they are
   * even with the newcomer again within two of its turns, since whoever has most pays first.
   */
  #creditsOf(candidates: readonly Backend[], total: number): Float64Array<ArrayBuffer> {
    return Float64Array.from(candidates, (backend) => {
      if (backend.weight === 0) return -Infinity
      const credit = this.#credits.get(backend)
      return credit === undefined ? 0 : credit.current * (total / credit.total)
    })
  }

  /**
   * Many gateways that start at once should not all begin with the heaviest backend. The cycle has no formula for its
   * n-th state, so it is walked to, at most as far as the budget allows: any state on the way is one of the true cycle.
   */
  #enterAnywhere(): void {
    const affordable = Math.ceil(ENTRY_BUDGET / this.#weights.length)
    const steps = Math.floor(this.#random() * Math.min(cycleLength(this.#weights, this.#total), affordable))
    for (let step = 0; step < steps; step += 1) this.#advance()
  }
}

function sumOfWeights(weights: Float64Array): number {
  let total = 0
  for (const weight of weights) {
    if (!Number.isFinite(weight) || weight < 0)
      throw new RangeError(`A weight must be a finite number from 0 up, not ${weight}`)
    total += weight
  }
  if (total === 0) throw new RangeError('Every weight is 0: there is no candidate to pick from')
  return total
}

/** The picks after which the order repeats. That of fractions is not worth finding: any number of steps enters it. */
function cycleLength(weights: Float64Array, total: number): number {
  let divisor = 0
  for (const weight of weights) {
    if (!Number.isInteger(weight)) return Infinity
    divisor = greatestCommonDivisor(divisor, weight)
  }
  return total / divisor
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
