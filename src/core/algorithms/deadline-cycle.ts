/**
 * The turns of smooth weighted round robin for many candidates: the same promise, at the logarithm of the cost. Each
 * pick a candidate may get has a window: the n-th of one that should get every p-th pick begins at (n - 1) x p and has
 * its deadline at n x p, in picks. Of those whose window has begun the earliest deadline wins. That is WF2Q (Bennett
 * and Zhang, "WF2Q: Worst-case Fair Weighted Fair Queueing", 1996) with requests for packets: nobody is ever a whole
 * pick ahead of its share or behind it (Tijdeman, "The chairman assignment problem", 1980). Without the beginnings, by
 * deadlines alone, a heavy candidate would have all its picks in one go.
 */
import { IndexHeap } from './index-heap.ts'
import type { Cycle } from './turns.ts'

/**
 * Times are compared in these parts of a pick. What is equal must not differ by a rounding error, or ties would be broken
 * one way in this cycle and the other way in the next.
 */
const PARTS = 2 ** 20

/** Picks after which they are counted from 0 again, to keep them precise: once in some seconds at the very most. */
const RECOUNT = 2 ** 22

export class DeadlineCycle implements Cycle {
  readonly #weights: Float64Array
  readonly #total: number
  /** Where the window of each candidate's first pick began, and how many picks it got since. */
  readonly #origins: Float64Array
  readonly #got: Float64Array
  /** Of the window each candidate is in, or waits for. */
  readonly #begins: Float64Array
  readonly #deadlines: Float64Array
  #waiting: IndexHeap
  #ready: IndexHeap
  #picks = 0

  constructor(weights: Float64Array, total: number, credits: Float64Array) {
    this.#weights = weights
    this.#total = total
    this.#origins = new Float64Array(weights.length)
    this.#got = new Float64Array(weights.length)
    this.#begins = new Float64Array(weights.length)
    this.#deadlines = new Float64Array(weights.length)
    this.#waiting = new IndexHeap(this.#begins)
    this.#ready = new IndexHeap(this.#deadlines)
    this.#restart(credits)
  }

  get stepCost(): number {
    return 4 * Math.ceil(Math.log2(this.#weights.length + 1))
  }

  /** A window that begins in c picks is as much as c x weight gained too much. */
  get credits(): Float64Array {
    return this.#weights.map((weight, index) =>
      weight === 0 ? -Infinity : (this.#picks - this.#beginOf(index)) * weight,
    )
  }

  next(): number {
    if (this.#picks === RECOUNT) this.#restart(this.credits)
    while (this.#waiting.size > 0 && (this.#begins[this.#waiting.top] ?? 0) <= this.#picks) this.#admit()
    // Nobody's window has begun when one left that was owed something: then whose is the next to begin.
    if (this.#ready.size === 0) this.#admit()
    const picked = this.#ready.top
    this.#ready.remove(picked)
    this.#got[picked] = (this.#got[picked] ?? 0) + 1
    this.#open(picked)
    this.#picks += 1
    return picked
  }

  peek(): number {
    if (this.#picks === RECOUNT) return new DeadlineCycle(this.#weights, this.#total, this.credits).peek()
    const begun = new IndexHeap(this.#deadlines)
    const later = new IndexHeap(this.#begins)
    for (let index = 0; index < this.#weights.length; index += 1) {
      if (this.#weights[index] === 0) continue
      const heap = (this.#begins[index] ?? 0) <= this.#picks ? begun : later
      heap.add(index)
    }
    return begun.size > 0 ? begun.top : later.top
  }

  #restart(credits: Float64Array): void {
    this.#picks = 0
    this.#waiting = new IndexHeap(this.#begins)
    this.#ready = new IndexHeap(this.#deadlines)
    for (let index = 0; index < this.#weights.length; index += 1) {
      const weight = this.#weights[index] ?? 0
      if (weight === 0) continue
      this.#got[index] = 0
      this.#origins[index] = -(credits[index] ?? 0) / weight
      this.#open(index)
    }
  }

  #admit(): void {
    const index = this.#waiting.top
    this.#waiting.remove(index)
    this.#ready.add(index)
  }

  #open(index: number): void {
    const begin = this.#beginOf(index)
    this.#begins[index] = Math.round(begin * PARTS) / PARTS
    this.#deadlines[index] = Math.round((begin + this.#periodOf(index)) * PARTS) / PARTS
    this.#waiting.add(index)
  }

  /** Multiplied out, so that the rounding of one window does not add to that of the next. */
  #beginOf(index: number): number {
    return (this.#origins[index] ?? 0) + (this.#got[index] ?? 0) * this.#periodOf(index)
  }

  #periodOf(index: number): number {
    return this.#total / (this.#weights[index] ?? 1)
  }
}
