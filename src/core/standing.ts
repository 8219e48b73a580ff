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

/** A change of health or breaker, and the evidence for it. */
export interface Flip {
  readonly what: 'health' | 'breaker'
  readonly backend: string
  readonly from: HealthState | BreakerState
  readonly to: HealthState | BreakerState
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
  readonly #rules: StandingRules
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

  remove(member: Member): void {
    this.#byMember.get(member)?.stop()
    this.#byMember.delete(member)
    member.guard = undefined
  }

  of(member: Member): Standing | undefined {
    return this.#byMember.get(member)
  }

  /** No timer is left. */
  stop(): void {
    for (const standing of this.#byMember.values()) standing.stop()
  }

  /** Never the last one, and never more than a share: requests may fail for reasons that no backend can help. */
  mayEject(): boolean {
    let ejected = 1
    let others = -1
    for (const { health } of this.#byMember.values()) {
      if (health.ejectedByRequests) ejected++
      if (health.state !== 'unhealthy') others++
    }
    return others > 0 && ejected <= this.#rules.maxEjected * this.#byMember.size
  }

  othersAreWarm(self: Standing): boolean {
    for (const standing of this.#byMember.values()) {
      const { state } = standing.health
      if (standing !== self && (state === 'healthy' || state === 'degraded')) return true
    }
    return false
  }
}

export class Standing implements Guard, Neighbours {
  readonly member: Member
  readonly health: Health
  readonly breaker: Breaker | undefined
  /** Called when how requests went has changed something that checks should look at soon. */
  wantsCheck: ((withinMs: number) => void) | undefined
  readonly #pool: Pool
  readonly #all: Standings

  constructor(member: Member, pool: Pool, rules: StandingRules, options: StandingOptions, all: Standings) {
    this.member = member
    this.#pool = pool
    this.#all = all
    const { clock, random, onFlip } = options
    const backend = member.id
    this.health = new Health(rules.health, {
      clock,
      neighbours: this,
      onFlip: (from, to, cause) => {
        // The cause before its effect, such as a pool without backends.
        onFlip({ what: 'health', backend, from, to, cause })
        this.#tell()
        this.wantsCheck?.(this.health.checkWithinMs)
      },
      onShare: () => this.#tell(),
    })
    this.breaker =
      rules.breaker === undefined
        ? undefined
        : new Breaker(rules.breaker, {
            clock,
            random,
            onFlip: (from, to, cause) => {
              onFlip({ what: 'breaker', backend, from, to, cause })
              this.#tell()
            },
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
    if (result.ok) {
      health.checkPassed(result.degraded)
      if (health.risen) breaker?.reached()
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
    const { share } = this.health
    this.#pool.update(this.member, share > 0 && (this.breaker?.admits ?? true), share > 0 ? share : 1)
  }
}
