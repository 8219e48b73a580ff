/**
 * What every algorithm owes the pool, whoever wrote it: run it on yours.
 *
 *     import { algorithmContract } from 'sluice/testing'
 *     void test('mine', (t) => algorithmContract(t, (options, deps) => new Mine(deps.random)))
 */
import type { Algorithm, AlgorithmFactory, Explanation, RequestInfo } from '../core/algorithms/algorithm.ts'
import type { Backend } from '../core/backend.ts'
import type { Member } from '../core/member.ts'
import { Pool } from '../core/pool.ts'
import { candidates, members, request } from './backends.ts'
import { seededRandom } from './random.ts'
import { VirtualClock } from './virtual-clock.ts'

/** As much of a test runner as the contract needs: node:assert is one, and so is the `t` of tap. */
export interface ContractTest {
  ok(value: unknown, message: string): unknown
  end?(): unknown
}

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

export function algorithmContract(
  t: ContractTest,
  factory: AlgorithmFactory<never>,
  options: ContractOptions = {},
): void {
  const suite = new Suite(t, factory, options)
  suite.picksCandidates()
  suite.repeats()
  suite.shares()
  suite.newcomer()
  suite.extremes()
  suite.inPool()
  suite.explains()
  t.end?.()
}

class Suite {
  readonly #factory: AlgorithmFactory<never>
  readonly #options: ContractOptions
  readonly #request: (n: number) => RequestInfo
  readonly #t: ContractTest

  constructor(t: ContractTest, factory: AlgorithmFactory<never>, options: ContractOptions) {
    this.#t = t
    this.#factory = factory
    this.#options = options
    this.#request = options.request ?? request
  }

  picksCandidates(): void {
    for (let size = 1; size <= 50; size += 1) {
      const algorithm = this.#make(size)
      const list = candidates(Array.from({ length: size }, (_, index) => 1 + (index % 3)))
      const before = [...list]
      const strangers = this.#run(algorithm, list, 100).filter((picked) => !before.includes(picked))
      this.#t.ok(strangers.length === 0, `of ${size} candidates, one is picked`)
      const same = list.length === size && list.every((backend, index) => backend === before[index])
      this.#t.ok(same, `the list of ${size} is as it was`)
    }
  }

  repeats(): void {
    const list = candidates([3, 1, 2, 5])
    const [first, second] = [this.#make(7), this.#make(7)].map((algorithm) => this.#run(algorithm, list, 1000))
    const same = first?.every(({ id }, index) => id === second?.[index]?.id)
    this.#t.ok(same, 'the same seed gives the same sequence')
  }

  shares(): void {
    const algorithm = this.#make(11)
    const all = candidates([5, 1, 1, 3])
    const fewer = Object.freeze(all.slice(1))
    for (const list of [all, fewer, all]) this.#checkShares(list, this.#run(algorithm, list, PICKS))
    const many = candidates(Array.from({ length: 50 }, () => 2))
    this.#checkShares(many, this.#run(algorithm, many, PICKS))
    const crowd = candidates(Array.from({ length: 200 }, (_, index) => 1 + (index % 3)))
    this.#checkShares(crowd, this.#run(algorithm, crowd, 3 * PICKS))
  }

  newcomer(): void {
    const algorithm = this.#make(13)
    const grown = candidates([1, 1, 1, 1, 1])
    this.#run(algorithm, Object.freeze(grown.slice(0, 4)), 1000)
    const taken = this.#run(algorithm, grown, 200).filter((picked) => picked === grown[4]).length
    this.#t.ok(taken > 0 && taken <= 100, `a new backend gets some of the next 200 picks, not all: ${taken}`)
  }

  extremes(): void {
    const algorithm = this.#make(17)
    const list = candidates([1, 1000, 0.001, 1], [0, Number.MAX_SAFE_INTEGER, 1e9, 1])
    let strangers = 0
    for (let n = 0; n < 1000; n += 1) {
      const picked = algorithm.pick(list, this.#request(n))
      if (!list.includes(picked)) strangers += 1
      algorithm.learn?.(picked, [0, 0.01, 1e7][n % 3] ?? 0, n % 5 === 0 ? 'failure' : 'success')
    }
    this.#t.ok(strangers === 0, 'any number in flight, any weight and any outcome: one of the candidates')
  }

  inPool(): void {
    const errors: string[] = []
    const onAlgorithmError = (error: unknown): void => void errors.push(String(error))
    const [clock, algorithm] = [new VirtualClock(), this.#make(19)]
    const pool = new Pool({ name: 'contract', members: members(1, 0, 2), algorithm, clock, onAlgorithmError })
    for (let n = 0; n < 1000; n += 1) {
      if (n === 500) pool.setWeight('A', 0)
      const lease = pool.acquire(this.#request(n))
      if (lease === undefined || lease.member.weight === 0) errors.push('no lease, or one on a backend without weight')
      const another = lease === undefined ? undefined : pool.acquire(this.#request(n), new Set([lease.member]))
      if (another !== undefined && another.member === lease?.member) errors.push('a second attempt at the same backend')
      for (const each of [lease, another]) {
        each?.settle('success', 1, 0)
        each?.release('answered')
      }
    }
    this.#t.ok(errors.length === 0, `in a pool, weight 0 gets nothing and nothing fails: ${errors[0] ?? ''}`)
  }

  /** Where it explains itself: that it says whom it then picks, and that saying so changes nothing. */
  explains(): void {
    const [left, asked] = [this.#day(false), this.#day(true)]
    const differs = left.picks.findIndex((id, n) => id !== asked.picks[n])
    this.#t.ok(differs === -1, `explaining changes no pick: ${differs === -1 ? 'none' : `the one at ${differs}`}`)
    const mistakes = asked.mistakes
    this.#t.ok(mistakes.length === 0, `what it explains is what it then does: ${mistakes[0] ?? 'always'}`)
  }

  /** A day on which everything happens that an algorithm can see. */
  #day(asks: boolean): { readonly picks: readonly string[]; readonly mistakes: readonly string[] } {
    const [clock, all] = [new VirtualClock(), members(3, 1, 2, 5)]
    const algorithm = this.#make(23, clock)
    const mistakes: string[] = []
    const picks: string[] = []
    let lists = listsOf(all)
    for (let n = 0; n < 600; n += 1) {
      if (n % 150 === 149) lists = listsOf(all, n)
      const list = lists[Math.floor(n / 20) % lists.length] ?? all
      const asking = this.#request(n)
      if (asks && n % 10 === 0) for (const other of lists) algorithm.explain?.(other, asking)
      const said = asks ? algorithm.explain?.(list, asking) : undefined
      const picked = algorithm.pick(list, asking)
      picks.push(picked.id)
      if (said !== undefined) mistakes.push(...wrongIn(said, list, picked).map((mistake) => `at ${n} ${mistake}`))
      live(n, picked, all, clock, algorithm)
      algorithm.learn?.(picked, picked.id === 'C' ? 200 : 4 + (n % 5), n % 11 === 0 ? 'failure' : 'success')
    }
    return { picks, mistakes }
  }

  #make(seed: number, clock = new VirtualClock()): Algorithm {
    const deps = { clock, random: seededRandom(seed) }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whoever runs the suite gives options that fit
    return this.#factory(this.#options.options as never, deps)
  }

  #run(algorithm: Algorithm, list: readonly Backend[], picks: number): Backend[] {
    return Array.from({ length: picks }, (_, n) => algorithm.pick(list, this.#request(n)))
  }

  #checkShares(list: readonly Backend[], picked: readonly Backend[]): void {
    const weightOf = (backend: Backend): number => (this.#options.weighted === true ? backend.weight : 1)
    const total = list.reduce((sum, backend) => sum + weightOf(backend), 0)
    for (const backend of list) {
      const share = weightOf(backend) / total
      const got = picked.filter((each) => each === backend).length / picked.length
      const slack = (this.#options.tolerance ?? 0) * share + SIGMAS * Math.sqrt((share * (1 - share)) / picked.length)
      this.#t.ok(
        Math.abs(got - share) <= slack,
        `the share of ${backend.id} of ${list.length}: ${got}, expected ${share} +- ${slack}`,
      )
    }
  }
}

/** All of them, and some, and one; with other weights at each `round`. */
function listsOf(all: readonly Member[], round = 0): ReadonlyArray<readonly Member[]> {
  for (const [index, member] of all.entries()) member.weight = 1 + ((index * 2 + round) % 5)
  const [first, second, third] = all
  const pair = [third, first].filter((member) => member !== undefined)
  const one = second === undefined ? [] : [second]
  return [all, all.slice(1), pair, one].map((list) => Object.freeze([...list]))
}

/** What becomes of requests: some end at once, some late; and now and then a backend falls silent. */
function live(n: number, picked: Member, all: readonly Member[], clock: VirtualClock, algorithm: Algorithm): void {
  if (n % 3 > 0) picked.inFlight += 1
  const other = all[n % all.length]
  if (other !== undefined && other.inFlight > 0 && n % 3 > 0) {
    other.inFlight -= 1
    algorithm.released?.(other)
  }
  if (n % 40 === 30) picked.silentSince = clock.now()
  if (n % 40 === 10) for (const member of all) member.silentSince = undefined
  clock.advance(n % 5 === 0 ? 60 : 1)
}

function wrongIn(said: Explanation<Member>, list: readonly Member[], picked: Member): string[] {
  const wrong: string[] = []
  if (said.picks !== undefined && said.picks !== picked) wrong.push(`it says ${said.picks.id} and picks ${picked.id}`)
  if (said.how === '') wrong.push('it does not say how')
  const [scores, notes] = [said.scores ?? new Map<Member, number>(), said.notes ?? new Map<Member, string>()]
  for (const [backend, score] of scores) if (Number.isNaN(score)) wrong.push(`the score of ${backend.id} is no number`)
  for (const backend of [...scores.keys(), ...notes.keys()]) {
    if (!list.includes(backend)) wrong.push(`it tells of ${backend.id}, which is no candidate`)
  }
  return wrong
}
