/**
 * A ring of points (Karger et al., "Consistent Hashing and Random Trees", 1997): each backend has many points on a
 * circle, and a key belongs to whose point comes next. Where a backend's points are depends on nothing but its id, so
 * when one leaves only its keys move, each to the next point, and when one comes it takes only what is its own.
 *
 * With k points a backend's share is off by 1 / sqrt(k) of it, in standard deviations: 6 % here. A pick takes
 * the same time however many there are.
 */
import type { Gate, HashEngine, Seats } from './hash-engines.ts'
import { mixed } from './murmur3.ts'

/** The heaviest backend has from this many points to twice as many (see `pointsPerWeight`). */
const POINTS = 256
/** Of 12 bytes each. Above 4,096 equal backends each gets fewer points. */
const MOST_POINTS = 2 ** 20
/** 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4). Steps are made odd, so that a backend never meets itself. */
const STEP = 0x9e3779b9

export class HashRing implements HashEngine {
  readonly #points: Uint32Array
  readonly #owners: Uint32Array
  /** By the leading bits of a hash, the first point that has the same or greater ones: a table of contents. */
  readonly #contents: Uint32Array
  readonly #shift: number

  constructor(seats: Seats) {
    const counts = pointCounts(seats.weights)
    const size = counts.reduce((sum, count) => sum + count, 0)
    const bits = Math.max(1, Math.ceil(Math.log2(size)))
    this.#shift = 32 - bits
    this.#contents = new Uint32Array(2 ** bits)
    this.#points = new Uint32Array(size)
    this.#owners = new Uint32Array(size)
    this.#place(seats, counts)
    this.#settle()
  }

  /** Puts every point where its leading bits belong: all but sorted, since there is about one for each part. */
  #place(seats: Seats, counts: Uint32Array): void {
    forEachPoint(seats, counts, (point) => {
      const part = point >>> this.#shift
      this.#contents[part] = (this.#contents[part] ?? 0) + 1
    })
    let before = 0
    for (let part = 0; part < this.#contents.length; part += 1) {
      const count = this.#contents[part] ?? 0
      this.#contents[part] = before
      before += count
    }
    const next = this.#contents.slice()
    forEachPoint(seats, counts, (point, seat) => {
      const part = point >>> this.#shift
      const at = next[part] ?? 0
      next[part] = at + 1
      this.#points[at] = point
      this.#owners[at] = seat
    })
  }

  /** Sorts by insertion, which leaves equal points in the order of their seats. */
  #settle(): void {
    for (let index = 1; index < this.#points.length; index += 1) {
      const point = this.#points[index] ?? 0
      const owner = this.#owners[index] ?? 0
      let hole = index
      while (hole > 0 && (this.#points[hole - 1] ?? 0) > point) {
        this.#points[hole] = this.#points[hole - 1] ?? 0
        this.#owners[hole] = this.#owners[hole - 1] ?? 0
        hole -= 1
      }
      this.#points[hole] = point
      this.#owners[hole] = owner
    }
  }

  find(hash: number, gate: Gate): number {
    const count = this.#points.length
    let at = this.#contents[hash >>> this.#shift] ?? 0
    while (at < count && (this.#points[at] ?? 0) < hash) at += 1
    for (let step = 0; step < count; step += 1, at += 1) {
      if (at >= count) at = 0
      const seat = this.#owners[at] ?? 0
      if (gate.accepts(seat)) return seat
    }
    return -1
  }
}

function pointCounts(weights: Float64Array): Uint32Array {
  const perWeight = pointsPerWeight(weights)
  return Uint32Array.from(weights, (weight) => Math.max(1, Math.round(weight * perWeight)))
}

function forEachPoint(seats: Seats, counts: Uint32Array, visit: (point: number, seat: number) => void): void {
  for (let seat = 0; seat < seats.size; seat += 1) {
    const hash = seats.hashes[seat] ?? 0
    const step = ((seats.moreHashes[seat] ?? 0) ^ STEP) | 1
    const count = counts[seat] ?? 0
    for (let nth = 0; nth < count; nth += 1) visit(mixed(hash + Math.imul(nth, step)), seat)
  }
}

/**
 * How many points a weight of 1 is worth. It moves in powers of two: hardly any change of the pool alters it, so that
 * the points of those who stay are as they were; and a backend that loses half of its weight loses half of its points
 * and gets no new ones.
 */
function pointsPerWeight(weights: Float64Array): number {
  const heaviest = weights.reduce((most, weight) => Math.max(most, weight), 0)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const perWeight = POINTS / 2 ** Math.floor(Math.log2(heaviest))
  const tooMany = (total * perWeight) / MOST_POINTS
  return tooMany <= 1 ? perWeight : perWeight / 2 ** Math.ceil(Math.log2(tooMany))
}
