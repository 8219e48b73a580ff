/**
 * What algorithms say of themselves: whom they would pick, by which scores, and that saying so changes nothing. (That all
 * of them keep to it on an ordinary day is in the contract; here are the rarer days, and the words.)
 */
import { array, assert, constantFrom, nat, property, record } from 'fast-check'
import { test } from 'tap'

import type { Algorithm, Explanation } from '../../src/core/algorithms/algorithm.ts'
import { builtInAlgorithms } from '../../src/core/algorithms/built-in.ts'
import { DeadlineCycle } from '../../src/core/algorithms/deadline-cycle.ts'
import type { Member } from '../../src/core/member.ts'
import { member, members, request } from '../../src/testing/backends.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const HASHED = { key: { header: 'x-user' } }

const CASES: ReadonlyArray<readonly [name: string, options?: object]> = [
  ['round-robin'],
  ['weighted-round-robin'],
  ['random'],
  ['least-connections'],
  ['least-connections', { slow: 1.5 }],
  ['least-connections', { slow: 16 }],
  ['least-connections', { slow: 0 }],
  ['power-of-two'],
  ['peak-ewma'],
  ['consistent-hash', HASHED],
  ['consistent-hash', { ...HASHED, engine: 'rendezvous', balance: 1 }],
  ['consistent-hash', { ...HASHED, balance: 1.25, fallback: 'weighted-round-robin' }],
  ['consistent-hash', { key: { cookie: 'none' }, fallback: 'round-robin' }],
]

function make(name: string, options?: object, clock = new VirtualClock()): Algorithm {
  return builtInAlgorithms().create(name, options, { clock, random: seededRandom(5) })
}

function explained(algorithm: Algorithm, list: readonly Member[], n = 0): Explanation<Member> {
  const said = algorithm.explain?.(list, request(n))
  if (said === undefined) throw new Error('it does not explain itself')
  return said
}

interface Act {
  readonly kind: 'pick' | 'end' | 'silence' | 'answer' | 'wait' | 'list' | 'weight'
  readonly who: number
  readonly ms: number
}

const acts = array(
  record({
    kind: constantFrom<Act['kind'][]>(
      'pick',
      'pick',
      'pick',
      'pick',
      'end',
      'silence',
      'answer',
      'wait',
      'list',
      'weight',
    ),
    who: nat(3),
    ms: nat(600),
  }),
  { minLength: 30, maxLength: 150 },
)

/** Lives through it; gives whom it picked, and where that is not what it said before. */
function live(algorithm: Algorithm, clock: VirtualClock, story: readonly Act[], asks: boolean): readonly string[] {
  const all = members(1, 3, 1, 2)
  const picks: string[] = []
  let list: readonly Member[] = Object.freeze([...all])
  // Enough answers for everybody to be compared with what is typical.
  for (let n = 0; n < 20; n += 1) algorithm.learn?.(algorithm.pick(list, request(n)), 10, 'success')
  for (const [n, { kind, who, ms }] of story.entries()) {
    const chosen = all[who]
    if (chosen === undefined) continue
    if (kind === 'pick') {
      const said = asks ? explained(algorithm, list, who) : undefined
      const picked = algorithm.pick(list, request(who))
      if (said?.picks !== undefined && said.picks !== picked) picks.push(`at ${n} it said ${said.picks.id}`)
      picked.inFlight += 1
      picks.push(picked.id)
    } else if (kind === 'end') {
      chosen.inFlight = Math.max(0, chosen.inFlight - 2)
      algorithm.released?.(chosen)
    } else if (kind === 'silence') chosen.silentSince = ms % 2 === 0 ? clock.now() : undefined
    else if (kind === 'answer') algorithm.learn?.(chosen, ms, ms % 5 === 0 ? 'failure' : 'success')
    else if (kind === 'wait') clock.advance(ms)
    else {
      if (kind === 'weight') chosen.weight = 1 + (ms % 3)
      list = Object.freeze(all.filter((_, index) => index === who || (ms & (1 << index)) === 0))
    }
    if (asks) explained(algorithm, all, n)
  }
  return picks
}

for (const [name, options] of CASES) {
  const title = options === undefined ? name : `${name} ${JSON.stringify(options)}`
  void test(`property: ${title}: says whom it then picks, and picks as if nobody had asked`, async () => {
    assert(
      property(acts, (story) => {
        const [clock, otherClock] = [new VirtualClock(), new VirtualClock()]
        const asked = live(make(name, options, clock), clock, story, true)
        const left = live(make(name, options, otherClock), otherClock, story, false)
        return asked.join(' ') === left.join(' ')
      }),
      { numRuns: 150 },
    )
  })
}

void test('a cycle of deadlines tells its next turn without taking it, also when it is about to count anew', async (t) => {
  const weights = Float64Array.from({ length: 7 }, (_, index) => (index === 3 ? 0 : 1 + index / 2))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const cycle = new DeadlineCycle(
    weights,
    total,
    weights.map((weight) => (weight === 0 ? -Infinity : 0)),
  )
  let wrong = 0
  for (let n = 0; n < 2 ** 22 + 1000; n += 1) {
    const looks = n < 1000 || n > 2 ** 22 - 1000
    if (looks && cycle.peek() !== cycle.peek()) wrong += 1
    const said = looks ? cycle.peek() : -1
    const next = cycle.next()
    if (looks && said !== next) wrong += 1
  }
  t.equal(wrong, 0)
})

void test('many candidates, which take turns by deadlines', async (t) => {
  const list = Object.freeze(Array.from({ length: 300 }, (_, index) => member(`m${index}`, 1 + (index % 4))))
  const algorithm = make('weighted-round-robin')
  algorithm.pick(list, request())
  let wrong = 0
  for (let n = 0; n < 2000; n += 1) {
    const { picks } = explained(algorithm, list)
    if (picks !== algorithm.pick(list, request())) wrong += 1
  }
  t.equal(wrong, 0)
})

void test('round robin: the turns to come; before the first one it is chance', async (t) => {
  const list = members(1, 1, 1)
  const algorithm = make('round-robin')
  t.match(explained(algorithm, list), { picks: undefined, how: /the first one is drawn/ })
  const [first] = [algorithm.pick(list, request())]
  const { picks, scores } = explained(algorithm, list)
  t.equal(picks, list[(list.indexOf(first) + 1) % 3])
  t.same(
    [...(scores?.values() ?? [])].toSorted((a, b) => a - b),
    [0, 1, 2],
  )
  t.equal(scores?.get(first), 2)
})

void test('random: the probabilities; one alone is certain, and who has no weight no part in it', async (t) => {
  const [a, b, c] = members(3, 1, 0)
  if (!a || !b || !c) throw new Error('three members')
  const said = explained(make('random'), [a, b, c])
  t.same(
    [said.picks, [...(said.scores ?? [])]],
    [
      undefined,
      [
        [a, 0.75],
        [b, 0.25],
      ],
    ],
  )
  t.equal(explained(make('random'), [a, c]).picks, a)
})

void test('power of two: of two, the better one for certain; of equals or of more, it is chance', async (t) => {
  const [a, b, c] = members(1, 2, 1)
  if (!a || !b || !c) throw new Error('three members')
  const algorithm = make('power-of-two')
  t.equal(explained(algorithm, [a, b]).picks, undefined)
  b.inFlight = 1
  t.equal(explained(algorithm, [a, b]).picks, a)
  t.same([...(explained(algorithm, [a, b, c]).scores?.values() ?? [])], [0, 0.5, 0])
  t.equal(explained(algorithm, [a, b, c]).picks, undefined)
  const both = [a, b]
  algorithm.pick(both, request())
  algorithm.learn?.(a, 1, 'failure')
  t.equal(explained(algorithm, both).picks, b)
  t.match(explained(algorithm, both).notes?.get(a), /sits out/)
})

void test('peak EWMA: milliseconds to wait for', async (t) => {
  const [a, b] = members(1, 1)
  if (!a || !b) throw new Error('two members')
  const [algorithm, list] = [make('peak-ewma'), [a, b]]
  algorithm.pick(list, request())
  algorithm.learn?.(a, 10, 'success')
  algorithm.learn?.(b, 30, 'success')
  a.inFlight = 1
  const { picks, scores } = explained(algorithm, list)
  t.equal(picks, a)
  t.ok(Math.abs((scores?.get(a) ?? 0) - 20) < 0.001, `10 ms, twice: ${scores?.get(a)}`)
  t.ok(Math.abs((scores?.get(b) ?? 0) - 30) < 0.001, `30 ms, once: ${scores?.get(b)}`)
})

void test('least connections: loads, and what is held against the slow, the silent and those that failed', async (t) => {
  const clock = new VirtualClock()
  const [a, b, c] = members(1, 2, 1)
  if (!a || !b || !c) throw new Error('three members')
  const [algorithm, list] = [make('least-connections', undefined, clock), Object.freeze([a, b, c])]
  ;[a.inFlight, b.inFlight, c.inFlight] = [2, 2, 3]
  t.same([...(explained(algorithm, list).scores?.values() ?? [])], [2, 1, 3])
  t.equal(explained(algorithm, list).picks, b, 'no draw decides, though nobody has been picked yet')
  b.inFlight = 4
  t.match(explained(algorithm, list), { picks: undefined, how: /is drawn/ }, 'a tie before the first turn')
  for (let n = 0; n < 20; n += 1) algorithm.learn?.(algorithm.pick(list, request()), 10, 'success')
  b.inFlight = 2
  b.silentSince = clock.now()
  clock.advance(1000)
  const said = explained(algorithm, list)
  t.equal(said.picks, a, 'who would be picked is silent')
  t.match(said.notes?.get(b), /counts for 8\.0 times/)
  t.equal(said.scores?.get(b), 11.5)
  t.equal(algorithm.pick(list, request()), a)
  algorithm.learn?.(a, 1, 'failure')
  t.match(explained(algorithm, list).notes?.get(a), /sits out/)
})

void test('consistent hashing: the order of preference, bounds, and who would be first', async (t) => {
  const list = Object.freeze(members(1, 1, 1, 1))
  const algorithm = make('consistent-hash', { ...HASHED, balance: 1 })
  const first = algorithm.pick(list, request(7))
  const said = explained(algorithm, list, 7)
  t.equal(said.picks, first)
  t.equal(said.scores?.get(first), 1)
  t.same([...(said.scores?.values() ?? [])], [1, 2, 3, 4])
  const second = [...(said.scores?.keys() ?? [])][1]
  first.inFlight = 5
  t.match(explained(algorithm, list, 7), {
    picks: second,
    notes: new Map([[first, /is at its bound of \d in flight/]]),
  })
  const rest = Object.freeze(list.filter((each) => each !== first))
  t.match(explained(algorithm, rest, 7), {
    picks: second,
    how: new RegExp(`first choice, ${first.id}, is no candidate`),
  })
})

void test('consistent hashing without a key: the fallback speaks, if it can', async (t) => {
  const list = members(1, 1)
  const algorithm = make('consistent-hash', { key: { cookie: 'none' }, fallback: 'round-robin' })
  const picked = algorithm.pick(list, request())
  const other = list.find((each) => each !== picked)
  t.match(explained(algorithm, list), { picks: other, how: /no key, so the fallback picks: One after the other/ })
  const registry = builtInAlgorithms()
  registry.register('mute', () => ({ pick: (candidates) => candidates.at(-1) ?? raise() }))
  const deps = { clock: new VirtualClock(), random: () => 0 }
  const mute = registry.create('consistent-hash', { key: { cookie: 'none' }, fallback: 'mute' }, deps)
  t.match(explained(mute, list), { picks: undefined, how: /fallback picks, which does not say whom/ })
})

function raise(): never {
  throw new Error('nobody')
}
