/**
 * When backends are checked: one probe of a backend at a time, few at once over all of them, spread over the interval,
 * sooner while something is changing, later when a backend has been down for long. What a probe is, and what its result
 * means, is somebody else's; this also watches itself: how long ago the last check was, and whether one is overdue.
 */
import type { Backend } from './backend.ts'
import type { Clock, Random } from './clock.ts'

/**
 * What a check found: nothing wrong, nothing wrong but the backend says that it is degraded, or what is wrong. A check
 * on a kept connection does not know whether a new one could be had: only one that `connected` does.
 */
export type CheckResult =
  | { readonly ok: true; readonly degraded: boolean; readonly connected: boolean }
  | { readonly ok: false; readonly reason: string }

export interface Probe {
  /** Never rejects; gives up when `signal` says so. `undefined` when it could not be made for reasons of our own. */
  check(backend: Backend, signal: AbortSignal): Promise<CheckResult | undefined>
}

/** Who wants to know how the checks of one backend go. */
export interface Checked {
  readonly backend: Backend
  /** @returns within how many milliseconds the next check should come, as something is changing; Infinity if nothing is */
  onResult(result: CheckResult): number
  /** The last check was to have ended long ago. */
  onOverdue(lateMs: number): void
}

export interface CheckRules {
  readonly intervalMs: number
  readonly timeoutMs: number
}

/** Backends are not checked in step with each other: a tenth of the interval more or less. */
const JITTER = 0.1
/** After this many failures in a row a backend is down for long: its checks come less and less often, up to a quarter. */
const LONG_DOWN = 10
const MAX_STRETCH = 4
/** In intervals; but never so soon that a busy machine, which is late by itself, would be taken for one that hangs. */
const OVERDUE = 2
const SHORTEST_OVERDUE_MS = 2000

/** Places for checks under way, shared by all of a gateway. */
export class CheckPlaces {
  readonly #most: number
  #taken = 0
  readonly #waiting = new Set<() => void>()

  constructor(most = 10) {
    this.#most = most
  }

  /** @returns takes it back while it waits */
  request(granted: () => void): () => void {
    if (this.#taken < this.#most) {
      this.#taken++
      granted()
      return () => undefined
    }
    this.#waiting.add(granted)
    return () => void this.#waiting.delete(granted)
  }

  giveBack(): void {
    for (const granted of this.#waiting) {
      this.#waiting.delete(granted)
      return granted()
    }
    this.#taken--
  }
}

export interface CheckerOptions {
  readonly clock: Clock
  readonly random: Random
  readonly probe: Probe
  readonly places: CheckPlaces
}

/** The checks of one backend. */
export class Checker {
  readonly #checked: Checked
  readonly #rules: CheckRules
  readonly #options: CheckerOptions
  /** Ends what goes on: waiting for its time, waiting for a place, or a check. */
  #cancel: (() => void) | undefined
  /** The same, while it waits for its time. */
  #cancelWait: (() => void) | undefined
  #cancelWatch: (() => void) | undefined
  #failedInRow = 0
  #stopped = false
  /** When the last check ended and how long it took, on the clock; undefined before the first. */
  #last: { readonly at: number; readonly tookMs: number } | undefined
  #dueAt = 0

  constructor(checked: Checked, rules: CheckRules, options: CheckerOptions) {
    this.#checked = checked
    this.#rules = rules
    this.#options = options
  }

  get last(): { readonly at: number; readonly tookMs: number } | undefined {
    return this.#last
  }

  /** @param delayMs until the first check */
  start(delayMs: number): void {
    this.#plan(delayMs)
  }

  /** Something is changing: the next check comes within so many milliseconds, should it still be farther. */
  hurry(withinMs: number): void {
    if (this.#cancelWait === undefined || this.#stopped) return
    const delayMs = this.#nextDelay(withinMs, 0)
    if (this.#options.clock.now() + delayMs >= this.#dueAt) return
    this.#cancelWait()
    this.#plan(delayMs)
  }

  /** Nothing is checked any more, and a check under way is given up, whether or not its probe gives up, too. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#cancel?.()
    this.#cancelWatch?.()
  }

  #plan(delayMs: number): void {
    const { clock } = this.#options
    this.#dueAt = clock.now() + delayMs
    this.#cancelWait = this.#cancel = clock.schedule(() => this.#ask(), delayMs)
    this.#watch(delayMs + this.#overdueMs)
  }

  /** A check that waits for its place too long, or never ends, is no check: that has to be told. */
  #watch(delayMs: number): void {
    const { clock } = this.#options
    this.#cancelWatch?.()
    this.#cancelWatch = clock.schedule(() => {
      this.#checked.onOverdue(clock.now() - this.#dueAt)
      if (!this.#stopped) this.#watch(this.#overdueMs)
    }, delayMs)
  }

  get #overdueMs(): number {
    return Math.max(SHORTEST_OVERDUE_MS, OVERDUE * this.#rules.intervalMs)
  }

  #ask(): void {
    const { places } = this.#options
    this.#cancelWait = undefined
    let granted = false
    const takeBack = places.request(() => {
      granted = true
      // Not yet: when a whole gateway stops, each place given back goes to the next who will be stopped.
      void Promise.resolve().then(() => this.#check())
    })
    this.#cancel = () => (granted ? places.giveBack() : takeBack())
  }

  #check(): void {
    if (this.#stopped) return
    const { clock, probe, places } = this.#options
    const { timeoutMs } = this.#rules
    const controller = new AbortController()
    const startedAt = clock.now()
    const timedOut: CheckResult = { ok: false, reason: `no answer within ${timeoutMs} ms` }
    const cancelTimeout = clock.schedule(() => end(timedOut), timeoutMs)
    let ended = false
    const end = (result: CheckResult | undefined, stops = false): void => {
      if (ended) return
      ended = true
      cancelTimeout()
      this.#cancel = undefined
      // What still goes on when it has taken too long has to go before the next one comes.
      controller.abort()
      places.giveBack()
      if (!stops) this.#finish(result, startedAt)
    }
    this.#cancel = () => end(undefined, true)
    void probe.check(this.#checked.backend, controller.signal).then((result) => end(result))
  }

  #finish(result: CheckResult | undefined, startedAt: number): void {
    const now = this.#options.clock.now()
    if (result === undefined) return this.#plan(this.#nextDelay(Infinity, now - startedAt))
    this.#last = { at: now, tookMs: now - startedAt }
    const withinMs = this.#checked.onResult(result)
    if (result.ok) this.#failedInRow = 0
    // Checks in a hurry say nothing about how long it has been down.
    else if (withinMs >= this.#rules.intervalMs) this.#failedInRow += 1
    // Hearing of a result may have been the reason to stop.
    if (!this.#stopped) this.#plan(this.#nextDelay(withinMs, now - startedAt))
  }

  /** From now on, so that the interval is from beginning to beginning. */
  #nextDelay(withinMs: number, tookMs: number): number {
    const { intervalMs } = this.#rules
    const jitter = 1 + JITTER * (2 * this.#options.random() - 1)
    if (withinMs < intervalMs) return Math.max(0, withinMs * jitter - tookMs)
    const stretch = Math.min(MAX_STRETCH, Math.max(1, this.#failedInRow / LONG_DOWN))
    return Math.max(0, intervalMs * stretch * jitter - tookMs)
  }
}

/** When the first check of each of `total` backends is due, so that all of them together are spread over the interval. */
export function firstDelay(index: number, total: number, intervalMs: number): number {
  return (index * intervalMs) / total
}
