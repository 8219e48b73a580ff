/**
 * Consistent hashing: requests with the same key go to the same backend, while the set changes as little of that as
 * possible. Which one is decided by backend ids, never by positions, so every gateway with the same backends agrees.
 *
 * A backend that is no candidate at the moment is walked past, and nothing is rebuilt: only its own keys move, and its
 * return brings every one of them back. With `balance`, so is one that has more than that times its fair share in
 * flight (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016): a key that everybody asks for
 * spreads over as many backends as it takes. A request without a key goes by another algorithm, `fallback`.
 */
import type { Backend } from '../backend.ts'
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory, RequestInfo } from './algorithm.ts'
import { FailedTurns } from './failed-turns.ts'
import { Seats, type Gate, type HashEngine } from './hash-engines.ts'
import { keyReader, type HashKey, type KeyOf } from './hash-key.ts'
import { MaglevTable } from './hash-maglev.ts'
import { Rendezvous } from './hash-rendezvous.ts'
import { HashRing } from './hash-ring.ts'
import { murmur3 } from './murmur3.ts'
import { readOptions } from './options.ts'
import { weightsOf } from './weights.ts'

export interface ConsistentHashOptions {
  readonly key: HashKey
  readonly engine?: 'ring' | 'maglev' | 'rendezvous'
  /** 0 for no bound, or at least 1: how far above its fair share of what is in flight a backend may be. */
  readonly balance?: number
  /** The name of an algorithm, or its options with a type. */
  readonly fallback?: string | { readonly type: string; readonly [option: string]: unknown }
}

/** How another algorithm is made: the registry's `create`. */
export type CreateAlgorithm = (name: string, options: unknown, deps: AlgorithmDependencies) => Algorithm

const ENGINES: ReadonlyMap<unknown, (seats: Seats) => HashEngine> = new Map([
  ['ring', (seats: Seats): HashEngine => new HashRing(seats)],
  ['maglev', (seats: Seats): HashEngine => new MaglevTable(seats)],
  ['rendezvous', (seats: Seats): HashEngine => new Rendezvous(seats)],
])

const FALLBACK = 'least-connections'

export function consistentHash(create: CreateAlgorithm): AlgorithmFactory {
  return (options, deps) => {
    const read = readOptions(options, ['key', 'engine', 'balance', 'fallback'])
    return new ConsistentHash(
      keyReader(read.get('key')),
      engineOf(read.get('engine') ?? 'ring'),
      balanceOf(read.get('balance') ?? 0),
      fallbackOf(read.get('fallback') ?? FALLBACK, create, deps),
    )
  }
}

function engineOf(name: unknown): (seats: Seats) => HashEngine {
  const engine = ENGINES.get(name)
  if (engine === undefined) throw new TypeError(`its engine must be one of ${[...ENGINES.keys()].join(', ')}`)
  return engine
}

function balanceOf(balance: unknown): number {
  if (balance === 0 || (typeof balance === 'number' && Number.isFinite(balance) && balance >= 1)) return balance
  throw new RangeError('its balance must be 0, for none, or a number from 1 up, such as 1.25')
}

function fallbackOf(fallback: unknown, create: CreateAlgorithm, deps: AlgorithmDependencies): Algorithm {
  const parts = typeof fallback === 'string' ? { type: fallback } : fallback
  if (typeof parts === 'object' && parts !== null && 'type' in parts && typeof parts.type === 'string') {
    const { type, ...options } = parts
    try {
      return create(type, options, deps)
    } catch (error) {
      throw new Error(`its fallback: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  throw new TypeError('its fallback must be the name of an algorithm, or its options with a type')
}

class ConsistentHash implements Algorithm, Gate {
  readonly #keyOf: KeyOf
  readonly #makeEngine: (seats: Seats) => HashEngine
  readonly #balance: number
  readonly #fallback: Algorithm
  /** Under bounded load, what fails fast would else take in all that the others shed. */
  readonly #failed = new FailedTurns()
  #avoidsFailed = false
  #list: readonly Backend[] = []
  #seats = new Seats(new Map())
  #engine: HashEngine | undefined
  /** By seat: the backend if it is a candidate, and its position. */
  #present: Array<Backend | undefined> = []
  #positions = new Int32Array(0)
  #presentWeight = 0
  /** What may be in flight for a weight of 1, at this pick. */
  #bound = Infinity

  constructor(keyOf: KeyOf, makeEngine: (seats: Seats) => HashEngine, balance: number, fallback: Algorithm) {
    this.#keyOf = keyOf
    this.#makeEngine = makeEngine
    this.#balance = balance
    this.#fallback = fallback
  }

  pick<B extends Backend>(candidates: readonly B[], request: RequestInfo): B {
    const key = this.#keyOf(request)
    if (key === undefined || key === '') return this.#fallback.pick(candidates, request)
    const engine = this.#engineFor(candidates)
    const hash = murmur3(key)
    if (this.#balance > 0) this.#setBound(candidates)
    let seat = engine.find(hash, this)
    if (seat === -1) {
      // The bounds add up to more than is in flight, so there is always one below its own, but for rounding.
      this.#bound = Infinity
      seat = engine.find(hash, this)
    }
    this.#failed.picked()
    const picked = candidates[this.#positions[seat] ?? -1]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    return picked
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    // Without a bound, load is nothing to go by, and a key stays where it is.
    if (verdict === 'failure' && this.#balance > 0) this.#failed.add(backend, this.#presentWeight)
    this.#fallback.learn?.(backend, responseMs, verdict)
  }

  accepts(seat: number): boolean {
    const backend = this.#present[seat]
    if (backend === undefined) return false
    if (this.#avoidsFailed && this.#failed.has(backend)) return false
    return this.#bound === Infinity || backend.inFlight < Math.ceil(this.#bound * backend.weight)
  }

  /**
   * Looks at every candidate: nobody tells an algorithm when a request ends. Who sits out has no part in the bound: it
   * is there for the others to hold what is in flight.
   */
  #setBound(candidates: readonly Backend[]): void {
    const anyFailed = this.#failed.any
    let inFlight = 1
    let weight = 0
    for (let index = 0; index < candidates.length; index += 1) {
      const backend = candidates[index]
      if (backend === undefined) continue
      inFlight += backend.inFlight
      if (!anyFailed || !this.#failed.has(backend)) weight += backend.weight
    }
    this.#avoidsFailed = anyFailed && weight > 0
    this.#bound = (this.#balance * inFlight) / (weight > 0 ? weight : this.#presentWeight)
  }

  #engineFor(candidates: readonly Backend[]): HashEngine {
    if (candidates === this.#list && this.#engine !== undefined) return this.#engine
    return this.#turnTo(candidates)
  }

  /** Makes a new engine only for somebody who is new, or has another weight. */
  #turnTo(candidates: readonly Backend[]): HashEngine {
    const weights = weightsOf(candidates)
    const weightById = new Map<string, number>()
    for (const [index, { id }] of candidates.entries()) {
      const weight = weights[index] ?? 0
      if (weight > 0) weightById.set(id, weight)
    }
    if (weightById.size === 0) throw new RangeError('There is no candidate to pick from')
    let engine = this.#engine
    if (engine === undefined || !this.#covers(weightById)) {
      this.#seats = new Seats(weightById)
      engine = this.#makeEngine(this.#seats)
      this.#engine = engine
    }
    const positionById = new Map(candidates.map(({ id }, index) => [id, index]))
    this.#positions = Int32Array.from(this.#seats.ids, (id) => (weightById.has(id) ? (positionById.get(id) ?? -1) : -1))
    this.#present = Array.from(this.#positions, (position) => candidates[position])
    this.#presentWeight = weights.reduce((sum, weight) => sum + weight, 0)
    this.#list = candidates
    return engine
  }

  #covers(weightById: ReadonlyMap<string, number>): boolean {
    const { ids, weights } = this.#seats
    let known = 0
    for (const [seat, id] of ids.entries()) {
      const weight = weightById.get(id)
      if (weight === undefined) continue
      if (weight !== weights[seat]) return false
      known += 1
    }
    return known === weightById.size
  }
}
