/**
 * Who has least in flight for its weight, for many candidates: they are kept in order, so that a pick costs the
 * logarithm of their number. A load that has risen is seen when its turn comes, one that has fallen is told by
 * `changed`. The few who are slow or sit out stand apart, since what they count for changes with time; they are
 * compared one by one.
 *
 * Ties are broken by turns, in virtual time as of fair queueing by beginnings (Goyal, Vin, Cheng, "Start-time Fair
 * Queueing", 1996): a turn takes 1 / weight of it, and the earliest is first. One request at a time thus follows the
 * weights. Where in its turn each begins is spread evenly along the list from a drawn place on: a heavy one does not have
 * all of its turns in one go, many gateways do not all begin with the same one, and equals have their turns in the order
 * of the list, in which most of what belongs to them lies in memory: with thousands, a random order costs a request a
 * fifth more. Whoever had no turn because it was busy is not owed more than one.
 */
import type { Backend } from '../backend.ts'
import type { FailedTurns } from './failed-turns.ts'
import { IndexHeap } from './index-heap.ts'
import type { LeastAhead, LeastOrder, Standings } from './least-order.ts'
import { loadOf, type Pace } from './pace.ts'
import { sumOf, weightsOf } from './weights.ts'

const NOBODY = -1

export class LeastIndex implements LeastOrder {
  readonly list: readonly Backend[]
  readonly total: number
  readonly #pace: Pace
  readonly #failed: FailedTurns
  readonly #weights: Float64Array
  readonly #positions: ReadonlyMap<Backend, number>
  /** By position: as of when it was last looked at, never more than it has. */
  readonly #loads: Float64Array
  /** By position: the virtual time of its next turn. */
  readonly #turns: Float64Array
  readonly #order: IndexHeap
  /** The positions of those who stand apart. */
  readonly #apart: number[] = []
  /** The virtual time; in an array, since a field would be a new object at each change. */
  readonly #now = new Float64Array(1)

  /** @param before whose turns are carried on */
  constructor(list: readonly Backend[], { pace, failed, random }: Standings, before?: LeastIndex) {
    this.list = list
    this.#pace = pace
    this.#failed = failed
    this.#weights = weightsOf(list)
    this.total = sumOf(this.#weights)
    this.#positions = new Map(list.map((backend, index) => [backend, index]))
    this.#now[0] = before?.now ?? 0
    const entry = random()
    let sum = 0
    this.#turns = Float64Array.from(list, (backend, index) => {
      const carried = before === undefined ? undefined : before.#turnOf(backend)
      const phase = (entry + sum / this.total) % 1
      sum += this.#weights[index] ?? 0
      return carried ?? this.now + phase / backend.weight
    })
    this.#loads = Float64Array.from(list, ({ inFlight, weight }) => inFlight / weight)
    this.#order = new IndexHeap(this.#loads, this.#turns)
    for (const [index, weight] of this.#weights.entries()) {
      if (weight === 0) continue
      if (this.#standsApart(index)) this.#apart.push(index)
      else this.#order.add(index)
    }
  }

  get now(): number {
    return this.#now[0] ?? 0
  }

  next(): number {
    if (this.#apart.length > 0) this.#takeBack()
    const first = this.#first()
    const least = this.#apart.length === 0 ? first : this.#leastApart(first)
    const turn = Math.max(this.now, this.#turns[least] ?? 0)
    this.#now[0] = turn
    this.#turns[least] = turn + 1 / (this.#weights[least] ?? 1)
    if (this.#order.has(least)) this.#order.moved(least)
    return least
  }

  changed(backend: Backend): void {
    const index = this.#positions.get(backend)
    if (index === undefined || !this.#order.has(index)) return
    if (this.#standsApart(index)) {
      this.#order.remove(index)
      this.#apart.push(index)
    } else this.#look(index)
  }

  ahead(list: readonly Backend[]): LeastAhead {
    const taken = new Map<Backend, number>()
    let { now } = this
    return {
      next: (tied) => {
        let first: number | undefined
        let earliest = Infinity
        for (const position of tied) {
          const backend = list[position]
          const turn = backend === undefined ? undefined : (taken.get(backend) ?? this.#turnOf(backend))
          if (turn === undefined && tied.length > 1) return undefined
          if (first === undefined || (turn ?? now) < earliest) [first, earliest] = [position, turn ?? now]
        }
        const backend = first === undefined ? undefined : list[first]
        if (backend === undefined) return undefined
        now = Math.max(now, earliest)
        taken.set(backend, now + 1 / backend.weight)
        return first
      },
    }
  }

  /**
   * The virtual time of its next turn; undefined for whom it does not know, or who had no weight. Whose weight has been
   * raised need not wait for as long as it would have had to with the old one.
   */
  #turnOf(backend: Backend): number | undefined {
    const index = this.#positions.get(backend)
    if (index === undefined || this.#weights[index] === 0) return undefined
    return Math.min(this.#turns[index] ?? 0, this.now + 1 / backend.weight)
  }

  /** Puts it where it belongs by what it has now: of those in order nobody is slow. @returns whether it was there */
  #look(index: number): boolean {
    const load = (this.list[index]?.inFlight ?? 0) / (this.#weights[index] ?? 1)
    if (load === this.#loads[index]) return true
    this.#loads[index] = load
    this.#order.moved(index)
    return false
  }

  /** Of those in order. */
  #first(): number {
    if (this.#order.size === 0) return NOBODY
    while (!this.#look(this.#order.top));
    return this.#order.top
  }

  /** Of those who stand apart and of `first`. */
  #leastApart(first: number): number {
    let least = first
    for (const index of this.#apart) if (!this.#sitsOut(index) && this.#isBefore(index, least)) least = index
    if (least !== NOBODY) return least
    // All of them may sit out at once; then that is no difference between them.
    for (const index of this.#apart) if (this.#isBefore(index, least)) least = index
    return least
  }

  #isBefore(one: number, other: number): boolean {
    if (other === NOBODY) return true
    const load = this.#loadOf(one) - this.#loadOf(other)
    if (load !== 0) return load < 0
    const turn = (this.#turns[one] ?? 0) - (this.#turns[other] ?? 0)
    return turn < 0 || (turn === 0 && one < other)
  }

  #takeBack(): void {
    const apart = this.#apart
    let kept = 0
    for (const index of apart) {
      if (this.#standsApart(index)) {
        apart[kept] = index
        kept += 1
      } else {
        this.#order.add(index)
        this.#look(index)
      }
    }
    apart.length = kept
  }

  #standsApart(index: number): boolean {
    return this.#sitsOut(index) || this.#paceOf(index) > 1
  }

  #sitsOut(index: number): boolean {
    const backend = this.list[index]
    return this.#failed.any && backend !== undefined && this.#failed.has(backend)
  }

  #paceOf(index: number): number {
    const backend = this.list[index]
    return backend === undefined || !this.#pace.anySlow ? 1 : this.#pace.of(backend)
  }

  #loadOf(index: number): number {
    const backend = this.list[index]
    return backend === undefined ? Infinity : loadOf(backend, this.#weights[index] ?? 0, this.#paceOf(index))
  }
}
