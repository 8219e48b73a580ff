/**
 * Smooth weighted round robin: turns by weight, as evenly spread as they can be.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { Algorithm, AlgorithmFactory, Explanation } from './algorithm.ts'
import { DeadlineCycle } from './deadline-cycle.ts'
import { onlyOneOf, scoresOf } from './explaining.ts'
import { refuseOptions } from './options.ts'
import { FEW, SmoothCycle } from './smooth-cycle.ts'
import { Turns, type Cycle } from './turns.ts'

export const weightedRoundRobin: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new WeightedRoundRobin(deps.random)
}

class WeightedRoundRobin implements Algorithm {
  readonly #turns: Turns<Cycle>

  constructor(random: Random) {
    this.#turns = new Turns<Cycle>(random, (weights, total, credits) =>
      weights.length > FEW ? new DeadlineCycle(weights, total, credits) : new SmoothCycle(weights, total, credits),
    )
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const picked = candidates[this.#turns.of(candidates).next()]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    return picked
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const cycle = this.#turns.ahead(candidates)
    const how = 'Turns by weight, as evenly spread as they can be'
    if (cycle === undefined) return { picks: onlyOneOf(candidates), how: `${how}; the place of the first one is drawn` }
    const { credits } = cycle
    return {
      picks: candidates[cycle.peek()],
      how,
      scores: scoresOf(candidates, (backend, index) => ((credits[index] ?? 0) + backend.weight) / backend.weight),
      scoreMeans: 'the turns that it is owed, this one among them',
    }
  }
}
