/**
 * Whether the gateway has more to do than it can, and how many of the requests that come it still takes on: judged from
 * one sample of its process after the other.
 *
 * What has no heap left takes on nothing more until there is some again. What is short of time takes on less and less
 * until it keeps up (half as much with every sample, then a quarter more, in the manner of RFC 5681): refusing everything
 * would leave it idle until the next sample, and then everything would come at once.
 */
export type Limit = 'eventLoopDelay' | 'eventLoopUtilization' | 'heap' | 'rss'

export interface OverloadRules {
  /** 0: not looked at. */
  readonly eventLoopDelayMs: number
  /** Share of the time; 1: not looked at. */
  readonly eventLoopUtilization: number
  /** Share of what the heap may take; 1: not looked at. */
  readonly heap: number
  /** Share of the memory that there is; 1: not looked at. */
  readonly rss: number
}

/** How much there is of everything that has a limit. */
export type Load = OverloadRules

export interface OverloadTurn {
  readonly from: 'normal' | 'overloaded'
  readonly to: 'normal' | 'overloaded'
  readonly cause: string
}

/** A single pause, such as for collecting garbage, is over by the time that it is seen. */
const LATE_IN_ROW = 2
/** Some get through however late it is, or nobody would find out that it no longer is. */
const LEAST_SHARE = 1 / 16
const STEP_UP = 1 / 4
/** Samples with everything taken on before it is over: what comes back within them is the same overload. */
const CALM_IN_ROW = 20
/** How long memory may be short before the engine is asked to look for garbage, and then again, each time twice as long. */
const FIRST_COLLECTION_MS = 1000
const MOST_BETWEEN_MS = 60_000

export class Overload {
  /** How many requests were refused, by the limit that was passed. */
  readonly refused: Record<Limit, number> = { eventLoopDelay: 0, eventLoopUtilization: 0, heap: 0, rss: 0 }
  #limit: Limit | undefined
  #load: Load = { eventLoopDelayMs: 0, eventLoopUtilization: 0, heap: 0, rss: 0 }
  #share = 1
  #credit = 0
  #lateInRow = 0
  #calmInRow = 0
  #since = 0
  #refusedBefore = 0
  #collectAt = Infinity
  #nextAfterMs = FIRST_COLLECTION_MS

  /** The limit that was passed last, for as long as the overload lasts. */
  get limit(): Limit | undefined {
    return this.#limit
  }

  get state(): 'normal' | 'overloaded' {
    return this.#limit === undefined ? 'normal' : 'overloaded'
  }

  /** Of the requests that come, how many are taken on. */
  get share(): number {
    return this.#share
  }

  /** The last sample. */
  get load(): Load {
    return this.#load
  }

  /** Asked once for every request. */
  admits(): boolean {
    if (this.#share === 1) return true
    this.#credit += this.#share
    if (this.#credit >= 1) {
      this.#credit -= 1
      return true
    }
    if (this.#limit !== undefined) this.refused[this.#limit]++
    return false
  }

  /**
   * @param rules `undefined` when nothing is looked at
   * @param now milliseconds, of a clock that never goes backwards
   * @returns what has changed, if anything has
   */
  judge(load: Load, rules: OverloadRules | undefined, now: number): OverloadTurn | undefined {
    this.#load = load
    if (rules === undefined) return this.#end(now, 'it is switched off')
    const passed = passedLimit(load, rules)
    if (passed !== undefined) return this.#over(passed, load, rules, now)
    this.#lateInRow = 0
    this.#collectAt = Infinity
    if (this.#limit === undefined) return undefined
    if (this.#share < 1) {
      this.#share = Math.min(1, this.#share + STEP_UP)
      return undefined
    }
    return ++this.#calmInRow < CALM_IN_ROW ? undefined : this.#end(now, 'everything is within its limits')
  }

  /**
   * Whether it is time to look for garbage. An engine that has nothing to do does not by itself: what ended in a quiet
   * time would count for ever, and no request would come through to change that.
   */
  wantsCollection(now: number): boolean {
    if (now < this.#collectAt) return false
    this.#collectAt = now + this.#nextAfterMs
    this.#nextAfterMs = Math.min(MOST_BETWEEN_MS, 2 * this.#nextAfterMs)
    return true
  }

  #over(passed: Limit, load: Load, rules: OverloadRules, now: number): OverloadTurn | undefined {
    const isMemory = passed === 'heap' || passed === 'rss'
    if (!isMemory && ++this.#lateInRow < LATE_IN_ROW) return undefined
    const from = this.state
    this.#limit = passed
    this.#calmInRow = 0
    this.#share = shareAt(passed, this.#share)
    if (!isMemory) this.#collectAt = Infinity
    else if (this.#collectAt === Infinity) this.#collectAt = now + this.#nextAfterMs
    if (from === 'overloaded') return undefined
    this.#since = now
    this.#refusedBefore = this.#refusedInAll
    return { from, to: 'overloaded', cause: WORDS[passed](load, rules) }
  }

  #end(now: number, why: string): OverloadTurn | undefined {
    this.#share = 1
    this.#credit = 0
    this.#lateInRow = 0
    this.#calmInRow = 0
    this.#collectAt = Infinity
    this.#nextAfterMs = FIRST_COLLECTION_MS
    if (this.#limit === undefined) return undefined
    this.#limit = undefined
    const seconds = Math.round((now - this.#since) / 100) / 10
    const refused = this.#refusedInAll - this.#refusedBefore
    return { from: 'overloaded', to: 'normal', cause: `${why}; it took ${seconds} s and ${refused} refused requests` }
  }

  get #refusedInAll(): number {
    return Object.values(this.refused).reduce((sum, count) => sum + count, 0)
  }
}

/** How many requests are taken on from now on. */
function shareAt(passed: Limit, before: number): number {
  if (passed === 'heap') return 0
  // The system may keep what the process has given back: that must not refuse everybody for ever.
  return passed === 'rss' ? LEAST_SHARE : Math.max(LEAST_SHARE, before / 2)
}

/** Memory comes first, since nothing can be done without it. */
function passedLimit(load: Load, rules: OverloadRules): Limit | undefined {
  if (rules.heap < 1 && load.heap > rules.heap) return 'heap'
  if (rules.rss < 1 && load.rss > rules.rss) return 'rss'
  if (rules.eventLoopDelayMs > 0 && load.eventLoopDelayMs > rules.eventLoopDelayMs) return 'eventLoopDelay'
  const isBusy = rules.eventLoopUtilization < 1 && load.eventLoopUtilization > rules.eventLoopUtilization
  return isBusy ? 'eventLoopUtilization' : undefined
}

const WORDS: Readonly<Record<Limit, (load: Load, rules: OverloadRules) => string>> = {
  eventLoopDelay: (load, rules) =>
    `the event loop is ${time(load.eventLoopDelayMs)} late, more than ${time(rules.eventLoopDelayMs)}`,
  eventLoopUtilization: (load, rules) =>
    `the event loop is busy ${percent(load.eventLoopUtilization)} of the time, more than ${percent(rules.eventLoopUtilization)}`,
  heap: (load, rules) => `the heap takes ${percent(load.heap)} of what it may, more than ${percent(rules.heap)}`,
  rss: (load, rules) => `the process takes ${percent(load.rss)} of the memory, more than ${percent(rules.rss)}`,
}

function time(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`
}
