/**
 * Least connections: loads by weight, ties by turns, and what fails fast.
 */
import { array, assert, integer, property, tuple } from 'fast-check'
import { test } from 'tap'

import { leastConnections } from '../../src/core/algorithms/least-connections.ts'
import { weightedRoundRobin } from '../../src/core/algorithms/weighted-round-robin.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import type { Algorithm } from '../../src/core/algorithms/algorithm.ts'
import type { Lease } from '../../src/core/lease.ts'
import type { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'
import { candidates, member, members, request } from '../../src/testing/backends.ts'
import { seededRandom } from '../../src/testing/random.ts'
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
  t.throws(() => leastConnections({ key: 1 }, deps), /only slow.*key/)
  for (const slow of [1, -3, NaN, Infinity, '3', null]) {
    t.throws(() => leastConnections({ slow }, deps), /slow must be a number above 1, or 0/)
  }
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

/** A pool of three that answer in 20 ms, with a clock of its own. */
function underLoad(options?: object) {
  const clock = new VirtualClock()
  const algorithm = leastConnections(options, { clock, random: () => 0 })
  const [a, b, c] = [member('A'), member('B'), member('C')]
  const list = [a, b, c]
  /** While the others answer in 20 ms, A takes so long, so many times. */
  const answer = (ms: number, times = 1): void => {
    for (let n = 0; n < times; n += 1) {
      algorithm.learn?.(a, ms, 'success')
      for (const other of [b, c, b, c]) algorithm.learn?.(other, 20, 'success')
    }
  }
  /** How many of so many picks A gets. */
  const toA = (times: number): number => {
    let got = 0
    for (let n = 0; n < times; n += 1) if (algorithm.pick(list, request()) === a) got += 1
    return got
  }
  answer(20, 20)
  return { clock, algorithm, list, a, b, c, answer, toA }
}

void test('whoever takes three times as long as is typical counts for that many times what it has to do', async (t) => {
  const { a, b, c, answer, toA } = underLoad()
  answer(1000)
  t.equal(toA(9), 3, 'once may be chance')
  answer(1000)
  t.equal(toA(9), 0, 'twice is none')
  for (const each of [b, c]) each.inFlight = 2
  t.equal(toA(9), 0, 'idle, it is still worse than others with two requests under way')
  for (const each of [b, c]) each.inFlight = 5
  t.equal(toA(1), 1, 'but not than others with five')
  a.inFlight = 1
  t.equal(toA(9), 0)
  answer(1000, 50)
  for (const each of [b, c]) each.inFlight = 15
  t.equal(toA(1), 1, 'as slow as can be, it is still not shut out')
})

void test('what was slow is forgiven by answers, and by time', async (t) => {
  const { clock, answer, toA } = underLoad()
  answer(1000, 10)
  answer(20, 8)
  t.equal(toA(9), 0)
  answer(20, 8)
  t.equal(toA(9), 3, 'a score of ordinary answers says that it is over')
  answer(1000, 10)
  clock.advance(2000)
  t.equal(toA(9), 0)
  clock.advance(4000)
  t.equal(toA(9), 3, 'nobody is shut out for want of requests')
})

void test('everyone is slow once in a while: that moves nothing', async (t) => {
  const { algorithm, list, toA } = underLoad()
  for (const each of list) algorithm.learn?.(each, 30_000, 'success')
  t.equal(toA(9), 3, 'one long poll each')
  for (let n = 0; n < 200; n += 1) for (const each of list) algorithm.learn?.(each, 30_000, 'success')
  t.equal(toA(9), 3, 'and when all have become slow, that is what is typical')
})

void test('differences that nobody could feel are none', async (t) => {
  const algorithm = make()
  const [near, far] = [member('A'), member('B')]
  for (let n = 0; n < 100; n += 1) {
    algorithm.learn?.(near, 1, 'success')
    algorithm.learn?.(far, 10, 'success')
  }
  t.equal(Array.from({ length: 4 }, () => algorithm.pick([near, far], request()).id).join(''), 'ABAB')
})

void test('nothing is known before there are answers, and nothing is learned from none', async (t) => {
  const { a, algorithm, toA } = underLoad()
  for (const ms of [NaN, Infinity, -Infinity, NaN]) algorithm.learn?.(a, ms, 'success')
  t.equal(toA(9), 3)
  const fresh = make()
  const [first, other] = [member('A'), member('B')]
  for (let n = 0; n < 15; n += 1) fresh.learn?.(first, 1000, 'success')
  t.equal(Array.from({ length: 2 }, () => fresh.pick([first, other], request()).id).join(''), 'AB')
})

void test('a failure that took long is slow, one that was fast is not fast', async (t) => {
  const { a, algorithm, toA } = underLoad()
  for (let n = 0; n < 4; n += 1) algorithm.learn?.(a, 15_000, 'failure')
  toA(40)
  t.equal(toA(20), 0, 'when its failures have long been paid for')
  const other = underLoad()
  for (let n = 0; n < 20; n += 1) {
    other.answer(100)
    for (let m = 0; m < 20; m += 1) other.algorithm.learn?.(other.a, 0, 'failure')
  }
  other.toA(2000)
  t.equal(other.toA(20), 0, 'one that fails at once now and then is as slow as its answers')
})

void test('who has gone silent stands out, until it answers', async (t) => {
  const { clock, a, b, answer, toA } = underLoad()
  clock.advance(1000)
  a.silentSince = clock.now()
  clock.advance(319)
  b.silentSince = clock.now()
  t.equal(toA(9), 3, '16 answers of 20 ms are 320: not yet')
  clock.advance(1)
  t.equal(toA(30), 0)
  a.silentSince = undefined
  answer(321)
  t.equal(toA(9), 0, 'its answer came late')
  answer(20, 30)
  t.ok(toA(9) >= 2)
})

void test('all silent is as good as none', async (t) => {
  const { clock, list, toA } = underLoad()
  for (const each of list) each.silentSince = clock.now()
  clock.advance(60_000)
  t.ok(toA(9) >= 2)
})

void test('slow: 0 is the classic algorithm, slow: 2 is stricter', async (t) => {
  const never = underLoad({ slow: 0 })
  never.answer(1000, 100)
  never.a.silentSince = 0
  never.clock.advance(60_000)
  t.equal(never.toA(9), 3)
  const strict = underLoad({ slow: 2 })
  strict.answer(56, 100)
  t.equal(strict.toA(9), 0)
  const ordinary = underLoad()
  ordinary.answer(56, 100)
  t.equal(ordinary.toA(9), 3)
})

function onAlgorithmError(error: unknown): never {
  throw error
}

function poolOf(list: readonly Member[], algorithm: Algorithm): Pool {
  return new Pool({ name: 'many', members: list, algorithm, clock: new VirtualClock(), onAlgorithmError })
}

/** More than are looked at one by one, of these weights in turn. */
const crowd = (...weights: number[]): Member[] =>
  Array.from({ length: 200 }, (_, n) => member(`server-${n}`, weights[n % weights.length]))

const seeded = (seed: number) => ({ clock: new VirtualClock(), random: seededRandom(seed) })

void test('among many, one request at a time follows the weights, and the heavy are spread', async (t) => {
  const list = crowd(1, 1, 1, 1, 16)
  const [total, heavy] = [800, list.filter(({ weight }) => weight === 16)]
  const algorithm = leastConnections(undefined, seeded(1))
  const picks = Array.from({ length: 5 * total }, () => algorithm.pick(list, request()))
  for (const each of list) {
    const off = picks.filter((picked) => picked === each).length - 5 * each.weight
    t.ok(Math.abs(off) <= 1, `${each.id} of weight ${each.weight} is off by ${off}`)
  }
  for (const each of heavy) {
    const at = picks.flatMap((picked, n) => (picked === each ? [n] : []))
    const gaps = at.slice(1).map((n, nth) => n - (at[nth] ?? 0))
    t.ok(Math.max(...gaps) <= 2 * (total / 16) && Math.min(...gaps) >= total / 16 / 2, `${Math.min(...gaps)} to more`)
  }
})

void test('among many of one weight, turns go round in the order of the list, from a drawn place on', async (t) => {
  const list = crowd(3)
  const firstOf = (seed: number): number => {
    const algorithm = leastConnections(undefined, seeded(seed))
    const picks = Array.from({ length: 2 * list.length }, () => list.indexOf(algorithm.pick(list, request())))
    const [first = 0] = picks
    t.same(
      picks,
      picks.map((_, n) => (first + n) % list.length),
    )
    return first
  }
  t.ok(new Set([1, 2, 3, 4].map(firstOf)).size > 1)
})

void test('property: among many, whoever is picked has no more than another, whatever begins and ends', async () => {
  assert(
    property(integer({ min: 1, max: 2 ** 30 }), integer({ min: 1, max: 400 }), (seed, most) => {
      const random = seededRandom(seed)
      const list = crowd(1, 2, 3, 0.5)
      const pool = poolOf(list, leastConnections(undefined, seeded(seed)))
      const open: Lease[] = []
      for (let n = 0; n < 1000; n += 1) {
        const least = Math.min(...list.map(({ inFlight, weight }) => inFlight / weight))
        const lease = pool.acquire(request())
        if (lease === undefined || (lease.member.inFlight - 1) / lease.member.weight !== least) return false
        open.push(lease)
        while (open.length > most * random()) open.splice(Math.floor(random() * open.length), 1)[0]?.release('answered')
      }
      return true
    }),
    { numRuns: 20 },
  )
})

void test('property: among many, what it explains is what it then does', async (t) => {
  let told = 0
  assert(
    property(integer({ min: 1, max: 2 ** 30 }), (seed) => {
      const random = seededRandom(seed)
      const { clock, ...rest } = seeded(seed)
      const list = crowd(1, 2, 3)
      const algorithm = leastConnections(undefined, { clock, ...rest })
      const pool = poolOf(list, algorithm)
      const open: Lease[] = []
      for (let n = 0; n < 400; n += 1) {
        if (n % 100 === 50) pool.setWeight('server-3', n % 200 === 50 ? 0 : 2)
        if (n % 100 === 75) pool.setAvailable('server-5', n % 200 === 75)
        const { picks } = algorithm.explain?.(pool.candidates, request()) ?? {}
        const lease = pool.acquire(request())
        if (lease === undefined || (picks !== undefined && picks !== lease.member)) return false
        if (picks !== undefined) told += 1
        const nth = list.indexOf(lease.member)
        if (nth % 16 > 0) lease.sent(clock.now())
        if (nth % 16 > 1) lease.settle(nth % 16 === 2 ? 'failure' : 'success', nth % 16 === 3 ? 300 : 10, clock.now())
        open.push(lease)
        while (open.length > 150 * random()) open.splice(Math.floor(random() * open.length), 1)[0]?.release('answered')
        clock.advance(random() * 10)
      }
      return true
    }),
    { numRuns: 20 },
  )
  t.ok(told > 7000, `${told} of 8000`)
})

void test('among many, who was given a larger weight has its turn within a round', async (t) => {
  const list = crowd(1)
  const pool = poolOf(list, leastConnections(undefined, seeded(6)))
  const round = (): string[] => {
    return list.map(() => {
      const lease = pool.acquire(request())
      lease?.release('answered')
      return lease?.member.id ?? ''
    })
  }
  pool.setWeight('server-7', 1e-6)
  round()
  pool.setWeight('server-7', 1)
  t.ok(round().includes('server-7'))
})

void test('among many, who is slow, silent or fails at once is passed over, and comes back', async (t) => {
  const { clock, random } = seeded(4)
  const list = crowd(1)
  const [slow, silent, failing] = list
  if (!slow || !silent || !failing) throw new Error('three members')
  const algorithm = leastConnections(undefined, { clock, random })
  for (const each of list) algorithm.learn?.(each, 20, 'success')
  for (let n = 0; n < 8; n += 1) algorithm.learn?.(slow, 1000, 'success')
  silent.silentSince = clock.now()
  clock.advance(2000)
  const round = (): string[] => list.map(() => algorithm.pick(list, request()).id)
  algorithm.pick(list, request())
  algorithm.learn?.(failing, 1, 'failure')
  const first = new Set(round())
  for (const each of [slow, silent]) t.notOk(first.has(each.id), each.id)
  silent.silentSince = undefined
  clock.advance(60_000)
  const later = new Set([...round(), ...round()])
  for (const each of [slow, silent, failing]) t.ok(later.has(each.id), each.id)
  for (const each of list) for (let n = 0; n < 4; n += 1) algorithm.learn?.(each, 1, 'failure')
  t.equal(new Set(round()).size, 200, 'all failing is as good as none')
})

void test('among many, turns are carried from one list to the next, and who had no weight gets one', async (t) => {
  const list = crowd(1)
  const pool = poolOf(list, leastConnections(undefined, seeded(5)))
  const next = (): string => {
    const lease = pool.acquire(request())
    lease?.release('answered')
    return lease?.member.id ?? ''
  }
  pool.setWeight('server-0', 0)
  const first = new Set(Array.from({ length: 100 }, next))
  pool.setAvailable('server-1', false)
  const rest = new Set(Array.from({ length: 100 }, next))
  const skipped = list.slice(2).filter(({ id }) => !first.has(id) && !rest.has(id))
  t.same(skipped, [], 'who waited for its turn when the list changed has it')
  pool.setWeight('server-0', 1)
  pool.setAvailable('server-1', true)
  const last = Array.from({ length: 400 }, next)
  for (const id of ['server-0', 'server-1', 'server-2']) t.equal(last.filter((each) => each === id).length, 2, id)
})
