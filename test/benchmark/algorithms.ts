/**
 * What a pick costs: picks a second and bytes allocated a pick, for each algorithm among 3 to 10,000 backends, with
 * requests in flight that come and go, and an outcome learned for each.
 *
 *   node test/benchmark/algorithms.ts                       all of them
 *   node test/benchmark/algorithms.ts --only random,ring    those whose name has one of these in it
 */
import { parseArgs } from 'node:util'
import { getHeapStatistics } from 'node:v8'

import type { Algorithm, RequestInfo } from '../../src/core/algorithms/algorithm.ts'
import { builtInAlgorithms } from '../../src/core/algorithms/built-in.ts'
import { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } }, allowPositionals: true })
const wanted = values.only.split(',')

const SIZES = [3, 10, 100, 1000, 10_000]
const ROUNDS = 5
const ROUND_MS = 80
/** Picks between two looks at the clock. */
const BATCH = 200

interface Case {
  readonly name: string
  readonly type: string
  readonly options?: unknown
  /** How the cost of a pick should grow with the number of backends. */
  readonly growth: string
}

const key = { header: 'x-user' }
const CASES: readonly Case[] = [
  { name: 'round-robin', type: 'round-robin', growth: 'constant' },
  { name: 'weighted-round-robin', type: 'weighted-round-robin', growth: 'linear to 128, then logarithmic' },
  { name: 'random', type: 'random', growth: 'logarithmic' },
  { name: 'least-connections', type: 'least-connections', growth: 'linear to 128, then logarithmic' },
  { name: 'power-of-two', type: 'power-of-two', growth: 'logarithmic' },
  { name: 'peak-ewma', type: 'peak-ewma', growth: 'logarithmic' },
  { name: 'consistent-hash, ring', type: 'consistent-hash', options: { key }, growth: 'constant' },
  { name: 'consistent-hash, maglev', type: 'consistent-hash', options: { key, engine: 'maglev' }, growth: 'constant' },
  {
    name: 'consistent-hash, rendezvous',
    type: 'consistent-hash',
    options: { key, engine: 'rendezvous' },
    growth: 'linear',
  },
  {
    name: 'consistent-hash, ring, balance 1.25',
    type: 'consistent-hash',
    options: { key, balance: 1.25 },
    growth: 'constant, but for those it walks past',
  },
]

const clock = { now: () => performance.now(), schedule: () => () => {} }
const users = Array.from({ length: 1024 }, (_, n) => `user-${n * 7919}`)
const requests: readonly RequestInfo[] = users.map((user) => ({
  method: 'GET',
  path: '/',
  query: '',
  ip: '192.0.2.1',
  header: () => user,
}))

interface Figure {
  readonly perSecond: number
  readonly bytes: number
  readonly buildMs: number
}

function membersOf(size: number): readonly Member[] {
  return Object.freeze(Array.from({ length: size }, (_, n) => numbered(n)))
}

function numbered(n: number): Member {
  return new Member(`10.${n >> 8}.${n & 255}.1:80`, new URL('http://a'), 1 + (n % 4))
}

function onAlgorithmError(error: unknown): never {
  throw error
}

function measure({ type, options }: Case, size: number): Figure {
  const list = membersOf(size)
  const algorithm = builtInAlgorithms().create(type, options, { clock, random: Math.random })
  const start = performance.now()
  algorithm.pick(list, requests[0] ?? request())
  const buildMs = performance.now() - start
  const traffic = new Traffic(algorithm, list)
  traffic.run()
  const rounds = Array.from({ length: ROUNDS }, () => traffic.run()).toSorted((a, b) => a.perSecond - b.perSecond)
  const bytes = Math.min(...rounds.map((round) => round.bytes))
  return { perSecond: rounds[Math.floor(ROUNDS / 2)]?.perSecond ?? 0, bytes, buildMs }
}

function request(): RequestInfo {
  return { method: 'GET', path: '/', query: '', ip: '', header: () => undefined }
}

/** What a second attempt costs beside first ones, in microseconds: whatever its algorithm derives from its candidates. */
function anotherUs({ type, options }: Case): number {
  const algorithm = builtInAlgorithms().create(type, options, { clock, random: Math.random })
  const pool = new Pool({ name: 'one', members: membersOf(1000), algorithm, clock, onAlgorithmError })
  const one = (tried?: ReadonlySet<Member>): Member | undefined => {
    const lease = pool.acquire(requests[0] ?? request(), tried)
    lease?.release('answered')
    return lease?.member
  }
  const costs = Array.from({ length: 200 }, () => {
    const first = one()
    const start = performance.now()
    one(new Set(first === undefined ? [] : [first]))
    one()
    return (performance.now() - start) * 1000
  })
  return costs.toSorted((a, b) => a - b)[100] ?? 0
}

/** Picks, with as many under way as there are backends; the oldest ends when a new one begins. */
class Traffic {
  readonly #algorithm: Algorithm
  readonly #list: readonly Member[]
  readonly #underWay: Member[]
  #picks = 0

  constructor(algorithm: Algorithm, list: readonly Member[]) {
    this.#algorithm = algorithm
    this.#list = list
    this.#underWay = [...list]
    for (const member of list) member.inFlight += 1
  }

  run(): { perSecond: number; bytes: number } {
    const allocated = getHeapStatistics().total_allocated_bytes
    const start = performance.now()
    let ms = 0
    let picks = 0
    while (ms < ROUND_MS) {
      for (let n = 0; n < BATCH; n += 1) this.#pick()
      picks += BATCH
      ms = performance.now() - start
    }
    // Among few picks, what the measuring itself allocates would show.
    const bytes = picks < 20_000 ? 0 : (getHeapStatistics().total_allocated_bytes - allocated) / picks
    return { perSecond: (picks / ms) * 1000, bytes }
  }

  #pick(): void {
    const place = this.#picks % this.#underWay.length
    const ending = this.#underWay[place]
    if (ending !== undefined) {
      ending.inFlight -= 1
      this.#algorithm.released?.(ending)
      if ((this.#picks & 15) === 0) this.#algorithm.learn?.(ending, 10, 'success')
    }
    const picked = this.#algorithm.pick(this.#list, requests[this.#picks & 1023] ?? request())
    picked.inFlight += 1
    this.#underWay[place] = picked
    this.#picks += 1
  }
}

function millions(perSecond: number): string {
  return (perSecond / 1e6).toFixed(perSecond < 1e6 ? 3 : 1)
}

console.log('Millions of picks a second (median of five rounds), on one core.')
console.log(
  `| algorithm | ${SIZES.join(' | ')} | bytes a pick (most) | first pick of 10,000 | second attempt and next, of 1,000 | grows |`,
)
console.log(`|---|${SIZES.map(() => '---|').join('')}---|---|---|---|`)
for (const each of CASES) {
  if (!wanted.some((name) => each.name.includes(name))) continue
  const figures = SIZES.map((size) => measure(each, size))
  const bytes = Math.max(...figures.map((figure) => figure.bytes))
  const cells = figures.map(({ perSecond }) => millions(perSecond))
  const built = `${(figures.at(-1)?.buildMs ?? 0).toFixed(1)} ms`
  const another = `${anotherUs(each).toFixed(1)} us`
  console.log(`| ${each.name} | ${cells.join(' | ')} | ${bytes.toFixed(1)} | ${built} | ${another} | ${each.growth} |`)
}
