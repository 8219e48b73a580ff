/**
 * How much a list of candidates has in flight, kept so that nobody has to count it for a pick. It rises only by picks,
 * and each is looked at before the next one; that it has fallen is told by `look`.
 */
import type { Backend } from '../backend.ts'

export class InFlight {
  readonly #positions: ReadonlyMap<Backend, number>
  /** By position, as last looked at. */
  readonly #counted: Float64Array
  #total: number
  #last: Backend | undefined

  constructor(list: readonly Backend[]) {
    this.#positions = new Map(list.map((backend, index) => [backend, index]))
    this.#counted = Float64Array.from(list, ({ inFlight }) => inFlight)
    this.#total = this.#counted.reduce((sum, inFlight) => sum + inFlight, 0)
  }

  get total(): number {
    if (this.#last !== undefined) this.look(this.#last)
    return this.#total
  }

  picked(backend: Backend): void {
    this.#last = backend
  }

  /** It has more or less than before. */
  look(backend: Backend): void {
    const position = this.#positions.get(backend)
    if (position === undefined) return
    this.#total += backend.inFlight - (this.#counted[position] ?? 0)
    this.#counted[position] = backend.inFlight
  }
}
