/**
 * Who has become slow. Work in flight tells of a slow backend only once it has taken as much as the others have, and
 * then it is given one more for each that it ends: fifty times slower, it still spoils a request in a hundred. Here each
 * backend's answers are compared with what is typical of the pool, and one that takes several times as long counts as if
 * it had that many times as much to do (as in LVS's "shortest expected delay", where speed is configured). One that
 * answers nothing at all, though requests were sent, is as slow as can be from the moment that this stands out.
 *
 * It is a comparison, since no number of milliseconds is right for every service, and a coarse one: below `slow`
 * everyone is equal, so that ordinary scatter moves no traffic. It is bounded, so that it shifts load and shuts nobody
 * out for good, and it fades: who was slow gets another chance, whether or not there were requests to prove it.
 */
import type { Backend } from '../backend.ts'
import type { AlgorithmDependencies } from './algorithm.ts'

/**
 * A backend's own average is over about its last 8 answers: few enough to notice after two or three, and enough that
 * exponential service times, whose average over these scatters by a quarter, do not come near three times the typical.
 */
const OWN_GAIN = 1 / 8

/** What is typical follows the answers of all: about the last 64. */
const TYPICAL_GAIN = 1 / 64

/** Answers before anybody is compared: the first ones pay for connections and cold caches. */
const ENOUGH = 16

/**
 * Below this there are no differences: a neighbour in the next zone answers in 2 ms what takes 0.5 ms here, and nobody
 * waits for that.
 */
const FASTEST_MS = 5

/** One answer counts for this many times the typical at most: a long poll must not make its backend look slow alone. */
const LONGEST = 16

/** How many times as much to do the slowest is taken to have. With one request under way it is then behind 15 others. */
export const SLOWEST = 8

/** What is held against a backend is half of it after this long without an answer that says otherwise. */
const HALF_LIFE_MS = 2000

/** Silence stands out after this many typical answers: by chance alone it is that long once in some million times. */
const SILENCE = 16
/** But a pause for collecting garbage is none yet. */
const SHORTEST_SILENCE_MS = 100

interface Known {
  /** The average of answers in units of what was typical. */
  ratio: number
  /** When that was so; only kept of who is slow. */
  at: number
}

export class Pace {
  readonly #clock: AlgorithmDependencies['clock']
  readonly #slow: number
  readonly #known = new WeakMap<Backend, Known>()
  #typicalMs = 0
  #answers = 0
  /** When nobody will be slow any more, unless somebody else becomes it. */
  #until = -Infinity

  /** @param slow how many times as long as is typical makes a backend slow; Infinity for never */
  constructor(clock: AlgorithmDependencies['clock'], slow: number) {
    this.#clock = clock
    this.#slow = slow
  }

  /** Whether anybody is slow; while nobody is, which costs nothing to know, nobody needs to be looked up. */
  get anySlow(): boolean {
    if (this.#until === -Infinity) return false
    if (this.#clock.now() < this.#until) return true
    this.#until = -Infinity
    return false
  }

  /** How many times as much as it has in flight a backend is to count for. */
  of(backend: Backend): number {
    const known = this.#known.get(backend)
    if (known === undefined) return 1
    const ratio = faded(known, this.#clock.now())
    return ratio < this.#slow ? 1 : Math.min(ratio, SLOWEST)
  }

  /** Whether a backend that is about to be picked stands out by its silence; it is then slow from now on. */
  standsOut(backend: Backend): boolean {
    const { silentSince } = backend
    if (silentSince === undefined || !this.isSilent(backend)) return false
    this.#set(this.#knownOf(backend), LONGEST, this.#clock.now())
    return true
  }

  /** Whether its silence stands out and is not held against it yet. */
  isSilent(backend: Backend): boolean {
    const { silentSince } = backend
    // Nobody is ever slower than `LONGEST`.
    if (silentSince === undefined || this.#answers < ENOUGH || this.#slow >= LONGEST) return false
    const now = this.#clock.now()
    if (now - silentSince < Math.max(SHORTEST_SILENCE_MS, SILENCE * this.#typical)) return false
    const known = this.#known.get(backend)
    // Once is enough to say so: it may be picked all the same, should the others be no better.
    return known === undefined || known.at < silentSince || faded(known, now) <= this.#slow
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    if (!Number.isFinite(responseMs)) return
    if (verdict === 'success') this.#learnTypical(responseMs)
    if (this.#answers < ENOUGH) return
    const ratio = Math.min(LONGEST, responseMs / this.#typical)
    // However fast it failed, that is no sign of speed.
    if (verdict === 'failure' && ratio < this.#slow) return
    const known = this.#knownOf(backend)
    if (known.ratio < this.#slow && ratio < this.#slow) known.ratio += (ratio - known.ratio) * OWN_GAIN
    else {
      const now = this.#clock.now()
      const before = faded(known, now)
      this.#set(known, before + (ratio - before) * OWN_GAIN, now)
    }
  }

  #set(known: Known, ratio: number, now: number): void {
    known.ratio = ratio
    known.at = now
    if (ratio < this.#slow) return
    this.#until = Math.max(this.#until, now + HALF_LIFE_MS * Math.log2((ratio - 1) / (this.#slow - 1)))
  }

  get #typical(): number {
    return Math.max(FASTEST_MS, this.#typicalMs)
  }

  #learnTypical(responseMs: number): void {
    this.#answers += 1
    const gain = Math.max(TYPICAL_GAIN, 1 / this.#answers)
    const sample = this.#answers < ENOUGH ? responseMs : Math.min(responseMs, LONGEST * this.#typical)
    this.#typicalMs += (sample - this.#typicalMs) * gain
  }

  #knownOf(backend: Backend): Known {
    let known = this.#known.get(backend)
    if (known === undefined) this.#known.set(backend, (known = { ratio: 1, at: -Infinity }))
    return known
  }
}

/** Towards 1, which is typical. */
function faded({ ratio, at }: Known, now: number): number {
  return ratio <= 1 || at === -Infinity ? ratio : 1 + (ratio - 1) * 2 ** ((at - now) / HALF_LIFE_MS)
}

/**
 * What a backend has in flight for its weight.
 *
 * @param pace how many times that, and the request to come, it counts for
 */
export function loadOf(backend: Backend, weight: number, pace: number): number {
  const work = pace === 1 ? backend.inFlight : (backend.inFlight + 1) * pace - 1
  // Division rounds equal ratios to equal numbers (IEEE 754), so 1 of 3 and 3 of 9 do tie.
  return work / weight
}
