/**
 * Peak EWMA: what it learns, what it forgets, and what it does not fall for.
 */
import { array, assert, boolean, double, property, record } from 'fast-check'
import { test } from 'tap'

import type { Algorithm } from '../../src/core/algorithms/algorithm.ts'
import { peakEwma } from '../../src/core/algorithms/peak-ewma.ts'
import type { Backend } from '../../src/core/backend.ts'
import type { Member } from '../../src/core/member.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { members, request } from '../../src/testing/backends.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

interface Setup {
  readonly algorithm: Algorithm
  readonly clock: VirtualClock
  readonly list: readonly [Member, Member]
  /** The share of the first of two, over many picks. */
  readonly shareOfFirst: () => number
}

function pair(...weights: [number, number]): Setup {
  const clock = new VirtualClock()
  const algorithm = peakEwma(undefined, { clock, random: seededRandom(9) })
  const [a, b] = members(...weights)
  if (!a || !b) throw new Error('two members')
  const list: readonly [Member, Member] = [a, b]
  const picks = (n: number): Backend[] => Array.from({ length: n }, () => algorithm.pick(list, request()))
  picks(1)
  return { algorithm, clock, list, shareOfFirst: () => picks(2000).filter((each) => each === a).length / 2000 }
}

function succeed({ algorithm }: Setup, backend: Backend, ms: number, times = 1): void {
  for (let n = 0; n < times; n += 1) algorithm.learn?.(backend, ms, 'success')
}

void test('contract', (t) => algorithmContract(t, peakEwma, { weighted: true }))

void test('of two, the faster', async (t) => {
  const both = pair(1, 1)
  succeed(both, both.list[0], 10)
  succeed(both, both.list[1], 11)
  t.equal(both.shareOfFirst(), 1)
})

void test('and the one with less to do: time times requests, the new one included', async (t) => {
  const both = pair(1, 1)
  const [a, b] = both.list
  succeed(both, a, 10)
  succeed(both, b, 25)
  a.inFlight = 1
  t.equal(both.shareOfFirst(), 1, '20 against 25')
  a.inFlight = 2
  t.equal(both.shareOfFirst(), 0, '30 against 25')
  b.inFlight = 1
  t.equal(both.shareOfFirst(), 1, '30 against 50')
})

void test('a slow sample counts at once, a fast one little by little', async (t) => {
  const both = pair(1, 1)
  const [a, b] = both.list
  succeed(both, a, 10, 50)
  succeed(both, b, 20, 50)
  t.equal(both.shareOfFirst(), 1)
  succeed(both, a, 500)
  t.equal(both.shareOfFirst(), 0, 'one slow sample is enough')
  both.clock.advance(10)
  succeed(both, a, 10, 5)
  succeed(both, b, 20)
  t.equal(both.shareOfFirst(), 0, 'a few fast ones are not')
  for (let n = 0; n < 60; n += 1) {
    both.clock.advance(1000)
    succeed(both, a, 10)
    succeed(both, b, 20)
  }
  t.equal(both.shareOfFirst(), 1, 'a minute of them is')
})

void test('weights count under load, and among idle equals', async (t) => {
  const both = pair(4, 1)
  const [a, b] = both.list
  t.ok(Math.abs(both.shareOfFirst() - 0.8) < 0.05, 'idle equals')
  a.inFlight = 7
  b.inFlight = 2
  t.equal(both.shareOfFirst(), 1)
  a.inFlight = 9
  t.equal(both.shareOfFirst(), 0)
})

void test('an unknown backend counts as typical: neither feared nor flooded', async (t) => {
  const both = pair(1, 1)
  const [a, b] = both.list
  succeed(both, a, 10, 100)
  t.ok(Math.abs(both.shareOfFirst() - 0.5) < 0.05)
  b.inFlight = 1
  t.equal(both.shareOfFirst(), 1)
})

void test('a fast failure is never attractive', async (t) => {
  const both = pair(1, 1)
  const [a, b] = both.list
  succeed(both, a, 10)
  succeed(both, b, 10)
  both.algorithm.learn?.(a, 0.2, 'failure')
  t.equal(both.shareOfFirst(), 0)
  b.inFlight = 3
  for (let n = 0; n < 2; n += 1) both.algorithm.learn?.(a, 0.2, 'failure')
  t.equal(both.shareOfFirst(), 0, 'nor to one with something to do')
})

void test('not before anything is known either', async (t) => {
  const both = pair(1, 1)
  both.algorithm.learn?.(both.list[0], 0.2, 'failure')
  t.equal(both.shareOfFirst(), 0)
})

void test('who was slow or failed long ago gets another chance, and no more than that', async (t) => {
  const both = pair(1, 1)
  const [a, b] = both.list
  succeed(both, a, 10, 100)
  succeed(both, b, 10, 100)
  for (let n = 0; n < 1000; n += 1) both.algorithm.learn?.(a, 1, 'failure')
  both.clock.advance(45_000)
  succeed(both, b, 10)
  t.equal(both.shareOfFirst(), 0)
  b.inFlight = 1
  t.equal(both.shareOfFirst(), 1, 'once the other one has something to do')
})

void test('samples that are none are ignored, and so are strangers', async (t) => {
  const both = pair(1, 1)
  for (const ms of [Number.NaN, Infinity]) succeed(both, both.list[0], ms)
  succeed(both, members(1)[0] ?? both.list[0], 1e6)
  t.ok(Math.abs(both.shareOfFirst() - 0.5) < 0.05)
  succeed(both, both.list[0], -5)
  both.list[0].inFlight = 1e6
  t.equal(both.shareOfFirst(), 0, 'no time at all does not hide what is in flight')
})

void test('nobody to pick is an error, and so are options', async (t) => {
  const deps = { clock: new VirtualClock(), random: () => 0 }
  t.throws(() => peakEwma(undefined, deps).pick([], request()), /no candidate/)
  t.throws(() => peakEwma(undefined, deps).pick(members(0, 0), request()), /Every weight is 0/)
  t.throws(() => peakEwma({ decay: 1 }, deps), /no options.*decay/)
})

void test('property: whatever else was learned, a failure never makes a backend more attractive', async () => {
  const sample = record({ ms: double({ min: 0, max: 1e5, noNaN: true }), first: boolean(), ok: boolean() })
  assert(
    property(array(sample, { maxLength: 30 }), double({ min: 0, max: 1e5, noNaN: true }), (samples, ms) => {
      const both = pair(1, 1)
      for (const each of samples) {
        both.clock.advance(100)
        both.algorithm.learn?.(both.list[each.first ? 0 : 1], each.ms, each.ok ? 'success' : 'failure')
      }
      const before = both.shareOfFirst()
      both.algorithm.learn?.(both.list[0], ms, 'failure')
      // Of a tie, chance makes about half; what was no winner before must not win now.
      return before > 0.9 || both.shareOfFirst() <= Math.max(before, 0.55)
    }),
    { numRuns: 50 },
  )
})
