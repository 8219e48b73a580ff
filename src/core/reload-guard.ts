/**
 * Whether requests fail since a change that did not before: compares the share of failures among requests that began
 * after it with that of the time before. It only counts and says so; undoing the change is somebody else's.
 */
import type { Clock } from './clock.ts'
import { SlidingCounts } from './window.ts'

export interface ReloadGuardRules {
  /** How far back it compares, and how long after a change it watches. */
  readonly windowMs: number
  /** By how much the share of failures has to grow. */
  readonly errorRate: number
  /** Requests after the change, before they are judged. */
  readonly minimum: number
}

const REQUESTS = 0
const FAILED = 1

/** Three tenths less two tenths are a little less than one tenth. */
const ROUNDING = 1e-9

export class ReloadGuard {
  readonly #rules: ReloadGuardRules
  readonly #clock: Pick<Clock, 'now'>
  readonly #before: SlidingCounts
  /** Since a change that is still watched. */
  #since: { readonly at: number; readonly usual: number; requests: number; failed: number } | undefined

  constructor(rules: ReloadGuardRules, clock: Pick<Clock, 'now'>) {
    this.#rules = rules
    this.#clock = clock
    this.#before = new SlidingCounts(rules.windowMs, 2, clock.now())
  }

  /** Something has changed: what comes from now on is compared with what was. */
  changed(): void {
    const now = this.#clock.now()
    const before = this.#before
    before.moveTo(now)
    const requests = before.sum(REQUESTS)
    this.#since = { at: now, usual: requests === 0 ? 0 : before.sum(FAILED) / requests, requests: 0, failed: 0 }
  }

  /** Nothing is watched any more. */
  rest(): void {
    this.#since = undefined
  }

  /**
   * How a request went that began at `startedAt`.
   *
   * @returns the evidence that the last change was a bad one, once; undefined while there is none
   */
  count(startedAt: number, failed: boolean): string | undefined {
    const now = this.#clock.now()
    this.#before.moveTo(now)
    this.#before.count(REQUESTS)
    if (failed) this.#before.count(FAILED)
    const since = this.#since
    // What was under way before says nothing about what came after.
    if (since === undefined || startedAt < since.at) return undefined
    const { windowMs, minimum, errorRate } = this.#rules
    if (now - since.at > windowMs) {
      this.#since = undefined
      return undefined
    }
    since.requests++
    if (failed) since.failed++
    const growth = since.failed / since.requests - since.usual + ROUNDING
    if (since.requests < minimum || growth < errorRate) return undefined
    this.#since = undefined
    return `${since.failed} of ${since.requests} requests failed since, ${Math.round(since.usual * 100)} % before`
  }
}
