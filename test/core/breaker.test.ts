/**
 * The circuit breaker in virtual time: every flip at its threshold and one short of it, trials, late verdicts, how long
 * it is open, and random sequences against a breaker that remembers every call.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { array, assert, boolean, constant, constantFrom, integer, oneof, property, record, tuple } from 'fast-check'
import { test } from 'tap'

import { Breaker, type BreakerRules, type BreakerState, causeToTrip, OUTSIDE } from '../../src/core/breaker.ts'
import type { Random } from '../../src/core/clock.ts'
import type { Verdict } from '../../src/core/lease.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

/** The defaults of the configuration. */
const RULES: BreakerRules = {
  mode: 'enforce',
  windowMs: 10_000,
  minimum: 20,
  failureRate: 0.5,
  slowCallMs: 0,
  slowCallRate: 0.8,
  openMs: 5000,
  maxOpenMs: 60_000,
  halfOpen: 3,
}

const HOUR_MS = 3_600_000

/** A draw that makes an open time exactly what it would be without jitter. */
const middle: Random = () => 0.5

interface Bench {
  readonly clock: VirtualClock
  readonly breaker: Breaker
  /** Every flip, as `from > to: cause`. */
  readonly flips: string[]
  /** Calls that are let in and settled at once. */
  readonly call: (verdict: Verdict, times?: number, responseMs?: number) => void
  /** Generations of requests that are let in and go on. */
  readonly letIn: (times: number) => number[]
}

function bench(rules: Partial<BreakerRules> = {}, random: Random = middle): Bench {
  const clock = new VirtualClock()
  const flips: string[] = []
  const onFlip = (from: BreakerState, to: BreakerState, cause: string): void =>
    void flips.push(`${from} > ${to}: ${cause}`)
  const breaker = new Breaker({ ...RULES, ...rules }, { clock, random, onFlip })
  return {
    clock,
    breaker,
    flips,
    call: (verdict, times = 1, responseMs = 1) => {
      for (let i = 0; i < times; i += 1) breaker.settle(breaker.enter(), verdict, responseMs)
    },
    letIn: (times) => Array.from({ length: times }, () => breaker.enter()),
  }
}

function opened(rules: Partial<BreakerRules> = {}, random?: Random): Bench {
  const made = bench(rules, random)
  made.call('failure', RULES.minimum)
  made.flips.length = 0
  return made
}

function halfOpened(rules: Partial<BreakerRules> = {}): Bench {
  const made = opened(rules)
  made.clock.advance(rules.openMs ?? RULES.openMs)
  made.flips.length = 0
  return made
}

void test('CB-02: few samples do not open it, however bad; the last of the minimum does', async (t) => {
  const { breaker, call, flips } = bench()
  call('failure', 19)
  t.equal(breaker.state, 'closed')
  t.equal(breaker.admits, true)
  call('failure')
  t.equal(breaker.state, 'open')
  t.equal(breaker.admits, false)
  t.same(flips, ['closed > open: 20 of 20 requests failed'])
})

void test('CB-02: nor do many that are few at a time', async (t) => {
  const { breaker, call, clock } = bench()
  for (let i = 0; i < 100; i += 1) {
    call('failure', 19)
    clock.advance(10_000)
  }
  t.equal(breaker.state, 'closed')
})

void test('the failure rate: at the threshold, and one short of it', async (t) => {
  const short = bench()
  short.call('success', 51)
  short.call('failure', 49)
  t.same(short.flips, [], '49 of 100')
  short.call('failure', 1)
  t.same(short.flips, [], '50 of 101')
  const exact = bench()
  exact.call('success', 50)
  exact.call('failure', 49)
  t.same(exact.flips, [], '49 of 99')
  exact.call('failure')
  t.same(exact.flips, ['closed > open: 50 of 100 requests failed'])
})

void test('a success can complete the minimum', async (t) => {
  const { call, flips } = bench()
  call('failure', 10)
  call('success', 9)
  t.same(flips, [])
  call('success')
  t.same(flips, ['closed > open: 10 of 20 requests failed'])
})

void test('rates are exact: a percentage of a hundred calls is that many calls', async (t) => {
  for (let percent = 1; percent <= 100; percent += 1) {
    const rules = { ...RULES, failureRate: percent / 100, slowCallMs: 1000, slowCallRate: percent / 100 }
    t.equal(causeToTrip(rules, 100, percent, 0), `${percent} of 100 requests failed`)
    t.equal(causeToTrip(rules, 100, percent - 1, 0), undefined)
    t.equal(causeToTrip(rules, 100, 0, percent), `${percent} of 100 requests took over 1000 ms`)
    t.equal(causeToTrip(rules, 100, 0, percent - 1), undefined)
  }
})

void test('a rate of 0 takes a failure, too', async (t) => {
  const { call, flips } = bench({ failureRate: 0, slowCallRate: 0, slowCallMs: 1000 })
  call('success', 100)
  t.same(flips, [])
  call('failure')
  t.same(flips, ['closed > open: 1 of 101 requests failed'])
})

void test('what says nothing about the backend counts for nothing', async (t) => {
  const { call, flips } = bench({ slowCallMs: 1000 })
  call('failure', 19)
  call('ignored', 100, 5000)
  t.same(flips, [])
  call('failure')
  t.same(flips, ['closed > open: 20 of 20 requests failed'], 'not diluted either')
})

void test('the slow-call rate: at the threshold, and one short of it', async (t) => {
  const short = bench({ slowCallMs: 1000 })
  short.call('success', 5)
  short.call('success', 15, 1001)
  t.same(short.flips, [], '15 of 20')
  const exact = bench({ slowCallMs: 1000 })
  exact.call('success', 4)
  exact.call('success', 15, 1001)
  t.same(exact.flips, [], '15 of 19')
  exact.call('success', 1, 1001)
  t.same(exact.flips, ['closed > open: 16 of 20 requests took over 1000 ms'])
})

void test('slow is what takes longer than the limit, and nothing is without one', async (t) => {
  const exact = bench({ slowCallMs: 1000 })
  exact.call('success', 100, 1000)
  t.same(exact.flips, [])
  const off = bench()
  off.call('success', 100, HOUR_MS)
  t.same(off.flips, [])
})

void test('slow calls and failures are not added up, and a slow failure is both', async (t) => {
  const { call, flips } = bench({ slowCallMs: 1000, failureRate: 0.6 })
  call('failure', 10)
  call('success', 10, 1001)
  t.same(flips, [])
  const both = bench({ slowCallMs: 1000, failureRate: 1 })
  both.call('success', 1, 1001)
  both.call('failure', 19, 1001)
  t.same(both.flips, ['closed > open: 20 of 20 requests took over 1000 ms'])
})

void test('what is older than the window does not count', async (t) => {
  const inside = bench()
  inside.call('failure', 19)
  inside.clock.advance(9999)
  inside.call('failure')
  t.equal(inside.breaker.state, 'open')
  const outside = bench()
  outside.call('failure', 19)
  outside.clock.advance(10_000)
  outside.call('failure', 19)
  t.equal(outside.breaker.state, 'closed', 'the first 19 are forgotten')
  outside.call('failure')
  t.equal(outside.breaker.state, 'open')
})

void test('open: nobody is let in until the time is over, then it is half-open by itself', async (t) => {
  const { breaker, call, clock, flips } = bench()
  call('failure', 20)
  clock.advance(4999)
  t.equal(breaker.state, 'open')
  t.equal(breaker.admits, false)
  t.equal(breaker.enter(), OUTSIDE)
  t.equal(flips.length, 1)
  clock.advance(1)
  t.equal(flips[1], 'open > half-open: 5.0 s are over', 'without anybody asking')
  t.equal(breaker.state, 'half-open')
  t.equal(breaker.admits, true)
  t.equal(clock.pending, 0)
})

void test('who passes by an open breaker tells it nothing', async (t) => {
  const { breaker, call, clock, flips } = opened()
  const outside = breaker.enter()
  call('failure', 100)
  call('success', 100)
  clock.advance(5000)
  breaker.settle(outside, 'failure', 1)
  t.equal(breaker.state, 'half-open')
  t.equal(flips.length, 1)
})

void test('who is told of a flip finds it done', async (t) => {
  const clock = new VirtualClock()
  const seen: string[] = []
  const breaker: Breaker = new Breaker(RULES, {
    clock,
    random: middle,
    onFlip: (from, to) => void seen.push(`${from} > ${to}: ${breaker.state}, ${breaker.admits}`),
  })
  const call = (verdict: Verdict): void => breaker.settle(breaker.enter(), verdict, 1)
  for (let i = 0; i < 20; i += 1) call('failure')
  clock.advance(5000)
  call('failure')
  clock.advance(10_000)
  for (let i = 0; i < 3; i += 1) call('success')
  t.same(seen, [
    'closed > open: open, false',
    'open > half-open: half-open, true',
    'half-open > open: open, false',
    'open > half-open: half-open, true',
    'half-open > closed: closed, true',
  ])
})

void test('CB-04: of a thousand at once, three are trials', async (t) => {
  const { breaker, letIn } = halfOpened()
  const generations = letIn(1000)
  t.equal(generations.filter((each) => each !== OUTSIDE).length, 3)
  t.equal(breaker.admits, false)
})

void test('CB-04: a place is free again when its trial ends, and not before', async (t) => {
  const { breaker, letIn, flips } = halfOpened()
  const trials = letIn(3)
  for (const verdict of ['success', 'ignored', 'success', 'ignored'] as const) {
    t.equal(breaker.enter(), OUTSIDE)
    breaker.settle(trials.shift() ?? OUTSIDE, verdict, 1)
    t.equal(breaker.admits, true)
    trials.push(breaker.enter())
    t.not(trials.at(-1), OUTSIDE)
    t.equal(breaker.admits, false)
  }
  t.same(flips, [])
})

void test('half-open: closes at the third success and not at the second', async (t) => {
  const { breaker, call, flips } = halfOpened()
  call('success', 2)
  t.equal(breaker.state, 'half-open')
  call('success')
  t.equal(breaker.state, 'closed')
  t.same(flips, ['half-open > closed: 3 trials succeeded'])
  const one = halfOpened({ halfOpen: 1 })
  one.call('success')
  t.same(one.flips, ['half-open > closed: a trial succeeded'])
})

void test('half-open: opens at the first failure, whatever succeeded before', async (t) => {
  const { breaker, call, flips } = halfOpened()
  call('success', 2)
  call('failure')
  t.equal(breaker.state, 'open')
  t.equal(breaker.admits, false)
  t.same(flips, ['half-open > open: a trial failed'])
})

void test('half-open: a slow trial is a failure, one that takes just the limit is not', async (t) => {
  const { call, flips } = halfOpened({ slowCallMs: 1000 })
  call('success', 2, 1000)
  t.same(flips, [])
  call('success', 1, 1001)
  t.same(flips, ['half-open > open: a trial took over 1000 ms'])
  const off = halfOpened()
  off.call('success', 3, HOUR_MS)
  t.same(off.flips, ['half-open > closed: 3 trials succeeded'])
})

void test('half-open: an ignored trial says nothing, however many and however slow', async (t) => {
  const { call, flips } = halfOpened({ slowCallMs: 1000 })
  call('ignored', 100, 5000)
  call('success', 2)
  call('ignored', 100)
  t.same(flips, [])
  call('success')
  t.same(flips, ['half-open > closed: 3 trials succeeded'])
})

void test('closed again, it begins from nothing', async (t) => {
  const { call, flips } = halfOpened()
  call('success', 3)
  call('failure', 19)
  t.equal(flips.length, 1, 'neither the old failures nor the trials count')
  call('failure')
  t.equal(flips[1], 'closed > open: 20 of 20 requests failed')
})

void test('late verdicts: of those let in before it opened', async (t) => {
  const { breaker, call, clock, flips, letIn } = bench()
  const early = letIn(300)
  const late = (verdict: Verdict): void => {
    for (const generation of early.splice(0, 50)) breaker.settle(generation, verdict, 1)
  }
  call('failure', 20)
  late('failure')
  t.equal(flips.length, 1)
  clock.advance(5000)
  late('success')
  late('failure')
  t.equal(breaker.state, 'half-open', 'they decide nothing about the trials')
  t.equal(letIn(4).filter((each) => each !== OUTSIDE).length, 3, 'and free no place')
  late('ignored')
  t.equal(breaker.admits, false)
  t.equal(flips.length, 2)
})

void test('late verdicts: of those let in when it was closed the time before', async (t) => {
  const { breaker, call, clock, flips, letIn } = bench()
  const early = letIn(100)
  call('failure', 20)
  clock.advance(5000)
  call('success', 3)
  for (const generation of early) breaker.settle(generation, 'failure', 1)
  t.equal(breaker.state, 'closed')
  t.equal(flips.length, 3)
  call('failure', 19)
  t.equal(breaker.state, 'closed', 'nor do they count later')
})

void test('late verdicts: of trials that others have decided about', async (t) => {
  const { breaker, clock, flips, letIn } = halfOpened()
  const [first = OUTSIDE, second = OUTSIDE, third = OUTSIDE] = letIn(3)
  breaker.settle(first, 'failure', 1)
  breaker.settle(second, 'failure', 1)
  clock.advance(10_000)
  t.equal(breaker.state, 'half-open', 'the second failure does not prolong the time')
  breaker.settle(third, 'success', 1)
  t.equal(letIn(4).filter((each) => each !== OUTSIDE).length, 3)
  t.same(flips, ['half-open > open: a trial failed', 'open > half-open: 10.0 s are over'])
})

void test('a trial that takes an hour is still one', async (t) => {
  const { breaker, call, clock, flips } = halfOpened()
  const trial = breaker.enter()
  call('success', 2)
  clock.advance(HOUR_MS)
  breaker.settle(trial, 'success', HOUR_MS)
  t.same(flips, ['half-open > closed: 3 trials succeeded'])
})

/** Fails a trial as soon as there can be one, and says for how long it opened. */
function reopen({ breaker, call, clock }: Bench): number {
  call('failure')
  const from = clock.now()
  while (breaker.state === 'open' && clock.now() - from < 2 * RULES.maxOpenMs) clock.advance(50)
  return clock.now() - from
}

void test('each trial that fails doubles the open time, up to the maximum', async (t) => {
  const made = halfOpened()
  const times = Array.from({ length: 6 }, () => reopen(made))
  t.same(times, [10_000, 20_000, 40_000, 60_000, 60_000, 60_000])
  for (let i = 0; i < 1100; i += 1) {
    made.call('failure')
    made.clock.advance(60_000)
  }
  t.equal(made.breaker.state, 'half-open', 'not even twice to the 1,100th is longer than the maximum')
  t.match(made.flips.at(-1), /60\.0 s/)
})

/** Has been open for 5, 10 and 20 s, closes, stays so for `closedMs`, opens: for how long? */
function openTimeAfter(closedMs: number, rules: Partial<BreakerRules> = {}): string | undefined {
  const made = halfOpened(rules)
  reopen(made)
  reopen(made)
  made.call('success', 3)
  made.clock.advance(closedMs)
  made.call('failure', 20)
  made.clock.advance(RULES.maxOpenMs)
  return made.flips.at(-1)
}

void test('closed for as long as it was open, the open time is the first one again', async (t) => {
  t.equal(openTimeAfter(0), 'open > half-open: 20.0 s are over')
  t.equal(openTimeAfter(19_999), 'open > half-open: 20.0 s are over', 'neither longer nor shorter')
  t.equal(openTimeAfter(20_000), 'open > half-open: 5.0 s are over')
})

void test('but not before it was closed for a whole window', async (t) => {
  const quick = { openMs: 100, maxOpenMs: 1000 }
  t.equal(openTimeAfter(9999, quick), 'open > half-open: 400 ms are over')
  t.equal(openTimeAfter(10_000, quick), 'open > half-open: 100 ms are over')
})

void test('jitter: ten percent either way, of the maximum too', async (t) => {
  const almostOne = 1 - 2 ** -32
  for (const [draw, first, most] of [
    [0, '4.5 s', '54.0 s'],
    [0.5, '5.0 s', '60.0 s'],
    [almostOne, '5.5 s', '66.0 s'],
  ] as const) {
    const made = opened({}, () => draw)
    made.clock.advance(6000)
    t.equal(made.flips[0], `open > half-open: ${first} are over`)
    for (let i = 0; i < 5; i += 1) {
      made.call('failure')
      made.clock.advance(70_000)
    }
    t.equal(made.flips.at(-1), `open > half-open: ${most} are over`)
  }
})

void test('jitter: spread evenly, and drawn anew each time', async (t) => {
  const clock = new VirtualClock()
  const random = seededRandom(5)
  const ends: number[] = []
  for (let i = 0; i < 2000; i += 1) {
    const onFlip = (_: BreakerState, to: BreakerState): void => {
      if (to === 'half-open') ends.push(clock.now())
    }
    const breaker = new Breaker({ ...RULES, minimum: 1 }, { clock, random, onFlip })
    breaker.settle(breaker.enter(), 'failure', 1)
  }
  clock.advance(6000)
  t.equal(ends.length, 2000)
  const tenths = Array.from({ length: 10 }, (_, n) => ends.filter((end) => Math.floor((end - 4500) / 100) === n).length)
  t.equal(
    tenths.reduce((sum, count) => sum + count, 0),
    2000,
    'none out of bounds',
  )
  // 200 each, with a standard deviation of 13.4: four of those.
  for (const count of tenths) t.ok(Math.abs(count - 200) < 54, `${count} in a tenth of the range`)
})

void test('CB-09: when the timer does not come, who asks late gets the right answer', async (t) => {
  let now = 0
  let cancelled = 0
  const flips: string[] = []
  const breaker = new Breaker(RULES, {
    clock: { now: () => now, schedule: () => () => void (cancelled += 1) },
    random: middle,
    onFlip: (_, to) => void flips.push(to),
  })
  for (let i = 0; i < 20; i += 1) breaker.settle(breaker.enter(), 'failure', 1)
  now = 4999.999
  t.equal(breaker.admits, false)
  now = 5000
  t.equal(breaker.admits, true)
  t.equal(breaker.state, 'half-open')
  t.same(flips, ['open'], 'asking alone changes nothing')
  t.not(breaker.enter(), OUTSIDE)
  t.same(flips, ['open', 'half-open'], 'coming does')
  t.equal(cancelled, 1, 'and the timer is needed no more')
  t.same([breaker.enter(), breaker.enter(), breaker.enter()].indexOf(OUTSIDE), 2, 'who came is one of three')
})

void test('CB-09: when the clock stands still or goes back an hour, the timer is enough', async (t) => {
  for (const jump of [0, -HOUR_MS]) {
    let now = HOUR_MS
    const timers: Array<() => void> = []
    const schedule = (fn: () => void): (() => void) => {
      timers.push(fn)
      return () => undefined
    }
    const options = { clock: { now: () => now, schedule }, random: middle, onFlip: () => undefined }
    const breaker = new Breaker(RULES, options)
    for (let i = 0; i < 20; i += 1) breaker.settle(breaker.enter(), 'failure', 1)
    now += jump
    t.equal(breaker.admits, false)
    timers.shift()?.()
    t.equal(breaker.state, 'half-open')
    for (let i = 0; i < 3; i += 1) breaker.settle(breaker.enter(), 'success', 1)
    t.equal(breaker.state, 'closed')
    for (let i = 0; i < 20; i += 1) breaker.settle(breaker.enter(), 'failure', 1)
    t.equal(breaker.state, 'open', 'and it still protects')
  }
})

void test('CB-09: a jump of an hour forward ends an open time and empties the window', async (t) => {
  const open = opened()
  open.clock.advance(HOUR_MS)
  t.equal(open.breaker.state, 'half-open')
  open.call('success', 3)
  t.equal(open.breaker.state, 'closed')
  const closed = bench()
  closed.call('failure', 19)
  closed.clock.advance(HOUR_MS)
  closed.call('failure', 19)
  t.equal(closed.breaker.state, 'closed')
  closed.call('failure')
  t.equal(closed.breaker.state, 'open')
})

void test('observing, it tells what it would have done and admits everything', async (t) => {
  const { breaker, call, clock, flips, letIn } = bench({ mode: 'observe' })
  const admitted: boolean[] = []
  const look = (): void => void admitted.push(breaker.admits)
  call('failure', 20)
  look()
  call('failure', 100)
  clock.advance(5000)
  look()
  letIn(3)
  look()
  const passing = letIn(10)
  for (const generation of passing) breaker.settle(generation, 'failure', 1)
  look()
  t.same(admitted, [true, true, true, true])
  t.same(
    flips,
    ['closed > open: 20 of 20 requests failed', 'open > half-open: 5.0 s are over'],
    'who would not have been let in changes nothing',
  )
})

void test('stopped: no timer, no flip, nobody counted', async (t) => {
  const { breaker, call, clock, flips, letIn } = opened()
  t.equal(clock.pending, 1)
  breaker.stop()
  breaker.stop()
  t.equal(clock.pending, 0)
  t.equal(breaker.state, 'open')
  t.equal(breaker.admits, false)
  clock.advance(HOUR_MS)
  t.equal(breaker.enter(), OUTSIDE, 'not even late')
  t.equal(breaker.state, 'open')
  t.same(flips, [])

  const closed = bench()
  const early = closed.letIn(50)
  closed.breaker.stop()
  for (const generation of early) closed.breaker.settle(generation, 'failure', 1)
  closed.call('failure', 50)
  t.same(closed.flips, [])
  t.equal(closed.clock.pending, 0)
  t.equal(closed.breaker.state, 'closed')

  const trying = halfOpened()
  const [trial = OUTSIDE] = trying.letIn(1)
  trying.breaker.stop()
  trying.breaker.settle(trial, 'failure', 1)
  t.same(trying.flips, [])
  t.equal(trying.clock.pending, 0)
  call('failure')
  t.same(letIn(2), [OUTSIDE, OUTSIDE])
})

void test('stopped by whom it tells of a flip', async (t) => {
  const clock = new VirtualClock()
  const breaker: Breaker = new Breaker(RULES, { clock, random: middle, onFlip: () => breaker.stop() })
  for (let i = 0; i < 20; i += 1) breaker.settle(breaker.enter(), 'failure', 1)
  t.equal(clock.pending, 0)
})

void test('the time can be given by who has read the clock', async (t) => {
  const { breaker, flips } = bench()
  const failAt = (now: number): void => breaker.settle(breaker.enter(), 'failure', 1, now)
  for (let i = 0; i < 38; i += 1) failAt(i < 19 ? 0 : 10_000)
  t.same(flips, [], 'half of them are too old')
  failAt(10_000)
  t.same(flips, ['closed > open: 20 of 20 requests failed'])
})

/** A breaker as one would write it down: it keeps every call, and reads them all at each. */
class NaiveBreaker {
  state: BreakerState = 'closed'
  flips = 0
  trials = 0
  places = 0
  #fullSince = 0
  #successes = 0
  #calls: Array<{ at: number; failed: boolean; slow: boolean }> = []
  #level = 0
  #since = 0
  #until = 0
  readonly #rules: BreakerRules

  constructor(rules: BreakerRules) {
    this.#rules = rules
  }

  /** The number of the state it was let into. */
  enter(now: number): number | undefined {
    if (this.state === 'open' || this.full) return undefined
    if (this.state === 'half-open') this.trials += 1
    if (this.full) this.#fullSince = now
    return this.flips
  }

  settle(entered: number | undefined, verdict: Verdict, ms: number, now: number): void {
    if (entered !== this.flips) return
    const slow = this.#rules.slowCallMs > 0 && ms > this.#rules.slowCallMs
    if (this.state === 'half-open') this.trials -= 1
    if (verdict === 'ignored') return
    if (this.state === 'half-open') this.#judge(verdict === 'success' && !slow, now)
    else this.#record({ at: now, failed: verdict === 'failure', slow }, now)
  }

  get full(): boolean {
    return this.state === 'half-open' && this.trials === this.places
  }

  timeIs(now: number): void {
    if (this.full && now >= this.#fullSince + this.#rules.windowMs) this.places += this.#rules.halfOpen
    if (this.state === 'open' && now >= this.#until) this.#flip('half-open')
  }

  get #openMs(): number {
    return Math.min(this.#rules.maxOpenMs, this.#rules.openMs * 2 ** this.#level)
  }

  #judge(good: boolean, now: number): void {
    this.#successes += good ? 1 : 0
    if (good && this.#successes < this.#rules.halfOpen) return
    if (!good) this.#level += 1
    this.#flip(good ? 'closed' : 'open')
    this.#until = now + this.#openMs
    this.#since = now
  }

  #record(call: { at: number; failed: boolean; slow: boolean }, now: number): void {
    const { windowMs, minimum, failureRate, slowCallRate } = this.#rules
    this.#calls.push(call)
    const bucket = (at: number): number => Math.floor(at / (windowMs / 10))
    const recent = this.#calls.filter(({ at }) => bucket(at) > bucket(now) - 10)
    const share = (part: typeof recent): number => part.length / recent.length
    const failing = share(recent.filter(({ failed }) => failed)) >= failureRate
    const slowing = share(recent.filter(({ slow }) => slow)) >= slowCallRate
    if (recent.length < minimum || !(failing || slowing)) return
    if (now - this.#since >= Math.max(windowMs, this.#openMs)) this.#level = 0
    this.#flip('open')
    this.#until = now + this.#openMs
  }

  #flip(to: BreakerState): void {
    this.state = to
    this.flips += 1
    this.trials = 0
    this.places = this.#rules.halfOpen
    this.#successes = 0
    if (to === 'closed') this.#calls = []
  }
}

const someRules = record({
  minimum: integer({ min: 1, max: 5 }),
  failureRate: constantFrom(0.3, 0.5, 1),
  slowCallMs: constantFrom(0, 100),
  slowCallRate: constantFrom(0.5, 0.8),
  maxOpenMs: constantFrom(500, 700, 4000),
  halfOpen: integer({ min: 1, max: 3 }),
  mode: constant<'enforce'>('enforce'),
  windowMs: constant(1000),
  openMs: constant(500),
})

type Move = { enter: true } | { pick: number; verdict: Verdict; ms: number } | { pass: number }

const verdicts = oneof(
  { weight: 4, arbitrary: constant<Verdict>('failure') },
  { weight: 4, arbitrary: constant<Verdict>('success') },
  constant<Verdict>('ignored'),
)

const moves = array(
  oneof(
    { weight: 6, arbitrary: constant<Move>({ enter: true }) },
    {
      weight: 6,
      arbitrary: record({ pick: integer({ min: 0, max: 9 }), verdict: verdicts, ms: constantFrom(1, 100, 101) }),
    },
    {
      weight: 3,
      arbitrary: record({ pass: oneof(integer({ min: 0, max: 600 }), constantFrom(500, 1000, 3_600_000)) }),
    },
  ),
  { size: '+2' },
)

interface UnderWay {
  readonly generation: number
  readonly entered: number | undefined
}

/** Plays the moves on both; the first difference is an error. Gives the number of flips. */
function play(rules: BreakerRules, all: readonly Move[]): number {
  const { breaker, clock, flips } = bench(rules)
  const naive = new NaiveBreaker(rules)
  const underWay: UnderWay[] = []
  for (const move of all) {
    if ('enter' in move) {
      underWay.push({ generation: breaker.enter(), entered: naive.enter(clock.now()) })
    } else if ('pass' in move) {
      clock.advance(move.pass)
      naive.timeIs(clock.now())
    } else {
      const [one] = underWay.splice(move.pick % Math.max(1, underWay.length), 1)
      if (one === undefined) continue
      breaker.settle(one.generation, move.verdict, move.ms)
      naive.settle(one.entered, move.verdict, move.ms, clock.now())
    }
    const { full } = naive
    const expected = {
      state: naive.state,
      admits: rules.mode === 'observe' || (naive.state !== 'open' && !full),
      timers: naive.state === 'open' || full ? 1 : 0,
      flips: naive.flips,
      outside: underWay.filter(({ entered }) => entered === undefined).length,
    }
    const found = {
      state: breaker.state,
      admits: breaker.admits,
      timers: clock.pending,
      flips: flips.length,
      outside: underWay.filter(({ generation }) => generation === OUTSIDE).length,
    }
    same(found, expected)
    if (naive.trials > naive.places || naive.trials < 0) throw new Error(`${naive.trials} trials`)
  }
  breaker.stop()
  same({ timers: clock.pending }, { timers: 0 })
  return flips.length
}

function same(found: object, expected: object): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)]
  if (one !== other) throw new Error(`${one}, and not ${other}`)
}

void test('property: whatever happens, it does as one that keeps every call, and leaves no timer', async (t) => {
  let flips = 0
  assert(
    property(someRules, moves, (rules, all) => {
      flips += play(rules, all)
    }),
    { numRuns: 500 },
  )
  t.ok(flips > 500, `${flips} flips`)
})

void test('property: observing, it flips as it would enforcing', async () => {
  assert(
    property(someRules, moves, (rules, all) => {
      play({ ...rules, mode: 'observe' }, all)
    }),
    { numRuns: 200 },
  )
})

void test('open for want of a connection, it lets trials in as soon as there is one', async (t) => {
  const { breaker, call, flips, clock } = bench()
  call('unreachable', RULES.minimum)
  t.same(flips.splice(0), ['closed > open: 20 of 20 requests failed'])
  breaker.reached()
  t.same(flips.splice(0), ['open > half-open: its checks pass'])
  t.equal(clock.pending, 0)
  call('unreachable')
  t.same(flips.splice(0), ['half-open > open: a trial failed'])
  clock.advance(9999)
  t.equal(breaker.state, 'open', 'a trial that failed doubles its time all the same')
  breaker.reached()
  call('success', RULES.halfOpen)
  t.equal(breaker.state, 'closed')
  breaker.reached()
  t.equal(breaker.state, 'closed')
})

void test('open for anything else, it takes no notice of connections', async (t) => {
  const { breaker, call } = bench()
  call('unreachable', RULES.minimum - 1)
  call('failure')
  t.equal(breaker.state, 'open')
  breaker.reached()
  t.equal(breaker.state, 'open')
  breaker.stop()
  breaker.reached()
  t.equal(breaker.state, 'open')
})

void test('trials that do not end give others a chance after a window, and may still decide', async (t) => {
  const { breaker, clock, letIn, call, flips } = halfOpened()
  const slow = letIn(3)
  clock.advance(RULES.windowMs - 1)
  t.notOk(breaker.admits)
  clock.advance(1)
  t.ok(breaker.admits)
  t.equal(clock.pending, 0)
  letIn(3)
  t.notOk(breaker.admits, 'as many as at first, and no more')
  breaker.settle(slow[0] ?? OUTSIDE, 'ignored', 1)
  t.ok(breaker.admits)
  t.equal(clock.pending, 0, 'one has ended: nobody has to wait for a window')
  call('success', 2)
  breaker.settle(slow[1] ?? OUTSIDE, 'success', 30_000)
  t.equal(flips.at(-1), 'half-open > closed: 3 trials succeeded')
  t.equal(clock.pending, 0)
})

void test('property: never more trials under way than there are places', async () => {
  assert(
    property(integer({ min: 1, max: 5 }), array(tuple(boolean(), integer({ min: 0, max: 9 }))), (halfOpen, all) => {
      const { breaker } = halfOpened({ halfOpen })
      const trials: number[] = []
      return all.every(([comes, which]) => {
        const generation = comes ? breaker.enter() : OUTSIDE
        if (generation !== OUTSIDE) trials.push(generation)
        if (!comes) breaker.settle(trials.splice(which % Math.max(1, trials.length), 1)[0] ?? OUTSIDE, 'ignored', 1)
        return trials.length <= halfOpen && breaker.admits === trials.length < halfOpen
      })
    }),
  )
})

/** Bytes that each of so many takes, with what it holds, when the garbage is gone. */
function bytesEach(count: number, make: () => unknown): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') throw new Error('There is no way to collect the garbage')
  const used = (): number => {
    Reflect.apply(collect, undefined, [])
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const kept = Array.from({ length: count }, () => make())
  kept.fill(undefined)
  const before = used()
  for (let i = 0; i < count; i += 1) kept[i] = make()
  const after = used()
  // What is not used after the measurement might be collected in it.
  if (kept.includes(undefined)) throw new Error('Not all of them are there')
  return (after - before) / count
}

void test('a breaker takes less than 1 KB: closed, with calls in all buckets', async (t) => {
  const clock = new VirtualClock()
  const bytes = bytesEach(10_000, () => {
    const name = `backend-${clock.pending}`
    const breaker = new Breaker({ ...RULES }, { clock, random: middle, onFlip: () => name })
    for (let i = 0; i < 100; i += 1) breaker.settle(breaker.enter(), i % 3 ? 'success' : 'failure', i, i * 100)
    return breaker
  })
  t.ok(bytes < 1024, `${Math.round(bytes)} bytes`)
  t.ok(bytes > 100, 'and they are measured')
})

void test('a breaker takes less than 1 KB: open, with its timer', async (t) => {
  const clock = new VirtualClock()
  const bytes = bytesEach(10_000, () => {
    const breaker = new Breaker(RULES, { clock, random: middle, onFlip: () => undefined })
    for (let i = 0; i < 20; i += 1) breaker.settle(breaker.enter(), 'failure', i)
    return breaker
  })
  t.ok(clock.pending >= 10_000)
  t.ok(bytes < 1024, `${Math.round(bytes)} bytes`)
})
