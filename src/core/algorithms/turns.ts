/**
 * Turns by weight, over candidate lists that change: enters its cycle at a random place, and carries what each backend
 * is owed, or owes, from one list to the next. It is kept with the backend, not with the list: who stays, or comes
 * back, goes on where it was, and what left the pool is forgotten with it.
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import { sumOf, weightsOf } from './weights.ts'

/** The order of turns within one list. */
export interface Cycle {
  /**
   * By position: what each is owed in units of weight, that is its share of the picks so far less what it got, times
   * the sum of weights. -Infinity is for who has no weight, and never gets a turn.
   */
  readonly credits: Float64Array
  /** What a step costs, in additions or the like. */
  readonly stepCost: number
  /** The position of whose turn it is. */
  next(): number
  /** What `next` would give; takes no turn. */
  peek(): number
}

export type MakeCycle<C extends Cycle> = (weights: Float64Array, total: number, credits: Float64Array) => C

/** Steps spent, once in the life of an instance, on entering its cycle: about a millisecond. */
const ENTRY_BUDGET = 2 ** 20

/** A backend's credit, and the sum of weights that it was counted in: a change of scale must not change its meaning. */
interface Credit {
  current: number
  total: number
}

export class Turns<C extends Cycle> {
  readonly #random: Random
  readonly #makeCycle: MakeCycle<C>
  readonly #credits = new WeakMap<Backend, Credit>()
  #list: readonly Backend[] = []
  #weights: Float64Array = new Float64Array(0)
  #total = 0
  #cycle: C | undefined

  constructor(random: Random, makeCycle: MakeCycle<C>) {
    this.#random = random
    this.#makeCycle = makeCycle
  }

  get weights(): Float64Array {
    return this.#weights
  }

  /** The sum of weights. */
  get total(): number {
    return this.#total
  }

  /** The cycle of this list. @throws {RangeError} when nobody in it may have a turn */
  of(candidates: readonly Backend[]): C {
    if (candidates === this.#list && this.#cycle !== undefined) return this.#cycle
    return this.#turnTo(candidates)
  }

  /**
   * The cycle that `of` would give, for whoever only wants to look at it; undefined when it would be entered at a random
   * place.
   */
  ahead(candidates: readonly Backend[]): C | undefined {
    if (this.#cycle === undefined || candidates === this.#list) return this.#cycle
    const { credits } = this.#cycle
    const positions = new Map(this.#list.map((backend, index) => [backend, index]))
    const creditOf = (backend: Backend): Credit | undefined => {
      const index = positions.get(backend)
      return index === undefined ? this.#credits.get(backend) : creditIn(this.#total, credits[index])
    }
    const weights = weightsOf(candidates)
    const total = sumOf(weights)
    return this.#makeCycle(weights, total, creditsOf(candidates, total, creditOf))
  }

  #turnTo(candidates: readonly Backend[]): C {
    const weights = weightsOf(candidates)
    const total = sumOf(weights)
    this.#remember()
    const isFirst = this.#cycle === undefined
    const cycle = this.#makeCycle(
      weights,
      total,
      creditsOf(candidates, total, (backend) => this.#credits.get(backend)),
    )
    this.#weights = weights
    this.#total = total
    this.#list = candidates
    this.#cycle = cycle
    if (isFirst) this.#enterAnywhere(cycle)
    return cycle
  }

  #remember(): void {
    if (this.#cycle === undefined) return
    const { credits } = this.#cycle
    for (const [index, backend] of this.#list.entries()) {
      const credit = creditIn(this.#total, credits[index])
      if (credit === undefined) this.#credits.delete(backend)
      else this.#credits.set(backend, credit)
    }
  }

  /**
   * Many gateways that start at once should not all begin with the heaviest backend. The cycle has no formula for its
   * n-th state, so it is walked to, at most as far as the budget allows: any state on the way is one of the true cycle.
   */
  #enterAnywhere(cycle: C): void {
    const affordable = Math.ceil(ENTRY_BUDGET / cycle.stepCost)
    const steps = Math.floor(this.#random() * Math.min(cycleLength(this.#weights, this.#total), affordable))
    for (let step = 0; step < steps; step += 1) cycle.next()
  }
}

/** Who has no weight starts anew when it gets some. */
function creditIn(total: number, current = 0): Credit | undefined {
  return Number.isFinite(current) ? { current, total } : undefined
}

/**
 * A newcomer starts with nothing. Who left took its credit or debt along, so the rest need not add up to 0; they are
 * even with the newcomer again within two of its turns, since whoever has most pays first.
 */
function creditsOf(
  candidates: readonly Backend[],
  total: number,
  creditOf: (backend: Backend) => Credit | undefined,
): Float64Array {
  return Float64Array.from(candidates, (backend) => {
    if (backend.weight === 0) return -Infinity
    const credit = creditOf(backend)
    return credit === undefined ? 0 : credit.current * (total / credit.total)
  })
}

/** The picks after which the order repeats. That of fractions is not worth finding: any number of steps enters it. */
function cycleLength(weights: Float64Array, total: number): number {
  let divisor = 0
  for (const weight of weights) {
    if (!Number.isInteger(weight)) return Infinity
    divisor = greatestCommonDivisor(divisor, weight)
  }
  return total / divisor
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
