/**
 * What a dashboard shows, again and again for as long as somebody looks: how everything stands, and what happened between
 * one look and the next. Numbers come in rows without names and each time; names and reasons only when they change.
 */
import { performance } from 'node:perf_hooks'

import type { BreakerState } from '../core/breaker.ts'
import type { Member } from '../core/member.ts'
import type { Supply } from '../core/pool.ts'
import type { State } from '../core/standing.ts'
import type { PoolEntry } from '../transport/pool-entry.ts'
import { BREAKER_STATES, STATES, type Sights } from './catalogue.ts'
import type { BackendFigures, Figures, PoolFigures } from './figures.ts'
import { ABORTED, isFailure } from './outcomes.ts'
import { CELLS, quantile, type Tally } from './series.ts'

/** What is there. Rows of `FeedFigures` are in its order, and words are told as their places in its lists. */
export interface FeedLayout {
  readonly version: string
  readonly startedAt: string
  /** Of the configuration in force. */
  readonly hash: string
  readonly states: readonly State[]
  readonly breakers: readonly BreakerState[]
  readonly supplies: readonly Supply[]
  readonly pools: ReadonlyArray<{
    readonly name: string
    readonly algorithm: string
    /** Whether there are active checks, and a breaker. */
    readonly checks: boolean
    readonly breaker: boolean
    readonly backends: ReadonlyArray<readonly [id: string, url: string]>
  }>
}

/** Why a backend, counted through all pools, stands as it does: those that have changed; '' for what never happened. */
export type FeedReasons = ReadonlyArray<readonly [backend: number, lastCheck: string, health: string, breaker: string]>

/** A number that there is not, such as the latency of no request. */
type Unknown = null

export type PoolRow = readonly [
  supply: number,
  perSecond: number | Unknown,
  failing: number | Unknown,
  p50Ms: number | Unknown,
  p99Ms: number | Unknown,
  inFlight: number,
]

export type BackendRow = readonly [
  state: number,
  weight: number,
  effectiveWeight: number,
  inFlight: number,
  perSecond: number | Unknown,
  /** The share of failures among the attempts that ended, without those that their clients left. */
  failing: number | Unknown,
  p50Ms: number | Unknown,
  p99Ms: number | Unknown,
  breaker: number,
  /** Since the last check ended, and how long it took. */
  checkAgeMs: number | Unknown,
  checkTookMs: number | Unknown,
  checksFailedInRow: number,
]

export interface FeedFigures {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Since the last look; null at the first. */
  readonly overMs: number | Unknown
  readonly gateway: {
    /** Requests that have ended, by class: ever, and in a second. */
    readonly requests: Readonly<Record<string, number>>
    readonly perSecond: Readonly<Record<string, number>> | Unknown
    readonly failing: number | Unknown
    readonly p50Ms: number | Unknown
    readonly p99Ms: number | Unknown
    readonly inFlight: number
    readonly connections: number
    /** The share of its time that the event loop was busy. */
    readonly loop: number
    readonly heapBytes: number
    readonly rssBytes: number
    readonly upMs: number
  }
  readonly pools: readonly PoolRow[]
  readonly backends: readonly BackendRow[]
}

/** What is not counted but looked at. */
export interface FeedSights extends Pick<Sights, 'openConnections'> {
  /** Another map after every change of the configuration. */
  readonly pools: () => ReadonlyMap<string, PoolEntry>
  readonly hash: () => string
  readonly version: string
  readonly startedAt: Date
}

const SUPPLIES: readonly Supply[] = ['enough', 'panic', 'empty']

/** What was counted for a backend at the last look. */
interface Before {
  begun: number
  ended: number
  failed: number
  timed: number
  readonly cells: Uint32Array
}

/** What happened since. */
class Since {
  begun = 0
  ended = 0
  failed = 0
  /** How many latencies there are in `cells`. */
  timed = 0
  readonly cells = new Uint32Array(CELLS)

  clear(): void {
    this.begun = this.ended = this.failed = this.timed = 0
    this.cells.fill(0)
  }

  /** Per second, the share that failed, p50 and p99. */
  summary(seconds: number | undefined): [number | Unknown, number | Unknown, number | Unknown, number | Unknown] {
    if (seconds === undefined) return [null, null, null, null]
    const failing = this.ended === 0 ? null : rounded(this.failed / this.ended, 1000)
    return [rounded(this.begun / seconds, 10), failing, this.#quantile(0.5), this.#quantile(0.99)]
  }

  #quantile(share: number): number | Unknown {
    return this.timed === 0 ? null : rounded(quantile(this.cells, this.timed, share), 100)
  }
}

/** One for each rhythm of looking. */
export class Feed {
  readonly #figures: Figures
  readonly #sights: FeedSights
  #pools: ReadonlyMap<string, PoolEntry> | undefined
  #layout = ''
  #before = new Map<Member, Before>()
  #reasons: Array<FeedReasons[number]> = []
  #requests: Readonly<Record<string, number>> = {}
  #loop = performance.eventLoopUtilization()
  #at: number | undefined
  #latest = ''
  // Filled anew at every look.
  readonly #ofBackend = new Since()
  readonly #ofPool = new Since()
  readonly #ofAll = new Since()

  constructor(figures: Figures, sights: FeedSights) {
    this.#figures = figures
    this.#sights = sights
  }

  /** For who begins to look: all there is to know, as of the last look. */
  get welcome(): string {
    const told = this.#reasons.filter(([, ...texts]) => texts.some((text) => text !== ''))
    return `${this.#layout}${reasonsEvent(told)}${this.#latest}`
  }

  /**
   * Looks again.
   *
   * @param now on the clock of the pools
   * @returns what those who look already are to be told, as server-sent events
   */
  next(now: number): string {
    const pools = this.#sights.pools()
    const isNew = pools !== this.#pools
    if (isNew) this.#begin(pools)
    const overMs = this.#at === undefined ? undefined : now - this.#at
    this.#at = now
    const reasons = reasonsEvent(this.#changedReasons(pools))
    this.#latest = sse('figures', this.#look(pools, now, overMs))
    return `${isNew ? this.#layout : ''}${reasons}${this.#latest}`
  }

  #begin(pools: ReadonlyMap<string, PoolEntry>): void {
    this.#pools = pools
    this.#layout = sse('layout', layoutOf(pools, this.#sights))
    this.#reasons = []
    const before = new Map<Member, Before>()
    for (const { pool } of pools.values()) {
      for (const member of pool.members) {
        const known = this.#before.get(member)
        if (known !== undefined) before.set(member, known)
      }
    }
    this.#before = before
  }

  #changedReasons(pools: ReadonlyMap<string, PoolEntry>): FeedReasons {
    const changed: Array<FeedReasons[number]> = []
    let index = 0
    for (const { pool, standings } of pools.values()) {
      for (const member of pool.members) {
        const standing = standings.of(member)
        const before = this.#reasons[index]
        const check = standing?.health.evidence.lastFailure ?? ''
        const health = standing?.health.cause ?? ''
        const breaker = standing?.breaker?.cause ?? ''
        if (check !== before?.[1] || health !== before[2] || breaker !== before[3]) {
          const reasons = [index, check, health, breaker] as const
          this.#reasons[index] = reasons
          if (before !== undefined || check !== '' || health !== '' || breaker !== '') changed.push(reasons)
        }
        index++
      }
    }
    return changed
  }

  #look(pools: ReadonlyMap<string, PoolEntry>, now: number, overMs: number | undefined): FeedFigures {
    const poolRows: PoolRow[] = []
    const backends: BackendRow[] = []
    const seconds = overMs === undefined ? undefined : Math.max(overMs, 1) / 1000
    this.#ofAll.clear()
    let allInFlight = 0
    for (const entry of pools.values()) {
      const counted = this.#figures.pools.get(entry.settings.name)
      this.#ofPool.clear()
      let inFlight = 0
      for (const member of entry.pool.members) {
        inFlight += member.inFlight
        backends.push(this.#backendRow(entry, member, counted, now, seconds))
      }
      allInFlight += inFlight
      poolRows.push([SUPPLIES.indexOf(entry.pool.supply), ...this.#ofPool.summary(seconds), inFlight])
      add(this.#ofAll, this.#ofPool)
    }
    return {
      at: Date.now(),
      overMs: overMs === undefined ? null : Math.round(overMs),
      gateway: this.#gateway(seconds, allInFlight),
      pools: poolRows,
      backends,
    }
  }

  #backendRow(
    { standings, checkers }: PoolEntry,
    member: Member,
    counted: PoolFigures | undefined,
    now: number,
    seconds: number | undefined,
  ): BackendRow {
    const isKnown = this.#count(member, counted?.backends.get(member.id))
    const last = checkers.get(member)?.last
    return [
      STATES.indexOf(standings.stateOf(member)),
      member.configuredWeight,
      rounded(standings.effectiveWeightOf(member), 1000),
      member.inFlight,
      ...this.#ofBackend.summary(isKnown ? seconds : undefined),
      BREAKER_STATES.indexOf(standings.breakerStateOf(member)),
      last === undefined ? null : Math.round(now - last.at),
      last === undefined ? null : rounded(last.tookMs, 10),
      standings.of(member)?.health.evidence.failedInRow ?? 0,
    ]
  }

  /** What happened to a backend since the last look, for itself, its pool and all. @returns whether there was one */
  #count(member: Member, figures: BackendFigures | undefined): boolean {
    const since = this.#ofBackend
    since.clear()
    const known = this.#before.get(member)
    const before = known ?? { begun: member.requests, ended: 0, failed: 0, timed: 0, cells: new Uint32Array(CELLS) }
    if (known === undefined) this.#before.set(member, before)
    since.begun = member.requests - before.begun
    before.begun = member.requests
    if (figures !== undefined) countEnded(since, before, figures)
    if (known === undefined) since.clear()
    else add(this.#ofPool, since)
    return known !== undefined
  }

  #gateway(seconds: number | undefined, inFlight: number): FeedFigures['gateway'] {
    const requests = Object.fromEntries(this.#figures.statuses.entries())
    const before = this.#requests
    const [, , p50Ms, p99Ms] = this.#ofAll.summary(seconds)
    this.#requests = requests
    const gained = Object.entries(requests).map(([word, count]) => [word, count - (before[word] ?? 0)] as const)
    const ended = gained.reduce((sum, [word, count]) => sum + (word === ABORTED ? 0 : count), 0)
    const failed = gained.find(([word]) => word === '5xx')?.[1] ?? 0
    const perSecond =
      seconds === undefined ? null : Object.fromEntries(gained.map(([word, n]) => [word, rounded(n / seconds, 10)]))
    const loop = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(loop, this.#loop)
    this.#loop = loop
    const { heapUsed, rss } = process.memoryUsage()
    return {
      requests,
      perSecond,
      failing: seconds === undefined || ended === 0 ? null : rounded(failed / ended, 1000),
      p50Ms,
      p99Ms,
      inFlight,
      connections: this.#sights.openConnections(),
      loop: rounded(utilization, 1000),
      heapBytes: heapUsed,
      rssBytes: rss,
      upMs: Date.now() - this.#sights.startedAt.getTime(),
    }
  }
}

/** Of the attempts that have ended, those since the last look, and which latencies they had. */
function countEnded(since: Since, before: Before, { attempts, latencies }: BackendFigures): void {
  const [ended, failed] = endedIn(attempts)
  since.ended = ended - before.ended
  since.failed = failed - before.failed
  before.ended = ended
  before.failed = failed
  // A client that left is no end that counts, but there may have been an answer.
  if (latencies.count === before.timed) return
  before.timed = latencies.count
  const { counts } = latencies
  for (let cell = 0; cell < CELLS; cell++) {
    const gained = ((counts[cell] ?? 0) - (before.cells[cell] ?? 0)) >>> 0
    since.cells[cell] = gained
    since.timed += gained
  }
  before.cells.set(counts)
}

function endedIn(attempts: Tally): readonly [ended: number, failed: number] {
  let [ended, failed] = [0, 0]
  for (const [outcome, count] of attempts.entries()) {
    if (outcome !== ABORTED) ended += count
    if (isFailure(outcome)) failed += count
  }
  return [ended, failed]
}

function add(sum: Since, more: Since): void {
  sum.begun += more.begun
  sum.ended += more.ended
  sum.failed += more.failed
  if (more.timed === 0) return
  sum.timed += more.timed
  for (let cell = 0; cell < CELLS; cell++) sum.cells[cell] = (sum.cells[cell] ?? 0) + (more.cells[cell] ?? 0)
}

function layoutOf(pools: ReadonlyMap<string, PoolEntry>, sights: FeedSights): FeedLayout {
  return {
    version: sights.version,
    startedAt: sights.startedAt.toISOString(),
    hash: sights.hash(),
    states: STATES,
    breakers: BREAKER_STATES,
    supplies: SUPPLIES,
    pools: Array.from(pools.values(), ({ settings: { name, algorithm, health, breaker }, pool }) => ({
      name,
      algorithm: algorithm.type,
      checks: health.active !== undefined,
      breaker: breaker !== undefined,
      backends: pool.members.map(({ id, url }) => [id, url.origin] as const),
    })),
  }
}

function reasonsEvent(reasons: FeedReasons): string {
  return reasons.length === 0 ? '' : sse('reasons', reasons)
}

/** Without an id: where a client is in the list of events is none of its business. */
function sse(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

function rounded(value: number, parts: number): number {
  return Math.round(value * parts) / parts
}
