/**
 * What every algorithm owes the pool, whoever wrote it: run it on yours.
 *
 *     void test('mine', (t) => algorithmContract(t, (options, deps) => new Mine(deps.random)))
 */
import type { Test } from 'tap'

import type { Algorithm, AlgorithmFactory, RequestInfo } from '../../src/core/algorithms/algorithm.ts'
import type { Backend } from '../../src/core/backend.ts'
import { Pool } from '../../src/core/pool.ts'
import { candidates, members, request } from './backends.ts'
import { seededRandom } from './random.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface ContractOptions {
  /** Whether it promises shares by weight; else all are equal to it. */
  readonly weighted?: boolean
  /** How far a share may be off in the long run, relative to it, by the algorithm's nature: 0.1 is ten per cent. */
  readonly tolerance?: number
  /** What its factory is given. */
  readonly options?: unknown
  /** The n-th request, where the default (ever new path, address and x-user) does not suit. */
  readonly request?: (n: number) => RequestInfo
}

const PICKS = 10_000

/** Chance alone goes further than five standard deviations once in two million. */
const SIGMAS = 5

export function algorithmContract(t: Test, factory: AlgorithmFactory<never>, options: ContractOptions = {}): void {
  const suite = new Suite(t, factory, options)
  void t.test('picks a candidate, from 1 to 50 of them, and leaves the list alone', suite.picksCandidates)
  void t.test('the same seed gives the same sequence', suite.repeats)
  void t.test('each gets its share, also after the list shrinks and grows', suite.shares)
  void t.test('a new backend is used soon, and not for everything', suite.newcomer)
  void t.test('copes with any number in flight and any outcome', suite.extremes)
  void t.test('in a pool, weight 0 gets nothing and nothing is reported', suite.inPool)
  t.end()
}

class Suite {
  readonly #factory: AlgorithmFactory<never>
  readonly #options: ContractOptions
  readonly #request: (n: number) => RequestInfo
  readonly t: Test

  constructor(t: Test, factory: AlgorithmFactory<never>, options: ContractOptions) {
    this.t = t
    this.#factory = factory
    this.#options = options
    this.#request = options.request ?? request
  }

  readonly picksCandidates = (t: Test): void => {
    for (let size = 1; size <= 50; size += 1) {
      const algorithm = this.#make(size)
      const list = candidates(Array.from({ length: size }, (_, index) => 1 + (index % 3)))
      const before = [...list]
      const strangers = this.#run(algorithm, list, 100).filter((picked) => !before.includes(picked))
      t.equal(strangers.length, 0, `${size} candidates`)
      t.ok(list.length === size && list.every((backend, index) => backend === before[index]), 'the list is as it was')
    }
    t.end()
  }

  readonly repeats = (t: Test): void => {
    const list = candidates([3, 1, 2, 5])
    const [first, second] = [this.#make(7), this.#make(7)].map((algorithm) => this.#run(algorithm, list, 1000))
    t.same(first?.map(idOf), second?.map(idOf))
    t.end()
  }

  readonly shares = (t: Test): void => {
    const algorithm = this.#make(11)
    const all = candidates([5, 1, 1, 3])
    const fewer = Object.freeze(all.slice(1))
    for (const list of [all, fewer, all]) this.#checkShares(t, list, this.#run(algorithm, list, PICKS))
    const many = candidates(Array.from({ length: 50 }, () => 2))
    this.#checkShares(t, many, this.#run(algorithm, many, PICKS))
    t.end()
  }

  readonly newcomer = (t: Test): void => {
    const algorithm = this.#make(13)
    const grown = candidates([1, 1, 1, 1, 1])
    this.#run(algorithm, Object.freeze(grown.slice(0, 4)), 1000)
    const taken = this.#run(algorithm, grown, 200).filter((picked) => picked === grown[4]).length
    t.ok(taken > 0 && taken <= 100, `${taken} of the next 200 picks`)
    t.end()
  }

  readonly extremes = (t: Test): void => {
    const algorithm = this.#make(17)
    const list = candidates([1, 1000, 0.001, 1], [0, Number.MAX_SAFE_INTEGER, 1e9, 1])
    for (let n = 0; n < 1000; n += 1) {
      const picked = algorithm.pick(list, this.#request(n))
      if (!list.includes(picked)) t.fail('picked a stranger')
      algorithm.learn?.(picked, [0, 0.01, 1e7][n % 3] ?? 0, n % 5 === 0 ? 'failure' : 'success')
    }
    t.end()
  }

  readonly inPool = (t: Test): void => {
    const onAlgorithmError = (error: unknown): void => void t.fail(String(error))
    const [clock, algorithm] = [new VirtualClock(), this.#make(19)]
    const pool = new Pool({ name: 'contract', members: members(1, 0, 2), algorithm, clock, onAlgorithmError })
    for (let n = 0; n < 1000; n += 1) {
      if (n === 500) pool.setWeight('A', 0)
      const lease = pool.acquire(this.#request(n))
      if (lease === undefined || lease.member.weight === 0) t.fail('no lease, or one on a backend without weight')
      lease?.settle('success', 1)
      lease?.release('answered')
    }
    t.end()
  }

  #make(seed: number): Algorithm {
    const deps = { clock: new VirtualClock(), random: seededRandom(seed) }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever runs the suite gives options that fit
    return this.#factory(this.#options.options as never, deps)
  }

  #run(algorithm: Algorithm, list: readonly Backend[], picks: number): Backend[] {
    return Array.from({ length: picks }, (_, n) => algorithm.pick(list, this.#request(n)))
  }

  #checkShares(t: Test, list: readonly Backend[], picked: readonly Backend[]): void {
    const weightOf = (backend: Backend): number => (this.#options.weighted === true ? backend.weight : 1)
    const total = list.reduce((sum, backend) => sum + weightOf(backend), 0)
    for (const backend of list) {
      const share = weightOf(backend) / total
      const got = picked.filter((each) => each === backend).length / picked.length
      const slack = (this.#options.tolerance ?? 0) * share + SIGMAS * Math.sqrt((share * (1 - share)) / picked.length)
      t.ok(Math.abs(got - share) <= slack, `${backend.id} of ${list.length}: ${got}, expected ${share} +- ${slack}`)
    }
  }
}

function idOf(backend: Backend): string {
  return backend.id
}
