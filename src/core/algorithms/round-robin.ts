/**
 * One after the other, whatever their weights. It enters at a random place, so that many gateways that start at once do
 * not all begin with the same backend.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { Algorithm, AlgorithmFactory, Explanation } from './algorithm.ts'
import { refuseOptions } from './options.ts'

export const roundRobin: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new RoundRobin(deps.random)
}

class RoundRobin implements Algorithm {
  readonly #random: Random
  #list: readonly Backend[] | undefined
  #next = 0

  constructor(random: Random) {
    this.#random = random
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    if (candidates !== this.#list) this.#turnTo(candidates)
    const picked = candidates[this.#next]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    this.#next = this.#next + 1 === candidates.length ? 0 : this.#next + 1
    return picked
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const next = candidates === this.#list ? this.#next : this.#placeAfterLast(candidates)
    const how = 'One after the other, whatever their weights'
    if (next === undefined) return { picks: undefined, how: `${how}; the first one is drawn` }
    const count = candidates.length
    return {
      picks: candidates[next],
      how,
      scores: new Map(candidates.map((backend, index) => [backend, (index - next + count) % count])),
      scoreMeans: 'how many others have their turn before it',
    }
  }

  #turnTo(candidates: readonly Backend[]): void {
    this.#next = this.#placeAfterLast(candidates) ?? Math.floor(this.#random() * candidates.length)
    this.#list = candidates
  }

  /**
   * Behind whoever was last, so that one added there comes next; or, if that one is gone, with the first of those who
   * were to follow it and are still there. So nobody who stays is skipped, and nobody comes twice. Undefined when none of
   * them is.
   */
  #placeAfterLast(candidates: readonly Backend[]): number | undefined {
    const before = this.#list ?? []
    const last = before.at(this.#next - 1)
    const lastIndex = last === undefined ? -1 : candidates.indexOf(last)
    if (lastIndex !== -1) return (lastIndex + 1) % candidates.length
    for (let step = 0; step < before.length; step += 1) {
      const backend = before[(this.#next + step) % before.length]
      const index = backend === undefined ? -1 : candidates.indexOf(backend)
      if (index !== -1) return index
    }
    return undefined
  }
}
