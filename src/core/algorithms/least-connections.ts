/**
 * Whoever has least in flight for its weight. Ties, of which idle traffic consists, are broken by smooth weighted round
 * robin, as nginx does it: one request at a time still follows the weights, where comparing in-flight + 1 would send
 * them all to the heaviest. A pick looks at every candidate.
 *
 * Whoever is several times slower than is typical of the pool counts for that many times what it has in flight, and the
 * request to come with it: see pace.ts. While nobody is, this is the classic algorithm.
 */
import type { Backend } from '../backend.ts'
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory } from './algorithm.ts'
import { FailedTurns } from './failed-turns.ts'
import { readOptions } from './options.ts'
import { Pace } from './pace.ts'
import { SmoothCycle } from './smooth-cycle.ts'
import { Turns } from './turns.ts'

export const leastConnections: AlgorithmFactory = (options, deps) => {
  return new LeastConnections(readSlow(readOptions(options, ['slow']).get('slow')), deps)
}

/** Three times: well beyond what chance makes of ordinary answers, and well below what users put up with. */
const SLOW = 3

function readSlow(value: unknown = SLOW): number {
  if (typeof value === 'number' && Number.isFinite(value) && (value === 0 || value > 1)) {
    return value === 0 ? Infinity : value
  }
  throw new RangeError('slow must be a number above 1, or 0 for never')
}

class LeastConnections implements Algorithm {
  readonly #turns: Turns<SmoothCycle>
  readonly #failed = new FailedTurns()
  readonly #pace: Pace
  /** The positions of those who are best so far, the first `#tiedCount` of them. */
  #tied = new Int32Array(0)
  #tiedCount = 0

  constructor(slow: number, { clock, random }: AlgorithmDependencies) {
    this.#pace = new Pace(clock, slow)
    this.#turns = new Turns(random, (weights, total, credits) => new SmoothCycle(weights, total, credits))
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const cycle = this.#turns.of(candidates)
    if (this.#tied.length < candidates.length) this.#tied = new Int32Array(candidates.length)
    let picked = this.#least(candidates, cycle)
    // Each may stand out once.
    for (let others = candidates.length; others > 1 && this.#pace.standsOut(picked); others -= 1) {
      picked = this.#least(candidates, cycle)
    }
    this.#failed.picked()
    return picked
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    if (verdict === 'failure') this.#failed.add(backend, this.#turns.total)
    this.#pace.learn(backend, responseMs, verdict)
  }

  #least<B extends Backend>(candidates: readonly B[], cycle: SmoothCycle): B {
    const { anySlow } = this.#pace
    this.#compare(candidates, this.#failed.any, anySlow)
    // All of them may sit out at once; then that is no difference between them.
    if (this.#tiedCount === 0) this.#compare(candidates, false, anySlow)
    const index = this.#tiedCount === 1 ? this.#tied[0] : cycle.nextAmong(this.#tied, this.#tiedCount)
    const least = candidates[index ?? 0]
    if (least === undefined) throw new Error('There is no candidate to pick from')
    return least
  }

  #compare(candidates: readonly Backend[], anyFailed: boolean, anySlow: boolean): void {
    const weights = this.#turns.weights
    const tied = this.#tied
    let count = 0
    let least = Infinity
    for (let index = 0; index < candidates.length; index += 1) {
      const backend = candidates[index]
      const weight = weights[index] ?? 0
      if (backend === undefined || weight === 0 || (anyFailed && this.#failed.has(backend))) continue
      const work = anySlow ? (backend.inFlight + 1) * this.#pace.of(backend) - 1 : backend.inFlight
      // Division rounds equal ratios to equal numbers (IEEE 754), so 1 of 3 and 3 of 9 do tie.
      const load = work / weight
      if (load > least) continue
      if (load < least) count = 0
      least = load
      tied[count] = index
      count += 1
    }
    this.#tiedCount = count
  }
}
