/**
 * Who has least in flight for its weight, among few candidates: each pick looks at all of them. Ties are broken by
 * smooth weighted round robin, as nginx does it.
 */
import type { Backend } from '../backend.ts'
import type { FailedTurns } from './failed-turns.ts'
import type { LeastAhead, LeastOrder, Standings } from './least-order.ts'
import { loadOf, type Pace } from './pace.ts'
import { SmoothCycle } from './smooth-cycle.ts'
import { Turns } from './turns.ts'

export class LeastScan implements LeastOrder {
  readonly #turns: Turns<SmoothCycle>
  readonly #failed: FailedTurns
  readonly #pace: Pace
  #list: readonly Backend[] = []
  /** The positions of those who are best so far, the first `#tiedCount` of them. */
  #tied = new Int32Array(0)
  #tiedCount = 0

  constructor({ pace, failed, random }: Standings) {
    this.#pace = pace
    this.#failed = failed
    this.#turns = new Turns(random, (weights, total, credits) => new SmoothCycle(weights, total, credits))
  }

  get total(): number {
    return this.#turns.total
  }

  of(list: readonly Backend[]): LeastOrder {
    this.#list = list
    return this
  }

  next(): number {
    const cycle = this.#turns.of(this.#list)
    if (this.#tied.length < this.#list.length) this.#tied = new Int32Array(this.#list.length)
    const { anySlow } = this.#pace
    this.#compare(this.#failed.any, anySlow)
    // All of them may sit out at once; then that is no difference between them.
    if (this.#tiedCount === 0) this.#compare(false, anySlow)
    return this.#tiedCount === 1 ? (this.#tied[0] ?? 0) : cycle.nextAmong(this.#tied, this.#tiedCount)
  }

  /** Nothing is kept that could be wrong now. */
  changed(): void {}

  ahead(list: readonly Backend[]): LeastAhead {
    const cycle = this.#turns.ahead(list)?.copy()
    return { next: (tied) => (tied.length === 1 ? tied[0] : cycle?.nextAmong(Int32Array.from(tied), tied.length)) }
  }

  #compare(anyFailed: boolean, anySlow: boolean): void {
    const list = this.#list
    const weights = this.#turns.weights
    const tied = this.#tied
    let count = 0
    let least = Infinity
    for (let index = 0; index < list.length; index += 1) {
      const backend = list[index]
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
