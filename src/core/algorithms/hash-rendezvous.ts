/**
 * Rendezvous hashing (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998): each backend
 * draws a score from the key and its own id, and the best score has it. Nothing to build, the least movement there can
 * be and shares as even as chance allows, for a look at every backend at each pick.
 *
 * Weighted by -ln(u) / weight with u the draw (the logarithmic method of Schindelhauer and Schomaker, "Weighted
 * Distributed Hash Tables", 2005): the least of such exponential draws is each one's with the probability of its weight.
 */
import type { Gate, HashEngine, Seats } from './hash-engines.ts'
import { mixed } from './murmur3.ts'

export class Rendezvous implements HashEngine {
  readonly #seats: Seats
  /** Among equals the draws can be compared as they are. */
  readonly #isEven: boolean

  constructor(seats: Seats) {
    this.#seats = seats
    this.#isEven = seats.weights.every((weight) => weight === seats.weights[0])
  }

  find(hash: number, gate: Gate): number {
    const { hashes, moreHashes, weights, size } = this.#seats
    let best = -1
    let least = Infinity
    for (let seat = 0; seat < size; seat += 1) {
      if (!gate.accepts(seat)) continue
      const draw = mixed(mixed(hash ^ (hashes[seat] ?? 0)) + (moreHashes[seat] ?? 0))
      const score = this.#isEven ? -draw : -Math.log((draw + 0.5) / 2 ** 32) / (weights[seat] ?? 0)
      if (score >= least) continue
      best = seat
      least = score
    }
    return best
  }
}
