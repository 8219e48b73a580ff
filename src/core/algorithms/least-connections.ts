/**
 * Whoever has least in flight for its weight. Ties, of which idle traffic consists, are broken by smooth weighted round
 * robin, as nginx does it: one request at a time still follows the weights, where comparing in-flight + 1 would send
 * them all to the heaviest. A pick looks at every candidate.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { Algorithm, AlgorithmFactory } from './algorithm.ts'
import { FailedTurns } from './failed-turns.ts'
import { refuseOptions } from './options.ts'
import { SmoothCycle } from './smooth-cycle.ts'
import { Turns } from './turns.ts'

export const leastConnections: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new LeastConnections(deps.random)
}

class LeastConnections implements Algorithm {
  readonly #turns: Turns<SmoothCycle>
  readonly #failed = new FailedTurns()
  /** The positions of those who are best so far, the first `#tiedCount` of them. */
  #tied = new Int32Array(0)
  #tiedCount = 0

  constructor(random: Random) {
    this.#turns = new Turns(random, (weights, total, credits) => new SmoothCycle(weights, total, credits))
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const cycle = this.#turns.of(candidates)
    if (this.#tied.length < candidates.length) this.#tied = new Int32Array(candidates.length)
    this.#compare(candidates, this.#failed.any)
    // All of them may sit out at once; then that is no difference between them.
    if (this.#tiedCount === 0) this.#compare(candidates, false)
    const index = this.#tiedCount === 1 ? this.#tied[0] : cycle.nextAmong(this.#tied, this.#tiedCount)
    const picked = candidates[index ?? 0]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    this.#failed.picked()
    return picked
  }

  learn(backend: Backend, _responseMs: number, verdict: 'success' | 'failure'): void {
    if (verdict === 'failure') this.#failed.add(backend, this.#turns.total)
  }

  #compare(candidates: readonly Backend[], anyFailed: boolean): void {
    const weights = this.#turns.weights
    const tied = this.#tied
    let count = 0
    let least = Infinity
    for (let index = 0; index < candidates.length; index += 1) {
      const backend = candidates[index]
      const weight = weights[index] ?? 0
      if (backend === undefined || weight === 0 || (anyFailed && this.#failed.has(backend))) continue
      // Division rounds equal ratios to equal numbers (IEEE 754), so 1 of 3 and 3 of 9 do tie.
      const load = backend.inFlight / weight
      if (load > least) continue
      if (load < least) count = 0
      least = load
      tied[count] = index
      count += 1
    }
    this.#tiedCount = count
  }
}
