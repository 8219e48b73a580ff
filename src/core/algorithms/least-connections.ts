/**
 * Whoever has least in flight for its weight. Ties, of which idle traffic consists, are broken by smooth weighted round
 * robin, as nginx does it: one request at a time still follows the weights, where comparing in-flight + 1 would send
 * them all to the heaviest. A pick looks at every candidate.
 *
 * Whoever is several times slower than is typical of the pool counts for that many times what it has in flight, and the
 * request to come with it: see pace.ts. While nobody is, this is the classic algorithm.
 */
import type { Backend } from '../backend.ts'
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory, Explanation } from './algorithm.ts'
import { FAILED_NOTE, scoresOf } from './explaining.ts'
import { FailedTurns } from './failed-turns.ts'
import { readOptions } from './options.ts'
import { Pace, SLOWEST } from './pace.ts'
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

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const silent = new Set<Backend>()
    const turns = this.#turns.ahead(candidates)?.copy()
    let loads = this.#loadsOf(candidates, silent)
    let picks = this.#leastBy(loads, candidates, turns)
    while (silent.size + 1 < candidates.length && picks !== undefined && !silent.has(picks)) {
      if (!this.#pace.isSilent(picks)) break
      silent.add(picks)
      loads = this.#loadsOf(candidates, silent)
      picks = this.#leastBy(loads, candidates, turns)
    }
    const how = 'Whoever has least in flight for its weight; among equals, turns by weight'
    return {
      picks,
      how: picks === undefined ? `${how}, the first of which is drawn` : how,
      scores: loads,
      scoreMeans: 'in flight divided by weight, where a slow backend counts for more than it has; the lowest is picked',
      notes: this.#notesOn(candidates, silent),
    }
  }

  /** @param silent those whose silence the pick would hold against them from now on */
  #paceOf(backend: Backend, silent: ReadonlySet<Backend>): number {
    if (silent.has(backend)) return SLOWEST
    return this.#pace.anySlow || silent.size > 0 ? this.#pace.of(backend) : 1
  }

  #loadsOf<B extends Backend>(candidates: readonly B[], silent: ReadonlySet<Backend>): ReadonlyMap<B, number> {
    return scoresOf(candidates, (backend) => loadOf(backend, backend.weight, this.#paceOf(backend, silent)))
  }

  #leastBy<B extends Backend>(
    loads: ReadonlyMap<B, number>,
    candidates: readonly B[],
    turns: SmoothCycle | undefined,
  ): B | undefined {
    const all = [...loads]
    const ready = all.filter(([backend]) => !this.#failed.has(backend))
    const compared = ready.length > 0 ? ready : all
    const least = compared.reduce((lowest, [, load]) => Math.min(lowest, load), Infinity)
    const best = new Set<Backend>(compared.filter(([, load]) => load === least).map(([backend]) => backend))
    const tied = [...candidates.entries()].filter(([, backend]) => best.has(backend)).map(([index]) => index)
    const position = tied.length === 1 ? tied[0] : turns?.nextAmong(Int32Array.from(tied), tied.length)
    return position === undefined ? undefined : candidates[position]
  }

  #notesOn<B extends Backend>(candidates: readonly B[], silent: ReadonlySet<Backend>): ReadonlyMap<B, string> {
    const notes = new Map<B, string>()
    for (const backend of candidates) {
      const pace = this.#paceOf(backend, silent)
      const slow = pace > 1 ? [`counts for ${pace.toFixed(1)} times what it has in flight, since it is slow`] : []
      const failed = this.#failed.has(backend) ? [FAILED_NOTE] : []
      if (slow.length + failed.length > 0) notes.set(backend, [...slow, ...failed].join('; '))
    }
    return notes
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
      const load = loadOf(backend, weight, anySlow ? this.#pace.of(backend) : 1)
      if (load > least) continue
      if (load < least) count = 0
      least = load
      tied[count] = index
      count += 1
    }
    this.#tiedCount = count
  }
}

/** @param pace how many times what it has in flight, and the request to come, it counts for */
function loadOf(backend: Backend, weight: number, pace: number): number {
  const work = pace === 1 ? backend.inFlight : (backend.inFlight + 1) * pace - 1
  // Division rounds equal ratios to equal numbers (IEEE 754), so 1 of 3 and 3 of 9 do tie.
  return work / weight
}
