/**
 * The better of two: two different candidates are drawn by weight, and the one with less in flight for its weight is
 * picked. Looking at two instead of one takes the longest queue from log n / log log n to log log n (Mitzenmacher, "The
 * Power of Two Choices in Randomized Load Balancing", 2001); looking at all gains little more, costs more with every
 * backend, and makes many gateways that see the same numbers run after the same backend.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { Algorithm, AlgorithmFactory, Explanation } from './algorithm.ts'
import { betterOfTwo, FAILED_NOTE, scoresOf } from './explaining.ts'
import { FailedTurns } from './failed-turns.ts'
import { refuseOptions } from './options.ts'
import { WeightedDraw, wholeNumbers } from './weighted-draw.ts'

export const powerOfTwo: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new PowerOfTwo(deps.random)
}

class PowerOfTwo implements Algorithm {
  readonly #draw: WeightedDraw
  readonly #failed = new FailedTurns()

  constructor(random: Random) {
    this.#draw = new WeightedDraw(wholeNumbers(random))
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const draw = this.#draw.of(candidates)
    const one = draw.one()
    const first = candidates[one]
    const second = candidates[draw.another(one)]
    if (first === undefined || second === undefined) throw new Error('There is no candidate to pick from')
    const picked = this.#isBetter(second, first) ? second : first
    this.#failed.picked()
    return picked
  }

  learn(backend: Backend, _responseMs: number, verdict: 'success' | 'failure'): void {
    if (verdict === 'failure') this.#failed.add(backend, this.#draw.total)
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const failed = candidates.filter((backend) => this.#failed.has(backend))
    return {
      picks: betterOfTwo(candidates, (one, other) => this.#isBetter(one, other)),
      how: 'Two are drawn by weight, and the one with less in flight for its weight is picked',
      scores: scoresOf(candidates, ({ inFlight, weight }) => inFlight / weight),
      scoreMeans: 'in flight divided by weight; of the two that are drawn, the lower one is picked',
      notes: new Map(failed.map((backend) => [backend, FAILED_NOTE])),
    }
  }

  /** On a tie the first draw stands, so that idle traffic follows the weights. */
  #isBetter(second: Backend, first: Backend): boolean {
    if (this.#failed.any) {
      const firstFailed = this.#failed.has(first)
      if (firstFailed !== this.#failed.has(second)) return firstFailed
    }
    return second.inFlight / second.weight < first.inFlight / first.weight
  }
}
