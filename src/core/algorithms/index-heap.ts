/**
 * Positions in a binary heap, by keys that may change while they are in it: whoever moved is put right in the logarithm
 * of their number.
 */

const ABSENT = -1

export class IndexHeap {
  readonly #keys: Float64Array
  readonly #thenBy: Float64Array | undefined
  readonly #heap: Int32Array
  /** By position: where in the heap it is. */
  readonly #places: Int32Array
  #size = 0

  /**
   * Has nobody in it yet.
   *
   * @param keys by position; the lowest is on top
   * @param thenBy what decides among equals. Of those who are equal in this too, the first position is before the others
   */
  constructor(keys: Float64Array, thenBy?: Float64Array) {
    this.#keys = keys
    this.#thenBy = thenBy
    this.#heap = new Int32Array(keys.length)
    this.#places = new Int32Array(keys.length).fill(ABSENT)
  }

  get size(): number {
    return this.#size
  }

  /** The first of all; of an empty heap it has no meaning. */
  get top(): number {
    return this.#heap[0] ?? 0
  }

  has(index: number): boolean {
    return this.#places[index] !== ABSENT
  }

  /** What is in it already must not be added. */
  add(index: number): void {
    this.#size += 1
    this.#raise(this.#size - 1, index)
  }

  /** What is not in it cannot be removed. */
  remove(index: number): void {
    const place = this.#places[index] ?? 0
    this.#size -= 1
    this.#places[index] = ABSENT
    if (place < this.#size) this.#settle(place, this.#heap[this.#size] ?? 0)
  }

  /** Its keys are others now. */
  moved(index: number): void {
    this.#settle(this.#places[index] ?? 0, index)
  }

  /** From `place`, upwards or downwards. */
  #settle(place: number, index: number): void {
    this.#raise(place, index)
    this.#lower(this.#places[index] ?? 0, index)
  }

  #raise(from: number, index: number): void {
    let hole = from
    while (hole > 0) {
      const parent = (hole - 1) >>> 1
      const above = this.#heap[parent] ?? 0
      if (!this.#isBefore(index, above)) break
      this.#put(hole, above)
      hole = parent
    }
    this.#put(hole, index)
  }

  #lower(from: number, index: number): void {
    let hole = from
    for (let child = 2 * hole + 1; child < this.#size; child = 2 * hole + 1) {
      if (child + 1 < this.#size && this.#isBefore(this.#heap[child + 1] ?? 0, this.#heap[child] ?? 0)) child += 1
      const below = this.#heap[child] ?? 0
      if (!this.#isBefore(below, index)) break
      this.#put(hole, below)
      hole = child
    }
    this.#put(hole, index)
  }

  #put(place: number, index: number): void {
    this.#heap[place] = index
    this.#places[index] = place
  }

  #isBefore(one: number, other: number): boolean {
    const difference = (this.#keys[one] ?? 0) - (this.#keys[other] ?? 0)
    if (difference !== 0) return difference < 0
    const thenBy = this.#thenBy
    const next = thenBy === undefined ? 0 : (thenBy[one] ?? 0) - (thenBy[other] ?? 0)
    return next === 0 ? one < other : next < 0
  }
}
