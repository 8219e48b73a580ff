/**
 * Power of two choices: two different draws, compared by weight.
 */
import { test } from 'tap'

import { powerOfTwo } from '../../src/core/algorithms/power-of-two.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { candidates, members, request } from '../../src/testing/backends.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const make = (seed = 3) => powerOfTwo(undefined, { clock: new VirtualClock(), random: seededRandom(seed) })

void test('contract', (t) => algorithmContract(t, powerOfTwo, { weighted: true }))

void test('of two, always the one with less for its weight', async (t) => {
  const cases: ReadonlyArray<readonly [weights: number[], inFlight: number[], best: string]> = [
    [[1, 1], [5, 4], 'backend-1'],
    [[9, 1], [8, 1], 'backend-0'],
    [[1000, 1], [1001, 1], 'backend-1'],
  ]
  for (const [weights, inFlight, best] of cases) {
    const algorithm = make()
    const list = candidates(weights, inFlight)
    for (let n = 0; n < 200; n += 1) t.equal(algorithm.pick(list, request()).id, best)
  }
})

void test('the most loaded of many is never picked, since it is never compared with itself', async (t) => {
  const algorithm = make()
  const list = candidates([1, 1, 1, 1], [1, 1, 2, 1])
  for (let n = 0; n < 2000; n += 1) if (algorithm.pick(list, request()) === list[2]) t.fail('picked the worst')
})

void test('ten thousand requests on a hundred backends: the fullest is close to the mean', async (t) => {
  const list = members(...Array.from({ length: 100 }, () => 1))
  const algorithm = make()
  for (let n = 0; n < 10_000; n += 1) algorithm.pick(list, request()).inFlight += 1
  // Berenbrink, Czumaj, Steger, Vocking (2000): log log n / log 2 + O(1) above the mean, however many there are.
  const most = Math.max(...list.map(({ inFlight }) => inFlight))
  t.ok(most <= 100 + Math.log2(Math.log(100)) + 2, `${most}`)
})

void test('weights hold under load', async (t) => {
  const list = members(5, 1, 1, 3)
  const algorithm = make()
  for (let n = 0; n < 10_000; n += 1) algorithm.pick(list, request()).inFlight += 1
  for (const { inFlight, weight } of list) t.ok(Math.abs(inFlight - weight * 1000) < 30, `${weight}: ${inFlight}`)
})

void test('what fails fast and looks idle gets at most its share, and is not given up', async (t) => {
  const list = members(1, 1, 1, 1)
  const [bad, ...good] = list
  for (const each of good) each.inFlight = 50
  const algorithm = make()
  let got = 0
  for (let n = 0; n < 4000; n += 1) {
    const picked = algorithm.pick(list, request())
    algorithm.learn?.(picked, 1, picked === bad ? 'failure' : 'success')
    if (picked === bad) got += 1
  }
  t.ok(got <= 1000 && got > 500, `${got} of 4000`)
})

void test('a pair that both failed is compared as ever', async (t) => {
  const list = candidates([1, 1], [2, 1])
  const algorithm = make()
  algorithm.pick(list, request())
  for (const each of [...list, ...list, ...list]) algorithm.learn?.(each, 1, 'failure')
  t.equal(algorithm.pick(list, request()), list[1])
})

void test('nobody to pick is an error, and so are options', async (t) => {
  t.throws(() => make().pick([], request()), /no candidate/)
  t.throws(() => make().pick(members(0, 0), request()), /Every weight is 0/)
  t.throws(() => powerOfTwo({ a: 1 }, { clock: new VirtualClock(), random: () => 0 }), /no options.*a/)
})
