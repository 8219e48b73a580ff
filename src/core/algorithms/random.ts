/**
 * A draw by weight for each request, remembering nothing: what many gateways in front of the same backends can do
 * without ever falling into step.
 */
import type { Backend } from '../backend.ts'
import type { Random as Chance } from '../clock.ts'
import type { Algorithm, AlgorithmFactory, Explanation } from './algorithm.ts'
import { onlyOneOf, scoresOf } from './explaining.ts'
import { refuseOptions } from './options.ts'
import { WeightedDraw, wholeNumbers } from './weighted-draw.ts'
import { sumOf, weightsOf } from './weights.ts'

export const random: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new Random(deps.random)
}

class Random implements Algorithm {
  readonly #draw: WeightedDraw

  constructor(chance: Chance) {
    this.#draw = new WeightedDraw(wholeNumbers(chance))
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const picked = candidates[this.#draw.of(candidates).one()]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    return picked
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const total = sumOf(weightsOf(candidates))
    return {
      picks: onlyOneOf(candidates),
      how: 'A draw by weight',
      scores: scoresOf(candidates, ({ weight }) => weight / total),
      scoreMeans: 'the probability of being drawn',
    }
  }
}
