/**
 * Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
 * section 3.4): each backend has its own order of preference over all entries of a table, and they take turns in taking
 * the best that is free. The shares are all but exact, and a pick is one look; for that a change of the set moves a few
 * more keys than it must. Weights as in Envoy (maglev_lb.cc): who has half the weight passes every other turn.
 */
import type { Gate, HashEngine, Seats } from './hash-engines.ts'
import { mixed } from './murmur3.ts'

/**
 * Primes, so that every step reaches every entry. Shares are within 1 % of each other while there are a hundred entries
 * for each backend (section 5.3); 65537 is the paper's own. A still larger table would take more than a second to fill.
 */
const SMALL = 65_537
const LARGE = 655_373

/** Entries drawn before the table is searched: with half of the backends missing, two are enough on average. */
const PROBES = 64
/** 2^32 divided by the golden ratio, as in the ring. */
const STEP = 0x9e3779b9

export class MaglevTable implements HashEngine {
  readonly #table: Int32Array

  constructor(seats: Seats) {
    this.#table = filled(seats, 100 * seats.size <= SMALL ? SMALL : LARGE)
  }

  /**
   * The entries after the first are as good as drawn: the next one in the table would not do, since orders of preference
   * are arithmetic progressions, so that some backends have most of their entries right behind those of a certain other.
   */
  find(hash: number, gate: Gate): number {
    const size = this.#table.length
    let at = hash % size
    for (let probe = 1; probe <= PROBES; probe += 1) {
      const seat = this.#table[at] ?? 0
      if (gate.accepts(seat)) return seat
      at = mixed(hash + Math.imul(probe, STEP)) % size
    }
    return this.#nextFrom(at, gate)
  }

  /** Nearly everybody, by weight, is refused: now every entry is looked at, and each seat has at least one. */
  #nextFrom(start: number, gate: Gate): number {
    const size = this.#table.length
    for (let step = 0; step < size; step += 1) {
      const seat = this.#table[(start + step) % size] ?? 0
      if (gate.accepts(seat)) return seat
    }
    return -1
  }
}

function filled(seats: Seats, size: number): Int32Array {
  const table = new Int32Array(size).fill(-1)
  const next = seats.hashes.map((hash) => hash % size)
  const steps = seats.moreHashes.map((hash) => (hash % (size - 1)) + 1)
  const heaviest = seats.weights.reduce((most, weight) => Math.max(most, weight), 0)
  /** How far each has come, in units of the heaviest weight; a turn is due when the rounds have passed it. */
  const dues = new Float64Array(seats.size)
  let free = size
  for (let round = 1; ; round += 1) {
    for (let seat = 0; seat < seats.size; seat += 1) {
      if (round * (seats.weights[seat] ?? 0) < (dues[seat] ?? 0)) continue
      dues[seat] = (dues[seat] ?? 0) + heaviest
      let at = next[seat] ?? 0
      const step = steps[seat] ?? 1
      while (table[at] !== -1) at = (at + step) % size
      table[at] = seat
      next[seat] = (at + step) % size
      free -= 1
      if (free === 0) return table
    }
  }
}
