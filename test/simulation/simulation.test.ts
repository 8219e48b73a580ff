/**
 * What the algorithms are worth, held against theory where there is one, and against each other where there is none.
 */
import { test } from 'tap'

import { CONTENDERS, SCENARIOS } from './scenarios.ts'
import { simulate, type Contender, type Result, type Scenario } from './simulation.ts'

function contender(name: string): Contender {
  const found = CONTENDERS.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no contender ${name}`)
  return found
}

const CLASSIC: Contender = { name: 'classic', type: 'least-connections', options: { slow: 0 } }

const run = (scenario: Scenario, name: string): Result => simulate(scenario, contender(name), 2)

/** Those that look at load or time. */
const LOOKING = ['least-connections', 'power-of-two', 'peak-ewma', 'consistent-hash (balance 1.25)']

/** Erlang's C formula: the mean wait for one of `slots` with exponential service, by arrivals that know nothing. */
function erlangWaitMs(slots: number, serviceMs: number, perSecond: number): number {
  const offered = (perSecond / 1000) * serviceMs
  let blocked = 1
  for (let n = 1; n <= slots; n += 1) blocked = (offered * blocked) / (n + offered * blocked)
  const waits = blocked / (1 - (offered / slots) * (1 - blocked))
  return (waits * serviceMs) / (slots - offered)
}

void test('even load: random waits as Erlang says, and nobody beats one common queue', async (t) => {
  const { even } = SCENARIOS
  const apart = erlangWaitMs(even.slots, even.serviceMs, even.perSecond / even.servers)
  const together = erlangWaitMs(even.slots * even.servers, even.serviceMs, even.perSecond)
  const random = run(even, 'random').meanWaitMs
  t.ok(Math.abs(random / apart - 1) < 0.1, `${random} of ${apart} ms`)
  for (const name of ['weighted-round-robin', ...LOOKING]) {
    const { meanWaitMs } = run(even, name)
    t.ok(meanWaitMs < apart && meanWaitMs > 0.9 * together, `${name}: ${meanWaitMs} from ${together} to ${apart} ms`)
  }
})

void test('one of five is five times slower: looking at load or time takes p99 to a tenth', async (t) => {
  const blind = run(SCENARIOS.slow, 'round-robin').p99
  for (const name of LOOKING) {
    const { p99 } = run(SCENARIOS.slow, name)
    t.ok(p99 <= blind / 10, `${name}: ${p99} of ${blind} ms`)
  }
})

void test('one slows down fifty-fold but answers: to look at time halves p99.9 of the classic least connections', async (t) => {
  const { p999: byLoad, p99 } = simulate(SCENARIOS.brownout, CLASSIC, 2)
  for (const name of ['least-connections', 'peak-ewma']) {
    const found = run(SCENARIOS.brownout, name)
    t.ok(found.p999 <= byLoad / 2, `${name}: ${found.p999} of ${byLoad} ms`)
    t.ok(found.p99 <= p99, `${name}: ${found.p99} of ${p99} ms`)
  }
})

void test('one hangs: fewer are sent to it than the others have under way', async (t) => {
  const classic = simulate(SCENARIOS.hang, CLASSIC, 2).caught
  const silent = run(SCENARIOS.hang, 'least-connections').caught
  t.ok(silent < classic, `${silent}, ${classic}`)
})

void test('as fast as the others nobody is judged: the very picks of the classic least connections', async (t) => {
  t.same(run(SCENARIOS.even, 'least-connections'), simulate(SCENARIOS.even, CLASSIC, 2))
})

void test('one fails fast: at most its share, and it is still tried', async (t) => {
  for (const name of LOOKING) {
    const [first = 0] = run(SCENARIOS.failing, name).shares
    t.ok(first <= 1 / 5 && first > 0, `${name}: ${first}`)
  }
})

void test('a newcomer that is cold does not draw the load that it cannot bear', async (t) => {
  const blind = run(SCENARIOS.cold, 'round-robin').p99
  for (const name of LOOKING) {
    const { p99, shares } = run(SCENARIOS.cold, name)
    t.ok(p99 <= blind / 10, `${name}: ${p99} of ${blind} ms`)
    t.ok((shares[0] ?? 0) > 0.02 && (shares[0] ?? 0) <= 0.2, `${name}: it gets ${shares[0]}`)
  }
})

void test('two leave and come back: each gets its share of the time that it is there', async (t) => {
  for (const { name, type } of CONTENDERS) {
    const { shares } = run(SCENARIOS.resized, name)
    const slack = type === 'consistent-hash' ? 0.05 : 0.02
    for (const [index, share] of shares.entries()) {
      const expected = index < 2 ? (2 / 3) * 0.2 : (2 / 3) * 0.2 + 1 / 9
      t.ok(Math.abs(share - expected) < slack, `${name}: ${index} gets ${share}, expected ${expected}`)
    }
  }
})

void test('a thousand: queues stay as short as theory has it', async (t) => {
  // Mitzenmacher (2001): with two choices lengths fall off doubly exponentially, by chance alone only exponentially.
  const short = { ...SCENARIOS.many, forMs: 200 }
  const names = ['random', 'power-of-two', 'least-connections']
  const [alone = 0, two = 0, all = 0] = names.map((name) => run(short, name).largestQueue)
  t.ok(all <= 1 && two <= 6 && alone > 2 * two, `${all}, ${two}, ${alone}`)
})

void test('the same seed, the same result', async (t) => {
  const short = { ...SCENARIOS.even, forMs: 2000 }
  t.same(run(short, 'peak-ewma'), run(short, 'peak-ewma'))
})
