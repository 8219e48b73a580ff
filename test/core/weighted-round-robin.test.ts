/**
 * Smooth weighted round robin, at exact orders and bounds.
 */
import { array, assert, double, integer, oneof, property } from 'fast-check'
import { test } from 'tap'

import { weightedRoundRobin } from '../../src/core/algorithms/weighted-round-robin.ts'
import type { Backend } from '../../src/core/backend.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { member, members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

type Pick = (list: readonly Backend[], picks: number) => string[]

function picker(random = () => 0): Pick {
  const algorithm = weightedRoundRobin(undefined, { clock: new VirtualClock(), random })
  return (list, picks) => Array.from({ length: picks }, () => algorithm.pick(list, request()).id)
}

function counts(ids: readonly string[]): Record<string, number> {
  const all: Record<string, number> = {}
  for (const id of ids) all[id] = (all[id] ?? 0) + 1
  return all
}

void test('contract', (t) => algorithmContract(t, weightedRoundRobin, { weighted: true }))

void test('5:1:1 gives A A B A C A A, and 700 picks give 500, 100, 100', async (t) => {
  const list = members(5, 1, 1)
  t.equal(picker()(list, 14).join(''), 'AABACAAAABACAA')
  t.same(counts(picker()(list, 700)), { A: 500, B: 100, C: 100 })
})

void test('entered anywhere, it is the same cycle turned', async (t) => {
  const cycle = 'AABACAA'
  for (let at = 0; at < 7; at += 1) {
    const turned = picker(() => (at + 0.5) / 7)(members(5, 1, 1), 14).join('')
    t.equal(turned, (cycle.slice(at) + cycle + cycle).slice(0, 14))
  }
  t.equal(picker(() => 0.99)(members(50, 10, 10), 7).join(''), 'A' + cycle.slice(0, 6), '50:10:10 has the same cycle')
})

void test('entering costs a bounded number of steps, also among many and with fractions', async (t) => {
  const many = members(...Array.from({ length: 2000 }, (_, index) => 1 + (index % 97)))
  const start = performance.now()
  picker(() => 0.999)(many, 1)
  picker(() => 0.999)(members(0.3, 0.7), 1)
  t.ok(performance.now() - start < 1000)
})

void test('a weight of 0 gets nothing', async (t) => {
  t.same(counts(picker()(members(2, 0, 1), 300)), { A: 200, C: 100 })
})

void test('weights that make no sense are refused', async (t) => {
  t.throws(() => picker()(members(0, 0), 1), /Every weight is 0/)
  for (const weight of [-1, Number.NaN, Infinity]) t.throws(() => picker()(members(1, weight), 1), /finite number/)
  t.throws(() => picker()([], 1), /no candidate/)
})

void test('fractions and extreme ratios', async (t) => {
  t.same(counts(picker()(members(0.5, 0.25, 0.25), 400)), { A: 200, B: 100, C: 100 })
  t.same(counts(picker()(members(1, 1000), 10_010)), { A: 10, B: 10_000 })
  t.same(counts(picker()(members(0.001, 1), 10_010)), { A: 10, B: 10_000 })
})

void test('a weight that changes counts from the next pick on, without a burst', async (t) => {
  const list = members(1, 1)
  const pick = picker()
  t.equal(pick(list, 4).join(''), 'ABAB')
  const [a] = list
  if (a) a.weight = 3
  t.equal(pick([...list], 8).join(''), 'AABAAABA')
  if (a) a.weight = 0
  t.equal(pick([...list], 3).join(''), 'BBB')
  if (a) a.weight = 1
  t.equal(pick([...list], 4).join(''), 'ABAB')
})

void test('another scale of the same weights changes nothing', async (t) => {
  const list = members(3000, 2000, 1000)
  const plain = picker()(list, 20)
  const pick = picker()
  const first = pick(list, 4)
  for (const each of list) each.weight /= 1000
  t.same([...first, ...pick([...list], 16)], plain)
})

void test('a detour for a second attempt, or a flip, keeps what each has gained', async (t) => {
  const list = members(5, 1, 1)
  const pick = picker()
  t.equal(pick(list, 2).join(''), 'AA')
  t.equal(pick(list.slice(1), 1).join(''), 'B')
  t.same(counts(pick(list, 6)), { A: 4, B: 1, C: 1 })
})

void test('replaced one by one for ever, a new backend still gets its share soon', async (t) => {
  const pick = picker()
  let list = members(1, 1, 1, 1, 1)
  for (let round = 0; round < 500; round += 1) {
    // The one just picked is in debt: each that leaves with its debt leaves the others with that much too much.
    const [last] = pick(list, 1)
    const newcomer = member(`new-${round}`)
    list = [...list.filter(({ id }) => id !== last), newcomer]
    if (round % 50 !== 49) continue
    const got = counts(pick(list, 12))[newcomer.id] ?? 0
    t.ok(got >= 2 && got <= 3, `round ${round}: ${got} of 12`)
  }
})

void test('property: nobody is ever more than one ahead of its share', async () => {
  const weights = array(oneof(integer({ min: 1, max: 1000 }), double({ min: 0.01, max: 10, noNaN: true })), {
    minLength: 1,
    maxLength: 20,
  })
  assert(
    property(weights, (values) => {
      const list = members(...values)
      const total = values.reduce((sum, value) => sum + value, 0)
      const got = new Map<string, number>()
      for (const [index, id] of picker()(list, 500).entries()) {
        const count = (got.get(id) ?? 0) + 1
        got.set(id, count)
        const share = ((list.find((each) => each.id === id)?.weight ?? 0) / total) * (index + 1)
        if (count > share + 1 + 1e-9) return false
      }
      return true
    }),
  )
})

void test('property: a whole cycle gives exactly the weights, entered anywhere', async () => {
  const weights = array(integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 })
  assert(
    property(weights, double({ min: 0, max: 0.999, noNaN: true }), (values, chance) => {
      const list = members(...values)
      const total = values.reduce((sum, value) => sum + value, 0)
      const got = counts(picker(() => chance)(list, total))
      return list.every(({ id, weight }) => got[id] === weight)
    }),
  )
})
