/**
 * Random: draws by weight.
 */
import { array, assert, double, nat, oneof, property } from 'fast-check'
import { test } from 'tap'

import { random } from '../../src/core/algorithms/random.ts'
import { WeightedDraw, wholeNumbers } from '../../src/core/algorithms/weighted-draw.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { members, request } from '../../src/testing/backends.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const deps = { clock: new VirtualClock(), random: () => 0 }

void test('contract', (t) => algorithmContract(t, random, { weighted: true }))

void test('who is picked is what chance says, by weight', async (t) => {
  const list = members(1, 0, 2, 1)
  const at = (share: number) => list[new WeightedDraw(() => Math.floor(share * 2 ** 31)).of(list).one()]?.id
  t.equal([0, 0.24, 0.25, 0.74, 0.75, 0.999].map((share) => at(share)).join(''), 'AACCDD')
})

void test('nobody to pick is an error, and so are options', async (t) => {
  t.throws(() => random(undefined, deps).pick([], request()), /no candidate/)
  t.throws(() => random(undefined, deps).pick(members(0, 0), request()), /Every weight is 0/)
  t.throws(() => random({ key: 1 }, deps), /no options.*key/)
})

const weights = array(oneof(nat(3), double({ min: 1e-6, max: 1e6, noNaN: true })), { minLength: 1, maxLength: 12 })
const LARGEST = 2 ** 31 - 1
const chance = oneof(
  nat(LARGEST),
  nat(1).map((n) => n * LARGEST),
)

void test('property: nobody without a weight, and two draws are two, at the edges too', async () => {
  assert(
    property(weights, chance, chance, (values, one, two) => {
      const list = members(...values)
      const weighted = values.filter((value) => value > 0).length
      if (weighted === 0) return true
      const chances = [one, two]
      const draw = new WeightedDraw(() => chances.shift() ?? 0).of(list)
      const first = draw.one()
      const second = draw.another(first)
      const valid = (index: number): boolean => (list[index]?.weight ?? 0) > 0
      return valid(first) && valid(second) && (first !== second || weighted === 1)
    }),
    { numRuns: 2000 },
  )
})

void test('the second of two draws goes by the weights of those left', async (t) => {
  const draw = new WeightedDraw(wholeNumbers(seededRandom(5))).of(members(1, 2, 1000, 3, 0))
  const counts = [0, 0, 0, 0, 0]
  for (let n = 0; n < 60_000; n += 1) {
    const index = draw.another(2)
    counts[index] = (counts[index] ?? 0) + 1
  }
  for (const [index, expected] of [10_000, 20_000, 0, 30_000, 0].entries()) {
    t.ok(Math.abs((counts[index] ?? 0) - expected) < 600, `${index}: ${counts[index]}`)
  }
})

void test('whole numbers are even over their range, and the same for the same seed', async (t) => {
  const [one, two] = [wholeNumbers(seededRandom(3)), wholeNumbers(seededRandom(3))]
  const counts = Array.from({ length: 16 }, () => 0)
  let same = true
  for (let n = 0; n < 160_000; n += 1) {
    const number = one()
    same &&= number === two()
    const slot = Math.floor(number / 2 ** 27)
    counts[slot] = (counts[slot] ?? 0) + 1
  }
  t.ok(same)
  // Five standard deviations of a count of 10,000.
  t.ok(
    counts.every((count) => Math.abs(count - 10_000) < 500),
    counts.join(' '),
  )
})
