/**
 * The backends for a route: who is in it, who of them may be chosen now, and one lease at a time on the one that the
 * algorithm picks. It never looks into health or breakers: whoever does tells it by `setAvailable`.
 */
import type { Algorithm, RequestInfo } from './algorithms/algorithm.ts'
import type { Backend } from './backend.ts'
import type { Clock } from './clock.ts'
import { Lease } from './lease.ts'
import { Member } from './member.ts'

/** A broken algorithm is broken at every pick: one report a second says so without drowning the log. */
const REPORT_EVERY_MS = 1000

export interface PoolOptions {
  readonly name: string
  readonly members: Iterable<Member>
  readonly algorithm: Algorithm
  readonly clock: Pick<Clock, 'now'>
  /** Told, at most once a second, that the algorithm threw or picked what is no candidate. */
  readonly onAlgorithmError: (error: unknown) => void
  /** Below this share of members that may be used, all of them are; 0 for never. */
  readonly panic?: number
  /** Told when the pool begins or ceases to be in need. */
  readonly onSupply?: (from: Supply, to: Supply) => void
}

/** `enough` candidates; `panic`: so few that all are used; `empty`: none at all. */
export type Supply = 'enough' | 'panic' | 'empty'

/** What a new configuration makes of a pool at work. */
export interface PoolChange {
  /** All of them, with their configured weights; who is in it already keeps its numbers. */
  readonly members: ReadonlyMap<Member, number>
  /** undefined to keep the one there is, and what it knows. */
  readonly algorithm: Algorithm | undefined
  readonly panic: number
}

export class Pool {
  readonly name: string
  readonly #clock: Pick<Clock, 'now'>
  readonly #onAlgorithmError: (error: unknown) => void
  #panic: number
  readonly #onSupply: (from: Supply, to: Supply) => void
  readonly #unavailable = new Set<Member>()
  /** The share of its weight that a member may have; whoever is not in here may have all of it. */
  readonly #shares = new Map<Member, number>()
  #supply: Supply = 'enough'
  #algorithm: Algorithm
  #members: readonly Member[] = Object.freeze([])
  #candidates: readonly Member[] = Object.freeze([])
  #turn = 0
  #reportedAt = -Infinity

  constructor(options: PoolOptions) {
    this.name = options.name
    this.#algorithm = options.algorithm
    this.#clock = options.clock
    this.#onAlgorithmError = options.onAlgorithmError
    this.#panic = options.panic ?? 0
    this.#onSupply = options.onSupply ?? (() => undefined)
    const members = [...options.members]
    for (const [index, member] of members.entries()) this.#checkNew(member, members.slice(0, index))
    this.#members = Object.freeze(members)
    this.#refresh()
  }

  get members(): readonly Member[] {
    return this.#members
  }

  /** Those that may be chosen now; the same frozen array until membership, a weight or availability changes. */
  get candidates(): readonly Member[] {
    return this.#candidates
  }

  /**
   * A lease on the member to try, or `undefined` when there is none. With `tried`, it is one of the others: never the
   * same backend twice for one exchange.
   */
  acquire(request: RequestInfo, tried?: ReadonlySet<Backend>): Lease | undefined {
    const again = tried !== undefined && tried.size > 0
    const member = again ? this.#pickAnother(request, tried) : this.#pick(this.#candidates, request)
    return member === undefined ? undefined : new Lease(member, this)
  }

  /** For leases: how an attempt went, to the algorithm of this moment. */
  learn(member: Member, responseMs: number, verdict: 'success' | 'failure'): void {
    try {
      this.#algorithm.learn?.(member, responseMs, verdict)
    } catch (error) {
      this.#report(error)
    }
  }

  /** For leases: an attempt has ended. */
  released(member: Member): void {
    try {
      this.#algorithm.released?.(member)
    } catch (error) {
      this.#report(error)
    }
  }

  setAlgorithm(algorithm: Algorithm): void {
    this.#algorithm = algorithm
  }

  /** All at once, so that nobody sees a half of it. Leases on those who are gone stay good. */
  adopt({ members, algorithm, panic }: PoolChange): void {
    for (const [member, weight] of members) checkWeight(member.id, weight)
    for (const gone of this.#members.filter((member) => !members.has(member))) {
      this.#unavailable.delete(gone)
      this.#shares.delete(gone)
    }
    for (const [member, weight] of members) {
      member.configuredWeight = weight
      member.weight = weight * (this.#shares.get(member) ?? 1)
    }
    if (algorithm !== undefined) this.#algorithm = algorithm
    this.#panic = panic
    this.#members = Object.freeze([...members.keys()])
    this.#refresh()
  }

  setWeight(id: string, weight: number): void {
    checkWeight(id, weight)
    const member = this.#member(id)
    if (member.configuredWeight === weight) return
    member.configuredWeight = weight
    member.weight = weight * (this.#shares.get(member) ?? 1)
    this.#refresh()
  }

  setAvailable(id: string, available: boolean): void {
    const member = this.#member(id)
    this.update(member, available, this.#shares.get(member) ?? 1)
  }

  /** Of this moment; to be asked what it would do, never to pick. */
  get algorithm(): Algorithm {
    return this.#algorithm
  }

  get supply(): Supply {
    return this.#supply
  }

  /** How a member stands now: whether it may be chosen, and with what share of its weight. */
  update(member: Member, available: boolean, share: number): void {
    const same = this.#unavailable.has(member) !== available && (this.#shares.get(member) ?? 1) === share
    if (same || !this.#members.includes(member)) return
    if (available) this.#unavailable.delete(member)
    else this.#unavailable.add(member)
    this.#shares.set(member, share)
    member.weight = member.configuredWeight * share
    if (member.configuredWeight > 0) this.#refresh()
  }

  add(member: Member): void {
    this.#checkNew(member, this.#members)
    this.#members = Object.freeze([...this.#members, member])
    if (member.weight > 0) this.#refresh()
  }

  /** Its leases stay good: what is under way ends in its own time. */
  remove(id: string): void {
    const gone = this.#member(id)
    const wasCandidate = Member.isOn(this.#candidates, gone)
    this.#members = Object.freeze(this.#members.filter((member) => member !== gone))
    this.#unavailable.delete(gone)
    this.#shares.delete(gone)
    if (wasCandidate) this.#refresh()
  }

  #pick(list: readonly Member[], request: RequestInfo, tried?: ReadonlySet<Backend>): Member | undefined {
    if (list.length === 0) return undefined
    try {
      const picked: unknown = this.#algorithm.pick(list, request, tried)
      if (Member.isOn(this.#candidates, picked) && (list === this.#candidates || list.includes(picked))) return picked
      throw new TypeError(`The algorithm of pool "${this.name}" picked something that is not a candidate`)
    } catch (error) {
      this.#report(error)
    }
    this.#turn = (this.#turn + 1) % list.length
    return list[this.#turn]
  }

  /**
   * Most often a second pick is another one anyway. Only when it is not, a list without those who were tried is made:
   * an algorithm derives from a list what it needs, twice then, which among thousands takes a millisecond.
   */
  #pickAnother(request: RequestInfo, tried: ReadonlySet<Backend>): Member | undefined {
    const untried = (member: Member): boolean => !tried.has(member)
    if (!this.#candidates.some(untried)) return undefined
    const picked = this.#pick(this.#candidates, request, tried)
    if (picked !== undefined && untried(picked)) return picked
    return this.#pick(Object.freeze(this.#candidates.filter(untried)), request)
  }

  #report(error: unknown): void {
    const now = this.#clock.now()
    if (now - this.#reportedAt < REPORT_EVERY_MS) return
    this.#reportedAt = now
    this.#onAlgorithmError(error)
  }

  #refresh(): void {
    const able = this.#members.filter((member) => member.weight > 0)
    const usable = able.filter((member) => !this.#unavailable.has(member))
    // When most are out, those that are left would be next; or what takes them out is no fault of theirs.
    const panics = usable.length < this.#panic * able.length
    const candidates = panics ? able : usable
    for (const member of candidates) member.enlist(candidates)
    this.#candidates = Object.freeze(candidates)
    const supply = candidates.length === 0 ? 'empty' : panics ? 'panic' : 'enough'
    const before = this.#supply
    if (supply === before) return
    this.#supply = supply
    this.#onSupply(before, supply)
  }

  #member(id: string): Member {
    const member = this.#members.find((each) => each.id === id)
    if (member === undefined) throw new Error(`Pool "${this.name}" has no backend "${id}"`)
    return member
  }

  #checkNew(member: Member, present: readonly Member[]): void {
    checkWeight(member.id, member.weight)
    if (present.some((each) => each.id === member.id)) {
      throw new Error(`Pool "${this.name}" already has a backend "${member.id}"`)
    }
  }
}

function checkWeight(id: string, weight: number): void {
  if (Number.isFinite(weight) && weight >= 0) return
  throw new RangeError(`The weight of backend "${id}" must be a finite number from 0 up, not ${weight}`)
}
