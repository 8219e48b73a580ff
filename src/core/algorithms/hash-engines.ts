/**
 * What the engines of consistent hashing have in common. An engine is made for a set of backends, knows them by id and
 * weight only, and is never changed: whoever cannot be chosen at the moment keeps its place, and is walked past.
 */
import { murmur3 } from './murmur3.ts'

/** Any constant; that hashes of ids do not depend on those of keys is all that matters. */
const SECOND_SEED = 0x9747b28c

/** The backends an engine is made for, in the order of their ids: their order in a file must not matter. */
export class Seats {
  readonly ids: readonly string[]
  readonly weights: Float64Array
  /** Two independent hashes of each id: two ids share one of them sooner or later, both hardly ever. */
  readonly hashes: Uint32Array
  readonly moreHashes: Uint32Array

  /** @param weightById each above 0 */
  constructor(weightById: ReadonlyMap<string, number>) {
    this.ids = [...weightById.keys()].toSorted((a, b) => (a < b ? -1 : 1))
    this.weights = Float64Array.from(this.ids, (id) => weightById.get(id) ?? 0)
    this.hashes = Uint32Array.from(this.ids, (id) => murmur3(id))
    this.moreHashes = Uint32Array.from(this.ids, (id) => murmur3(id, SECOND_SEED))
  }

  get size(): number {
    return this.ids.length
  }
}

/** Who may be chosen now. */
export interface Gate {
  accepts(seat: number): boolean
}

export interface HashEngine {
  /** The first seat in the order of preference of this hash of a key that the gate accepts; -1 if it accepts none. */
  find(hash: number, gate: Gate): number
}
