/**
 * How a member of a pool stands: its health, its breaker, and what both together let it have. Leases come by here on
 * their way in and out; the pool is told whenever the answer changes, and never asks.
 */
import { Breaker, type BreakerRules, type BreakerState } from './breaker.ts'
import type { CheckResult } from './checker.ts'
import type { Clock, Random } from './clock.ts'
import { Health, type HealthRules, type HealthState, type Neighbours } from './health.ts'
import type { Guard, Verdict } from './lease.ts'
import type { Member } from './member.ts'
import type { Pool } from './pool.ts'

/**
 * What an operator wants of a backend, whatever its health: `draining` and `disabled` give it nothing new, and let what
 * it has end in its own time; `disabled` says that it may be away. Not even a pool in need uses it.
 */
export type Hand = 'auto' | 'draining' | 'disabled'

/** How a backend stands, in a word. */
export type State = HealthState | Exclude<Hand, 'auto'>

/** A change of health or breaker, or by an operator, and the evidence for it. */
export interface Flip {
  readonly what: 'health' | 'breaker'
  readonly backend: string
  readonly from: State | BreakerState
  readonly to: State | BreakerState
  readonly cause: string
}

export interface StandingRules {
  readonly health: HealthRules
  /** undefined for none. */
  readonly breaker: BreakerRules | undefined
  /** The share of a pool that requests which failed may take out, without a check saying so. */
  readonly maxEjected: number
}

export interface StandingOptions {
  readonly clock: Clock
  readonly random: Random
  readonly onFlip: (flip: Flip) => void
}

/** The standings of all members of a pool: none of them may be judged without a look at the others. */
export class Standings {
  readonly #pool: Pool
  #rules: StandingRules
  readonly #options: StandingOptions
  readonly #byMember = new Map<Member, Standing>()

  constructor(pool: Pool, rules: StandingRules, options: StandingOptions) {
    this.#pool = pool
    this.#rules = rules
    this.#options = options
    for (const member of pool.members) this.add(member)
  }

  add(member: Member): Standing {
    const standing = new Standing(member, this.#pool, this.#rules, this.#options, this)
    this.#byMember.set(member, standing)
    member.guard = standing
    return standing
  }

  /** Other rules for all of them. */
  adopt(rules: StandingRules): void {
    this.#rules = rules
    for (const standing of this.#byMember.values()) standing.adopt(rules)
  }

  remove(member: Member): void {
    this.#byMember.get(member)?.stop()
    this.#byMember.delete(member)
    member.guard = undefined
  }

  of(member: Member): Standing | undefined {
    return this.#byMember.get(member)
  }

  /** How a member stands, in a word, for whoever looks from outside. */
  stateOf(member: Member): State {
    return this.#byMember.get(member)?.state ?? 'healthy'
  }

  /** A member without a breaker is shut off by none. */
  breakerStateOf(member: Member): BreakerState {
    return this.#byMember.get(member)?.breaker?.state ?? 'closed'
  }

  /** The weight that it has now. One that is out keeps its own, should the pool be in need of everyone: it is shown as 0. */
  effectiveWeightOf(member: Member): number {
    return this.stateOf(member) === 'unhealthy' ? 0 : member.weight
  }

  /** No timer is left. */
  stop(): void {
    for (const standing of this.#byMember.values()) standing.stop()
  }

  /** Never the last one, and never more than a share: requests may fail for reasons that no backend can help. */
  mayEject(): boolean {
    let ejected = 1
    let others = -1
    for (const { health, hand } of this.#byMember.values()) {
      if (health.ejectedByRequests) ejected++
      if (hand === 'auto' && health.state !== 'unhealthy') others++
    }
    return others > 0 && ejected <= this.#rules.maxEjected * this.#byMember.size
  }

  othersAreWarm(self: Standing): boolean {
    for (const standing of this.#byMember.values()) {
      const { state } = standing
      if (standing !== self && (state === 'healthy' || state === 'degraded')) return true
    }
    return false
  }
}

export class Standing implements Guard, Neighbours {
  readonly member: Member
  readonly health: Health
  breaker: Breaker | undefined
  #hand: Hand = 'auto'
  /** Called when how requests went has changed something that checks should look at soon. */
  wantsCheck: ((withinMs: number) => void) | undefined
  /** How many checks have ended, by what they found. */
  readonly checks = new Map([
    ['passed', 0],
    ['degraded', 0],
    ['failed', 0],
  ])
  readonly #pool: Pool
  readonly #all: Standings
  readonly #options: StandingOptions

  constructor(member: Member, pool: Pool, rules: StandingRules, options: StandingOptions, all: Standings) {
    this.member = member
    this.#pool = pool
    this.#all = all
    this.#options = options
    const { clock, onFlip } = options
    const backend = member.id
    this.health = new Health(rules.health, {
      clock,
      neighbours: this,
      onFlip: (from, to, cause) => {
        // The cause before its effect, such as a pool without backends.
        // Who is out by hand is so whatever its health.
        if (this.#hand === 'auto') onFlip({ what: 'health', backend, from, to, cause })
        this.#tell()
        this.wantsCheck?.(this.health.checkWithinMs)
      },
      onShare: () => this.#tell(),
    })
    this.#adoptBreaker(rules.breaker)
  }

  get state(): State {
    return this.#hand === 'auto' ? this.health.state : this.#hand
  }

  get hand(): Hand {
    return this.#hand
  }

  set hand(hand: Hand) {
    const from = this.state
    this.#hand = hand
    const to = this.state
    this.#tell()
    if (from === to) return
    const cause = hand === 'auto' ? 'by hand: its health decides again' : 'by hand'
    this.#options.onFlip({ what: 'health', backend: this.member.id, from, to, cause })
  }

  /** Other rules; the state it is in stays. */
  adopt({ health, breaker }: StandingRules): void {
    this.health.adopt(health)
    if (breaker !== undefined && this.breaker !== undefined) this.breaker.adopt(breaker)
    else this.#adoptBreaker(breaker)
    this.#tell()
  }

  #adoptBreaker(rules: BreakerRules | undefined): void {
    this.breaker?.stop()
    if (rules === undefined) {
      this.breaker = undefined
      return
    }
    const { clock, random, onFlip } = this.#options
    const backend = this.member.id
    this.breaker = new Breaker(rules, {
      clock,
      random,
      onFlip: (from, to, cause) => {
        onFlip({ what: 'breaker', backend, from, to, cause })
        this.#tell()
      },
      onPlaces: () => this.#tell(),
    })
  }

  enter(): number {
    const { breaker } = this
    if (breaker === undefined) return 0
    const entry = breaker.enter()
    if (breaker.state !== 'closed') this.#tell()
    return entry
  }

  settle(entry: number, verdict: Verdict, responseMs: number, now: number): void {
    const { breaker } = this
    if (breaker !== undefined) {
      breaker.settle(entry, verdict, responseMs, now)
      if (breaker.state !== 'closed') this.#tell()
    }
    if (verdict !== 'ignored') this.health.outcome(verdict)
  }

  /** What a check has found. @returns within how many milliseconds the next one should come; Infinity for any time */
  checked(result: CheckResult): number {
    const { health, breaker } = this
    const found = result.ok ? (result.degraded ? 'degraded' : 'passed') : 'failed'
    this.checks.set(found, (this.checks.get(found) ?? 0) + 1)
    if (result.ok) {
      health.checkPassed(result.degraded, result.connected)
      if (health.risen && health.reachable) breaker?.reached()
    } else health.checkFailed(result.reason)
    return health.checkWithinMs
  }

  mayEject(): boolean {
    return this.#all.mayEject()
  }

  othersAreWarm(): boolean {
    return this.#all.othersAreWarm(this)
  }

  stop(): void {
    this.health.stop()
    this.breaker?.stop()
  }

  /** What is out keeps its weight: should the pool be in need of everyone, it counts. */
  #tell(): void {
    if (this.#hand !== 'auto') return this.#pool.update(this.member, false, 0)
    const { share } = this.health
    this.#pool.update(this.member, share > 0 && (this.breaker?.admits ?? true), share > 0 ? share : 1)
  }
}
