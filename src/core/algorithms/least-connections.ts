/**
 * Whoever has least in flight for its weight. Ties, of which idle traffic consists, are broken by turns: one request at a
 * time still follows the weights, where comparing in-flight + 1 would send them all to the heaviest.
 *
 * Whoever is several times slower than is typical of the pool counts for that many times what it has in flight, and the
 * request to come with it: see pace.ts. While nobody is, this is the classic algorithm.
 */
import type { Backend } from '../backend.ts'
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory, Explanation } from './algorithm.ts'
import { FAILED_NOTE, scoresOf } from './explaining.ts'
import { FailedTurns } from './failed-turns.ts'
import { LeastIndex } from './least-index.ts'
import type { LeastAhead, LeastOrder, Standings } from './least-order.ts'
import { LeastScan } from './least-scan.ts'
import { readOptions } from './options.ts'
import { loadOf, Pace, SLOWEST } from './pace.ts'
import { FEW } from './smooth-cycle.ts'

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
  readonly #failed = new FailedTurns()
  readonly #pace: Pace
  readonly #standings: Standings
  readonly #scan: LeastScan
  #index: LeastIndex | undefined

  constructor(slow: number, { clock, random }: AlgorithmDependencies) {
    this.#pace = new Pace(clock, slow)
    this.#standings = { pace: this.#pace, failed: this.#failed, random }
    this.#scan = new LeastScan(this.#standings)
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    const order = this.#orderOf(candidates)
    let picked = at(candidates, order.next())
    // Each may stand out once.
    for (let others = candidates.length; others > 1 && this.#pace.standsOut(picked); others -= 1) {
      order.changed(picked)
      picked = at(candidates, order.next())
    }
    this.#failed.picked()
    return picked
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    const order = this.#index ?? this.#scan
    if (verdict === 'failure') this.#failed.add(backend, order.total)
    this.#pace.learn(backend, responseMs, verdict)
    if (this.#failed.any || this.#pace.anySlow) order.changed(backend)
  }

  released(backend: Backend): void {
    this.#index?.changed(backend)
  }

  #orderOf(candidates: readonly Backend[]): LeastOrder {
    if (candidates.length <= FEW) {
      this.#index = undefined
      return this.#scan.of(candidates)
    }
    if (this.#index?.list !== candidates) this.#index = new LeastIndex(candidates, this.#standings, this.#index)
    return this.#index
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const silent = new Set<Backend>()
    let loads = this.#loadsOf(candidates, silent)
    const ahead = candidates.length <= FEW ? this.#scan.ahead(candidates) : this.#index?.ahead(candidates)
    let picks = this.#leastBy(loads, candidates, ahead)
    while (silent.size + 1 < candidates.length && picks !== undefined && !silent.has(picks)) {
      if (!this.#pace.isSilent(picks)) break
      silent.add(picks)
      loads = this.#loadsOf(candidates, silent)
      picks = this.#leastBy(loads, candidates, ahead)
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
    ahead: LeastAhead | undefined,
  ): B | undefined {
    const all = [...loads]
    const ready = all.filter(([backend]) => !this.#failed.has(backend))
    const compared = ready.length > 0 ? ready : all
    const least = compared.reduce((lowest, [, load]) => Math.min(lowest, load), Infinity)
    const best = new Set<Backend>(compared.filter(([, load]) => load === least).map(([backend]) => backend))
    const tied = [...candidates.entries()].filter(([, backend]) => best.has(backend)).map(([index]) => index)
    const position = ahead === undefined && tied.length === 1 ? tied[0] : ahead?.next(tied)
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
}

function at<B extends Backend>(candidates: readonly B[], position: number): B {
  const backend = candidates[position]
  if (backend === undefined) throw new Error('There is no candidate to pick from')
  return backend
}
