/**
 * Who will answer soonest: an estimate of each backend's response time, times what it has to do already. The estimate
 * is an average that forgets exponentially, except that a slower sample counts at once and whole: one is cautious from
 * the first sign of trouble and takes one's time to trust again (Finagle's "peak EWMA", PeakEwma.scala). As there, the
 * better of two weighted draws is picked: were the best of all picked, every gateway would run after the same backend.
 *
 * Two things differ. An estimate that is not renewed drifts to what is typical of the pool, not to 0: a backend nobody
 * has heard of for long is like a new one, and one that is feared gets another chance, but none becomes attractive
 * just because it was left alone. And a failure, however fast, never improves an estimate: it doubles it.
 */
import type { Backend } from '../backend.ts'
import type { AlgorithmDependencies, Algorithm, AlgorithmFactory, Explanation } from './algorithm.ts'
import { betterOfTwo, scoresOf } from './explaining.ts'
import { refuseOptions } from './options.ts'
import { WeightedDraw, wholeNumbers } from './weighted-draw.ts'
import { sumOf, weightsOf } from './weights.ts'

/** What is this old counts for a third (1/e). Finagle's default. */
const DECAY_MS = 10_000

/** Differences below this are noise of the gateway's own. It also keeps work in flight from being multiplied by 0. */
const FASTEST_MS = 0.1

/** How fast the idea of what is typical follows the pool's successes: it averages about the last 50. */
const TYPICAL_GAIN = 1 / 50

/**
 * How far failures alone can raise an estimate above what is typical: six in a row. From there it is back at twice the
 * typical after four times `DECAY_MS`, so one that has recovered is not shut out for long.
 */
const WORST_FAILURE = 64

interface Estimate {
  ms: number
  /** When `ms` was true; -Infinity for a backend that never answered. */
  at: number
}

export const peakEwma: AlgorithmFactory = (options, deps) => {
  refuseOptions(options)
  return new PeakEwma(deps)
}

class PeakEwma implements Algorithm {
  readonly #clock: AlgorithmDependencies['clock']
  readonly #draw: WeightedDraw
  readonly #known = new WeakMap<Backend, Estimate>()
  #list: readonly Backend[] | undefined
  /** Those of the list, by position. */
  #estimates: readonly Estimate[] = []
  #meanWeight = 1
  #typicalMs: number | undefined

  constructor({ clock, random }: AlgorithmDependencies) {
    this.#clock = clock
    this.#draw = new WeightedDraw(wholeNumbers(random))
  }

  pick<B extends Backend>(candidates: readonly B[]): B {
    if (candidates !== this.#list) this.#turnTo(candidates)
    const one = this.#draw.one()
    const other = this.#draw.another(one)
    const first = candidates[one]
    const second = candidates[other]
    if (first === undefined || second === undefined) throw new Error('There is no candidate to pick from')
    const now = this.#clock.now()
    // On a tie the first draw stands, so that idle traffic on equals follows the weights.
    const mean = this.#meanWeight
    return this.#cost(second, this.#estimates[other], mean, now) < this.#cost(first, this.#estimates[one], mean, now)
      ? second
      : first
  }

  explain<B extends Backend>(candidates: readonly B[]): Explanation<B> {
    const now = this.#clock.now()
    const mean = sumOf(weightsOf(candidates)) / candidates.length
    const costs = scoresOf(candidates, (backend) => this.#cost(backend, this.#known.get(backend), mean, now))
    const costOf = (backend: B): number => costs.get(backend) ?? Infinity
    return {
      picks: betterOfTwo(candidates, (one, other) => costOf(one) < costOf(other)),
      how: 'Two are drawn by weight, and the one that is expected to answer sooner is picked',
      scores: costs,
      scoreMeans:
        'the expected response time in milliseconds, times the requests to answer; of the two drawn, the lower one is picked',
    }
  }

  learn(backend: Backend, responseMs: number, verdict: 'success' | 'failure'): void {
    const estimate = this.#known.get(backend)
    if (estimate === undefined || !Number.isFinite(responseMs)) return
    const now = this.#clock.now()
    const current = this.#current(estimate, now)
    const sample = Math.max(responseMs, FASTEST_MS)
    if (verdict === 'failure') {
      const doubled = Math.min(2 * current, WORST_FAILURE * this.#typical)
      estimate.ms = Math.max(sample, current, doubled)
    } else {
      estimate.ms = sample > current ? sample : sample + (estimate.ms - sample) * fading(estimate, now)
      this.#typicalMs = this.#typical + (sample - this.#typical) * (this.#typicalMs === undefined ? 1 : TYPICAL_GAIN)
    }
    estimate.at = now
  }

  get #typical(): number {
    return this.#typicalMs ?? 1
  }

  /**
   * The estimate, times one for the request to come and what is in flight for the weight. The weight does not divide
   * the one as well: idle backends of equal speed would then not be equals, and the heaviest would get everything.
   */
  #cost(backend: Backend, estimate: Estimate | undefined, meanWeight: number, now: number): number {
    const ms = estimate === undefined ? this.#typical : this.#current(estimate, now)
    return ms * (1 + (backend.inFlight * meanWeight) / backend.weight)
  }

  #current(estimate: Estimate, now: number): number {
    return this.#typical + (estimate.ms - this.#typical) * fading(estimate, now)
  }

  #turnTo(candidates: readonly Backend[]): void {
    this.#meanWeight = this.#draw.of(candidates).total / candidates.length
    this.#estimates = candidates.map((backend) => this.#estimateOf(backend))
    this.#list = candidates
  }

  #estimateOf(backend: Backend): Estimate {
    const known = this.#known.get(backend)
    if (known !== undefined) return known
    const unknown: Estimate = { ms: FASTEST_MS, at: -Infinity }
    this.#known.set(backend, unknown)
    return unknown
  }
}

/** How much of an estimate is left: 1 when it is new, 0 when there never was one. */
function fading(estimate: Estimate, now: number): number {
  return Math.exp((estimate.at - now) / DECAY_MS)
}
