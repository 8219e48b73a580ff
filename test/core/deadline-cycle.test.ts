/**
 * Turns by deadlines: as fair as smooth weighted round robin, and interchangeable with it.
 */
import { array, assert, double, integer, oneof, property } from 'fast-check'
import { test } from 'tap'

import { DeadlineCycle } from '../../src/core/algorithms/deadline-cycle.ts'
import { weightedRoundRobin } from '../../src/core/algorithms/weighted-round-robin.ts'
import { members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

function cycleOf(weights: readonly number[], credits?: readonly number[]): DeadlineCycle {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const start = credits ?? weights.map((weight) => (weight === 0 ? -Infinity : 0))
  return new DeadlineCycle(Float64Array.from(weights), total, Float64Array.from(start))
}

const turns = (cycle: DeadlineCycle, count: number): number[] => Array.from({ length: count }, () => cycle.next())

function countsOf(picks: readonly number[], size: number): number[] {
  const counts = Array.from({ length: size }, () => 0)
  for (const index of picks) counts[index] = (counts[index] ?? 0) + 1
  return counts
}

void test('the heavy one is spread over the cycle, which then repeats', async (t) => {
  t.equal(turns(cycleOf([5, 1, 1]), 14).join(''), '01002000100200')
})

void test('equals take turns in their order, and a weight of 0 gets none', async (t) => {
  t.equal(turns(cycleOf([1, 1, 0, 1]), 7).join(''), '0130130')
})

const weights = array(oneof(integer({ min: 1, max: 1000 }), double({ min: 0.01, max: 10, noNaN: true })), {
  minLength: 1,
  maxLength: 30,
})

void test('property: nobody is ever one ahead of its share, or one behind', async () => {
  assert(
    property(weights, (values) => {
      const cycle = cycleOf(values)
      const total = values.reduce((sum, value) => sum + value, 0)
      const counts = values.map(() => 0)
      for (let n = 1; n <= 500; n += 1) {
        const index = cycle.next()
        counts[index] = (counts[index] ?? 0) + 1
        const off = counts.map((count, each) => count - ((values[each] ?? 0) / total) * n)
        if (!off.every((ahead) => Math.abs(ahead) < 1 + 1e-6)) return false
      }
      return true
    }),
  )
})

void test('property: a whole cycle gives exactly the weights, from wherever it is continued', async () => {
  const whole = array(integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 10 })
  assert(
    property(whole, integer({ min: 0, max: 500 }), (values, steps) => {
      const total = values.reduce((sum, value) => sum + value, 0)
      const first = cycleOf(values)
      turns(first, steps)
      const handedOver = cycleOf(values, [...first.credits])
      const [ahead, behind] = [turns(first, total), turns(handedOver, total)]
      return [ahead, behind].every((picks) => countsOf(picks, values.length).every((got, n) => got === values[n]))
    }),
  )
})

void test('credits add up to nothing, are those of the picks, and may be anything to begin with', async (t) => {
  const cycle = cycleOf([5, 1, 1])
  turns(cycle, 3)
  t.same([...cycle.credits].map(Math.round), [1, -4, 3])
  const owed = cycleOf([1, 1, 1], [-30, -30, -30])
  t.same(countsOf(turns(owed, 30), 3), [10, 10, 10], 'all are ahead: who is least so')
  const late = cycleOf([1, 1], [20, 0])
  t.same(countsOf(turns(late, 10), 2), [10, 0], 'one is owed ten')
})

void test('millions of picks stay exact', async (t) => {
  const values = [3, 7, 1, 0.5, 8.5]
  const cycle = cycleOf(values)
  const counts = values.map(() => 0)
  const picks = 2 ** 22 + 2 ** 21
  for (let n = 0; n < picks; n += 1) {
    const index = cycle.next()
    counts[index] = (counts[index] ?? 0) + 1
  }
  for (const [index, count] of counts.entries())
    t.ok(Math.abs(count - (picks * (values[index] ?? 0)) / 20) < 1.001, `${index}: ${count}`)
})

void test('in the algorithm: a pool that grows past the limit and shrinks again goes on where it was', async (t) => {
  const all = members(...Array.from({ length: 200 }, (_, n) => 1 + (n % 3)))
  const few = all.slice(0, 100)
  const algorithm = weightedRoundRobin(undefined, { clock: new VirtualClock(), random: () => 0.5 })
  const got = new Map<string, number>()
  const share = new Map<string, number>()
  const run = (list: typeof all, picks: number): void => {
    const total = list.reduce((sum, { weight }) => sum + weight, 0)
    for (const { id, weight } of list) share.set(id, (share.get(id) ?? 0) + (weight / total) * picks)
    for (let n = 0; n < picks; n += 1) {
      const { id } = algorithm.pick(list, request())
      got.set(id, (got.get(id) ?? 0) + 1)
    }
  }
  for (let round = 0; round < 20; round += 1) {
    run(few, 37)
    run(all, 151)
  }
  for (const { id } of all) {
    const off = Math.abs((got.get(id) ?? 0) - (share.get(id) ?? 0))
    t.ok(off < 4, `${id}: ${off} off`)
  }
})

void test('in the algorithm: among a thousand, everyone has its turn in every round', async (t) => {
  const list = members(...Array.from({ length: 1000 }, () => 1))
  for (const chance of [0, 0.3, 0.999]) {
    const algorithm = weightedRoundRobin(undefined, { clock: new VirtualClock(), random: () => chance })
    const first = algorithm.pick(list, request())
    t.equal(list.indexOf(first), Math.floor(chance * 1000), 'entered where chance says')
    const rest = Array.from({ length: 999 }, () => algorithm.pick(list, request()))
    t.equal(new Set([first, ...rest]).size, 1000)
  }
})
