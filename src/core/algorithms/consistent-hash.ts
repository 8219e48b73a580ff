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
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory, Explanation, RequestInfo } from './algorithm.ts'
import { FAILED_NOTE } from './explaining.ts'
import { FailedTurns } from './failed-turns.ts'
import { Seats, type Gate, type HashEngine } from './hash-engines.ts'
import { keyReader, type HashKey, type KeyOf } from './hash-key.ts'
import { MaglevTable } from './hash-maglev.ts'
import { Rendezvous } from './hash-rendezvous.ts'
import { HashRing } from './hash-ring.ts'
import { murmur3 } from './murmur3.ts'
import { InFlight } from './in-flight.ts'
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

/** A candidate list as the engine sees it. */
interface Place {
  readonly list: readonly Backend[]
  readonly seats: Seats
  readonly engine: HashEngine
  /** By seat: the backend if it is a candidate, and its position. */
  readonly present: ReadonlyArray<Backend | undefined>
  readonly positions: Int32Array
  readonly weight: number
  /** Only where load is bounded. */
  readonly inFlight: InFlight | undefined
}

/** How many places in a key's order of preference are worth telling. */
const PREFERENCES = 16

const EVERYBODY: Gate = { accepts: () => true }

class ConsistentHash implements Algorithm {
  readonly #keyOf: KeyOf
  readonly #makeEngine: (seats: Seats) => HashEngine
  readonly #balance: number
  readonly #fallback: Algorithm
  /** Under bounded load, what fails fast would else take in all that the others shed. */
  readonly #failed = new FailedTurns()
  readonly #gate = new BoundedGate(this.#failed)
  #place: Place | undefined

  constructor(keyOf: KeyOf, makeEngine: (seats: Seats) => HashEngine, balance: number, fallback: Algorithm) {
    this.#keyOf = keyOf
    this.#makeEngine = makeEngine
    this.#balance = balance
    this.#fallback = fallback
  }

  pick<B extends Backend>(candidates: readonly B[], request: RequestInfo, tried?: ReadonlySet<Backend>): B {
    const key = this.#keyOf(request)
    if (key === undefined || key === '') return this.#fallback.pick(candidates, request, tried)
    let place = this.#place
    if (place === undefined || place.list !== candidates) this.#place = place = this.#placeFor(candidates)
    this.#gate.tried = tried
    const seat = this.#find(murmur3(key), place, this.#gate)
    this.#failed.picked()
    const picked = candidates[place.positions[seat] ?? -1]
    if (picked === undefined) throw new Error('There is no candidate to pick from')
    place.inFlight?.picked(picked)
    return picked
  }

  released(backend: Backend): void {
    this.#place?.inFlight?.look(backend)
    this.#fallback.released?.(backend)
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    // Without a bound, load is nothing to go by, and a key stays where it is.
    if (verdict === 'failure' && this.#balance > 0) this.#failed.add(backend, this.#place?.weight ?? 0)
    this.#fallback.learn?.(backend, responseMs, verdict)
  }

  explain<B extends Backend>(candidates: readonly B[], request: RequestInfo): Explanation<B> {
    const key = this.#keyOf(request)
    if (key === undefined || key === '') return this.#explainFallback(candidates, request)
    const place = this.#place?.list === candidates ? this.#place : this.#placeFor(candidates)
    const gate = new BoundedGate(this.#failed)
    const hash = murmur3(key)
    const picks = candidates[place.positions[this.#find(hash, place, gate)] ?? -1]
    const own = place.engine.find(hash, EVERYBODY)
    const absent =
      place.present[own] === undefined ? `; its first choice, ${place.seats.ids[own]}, is no candidate` : ''
    return {
      picks,
      how: `The key of the request decides${this.#balance > 0 ? ', within the bounds of load' : ''}${absent}`,
      scores: preferences(candidates, hash, place),
      scoreMeans: `the place in the order of preference of this key, of which the first ${PREFERENCES} are told`,
      notes: new Map(
        candidates.flatMap((backend) => {
          const note = gate.noteOn(backend)
          return note === undefined ? [] : [[backend, note]]
        }),
      ),
    }
  }

  #explainFallback<B extends Backend>(candidates: readonly B[], request: RequestInfo): Explanation<B> {
    const fallback = this.#fallback.explain?.(candidates, request)
    const how = 'The request has no key, so the fallback picks'
    return fallback === undefined
      ? { picks: undefined, how: `${how}, which does not say whom` }
      : { ...fallback, how: `${how}: ${fallback.how}` }
  }

  #find(hash: number, place: Place, gate: BoundedGate): number {
    gate.open(place, this.#balance)
    const seat = place.engine.find(hash, gate)
    if (seat !== -1) return seat
    // The bounds add up to more than is in flight, so there is always one below its own, but for rounding.
    gate.unbind()
    return place.engine.find(hash, gate)
  }

  /** Makes a new engine only for somebody who is new, or has another weight. */
  #placeFor(candidates: readonly Backend[]): Place {
    const weights = weightsOf(candidates)
    const weightById = new Map<string, number>()
    for (const [index, { id }] of candidates.entries()) {
      const weight = weights[index] ?? 0
      if (weight > 0) weightById.set(id, weight)
    }
    if (weightById.size === 0) throw new RangeError('There is no candidate to pick from')
    const { seats, engine } = this.#engineFor(weightById)
    const positionById = new Map(candidates.map(({ id }, index) => [id, index]))
    const positions = Int32Array.from(seats.ids, (id) => (weightById.has(id) ? (positionById.get(id) ?? -1) : -1))
    return {
      list: candidates,
      seats,
      engine,
      present: Array.from(positions, (position) => candidates[position]),
      positions,
      weight: weights.reduce((sum, weight) => sum + weight, 0),
      inFlight: this.#balance > 0 ? new InFlight(candidates) : undefined,
    }
  }

  #engineFor(weightById: ReadonlyMap<string, number>): Pick<Place, 'seats' | 'engine'> {
    if (this.#place !== undefined && covers(this.#place.seats, weightById)) return this.#place
    const seats = new Seats(weightById)
    return { seats, engine: this.#makeEngine(seats) }
  }
}

function covers({ ids, weights }: Seats, weightById: ReadonlyMap<string, number>): boolean {
  let known = 0
  for (const [seat, id] of ids.entries()) {
    const weight = weightById.get(id)
    if (weight === undefined) continue
    if (weight !== weights[seat]) return false
    known += 1
  }
  return known === weightById.size
}

/** The first places in a key's order of preference, from 1 on; who is further down has none. */
function preferences<B extends Backend>(candidates: readonly B[], hash: number, place: Place): ReadonlyMap<B, number> {
  const taken = new Set<number>()
  const rest: Gate = { accepts: (seat) => place.present[seat] !== undefined && !taken.has(seat) }
  const places = new Map<B, number>()
  while (places.size < PREFERENCES) {
    const seat = place.engine.find(hash, rest)
    const backend = candidates[place.positions[seat] ?? -1]
    if (backend === undefined) break
    taken.add(seat)
    places.set(backend, places.size + 1)
  }
  return places
}

/** Who may take the key of a pick: who is a candidate, within its bound, and does not sit out. */
class BoundedGate implements Gate {
  /** Who is walked past, wherever it stands. */
  tried: ReadonlySet<Backend> | undefined
  readonly #failed: FailedTurns
  #present: Place['present'] = []
  #avoidsFailed = false
  /** What may be in flight for a weight of 1, at this pick. */
  #bound = Infinity

  constructor(failed: FailedTurns) {
    this.#failed = failed
  }

  accepts(seat: number): boolean {
    const backend = this.#present[seat]
    if (backend === undefined || this.tried?.has(backend) === true) return false
    if (this.#avoidsFailed && this.#failed.has(backend)) return false
    return this.#bound === Infinity || backend.inFlight < this.#mostOf(backend)
  }

  open(place: Place, balance: number): void {
    this.#present = place.present
    if (place.inFlight !== undefined) this.#bind(place, balance, place.inFlight.total)
  }

  unbind(): void {
    this.#bound = Infinity
  }

  noteOn(backend: Backend): string | undefined {
    if (this.#avoidsFailed && this.#failed.has(backend)) return FAILED_NOTE
    if (this.#bound === Infinity || backend.inFlight < this.#mostOf(backend)) return undefined
    return `is at its bound of ${this.#mostOf(backend)} in flight`
  }

  #mostOf(backend: Backend): number {
    return Math.ceil(this.#bound * backend.weight)
  }

  /** Who sits out has no part in the bound: it is there for the others to hold what is in flight. */
  #bind({ list, weight: whole }: Place, balance: number, inFlight: number): void {
    const anyFailed = this.#failed.any
    const weight = anyFailed ? this.#weightIn(list) : whole
    this.#avoidsFailed = anyFailed && weight > 0
    this.#bound = (balance * (inFlight + 1)) / (weight > 0 ? weight : whole)
  }

  /** Of those who do not sit out. */
  #weightIn(list: readonly Backend[]): number {
    let weight = 0
    for (const backend of list) if (!this.#failed.has(backend)) weight += backend.weight
    return weight
  }
}
