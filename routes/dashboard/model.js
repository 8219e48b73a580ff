/**
 * What is known of the gateway: what the stream told, and the last two minutes of it.
 *
 * @import { BackendRow, FeedFigures, FeedLayout, FeedReasons, PoolRow } from '../../src/metrics/feed.ts'
 * @import { GatewayEvent } from '../../plugins/events.ts'
 * @import { Series } from './curve.js'
 */
import { emptySeries, Timeline } from './curve.js'

/** The gateway remembers as many. */
const REMEMBERED = 1000
const TICK_MS = 1000
const NO_REASONS = { check: '', health: '', breaker: '' }

export class Model {
  /** @type {FeedLayout | undefined} */
  layout
  /** @type {FeedFigures | undefined} */
  figures
  /** @type {Pool[]} */
  pools = []
  /**
   * The latest first.
   *
   * @type {GatewayEvent[]}
   */
  events = []
  timeline = new Timeline()
  all = { rate: emptySeries(), failing: emptySeries(), p50: emptySeries(), p99: emptySeries(), inFlight: emptySeries() }
  /** @type {Seat[]} */
  #seats = []
  #lastAt = 0

  /** Another connection: it begins by telling everything. */
  restart() {
    this.events = []
    for (const seat of this.#seats) seat.reasons = NO_REASONS
  }

  /**
   * @param {FeedLayout} layout
   * @returns {boolean} whether there are other pools or backends now
   */
  setLayout(layout) {
    const isSame = JSON.stringify(layout.pools) === JSON.stringify(this.layout?.pools)
    this.layout = layout
    if (isSame) return false
    const before = new Map(this.pools.map((pool) => [pool.name, pool]))
    this.#seats = []
    this.pools = layout.pools.map((told) => {
      const pool = new Pool(told, before.get(told.name))
      this.#seats.push(...pool.seats)
      return pool
    })
    return true
  }

  /** @param {FeedReasons} reasons */
  setReasons(reasons) {
    for (const [index, check, health, breaker] of reasons) {
      const seat = this.#seats[index]
      if (seat !== undefined) seat.reasons = { check, health, breaker }
    }
  }

  /** @param {FeedFigures} figures */
  setFigures(figures) {
    const looks = this.#lastAt === 0 ? 1 : Math.round((figures.at - this.#lastAt) / TICK_MS)
    // Also when the clock of the gateway was set back.
    this.timeline.advance(this.#allSeries(), Math.max(1, looks))
    this.#lastAt = figures.at
    this.figures = figures
    const { place } = this.timeline
    const { perSecond, failing, p50Ms, p99Ms, inFlight } = figures.gateway
    this.all.rate[place] = perSecond === null ? NaN : sumOf(Object.values(perSecond))
    this.all.failing[place] = failing ?? NaN
    this.all.p50[place] = p50Ms ?? NaN
    this.all.p99[place] = p99Ms ?? NaN
    this.all.inFlight[place] = inFlight
    for (const [index, pool] of this.pools.entries()) {
      const row = figures.pools[index]
      if (row !== undefined) pool.look(row, place)
    }
    for (const [index, seat] of this.#seats.entries()) {
      const row = figures.backends[index]
      if (row !== undefined) seat.look(row, place)
    }
  }

  /** @param {GatewayEvent} event */
  addEvent(event) {
    this.events.unshift(event)
    if (this.events.length > REMEMBERED) this.events.pop()
  }

  /** @returns {Iterable<Series>} */
  *#allSeries() {
    yield* Object.values(this.all)
    for (const { rate, p50, p99 } of [...this.pools, ...this.#seats]) {
      yield rate
      yield p50
      yield p99
    }
  }
}

/** A series for each curve. */
class Curves {
  /** @type {Series} */
  rate
  /** @type {Series} */
  p50
  /** @type {Series} */
  p99

  /** @param {Curves | undefined} before */
  constructor(before) {
    this.rate = before?.rate ?? emptySeries()
    this.p50 = before?.p50 ?? emptySeries()
    this.p99 = before?.p99 ?? emptySeries()
  }

  /**
   * @param {number} place
   * @param {number | null} perSecond
   * @param {number | null} p50Ms
   * @param {number | null} p99Ms
   */
  note(place, perSecond, p50Ms, p99Ms) {
    this.rate[place] = perSecond ?? NaN
    this.p50[place] = p50Ms ?? NaN
    this.p99[place] = p99Ms ?? NaN
  }
}

export class Pool extends Curves {
  name
  algorithm
  checks
  breaker
  /** @type {Seat[]} */
  seats
  /** @type {PoolRow | undefined} */
  row

  /**
   * @param {FeedLayout['pools'][number]} told
   * @param {Pool | undefined} before
   */
  constructor({ name, algorithm, checks, breaker, backends }, before) {
    super(before)
    this.name = name
    this.algorithm = algorithm
    this.checks = checks
    this.breaker = breaker
    const known = new Map(before?.seats.map((seat) => [`${seat.id} ${seat.url}`, seat]))
    this.seats = backends.map(([id, url]) => new Seat(id, url, this, known.get(`${id} ${url}`)))
  }

  /**
   * @param {PoolRow} row
   * @param {number} place
   */
  look(row, place) {
    const [, perSecond, , p50Ms, p99Ms] = row
    this.row = row
    this.note(place, perSecond, p50Ms, p99Ms)
  }
}

/** A backend in its pool. */
export class Seat extends Curves {
  id
  url
  pool
  reasons = NO_REASONS
  /** @type {BackendRow | undefined} */
  row

  /**
   * @param {string} id
   * @param {string} url
   * @param {Pool} pool
   * @param {Seat | undefined} before
   */
  constructor(id, url, pool, before) {
    super(before)
    this.id = id
    this.url = url
    this.pool = pool
    this.row = before?.row
  }

  /**
   * @param {BackendRow} row
   * @param {number} place
   */
  look(row, place) {
    const [, , , , perSecond, , p50Ms, p99Ms] = row
    this.row = row
    this.note(place, perSecond, p50Ms, p99Ms)
  }
}

/** @param {readonly number[]} values */
export function sumOf(values) {
  return values.reduce((sum, value) => sum + value, 0)
}
