/**
 * A backend's seat in a pool: what an algorithm and an operator see of it, and its counters. It only counts; the pool
 * decides when. A member outlives the pool's candidate lists, so whoever stays in a pool keeps its numbers.
 */
import type { Backend } from './backend.ts'
import type { Guard } from './lease.ts'

export class Member implements Backend {
  readonly id: string
  readonly url: URL
  /** What an algorithm sees: the configured weight, less what its health takes off. The pool's alone to write. */
  weight: number
  /** What was configured. The pool's alone to write. */
  configuredWeight: number
  /** Asked by every lease on it. */
  guard: Guard | undefined
  inFlight = 0
  silentSince: number | undefined
  /** Attempts that were sent and wait for their answer. */
  waiting = 0
  /** Every attempt ever sent its way. */
  requests = 0
  /** Those of them that settled as a failure. */
  failures = 0
  /** The candidate list it is in. Private, so that no copy of a member can pass for one. */
  #list: readonly Member[] | undefined

  constructor(id: string, url: URL, weight = 1) {
    this.id = id
    this.url = url
    this.weight = weight
    this.configuredWeight = weight
  }

  /** For the pool: puts this member on a candidate list, and thereby off the one before. */
  enlist(list: readonly Member[]): void {
    this.#list = list
  }

  /** Whether `value`, whatever an algorithm made of it, is a member on exactly this list; costs no search. */
  static isOn(list: readonly Member[], value: unknown): value is Member {
    return typeof value === 'object' && value !== null && #list in value && value.#list === list
  }
}
