/**
 * What is believed of one backend's health, from checks that are made (active) and from requests that went there anyway
 * (passive): one state machine, whose every transition is a line of a table, with the evidence for it. It neither probes
 * nor schedules checks, and knows no pool: who does tells it what happened and asks how much traffic it may get.
 *
 * README.md shows it as a diagram; a test holds the two together.
 */
import type { Clock } from './clock.ts'
import type { Verdict } from './lease.ts'
import { CountWindow, TimeWindow, type OutcomeWindow } from './window.ts'

export type HealthState = 'healthy' | 'degraded' | 'unhealthy' | 'warming'

/**
 * How the two judgements are combined. `graded`: the first doubt halves a backend's share, more of it takes the rest;
 * `any`: one of them takes it out; `all`: only both together do.
 */
export type HealthStrategy = 'graded' | 'any' | 'all'

export interface ActiveRules {
  /** Failed checks in a row that take a backend out. */
  readonly fall: number
  /** Good checks in a row that bring it back. */
  readonly rise: number
}

export interface PassiveRules {
  /** How many of the latest outcomes count, or those of how many milliseconds. */
  readonly window: number | { readonly overMs: number }
  /** Outcomes before any of them are judged. */
  readonly minimum: number
  /** The share of failures above which a backend is degraded, ejected, and below which it has recovered. */
  readonly degrade: number
  readonly eject: number
  readonly recover: number
  /** How long an ejection lasts at first; it grows with each repetition. */
  readonly ejectionMs: number
}

export interface HealthRules {
  readonly strategy: HealthStrategy
  readonly active: ActiveRules | undefined
  readonly passive: PassiveRules | undefined
  /** How long a backend that comes back takes to get its whole share; 0 for no time at all. */
  readonly warmupMs: number
}

/** What only the pool knows. */
export interface Neighbours {
  /** Whether passive judgement may take one more backend out. */
  mayEject(): boolean
  /** Whether others are there that have their whole share: a fleet that starts together need not warm up. */
  othersAreWarm(): boolean
}

export interface HealthOptions {
  readonly clock: Clock
  readonly neighbours: Neighbours
  /** Told of every transition, with the evidence in words. */
  readonly onFlip: (from: HealthState, to: HealthState, cause: string) => void
  /** Told when the share that it may get has changed otherwise. */
  readonly onShare: () => void
}

/** Good checks in a row that prove a degraded backend healthy: one more than brings it back. */
const PROOF = 3
/** While something is changing, checks come this often. */
const TRANSITION_MS = 1000
/**
 * Who cannot be reached is most likely being restarted, which takes a second or a few: so many checks come this often,
 * so many in all more often than usual, and then it is down. Meanwhile the others have its share to bear.
 */
const RESTART_MS = 250
const RESTART_CHECKS = 10
const MOST_HURRIED = 30
/** The share of a warming backend, by thirds of its time; the whole of it then. */
const WARMING = [0.1, 0.3, 0.5] as const
/** Half of its failures send a warming backend back, as soon as there are this many outcomes: it gets few. */
const WARMING_MINIMUM = 5
/** An ejection lasts this many times as long as the first one at most: five minutes of the default half. */
const MAX_EJECTIONS = 10

interface Transition {
  readonly from: HealthState
  readonly to: HealthState
  readonly when: keyof typeof CONDITIONS
  /** Requests have a say in it, so it is out for a time, however well its checks go. */
  readonly ejects?: true
}

const JOINS_AND_WARMS: readonly Transition[] = [
  { from: 'healthy', to: 'unhealthy', when: 'joins unchecked' },
  { from: 'healthy', to: 'warming', when: 'joins a warm pool' },
  { from: 'unhealthy', to: 'warming', when: 'first check passed, others are warm' },
  { from: 'unhealthy', to: 'healthy', when: 'first check passed' },
  { from: 'unhealthy', to: 'warming', when: 'comes back to a warm pool' },
]
const EITHER_STOPS_WARMING: readonly Transition[] = [
  { from: 'warming', to: 'unhealthy', when: 'first check failed' },
  { from: 'warming', to: 'unhealthy', when: 'checks failed' },
  { from: 'warming', to: 'unhealthy', when: 'fails while warming', ejects: true },
]
/** Left over from other rules. */
const NO_HALF_SHARES: Transition = { from: 'degraded', to: 'healthy', when: 'no half shares' }

/** In the order in which they are looked at. */
export const TRANSITIONS: Readonly<Record<HealthStrategy, readonly Transition[]>> = {
  graded: [
    { from: 'healthy', to: 'unhealthy', when: 'first check failed' },
    { from: 'healthy', to: 'degraded', when: 'a check failed' },
    { from: 'healthy', to: 'degraded', when: 'says that it is degraded' },
    { from: 'healthy', to: 'degraded', when: 'failures above degrade' },
    { from: 'degraded', to: 'unhealthy', when: 'first check failed' },
    { from: 'degraded', to: 'unhealthy', when: 'checks failed' },
    { from: 'degraded', to: 'unhealthy', when: 'failures above eject', ejects: true },
    { from: 'degraded', to: 'healthy', when: 'proven' },
    ...JOINS_AND_WARMS,
    ...EITHER_STOPS_WARMING,
    { from: 'unhealthy', to: 'degraded', when: 'comes back' },
    { from: 'warming', to: 'degraded', when: 'is warm' },
  ],
  any: [
    { from: 'healthy', to: 'unhealthy', when: 'first check failed' },
    { from: 'healthy', to: 'unhealthy', when: 'checks failed' },
    { from: 'healthy', to: 'unhealthy', when: 'failures above eject', ejects: true },
    ...JOINS_AND_WARMS,
    ...EITHER_STOPS_WARMING,
    NO_HALF_SHARES,
    { from: 'unhealthy', to: 'healthy', when: 'comes back' },
    { from: 'warming', to: 'healthy', when: 'is warm' },
  ],
  all: [
    { from: 'healthy', to: 'unhealthy', when: 'checks failed and failures above eject', ejects: true },
    ...JOINS_AND_WARMS,
    NO_HALF_SHARES,
    { from: 'warming', to: 'unhealthy', when: 'checks failed and fails while warming', ejects: true },
    { from: 'unhealthy', to: 'healthy', when: 'comes back' },
    { from: 'warming', to: 'healthy', when: 'is warm' },
  ],
}

/** What makes a transition: the evidence for it, or undefined. They only look. */
const CONDITIONS = {
  'first check failed': (h: Health) => h.firstCheckFailed(),
  'a check failed': (h: Health) => h.checksFailed(1),
  'says that it is degraded': (h: Health) => h.saysDegraded(),
  'failures above degrade': (h: Health) => h.failuresAbove('degrade'),
  'checks failed': (h: Health) => h.checksFailed(),
  'failures above eject': (h: Health) => h.ifMayEject(h.failuresAbove('eject')),
  'checks failed and failures above eject': (h: Health) => h.bothSayBad(h.failuresAbove('eject')),
  proven: (h: Health) => h.proven(),
  'joins unchecked': (h: Health) => h.joinsUnchecked(),
  'joins a warm pool': (h: Health) => h.joinsWarm(),
  'first check passed, others are warm': (h: Health) => h.firstCheckPassedToWarm(),
  'first check passed': (h: Health) => h.firstCheckPassed(),
  'no half shares': (h: Health) => h.noHalfShares(),
  'comes back to a warm pool': (h: Health) => h.comesBackToWarm(),
  'comes back': (h: Health) => h.comesBack(),
  'fails while warming': (h: Health) => h.ifMayEject(h.failsWhileWarming()),
  'checks failed and fails while warming': (h: Health) => h.bothSayBad(h.failsWhileWarming()),
  'is warm': (h: Health) => h.isWarm(),
}

export class Health {
  #rules: HealthRules
  readonly #clock: Clock
  readonly #neighbours: Neighbours
  readonly #onFlip: HealthOptions['onFlip']
  readonly #onShare: () => void
  #window: OutcomeWindow | undefined
  #state: HealthState = 'healthy'
  #cause = ''
  #checks = 0
  #failedInRow = 0
  #goodInRow = 0
  #lastFailure = ''
  #saysDegraded = false
  /** Until when passive judgement has it out, or had. */
  #ejectedUntil = -Infinity
  #ejections = 0
  #ejectedByRequests = false
  /** Whether the last request that went badly got no connection: then checks that get one say that this is over. */
  #unreachable = false
  /** Whether that may be because it is being restarted; one whose checks pass and fail again is not. */
  #restarting = false
  /** Whether a check has got a new connection since. */
  #connected = true
  /** Since when it has had traffic, which is when it can behave. */
  #backSince: number
  #joining = false
  /** Whether it has joined a pool at work, and waits for its first check. */
  #unchecked = false
  #stopped = false
  #warmStep = 0
  #warmSince = 0
  #cancelTimer: (() => void) | undefined

  constructor(rules: HealthRules, options: HealthOptions) {
    this.#rules = rules
    this.#clock = options.clock
    this.#neighbours = options.neighbours
    this.#onFlip = options.onFlip
    this.#onShare = options.onShare
    this.#window = windowOf(rules.passive, options.clock)
    this.#backSince = options.clock.now()
  }

  get state(): HealthState {
    return this.#state
  }

  /** The evidence for its last transition; '' before the first one. */
  get cause(): string {
    return this.#cause
  }

  /** The share of its weight that it may get, from 0 to 1. */
  get share(): number {
    if (this.#state === 'healthy') return 1
    if (this.#state === 'degraded') return 0.5
    return this.#state === 'warming' ? (WARMING[this.#warmStep] ?? 1) : 0
  }

  /** Whether how requests went took it out, and nothing else. */
  get ejectedByRequests(): boolean {
    return this.#ejectedByRequests
  }

  /**
   * How soon the next check should come, in milliseconds, since something is changing; Infinity for no sooner than any
   * other.
   */
  get checkWithinMs(): number {
    if (!this.#changing) return Infinity
    return this.#unreachable && this.#restarting && this.#failedInRow < RESTART_CHECKS ? RESTART_MS : TRANSITION_MS
  }

  /** Whether it is on its way from one state to another by its checks. */
  get #changing(): boolean {
    if (this.#state === 'unhealthy') {
      // One that stays out although it has risen waits for its ejection to end; one that is not there may be back soon.
      const mayBeBack = this.#unreachable && this.#ejectedByRequests && this.#failedInRow < MOST_HURRIED
      return !this.risen && (this.#goodInRow > 0 || mayBeBack)
    }
    return this.#failedInRow > 0 || (this.#state === 'degraded' && !this.#saysDegraded && this.#goodInRow < PROOF)
  }

  /** Whether its last checks are enough of them to bring it back. */
  get risen(): boolean {
    const { active } = this.#rules
    return active !== undefined && this.#goodInRow >= active.rise
  }

  /** Whether, as far as is known, it can be connected to. */
  get reachable(): boolean {
    return this.#connected
  }

  /** What is known, for whoever looks from outside. */
  get evidence(): HealthEvidence {
    return {
      checks: this.#checks,
      failedInRow: this.#failedInRow,
      goodInRow: this.#goodInRow,
      lastFailure: this.#lastFailure,
      outcomes: this.#window?.total ?? 0,
      failures: this.#window?.failures ?? 0,
      ejectedUntil: this.#ejectedUntil,
    }
  }

  // --- what happened ---

  /**
   * A check went well; `degraded` when the backend itself said that it is not at its best, `connected` when it was on a
   * new connection.
   */
  checkPassed(degraded: boolean, connected: boolean): void {
    if (this.#stopped) return
    if (connected) this.#connected = true
    this.#checks++
    this.#goodInRow++
    this.#failedInRow = 0
    this.#saysDegraded = degraded
    this.#judge(!degraded)
    this.#unchecked = false
  }

  /** @param reason what went wrong, in words */
  checkFailed(reason: string): void {
    if (this.#stopped) return
    this.#checks++
    this.#failedInRow++
    if (this.#connected) this.#restarting = false
    this.#goodInRow = 0
    this.#lastFailure = reason
    this.#unchecked = false
    this.#judge(false)
  }

  /** How a request went. */
  outcome(verdict: Exclude<Verdict, 'ignored'>): void {
    if (verdict === 'unreachable') this.#connected = false
    if (this.#window === undefined || this.#stopped) return
    const failed = verdict !== 'success'
    if (verdict === 'unreachable') this.#isUnreachable()
    // While it is out, what comes is late: requests that hung since before say nothing about what took it out.
    else if (failed && this.#state !== 'unhealthy') this.#unreachable = false
    this.#window.add(failed)
    // There is nothing for who is healthy to recover from.
    if (failed || this.#state !== 'healthy') this.#judge(!failed)
  }

  #isUnreachable(): void {
    if (!this.#unreachable) this.#restarting = true
    this.#unreachable = true
  }

  /** A backend that joins a pool at work: where there are checks, it gets nothing before it has passed one. */
  joins(): void {
    this.#joining = true
    this.#unchecked = this.#rules.active !== undefined
    this.#judge(false)
    this.#joining = false
  }

  /** Other rules. What is known stays, as far as they still ask for it. */
  adopt(rules: HealthRules): void {
    const before = this.#rules
    this.#rules = rules
    if (!isSameWindow(before.passive, rules.passive)) this.#window = windowOf(rules.passive, this.#clock)
    if (rules.passive === undefined) this.#ejectedUntil = -Infinity
    if (rules.active === undefined) {
      this.#failedInRow = 0
      this.#goodInRow = 0
      this.#saysDegraded = false
      this.#unchecked = false
    }
    this.#judge(true)
  }

  /** For a backend that is gone: no timer is left, and what becomes of requests that are still there changes nothing. */
  stop(): void {
    this.#stopped = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  // --- the machine ---

  /** @param goodNews whether it can only make things better: what was let pass until now, for whatever reason, still is */
  #judge(goodNews: boolean): void {
    for (let moves = 0; moves < 3 && !this.#stopped; moves++) {
      if (!this.#move(goodNews)) return
    }
  }

  #move(goodNews: boolean): boolean {
    for (const transition of TRANSITIONS[this.#rules.strategy]) {
      if (transition.from !== this.#state || (goodNews && isWorse(transition))) continue
      const cause = CONDITIONS[transition.when](this)
      if (cause !== undefined) {
        this.#go(transition, cause)
        return true
      }
    }
    return false
  }

  #go({ from, to, ejects }: Transition, cause: string): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#state = to
    this.#cause = cause
    if (from === 'unhealthy') this.#return()
    if (to === 'healthy') this.#unreachable = false
    if (to === 'warming') this.#warm()
    else if (to === 'unhealthy') this.#leave(ejects === true)
    this.#onFlip(from, to, cause)
  }

  #return(): void {
    this.#ejectedByRequests = false
    this.#backSince = this.#clock.now()
    // What was held against it is paid for, but checks that passed while it had no traffic do not prove it.
    this.#window?.clear()
    this.#goodInRow = Math.min(this.#goodInRow, PROOF - 1)
  }

  /** Out for longer each time; shorter again by one for each such time that it behaved. */
  #leave(ejected: boolean): void {
    const { active, passive, strategy } = this.#rules
    if (passive === undefined) return
    const now = this.#clock.now()
    const behaved = Math.floor((now - this.#backSince) / passive.ejectionMs)
    this.#ejections = Math.max(0, this.#ejections - behaved)
    if (!ejected) return
    // It could not be reached since: what checks found before says nothing.
    if (this.#unreachable) this.#goodInRow = 0
    this.#ejections = Math.min(MAX_EJECTIONS, this.#ejections + 1)
    this.#ejectedByRequests = strategy !== 'all' || active === undefined
    this.#ejectFor(passive.ejectionMs * this.#ejections)
  }

  #ejectFor(forMs: number): void {
    this.#ejectedUntil = this.#clock.now() + forMs
    this.#cancelTimer = this.#clock.schedule(() => {
      // A timer can be early by a fraction of a millisecond, and there may be no other who looks.
      this.#ejectedUntil = Math.min(this.#ejectedUntil, this.#clock.now())
      this.#judge(true)
    }, forMs)
  }

  #warm(): void {
    this.#warmStep = 0
    this.#warmSince = this.#clock.now()
    this.#nextStep()
  }

  #nextStep(): void {
    const at = this.#warmSince + (this.#rules.warmupMs * (this.#warmStep + 1)) / WARMING.length
    this.#cancelTimer = this.#clock.schedule(
      () => {
        this.#warmStep++
        if (this.#warmStep === WARMING.length) return this.#judge(true)
        this.#nextStep()
        this.#onShare()
      },
      Math.max(0, at - this.#clock.now()),
    )
  }

  /** Whether all that a window of time knows is from after its return; the last so many outcomes can be of any age. */
  #behavedFor(window: PassiveRules['window']): boolean {
    return typeof window !== 'number' && this.#clock.now() - this.#backSince >= window.overMs
  }

  // --- the conditions: evidence, or undefined ---

  firstCheckFailed(): string | undefined {
    const decisive = this.#checks === 1 && this.#failedInRow === 1
    return decisive ? `the first check failed: ${this.#lastFailure}` : undefined
  }

  checksFailed(times = this.#rules.active?.fall ?? Infinity): string | undefined {
    const failed = this.#failedInRow
    if (failed < times) return undefined
    return `${failed} ${failed === 1 ? 'check' : 'checks'} failed: ${this.#lastFailure}`
  }

  joinsUnchecked(): string | undefined {
    return this.#joining && this.#unchecked ? 'new in the pool, and not checked yet' : undefined
  }

  firstCheckPassed(): string | undefined {
    return this.#unchecked && this.#goodInRow === 1 ? 'the first check passed' : undefined
  }

  firstCheckPassedToWarm(): string | undefined {
    return this.#warmsUp() ? this.firstCheckPassed() : undefined
  }

  noHalfShares(): string {
    return `with strategy ${this.#rules.strategy} there are no half shares`
  }

  joinsWarm(): string | undefined {
    return this.#joining && this.#warmsUp() ? 'new in the pool' : undefined
  }

  saysDegraded(): string | undefined {
    return this.#saysDegraded ? 'its check says that it is degraded' : undefined
  }

  failuresAbove(which: 'degrade' | 'eject'): string | undefined {
    const { passive } = this.#rules
    const window = this.#window
    if (passive === undefined || window === undefined || window.total < passive.minimum) return undefined
    const { failures, total } = window
    // A quotient on purpose: 11 / 20 is the very number that 0.55 is, while 0.55 * 20 is a little more than 11.
    return failures / total > passive[which] ? `${failures} of ${total} requests failed` : undefined
  }

  /** Requests alone may not take everyone out. */
  ifMayEject(cause: string | undefined): string | undefined {
    return cause !== undefined && this.#neighbours.mayEject() ? cause : undefined
  }

  /** Who is not asked does not object. */
  bothSayBad(requestsFailed: string | undefined): string | undefined {
    const { active, passive } = this.#rules
    const checksFailed = this.firstCheckFailed() ?? this.checksFailed()
    if (passive === undefined) return checksFailed
    if (active === undefined) return this.ifMayEject(requestsFailed)
    if (checksFailed === undefined || requestsFailed === undefined) return undefined
    return `${checksFailed}, and ${requestsFailed}`
  }

  comesBack(): string | undefined {
    if (this.#unchecked) return undefined
    const { active, strategy } = this.#rules
    const { risen: proven } = this
    const served = this.#clock.now() >= this.#ejectedUntil || (proven && this.#unreachable && this.#connected)
    const risen = active === undefined || proven
    // Where both had to say so to take it out, either is enough to bring it back.
    const back =
      strategy === 'all'
        ? (active !== undefined && risen) || (this.#rules.passive !== undefined && served)
        : served && risen
    if (!back) return undefined
    return active !== undefined && risen ? `${this.#goodInRow} checks passed` : 'its ejection is over'
  }

  #warmsUp(): boolean {
    return this.#rules.warmupMs > 0 && this.#neighbours.othersAreWarm()
  }

  comesBackToWarm(): string | undefined {
    return this.#warmsUp() ? this.comesBack() : undefined
  }

  failsWhileWarming(): string | undefined {
    const { passive } = this.#rules
    const window = this.#window
    if (passive === undefined || window === undefined || window.total < WARMING_MINIMUM) return undefined
    const { failures, total } = window
    if (failures <= total / 2) return undefined
    return `${failures} of ${total} requests failed while it was warming`
  }

  isWarm(): string | undefined {
    return this.#warmStep >= WARMING.length ? `it is warm after ${this.#rules.warmupMs} ms` : undefined
  }

  proven(): string | undefined {
    const { active, passive } = this.#rules
    const window = this.#window
    if (active !== undefined && (this.#goodInRow < PROOF || this.#saysDegraded)) return undefined
    if (passive === undefined || window === undefined) return `${this.#goodInRow} checks passed`
    const { failures, total } = window
    const few = total < passive.minimum
    const bad = failures > 0 && failures / total >= passive.recover
    // With checks that pass, too few requests to judge are none against it. Without, they are all there is, and have to
    // do once a whole window of time has gone by.
    if (active !== undefined ? !few && bad : bad || (few && !this.#behavedFor(passive.window))) return undefined
    const requests = `${failures} of ${total} requests failed`
    return active === undefined ? requests : `${this.#goodInRow} checks passed, ${requests}`
  }
}

/** Whether it takes a part of its traffic from a backend. Who has warmed up has as much as before, or more. */
function isWorse({ from, to }: Transition): boolean {
  return to === 'unhealthy' || from === 'healthy'
}

export interface HealthEvidence {
  readonly checks: number
  readonly failedInRow: number
  readonly goodInRow: number
  /** What was wrong with the last check that failed. */
  readonly lastFailure: string
  /** Requests that are remembered, and how many of them failed. */
  readonly outcomes: number
  readonly failures: number
  /** On the clock that it was given. */
  readonly ejectedUntil: number
}

function isSameWindow(one: PassiveRules | undefined, other: PassiveRules | undefined): boolean {
  const [a, b] = [one?.window, other?.window]
  return a === b || (typeof a === 'object' && typeof b === 'object' && a.overMs === b.overMs)
}

function windowOf(passive: PassiveRules | undefined, clock: Clock): OutcomeWindow | undefined {
  if (passive === undefined) return undefined
  return typeof passive.window === 'number'
    ? new CountWindow(passive.window)
    : new TimeWindow(passive.window.overMs, clock)
}
