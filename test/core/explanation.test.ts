/**
 * What a pool says of itself: who is left out and why, who is a candidate all the same, and that looking changes nothing.
 */
import { test } from 'tap'

import type { Algorithm } from '../../src/core/algorithms/algorithm.ts'
import { roundRobin } from '../../src/core/algorithms/round-robin.ts'
import type { BreakerRules } from '../../src/core/breaker.ts'
import { explainPool, type PoolExplanation } from '../../src/core/explanation.ts'
import type { HealthRules } from '../../src/core/health.ts'
import type { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'
import { type Standing, Standings } from '../../src/core/standing.ts'
import { member, members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const HEALTH: HealthRules = {
  strategy: 'graded',
  active: { fall: 3, rise: 2 },
  passive: { window: 100, minimum: 20, degrade: 0.3, eject: 0.5, recover: 0.1, ejectionMs: 30_000 },
  warmupMs: 0,
}
const BREAKER: BreakerRules = {
  mode: 'enforce',
  windowMs: 10_000,
  minimum: 4,
  failureRate: 0.5,
  slowCallMs: 0,
  slowCallRate: 0.8,
  openMs: 5000,
  maxOpenMs: 60_000,
  halfOpen: 1,
}

interface Bench {
  readonly clock: VirtualClock
  readonly pool: Pool
  readonly standing: (member: Member | undefined) => Standing
  readonly explain: () => PoolExplanation
  /** The next requests to go to this one fail. */
  readonly fail: (member: Member | undefined, times: number) => void
}

interface BenchOptions {
  readonly algorithm?: Algorithm
  readonly panic?: number
  readonly breaker?: BreakerRules
}

function bench(list: readonly Member[], { algorithm, panic = 0, breaker = BREAKER }: BenchOptions = {}): Bench {
  const clock = new VirtualClock()
  const chosen = algorithm ?? roundRobin(undefined, { clock, random: () => 0 })
  const pool = new Pool({
    name: 'web',
    members: list,
    algorithm: chosen,
    clock,
    onAlgorithmError: () => undefined,
    panic,
  })
  const rules = { health: HEALTH, breaker, maxEjected: 0.5 }
  const standings = new Standings(pool, rules, { clock, random: () => 0.5, onFlip: () => undefined })
  const standing = (of: Member | undefined): Standing => {
    const found = of === undefined ? undefined : standings.of(of)
    if (found === undefined) throw new Error('no such member')
    return found
  }
  const fail = (of: Member | undefined, times: number): void => {
    const its = standing(of)
    for (let n = 0; n < times; n += 1) its.settle(its.enter(), 'failure', 1, clock.now())
  }
  return { clock, pool, standing, fail, explain: () => explainPool(pool, standings, request(), clock.now()) }
}

function reasons({ leftOut }: PoolExplanation): Record<string, string> {
  return Object.fromEntries(leftOut.map(({ member: { id }, reason }) => [id, reason]))
}

function notes({ candidates }: PoolExplanation): Record<string, readonly string[]> {
  return Object.fromEntries(candidates.map(({ member: { id }, notes: its }) => [id, its]))
}

void test('left out: no weight, failed checks, an ejection with its time, an open breaker, and several at once', async (t) => {
  const list = [member('none', 0), ...members(1, 1, 1, 1)]
  const [, a, b, c, d] = list
  const { clock, standing, fail, explain } = bench(list)
  for (let n = 0; n < 3; n += 1) standing(a).checked({ ok: false, reason: 'answered 503' })
  fail(b, 4)
  standing(c).checked({ ok: true, degraded: true, connected: true })
  clock.advance(2000)
  const said = explain()
  t.same(reasons(said), {
    none: 'its weight is 0',
    A: 'it is unhealthy: the first check failed: answered 503',
    B: 'its breaker is open for another 3.0 s: 4 of 4 requests failed',
  })
  t.same(notes(said), { C: ['it is degraded, with 50 % of its weight: its check says that it is degraded'], D: [] })
  t.ok(d && standing(d).health.state === 'healthy')
})

void test('left out: who was taken out by its requests says until when; the words are those of the last cause', async (t) => {
  const [a, b, c] = members(1, 1, 1)
  if (!a || !b || !c) throw new Error('three members')
  const { clock, standing, fail, explain } = bench([a, b, c])
  standing(a).checked({ ok: true, degraded: false, connected: true })
  for (let n = 0; n < 3; n += 1) standing(a).checked({ ok: false, reason: 'no connection' })
  t.same(reasons(explain()), { A: 'it is unhealthy: 3 checks failed: no connection' })
  fail(b, 20)
  clock.advance(1000)
  const said = reasons(explain())
  t.match(
    said['B'],
    /^it is unhealthy: 20 of 20 requests failed; it is ejected for another 29\.0 s; and its breaker is open/,
  )
})

void test('a breaker that is half-open: a candidate while a trial is free, left out while it is taken', async (t) => {
  const [a, b] = members(1, 1)
  const { clock, pool, standing, fail, explain } = bench([a, b].filter((each) => each !== undefined))
  fail(a, 4)
  clock.advance(5000)
  t.match(notes(explain())['A'], ['its breaker is half-open: a trial'])
  for (let n = 0; n < 100; n += 1) explain()
  t.equal(standing(a).breaker?.trials, 0, 'asking takes no trial')
  const lease = pool.acquire(request(), new Set(b ? [b] : []))
  t.equal(lease?.member, a)
  t.same(reasons(explain()), { A: 'its breaker is half-open, with all places for trials (1) taken' })
  lease?.settle('success', 1, clock.now())
  lease?.release('answered')
  t.same(reasons(explain()), {})
})

void test('a breaker that only observes leaves nobody out, and says what it has seen', async (t) => {
  const list = members(1, 1)
  const { fail, explain } = bench(list, { breaker: { ...BREAKER, mode: 'observe' } })
  fail(list[0], 4)
  t.match(notes(explain())['A'], ['its breaker is open, but only observes'])
})

void test('panic: all are candidates, with what is held against them', async (t) => {
  const list = members(1, 1)
  const { fail, explain } = bench(list, { panic: 0.9 })
  fail(list[0], 4)
  const said = explain()
  t.equal(said.panic, true)
  t.same(said.leftOut, [])
  t.match(said.why, /so few backends can be used that all of them are/)
  t.match(notes(said)['A'], [/^its breaker is open for another 5\.0 s/])
})

void test('nobody to choose', async (t) => {
  const { explain } = bench([member('A', 0)])
  t.match(explain(), { chosen: undefined, why: 'No backend can be chosen', candidates: [] })
})

void test('it counts nothing and takes no turn', async (t) => {
  const list = members(1, 1, 1)
  const { pool, explain } = bench(list)
  const turn = (): string | undefined => {
    const lease = pool.acquire(request())
    lease?.release('answered')
    return lease?.member.id
  }
  t.equal(turn(), 'A')
  const before = list.map(({ requests, inFlight, failures }) => [requests, inFlight, failures])
  for (let n = 0; n < 1000; n += 1) t.equal(explain().chosen?.id, 'B')
  t.same(
    list.map(({ requests, inFlight, failures }) => [requests, inFlight, failures]),
    before,
  )
  t.same([turn(), turn(), turn()], ['B', 'C', 'A'])
})

const pick: Algorithm['pick'] = (candidates) => candidates[0] ?? raise('nobody')

void test("users' algorithms: silent, failing, and naming whom they may not", async (t) => {
  const list = members(1, 1)
  t.match(bench(list, { algorithm: { pick } }).explain(), { chosen: undefined, why: /decides by itself/ })
  const failing: Algorithm = { pick, explain: () => raise('no idea') }
  t.match(bench(list, { algorithm: failing }).explain(), {
    chosen: undefined,
    why: /failed to explain itself: no idea/,
  })
  const [a] = list
  const stubborn: Algorithm = { pick, explain: (candidates) => ({ picks: candidates[0], how: 'the first' }) }
  const { pool, explain } = bench(list, { algorithm: stubborn })
  t.match(explain(), { chosen: a, why: 'the first', scoreMeans: undefined })
  const stranger: unknown = { pick, explain: () => ({ picks: a, how: 'always A' }) }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what plain JavaScript may do
  pool.setAlgorithm(stranger as Algorithm)
  pool.setAvailable('A', false)
  t.match(explain(), { chosen: undefined, why: 'always A; it names a backend that is no candidate' })
})

function raise(message: string): never {
  throw new Error(message)
}
