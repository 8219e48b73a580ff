/**
 * Keeps a backend that fails fast from looking idle. What fails at once has hardly anything in flight, so whoever goes
 * by load would send it ever more. Here each failure costs it one turn: it sits out until as many others have been
 * picked as would have been before its next turn by weight. So one that only fails gets at most its fair share, one
 * that fails once in a hundred loses a hundredth of it, and the first success ends nothing that is not over soon anyway.
 * Counted in picks and not in time, it needs no idea of how long a request should take.
 */
import type { Backend } from '../backend.ts'

/** Turns one can owe. A hundred requests that fail together must not shut it out long after it has recovered. */
const MOST_OWED = 16

export class FailedTurns {
  readonly #until = new WeakMap<Backend, number>()
  #picks = 0
  #latest = 0

  /** Whether anybody sits out now; while nobody does, nobody needs to be looked up. */
  get any(): boolean {
    return this.#latest > this.#picks
  }

  has(backend: Backend): boolean {
    return (this.#until.get(backend) ?? 0) > this.#picks
  }

  picked(): void {
    this.#picks += 1
  }

  /** `total` is the sum of the weights of those it competes with. */
  add(backend: Backend, total: number): void {
    if (backend.weight === 0) return
    const others = Math.max(0, total / backend.weight - 1)
    const from = Math.max(this.#until.get(backend) ?? 0, this.#picks)
    const until = Math.min(from + others, this.#picks + MOST_OWED * others)
    this.#until.set(backend, until)
    this.#latest = Math.max(this.#latest, until)
  }
}
