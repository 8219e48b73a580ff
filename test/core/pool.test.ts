/**
 * The pool: who may be chosen, what a lease counts, and what a broken algorithm costs.
 */
import { array, assert, nat, property, record } from 'fast-check'
import { test, type Test } from 'tap'

import type { Algorithm } from '../../src/core/algorithms/algorithm.ts'
import { roundRobin } from '../../src/core/algorithms/round-robin.ts'
import type { Lease } from '../../src/core/lease.ts'
import type { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'
import { member, members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

interface Setup {
  readonly pool: Pool
  readonly clock: VirtualClock
  readonly errors: unknown[]
}

function setUp(list: readonly Member[], algorithm?: Algorithm): Setup {
  const clock = new VirtualClock()
  const errors: unknown[] = []
  const chosen = algorithm ?? roundRobin(undefined, { clock, random: () => 0 })
  const onAlgorithmError = (error: unknown): void => void errors.push(error)
  return { pool: new Pool({ name: 'web', members: list, algorithm: chosen, clock, onAlgorithmError }), clock, errors }
}

function acquired(pool: Pool, tried?: ReadonlySet<Member>): Lease {
  const lease = pool.acquire(request(), tried)
  return lease ?? raise('no lease')
}

/** One attempt after the other, at A, B and C, until nobody is left; gives whom it tried. */
function triesAll(t: Test, pool: Pool): ReadonlySet<Member> {
  const tried = new Set<Member>()
  for (const id of ['A', 'B', 'C']) {
    const { member: next } = acquired(pool, tried)
    t.equal(next.id, id)
    tried.add(next)
  }
  t.equal(pool.acquire(request(), tried), undefined)
  return tried
}

function raise(message: string): never {
  throw new Error(message)
}

const ids = (list: readonly Member[]): string => list.map(({ id }) => id).join('')

void test('candidates: the same frozen array until something changes them', async (t) => {
  const { pool } = setUp(members(1, 0, 2))
  const before = pool.candidates
  t.equal(ids(before), 'AC')
  t.ok(Object.isFrozen(before) && Object.isFrozen(pool.members))
  acquired(pool).release('answered')
  pool.setWeight('A', 1)
  pool.setAvailable('A', true)
  pool.setAvailable('B', false)
  pool.setWeight('B', 0)
  pool.add(member('D', 0))
  pool.remove('D')
  t.equal(pool.candidates, before, 'nothing that concerns them has changed')
  pool.setWeight('A', 3)
  t.not(pool.candidates, before, 'a weight is part of what algorithms derive from the list')
})

void test('membership, weight and availability make candidates', async (t) => {
  const { pool } = setUp(members(1, 0, 2))
  pool.setWeight('B', 1)
  pool.add(member('D'))
  t.equal(ids(pool.candidates), 'ABCD')
  pool.setAvailable('B', false)
  pool.setWeight('B', 5)
  pool.setWeight('C', 0)
  t.equal(ids(pool.candidates), 'AD')
  pool.setAvailable('B', true)
  pool.remove('A')
  t.equal(ids(pool.candidates), 'BD')
  t.equal(ids(pool.members), 'BCD')
})

void test('a name twice, an unknown name and a senseless weight are refused', async (t) => {
  t.throws(() => setUp([member('A'), member('A')]), /"web" already has a backend "A"/)
  const { pool } = setUp(members(1))
  t.throws(() => pool.add(member('A')), /already has/)
  t.throws(() => pool.remove('Z'), /"web" has no backend "Z"/)
  t.throws(() => pool.setAvailable('Z', false), /no backend/)
  for (const weight of [-1, Number.NaN, Infinity]) {
    t.throws(() => pool.setWeight('A', weight), /finite number/)
    t.throws(() => pool.add(member('B', weight)), /finite number/)
  }
  t.equal(ids(pool.members), 'A')
})

void test('no lease where nothing may be chosen', async (t) => {
  const { pool } = setUp(members(0, 1))
  pool.setAvailable('B', false)
  t.equal(pool.acquire(request()), undefined)
  t.equal(setUp([]).pool.acquire(request()), undefined)
})

void test('a second attempt goes elsewhere while there is an elsewhere', async (t) => {
  const lists: Array<readonly unknown[]> = []
  const watching: Algorithm = {
    pick: (candidates) => {
      lists.push(candidates)
      return candidates[0] ?? raise('empty')
    },
  }
  const { pool, errors } = setUp(members(1, 1, 1), watching)
  triesAll(t, pool)
  t.equal(lists[0], pool.candidates, 'the first attempt makes no list')
  t.ok(lists.every((list) => Object.isFrozen(list)))
  acquired(pool, new Set([member('elsewhere')]))
  t.equal(lists.at(-1), pool.candidates, 'nor does one that leaves nobody out')
  t.same(errors, [])
})

void test('a lease counts once, whatever is called how often', async (t) => {
  const { pool } = setUp(members(1))
  const lease = acquired(pool)
  const { member: it } = lease
  t.match(it, { inFlight: 1, requests: 1, failures: 0 })
  t.same([lease.verdict, lease.end], [undefined, undefined])
  lease.settle('failure', 5, 0)
  lease.settle('failure', 5, 0)
  lease.settle('success', 5, 0)
  lease.release('failed')
  lease.release('aborted')
  t.match(it, { inFlight: 0, requests: 1, failures: 1 })
  t.same([lease.verdict, lease.end], ['failure', 'failed'])
})

void test('silence: since when requests that were sent wait without a good answer', async (t) => {
  const one = member('A')
  const { pool } = setUp([one])
  const lease = (): Lease => acquired(pool)
  const [first, second, third] = [lease(), lease(), lease()]
  t.equal(one.silentSince, undefined, 'what is not sent yet waits for nobody')
  first.sent(10)
  second.sent(20)
  second.sent(25)
  t.equal(one.silentSince, 10)
  third.settle('success', 1, 30)
  t.equal(one.silentSince, 30, 'an answer to what was not sent whole is one')
  const late = lease()
  late.sent(40)
  late.settle('failure', 10, 50)
  late.sent(55)
  second.release('aborted')
  t.equal(one.silentSince, 30, 'a time that ran out and a client that left are none')
  first.settle('success', 50, 60)
  t.equal(one.silentSince, undefined, 'nobody waits')
  t.equal(one.waiting, 0)
})

void test('an algorithm learns successes and failures, nothing else', async (t) => {
  const learned: unknown[] = []
  const plain = roundRobin(undefined, { clock: new VirtualClock(), random: () => 0 })
  const { pool } = setUp(members(1), {
    pick: (candidates, info) => plain.pick(candidates, info),
    learn: (backend, responseMs, verdict) => void learned.push([backend.id, responseMs, verdict]),
  })
  acquired(pool).settle('success', 1, 0)
  acquired(pool).settle('failure', 2, 0)
  acquired(pool).settle('ignored', 3, 0)
  const late = acquired(pool)
  late.release('aborted')
  late.settle('failure', 4, 0)
  t.same(learned, [
    ['A', 1, 'success'],
    ['A', 2, 'failure'],
  ])
  t.equal(late.verdict, 'ignored')
  t.equal(late.member.failures, 1)
})

void test('a lease on who was removed ends like any other', async (t) => {
  const { pool } = setUp(members(1, 1))
  const lease = acquired(pool)
  pool.remove(lease.member.id)
  lease.settle('success', 1, 0)
  lease.release('answered')
  t.equal(lease.member.inFlight, 0)
})

/** What a user's plain JavaScript may do. */
const BROKEN: Record<string, (candidates: readonly Member[]) => unknown> = {
  throws: () => {
    throw new Error('broken')
  },
  nothing: () => undefined,
  null: () => null,
  'a string': () => 'A',
  'a promise': async (candidates) => candidates[0],
  'a copy': (candidates) => Object.assign({}, candidates[0]),
  'an heir': (candidates) => Object.create(candidates[0] ?? null),
  'a stranger': () => member('A'),
}

function broken(pick: (candidates: readonly Member[]) => unknown): Algorithm {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- breaks the types on purpose
  return { pick } as unknown as Algorithm
}

void test('a broken algorithm costs a plain rotation and one report a second, not a request', async (t) => {
  for (const [name, pick] of Object.entries(BROKEN)) {
    const { pool, clock, errors } = setUp(members(1, 1, 1), broken(pick))
    clock.advance(50)
    for (let n = 0; n < 300; n += 1) acquired(pool).release('answered')
    t.same(
      pool.members.map(({ requests }) => requests),
      [100, 100, 100],
      name,
    )
    t.equal(errors.length, 1, name)
    clock.advance(999)
    acquired(pool)
    t.equal(errors.length, 1, name)
    clock.advance(1)
    acquired(pool)
    t.equal(errors.length, 2, name)
  }
})

void test('who was tried, is unavailable or was removed is no candidate either', async (t) => {
  const list = members(1, 1, 1)
  const [a, b] = list
  const stubborn = (): unknown => a
  const { pool, errors } = setUp(list, broken(stubborn))
  t.equal(acquired(pool).member, a)
  t.same(errors, [])
  const other = acquired(pool, new Set(a ? [a] : []))
  t.not(other.member, a)
  t.match(errors, [/not a candidate/])
  pool.setAvailable('A', false)
  t.not(acquired(pool).member, a)
  pool.remove('A')
  t.not(acquired(pool).member, a)
  t.equal(acquired(pool, new Set(b ? [b] : [])).member.id, 'C')
})

void test('a second attempt costs no list where the algorithm picks another one anyway', async (t) => {
  const picks: Array<readonly [readonly unknown[], ReadonlySet<unknown> | undefined]> = []
  const { pool } = setUp(members(1, 1, 1), {
    pick: (candidates, _request, tried) => {
      picks.push([candidates, tried])
      return candidates.find((each) => tried === undefined || !tried.has(each)) ?? raise('nobody is left')
    },
  })
  const tried = triesAll(t, pool)
  t.ok(
    picks.every(([list]) => list === pool.candidates),
    'always the list that there is',
  )
  t.same(
    picks.map(([, each]) => each),
    [undefined, tried, tried],
    'and who was asked knows who was tried, unless nobody was',
  )
})

void test('an algorithm is told when an attempt has ended, once, and may fail at it', async (t) => {
  const told: Array<readonly [id: string, inFlight: number]> = []
  const { pool, errors } = setUp(members(1), {
    pick: ([first]) => first ?? raise('empty'),
    released: ({ id, inFlight }) => {
      told.push([id, inFlight])
      if (told.length === 2) raise('cannot note it')
    },
  })
  const [one, other] = [acquired(pool), acquired(pool)]
  one.settle('success', 1, 0)
  t.same(told, [])
  one.release('answered')
  one.release('aborted')
  t.same(told, [['A', 1]])
  other.release('aborted')
  t.same(told, [
    ['A', 1],
    ['A', 0],
  ])
  t.match(errors, [/cannot note it/])
})

void test('an algorithm that fails to learn is reported and does no harm', async (t) => {
  const plain = roundRobin(undefined, { clock: new VirtualClock(), random: () => 0 })
  const { pool, errors } = setUp(members(1), {
    pick: (candidates, info) => plain.pick(candidates, info),
    learn: () => {
      throw new Error('cannot learn')
    },
  })
  const lease = acquired(pool)
  lease.settle('success', 1, 0)
  lease.release('answered')
  t.match(errors, [/cannot learn/])
  t.equal(lease.member.inFlight, 0)
})

void test('the algorithm can be replaced while leases are out', async (t) => {
  const { pool } = setUp(members(1, 1))
  const learned: string[] = []
  const lease = acquired(pool)
  pool.setAlgorithm({
    pick: (candidates) => candidates.at(-1) ?? raise('empty'),
    learn: (backend) => void learned.push(backend.id),
  })
  t.equal(acquired(pool).member.id, 'B')
  lease.settle('success', 1, 0)
  t.same(learned, ['A'], 'what was under way teaches the new one')
})

void test('property: whatever happens in whatever order, in-flight is the leases not released', async () => {
  const act = record({ kind: nat(6), lease: nat(), member: nat(3) })
  assert(
    property(array(act, { maxLength: 200 }), (acts) => {
      const all = members(1, 1, 1, 1)
      const { pool } = setUp(all)
      const leases: Lease[] = []
      for (const { kind, lease: nth, member: who } of acts) {
        const lease = leases[nth % Math.max(1, leases.length)]
        const id = all[who]?.id ?? ''
        if (kind === 0) leases.push(...[pool.acquire(request())].filter((each) => each !== undefined))
        else if (kind === 1) lease?.settle('failure', 1, 0)
        else if (kind === 2) lease?.release('answered')
        else if (kind === 3) pool.setAvailable(id, nth % 2 === 0)
        else if (kind === 4) pool.setWeight(id, nth % 3)
        else if (kind === 5) lease?.release('aborted')
        else lease?.settle('ignored', 1, 0)
      }
      return all.every((each) => {
        const own = leases.filter((lease) => lease.member === each)
        const open = own.filter((lease) => lease.end === undefined).length
        const failed = own.filter((lease) => lease.verdict === 'failure').length
        return each.inFlight === open && each.requests === own.length && each.failures === failed
      })
    }),
  )
})
