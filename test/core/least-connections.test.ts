/**
 * Least connections: loads by weight, ties by turns, and what fails fast.
 */
import { array, assert, integer, property, tuple } from 'fast-check'
import { test } from 'tap'

import { leastConnections } from '../../src/core/algorithms/least-connections.ts'
import { weightedRoundRobin } from '../../src/core/algorithms/weighted-round-robin.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { candidates, members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const deps = { clock: new VirtualClock(), random: () => 0 }
const make = () => leastConnections(undefined, deps)

function pick(weights: number[], inFlight: number[]): string {
  return make().pick(candidates(weights, inFlight), request()).id
}

void test('contract', (t) => algorithmContract(t, leastConnections, { weighted: true }))

void test('one request at a time follows the weights, in the order of weighted round robin', async (t) => {
  const list = members(5, 1, 1)
  const algorithm = make()
  const ids = Array.from({ length: 14 }, () => algorithm.pick(list, request()).id)
  t.equal(ids.join(''), 'AABACAAAABACAA')
})

void test('the least for its weight', async (t) => {
  t.equal(pick([1, 1, 1], [3, 1, 2]), 'backend-1')
  t.equal(pick([4, 1, 1], [3, 1, 2]), 'backend-0')
  t.equal(pick([0.5, 0.25], [1, 1]), 'backend-0')
  t.equal(pick([0, 1], [0, 9]), 'backend-1', 'a weight of 0 gets nothing')
})

void test('equal ratios of unequal numbers tie', async (t) => {
  const algorithm = make()
  const list = candidates([3, 9, 1.5], [2, 6, 1])
  const ids = new Set(Array.from({ length: 41 }, () => algorithm.pick(list, request()).id))
  t.equal(ids.size, 3)
})

void test('nobody to pick is an error, and so are options', async (t) => {
  t.throws(() => make().pick([], request()), /no candidate/)
  t.throws(() => make().pick(members(0, 0), request()), /Every weight is 0/)
  t.throws(() => leastConnections({ key: 1 }, deps), /no options.*key/)
})

void test('what fails fast and looks idle gets at most its share, and is not given up', async (t) => {
  for (const weights of [
    [1, 1, 1, 1],
    [1, 5, 5, 1],
  ]) {
    const list = members(...weights)
    const [bad, ...good] = list
    for (const each of good) each.inFlight = 50
    const algorithm = make()
    let got = 0
    for (let n = 0; n < 1200; n += 1) {
      const picked = algorithm.pick(list, request())
      algorithm.learn?.(picked, 1, picked === bad ? 'failure' : 'success')
      if (picked === bad) got += 1
    }
    const share = 1200 / weights.reduce((sum, weight) => sum + weight, 0)
    t.ok(got <= share + 1 && got >= share * 0.9, `${got} of ${share}`)
  }
})

void test('a burst of failures is forgiven in time, and all failing is as good as none', async (t) => {
  const list = members(1, 1)
  const [bad, good] = list
  if (!bad || !good) throw new Error('two members')
  const algorithm = make()
  algorithm.pick(list, request())
  for (let n = 0; n < 1000; n += 1) algorithm.learn?.(bad, 1, 'failure')
  const ids = Array.from({ length: 40 }, () => algorithm.pick(list, request()).id).join('')
  t.match(ids, /^B{16,17}A/, 'sixteen turns, in each of which one other is picked')
  for (const each of [...list, ...list]) algorithm.learn?.(each, 1, 'failure')
  t.same(new Set([1, 2, 3].map(() => algorithm.pick(list, request()).id)), new Set(['A', 'B']))
})

void test('property: never one with more load than another', async () => {
  const seats = array(tuple(integer({ min: 1, max: 9 }), integer({ min: 0, max: 9 })), { minLength: 1, maxLength: 20 })
  assert(
    property(seats, (pairs) => {
      const list = candidates(
        pairs.map(([weight]) => weight),
        pairs.map(([, inFlight]) => inFlight),
      )
      const { inFlight, weight } = make().pick(list, request())
      return list.every((each) => inFlight * each.weight <= each.inFlight * weight)
    }),
  )
})

void test('property: with all requests kept in flight, loads stay within one request of each other', async () => {
  assert(
    property(array(integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }), (weights) => {
      const list = members(...weights)
      const algorithm = make()
      for (let n = 0; n < 300; n += 1) algorithm.pick(list, request()).inFlight += 1
      const most = Math.max(...list.map(({ inFlight, weight }) => (inFlight - 1) / weight))
      return list.every(({ inFlight, weight }) => inFlight / weight >= most)
    }),
  )
})

void test('property: idle, it is weighted round robin, pick for pick', async () => {
  assert(
    property(array(integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 12 }), (weights) => {
      const list = members(...weights)
      const [mine, other] = [make(), weightedRoundRobin(undefined, deps)]
      return weights.every(() => mine.pick(list, request()) === other.pick(list, request()))
    }),
  )
})
