/**
 * The schedule of active checks in virtual time: how they are spread, how many go on at once, when the next one comes, a
 * check that hangs, and what is left when it stops.
 */
import { array, assert, asyncProperty, constantFrom, integer, record } from 'fast-check'
import { test } from 'tap'

import type { Backend } from '../../src/core/backend.ts'
import {
  Checker,
  CheckPlaces,
  type CheckResult,
  type CheckRules,
  firstDelay,
  type Probe,
} from '../../src/core/checker.ts'
import type { Clock, Random } from '../../src/core/clock.ts'
import { Member } from '../../src/core/member.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const RULES: CheckRules = { intervalMs: 5000, timeoutMs: 2000 }
const GOOD: CheckResult = { ok: true, degraded: false, connected: true }
const BAD: CheckResult = { ok: false, reason: 'connect ECONNREFUSED' }
const TIMED_OUT: CheckResult = { ok: false, reason: 'no answer within 2000 ms' }

/** A draw that makes an interval exactly what it would be without jitter. */
const middle: Random = () => 0.5

function backends(count: number): Backend[] {
  return Array.from({ length: count }, (_, i) => new Member(`backend-${i}`, new URL(`http://127.0.0.1:${9000 + i}`)))
}

/** A backend's answer to a check: how long it takes, and what it is. One that takes for ever does not heed its signal. */
interface Answer {
  readonly tookMs: number
  readonly result: CheckResult | undefined
}

interface Begun {
  readonly id: string
  readonly at: number
}

interface Bench {
  readonly clock: Time
  readonly checkers: readonly Checker[]
  readonly begun: Begun[]
  readonly results: Array<Begun & { readonly result: CheckResult }>
  readonly overdue: Array<Begun & { readonly lateMs: number }>
  /** The most checks at once, of all and of one backend. */
  readonly most: { all: number; one: number }
  readonly signals: AbortSignal[]
  readonly pass: (ms: number) => Promise<void>
}

interface BenchOptions {
  readonly count?: number
  readonly rules?: CheckRules
  readonly random?: Random
  readonly answer?: (id: string, nth: number) => Answer
  readonly withinMs?: (result: CheckResult) => number
  readonly onResult?: (bench: Bench) => void
  readonly onOverdue?: (bench: Bench) => void
}

/** All promises that can be kept without time going by are kept. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}

/** Virtual time that goes from event to event, so that what comes of one happens at its own time. */
class Time implements Clock {
  readonly #clock = new VirtualClock()
  readonly #due = new Set<{ readonly at: number }>()

  now(): number {
    return this.#clock.now()
  }

  get pending(): number {
    return this.#due.size
  }

  schedule(fn: () => void, delayMs: number): () => void {
    const event = { at: this.now() + Math.max(0, delayMs) }
    this.#due.add(event)
    const cancel = this.#clock.schedule(() => {
      this.#due.delete(event)
      fn()
    }, delayMs)
    return () => {
      this.#due.delete(event)
      cancel()
    }
  }

  async pass(ms: number): Promise<void> {
    const end = this.now() + ms
    for (let next = this.#next(); next <= end; next = this.#next()) {
      this.#clock.advance(next - this.now())
      // oxlint-disable-next-line no-await-in-loop -- all that comes of one event happens before the next
      await settled()
    }
    this.#clock.advance(end - this.now())
  }

  #next(): number {
    let next = Infinity
    for (const { at } of this.#due) next = Math.min(next, at)
    return next
  }
}

/** Checks as they begin and end, counted. */
class Counts {
  readonly #under = new Map<string, number>()
  #all = 0
  readonly most = { all: 0, one: 0 }

  change(id: string, by: 1 | -1): void {
    this.#all += by
    const one = (this.#under.get(id) ?? 0) + by
    this.#under.set(id, one)
    this.most.all = Math.max(this.most.all, this.#all)
    this.most.one = Math.max(this.most.one, one)
  }
}

function bench(options: BenchOptions = {}): Bench {
  const { count = 1, rules = RULES, random = middle, answer = () => ({ tookMs: 5, result: GOOD }) } = options
  const clock = new Time()
  const begun: Begun[] = []
  const results: Bench['results'] = []
  const overdue: Bench['overdue'] = []
  const signals: AbortSignal[] = []
  const counts = new Counts()
  const nth = new Map<string, number>()
  const probe: Probe = {
    check: ({ id }, signal) => {
      begun.push({ id, at: clock.now() })
      signals.push(signal)
      counts.change(id, 1)
      // Each signal fires when its check is over, however it ends.
      signal.addEventListener('abort', () => counts.change(id, -1), { once: true })
      const before = nth.get(id) ?? 0
      nth.set(id, before + 1)
      const { tookMs, result } = answer(id, before)
      return new Promise((resolve) => {
        if (tookMs < Infinity) clock.schedule(() => resolve(result), tookMs)
      })
    },
  }
  const places = new CheckPlaces()
  const checkers = backends(count).map((backend) => {
    const { id } = backend
    const checked = {
      backend,
      onResult: (result: CheckResult) => {
        results.push({ id, at: clock.now(), result })
        options.onResult?.(made)
        return options.withinMs?.(result) ?? Infinity
      },
      onOverdue: (lateMs: number) => {
        overdue.push({ id, at: clock.now(), lateMs })
        options.onOverdue?.(made)
      },
    }
    return new Checker(checked, rules, { clock, random, probe, places })
  })
  const pass = (ms: number): Promise<void> => clock.pass(ms)
  const made: Bench = { clock, checkers, begun, results, overdue, most: counts.most, signals, pass }
  for (const [index, checker] of checkers.entries()) checker.start(firstDelay(index, count, rules.intervalMs))
  return made
}

const hangs = (): Answer => ({ tookMs: Infinity, result: GOOD })

function beginnings({ begun }: Bench): number[] {
  return begun.map(({ at }) => at)
}

void test('the first checks of 100 backends are spread evenly over the interval', async (t) => {
  const made = bench({ count: 100 })
  await made.pass(4995)
  t.same(
    beginnings(made),
    Array.from({ length: 100 }, (_, i) => i * 50),
  )
  t.equal(new Set(made.begun.map(({ id }) => id)).size, 100)
  t.equal(firstDelay(0, 1, 5000), 0, 'the only one is checked at once')
})

void test('HC-08: 1,000 backends every 2 s, with checks of 5 ms, never queue up', async (t) => {
  const rules = { intervalMs: 2000, timeoutMs: 1000 }
  const made = bench({ count: 1000, rules, random: seededRandom(8) })
  const perBackend = new Map<string, number>()
  await made.pass(10_000)
  for (const { id, at } of made.begun) {
    const last = perBackend.get(id)
    // A tenth of jitter, and what a moment's crowd makes of it.
    if (last !== undefined && Math.abs(at - last - 2000) > 200 + 20) t.fail(`${id} waited ${at - last} ms`)
    perBackend.set(id, at)
  }
  t.ok(made.begun.length > 4750 && made.begun.length < 5250, `${made.begun.length} checks in five intervals`)
  t.ok(made.most.all <= 10, `${made.most.all} at once`)
  const perSecond = Array.from({ length: 10 }, (_, s) => beginnings(made).filter((at) => Math.floor(at / 1000) === s))
  t.ok(Math.max(...perSecond.map(({ length }) => length)) < 600, 'no second has much more than its 500')
  t.same(made.overdue, [])
})

void test('a check that could not be made for reasons of our own tells nothing, and the next one comes in its time', async (t) => {
  const made = bench({ answer: (_, nth) => ({ tookMs: 5, result: nth < 3 ? undefined : BAD }) })
  await made.pass(14_999)
  t.same([beginnings(made), made.results], [[0, 5000, 10_000], []])
  t.equal(made.checkers[0]?.last, undefined)
  await made.pass(6)
  t.match(made.results, [{ result: BAD }])
})

void test('never more than 10 at once over all, and never two of one backend', async (t) => {
  const made = bench({ count: 50, rules: { intervalMs: 1000, timeoutMs: 900 }, answer: hangs, random: seededRandom(1) })
  await made.pass(20_000)
  t.equal(made.most.all, 10)
  t.equal(made.most.one, 1)
  t.equal(new Set(made.begun.map(({ id }) => id)).size, 50, 'each gets its turn')
})

void test('property: whatever backends do, there are no more than 10 at once, one each, and all have their turn', async () => {
  const answers = record({
    tookMs: constantFrom(0, 5, 300, 999, 1000, 1001, 5000, Infinity),
    result: constantFrom(GOOD, BAD),
  })
  const sequences = array(answers, { minLength: 1, maxLength: 6 })
  await assert(
    asyncProperty(integer({ min: 1, max: 25 }), sequences, integer(), async (count, given, seed) => {
      const rules = { intervalMs: 1000, timeoutMs: 1000 }
      const answer = (id: string, nth: number): Answer => given[(nth + id.length) % given.length] ?? hangs()
      const made = bench({
        count,
        rules,
        answer,
        random: seededRandom(seed),
        withinMs: ({ ok }) => (ok ? Infinity : 1000),
      })
      await made.pass(8000)
      const seen = new Set(made.begun.map(({ id }) => id)).size
      for (const checker of made.checkers) checker.stop()
      return made.most.all <= 10 && made.most.one <= 1 && seen === count
    }),
    { numRuns: 100 },
  )
})

void test('HC-02: a check that hangs has failed at its timeout, not at the interval', async (t) => {
  const made = bench({ answer: hangs })
  await made.pass(1999)
  t.same(made.results, [])
  t.equal(made.signals[0]?.aborted, false)
  await made.pass(1)
  t.same(made.results, [{ id: 'backend-0', at: 2000, result: TIMED_OUT }])
  t.equal(made.signals[0]?.aborted, true, 'and is given up')
})

void test('an answer just in time counts, and one that comes after the timeout does not', async (t) => {
  const just = bench({ answer: () => ({ tookMs: 1999, result: GOOD }) })
  await just.pass(3000)
  t.same(just.results, [{ id: 'backend-0', at: 1999, result: GOOD }])
  const late = bench({ answer: () => ({ tookMs: 2001, result: GOOD }) })
  await late.pass(3000)
  t.same(late.results, [{ id: 'backend-0', at: 2000, result: TIMED_OUT }])
})

void test('the interval is from beginning to beginning', async (t) => {
  const made = bench({ answer: (_, nth) => (nth === 1 ? hangs() : { tookMs: 300, result: GOOD }) })
  await made.pass(15_000)
  t.same(beginnings(made), [0, 5000, 10_000, 15_000])
})

void test('checks come every second while something changes, and more often when that is the interval', async (t) => {
  const made = bench({
    answer: (_, nth) => ({ tookMs: 5, result: nth < 3 ? BAD : GOOD }),
    withinMs: ({ ok }) => (ok ? Infinity : 1000),
  })
  await made.pass(13_000)
  t.same(beginnings(made), [0, 1000, 2000, 3000, 8000, 13_000])
  const quick = bench({ rules: { intervalMs: 250, timeoutMs: 100 }, withinMs: () => 1000 })
  await quick.pass(1000)
  t.same(beginnings(quick), [0, 250, 500, 750, 1000])
})

void test('in a hurry the next check comes within a second, unless it does anyway or is under way', async (t) => {
  const made = bench({ answer: () => ({ tookMs: 100, result: GOOD }) })
  const [checker] = made.checkers
  const hurryAt = async (at: number): Promise<void> => {
    await made.pass(at - made.clock.now())
    checker?.hurry(1000)
  }
  await hurryAt(50)
  await hurryAt(2000)
  await hurryAt(2500)
  await hurryAt(7500)
  await made.pass(1000)
  t.same(beginnings(made), [0, 3000, 8000])
  t.equal(made.most.one, 1)
  checker?.stop()
  checker?.hurry(1000)
  t.equal(made.clock.pending, 0, 'who is stopped is in no hurry')
})

void test('after ten failures in a row the interval grows, up to four times, until a check passes', async (t) => {
  const made = bench({ answer: (_, nth) => ({ tookMs: 5, result: nth < 60 ? BAD : GOOD }) })
  await made.pass(900_000)
  const starts = beginnings(made)
  const gaps = starts.slice(1).map((at, i) => at - (starts[i] ?? 0))
  t.same(new Set(gaps.slice(0, 10)), new Set([5000]), 'not for the first ten')
  t.equal(gaps[10], 5500, 'from the eleventh on')
  t.equal(gaps[19], 10_000, 'twice after twenty')
  t.equal(gaps[38], 19_500, 'nearly four times after 39')
  t.same(new Set(gaps.slice(39, 60)), new Set([20_000]), 'four times after 40, and never more')
  t.equal(gaps[60], 5000, 'it is back')
})

void test('jitter is within a tenth of the interval, both ways', async (t) => {
  const draws = [0, 1, 0.25]
  const made = bench({ random: () => draws.shift() ?? 0.5 })
  await made.pass(20_000)
  t.same(beginnings(made), [0, 4500, 10_000, 14_750, 19_750])
  const random = bench({ random: seededRandom(3) })
  await random.pass(500_000)
  const starts = beginnings(random)
  const gaps = starts.slice(1).map((at, i) => at - (starts[i] ?? 0))
  t.ok(Math.min(...gaps) >= 4500 && Math.max(...gaps) <= 5500)
  t.ok(Math.max(...gaps) - Math.min(...gaps) > 500, 'and uses it')
})

void test('it knows when the last check ended and how long it took', async (t) => {
  const made = bench({ answer: (_, nth) => (nth === 1 ? hangs() : { tookMs: 30, result: GOOD }) })
  t.equal(made.checkers[0]?.last, undefined)
  await made.pass(30)
  t.same(made.checkers[0]?.last, { at: 30, tookMs: 30 })
  await made.pass(6000)
  t.same(made.checkers[0]?.last, { at: 30, tookMs: 30 }, 'not by one that goes on')
  await made.pass(970)
  t.same(made.checkers[0]?.last, { at: 7000, tookMs: 2000 })
})

void test('stopping with checks that hang leaves no timer and calls nothing any more', async (t) => {
  const made = bench({ count: 20, rules: { intervalMs: 1000, timeoutMs: 60_000 }, answer: hangs })
  await made.pass(1000)
  t.equal(made.begun.length, 10)
  for (const checker of made.checkers) checker.stop()
  t.equal(made.clock.pending, 0, 'at once')
  t.ok(made.signals.every(({ aborted }) => aborted))
  await made.pass(120_000)
  t.same(made.results, [])
  t.same(made.overdue, [])
  t.equal(made.begun.length, 10, 'not even those that waited for a place')
  t.same(
    made.checkers.map(({ last }) => last),
    made.checkers.map(() => undefined),
  )
})

void test('who stops while it waits, while it hangs and twice gives back no more and no less than its place', async (t) => {
  const made = bench({ count: 30, rules: { intervalMs: 1000, timeoutMs: 60_000 }, answer: hangs })
  await made.pass(1000)
  const ids = (): string[] => made.begun.map(({ id }) => id)
  const hanging = ids()
  t.equal(hanging.length, 10)
  made.checkers[15]?.stop()
  made.checkers[0]?.stop()
  made.checkers[0]?.stop()
  await settled()
  t.same(ids().slice(10), ['backend-10'], 'the next in the line')
  for (const checker of made.checkers.slice(1, 11)) checker.stop()
  await settled()
  t.same(
    ids().slice(11),
    [11, 12, 13, 14, 16, 17, 18, 19, 20, 21].map((i) => `backend-${i}`),
  )
  t.equal(made.most.all, 10)
})

void test('who stops between being given its place and taking it gives it back', async (t) => {
  const made = bench({ count: 12, rules: { intervalMs: 1000, timeoutMs: 60_000 }, answer: hangs })
  // Due, and not begun: no promise is kept until the test lets go.
  const passed = made.pass(1000)
  made.checkers[0]?.stop()
  made.checkers[0]?.stop()
  await passed
  t.same(
    made.begun.map(({ id }) => id),
    Array.from({ length: 10 }, (_, i) => `backend-${i + 1}`),
    'the first one began nothing, and the eleventh has its place',
  )
  t.equal(made.most.all, 10)
})

void test('stopped by what it tells, it does not go on', async (t) => {
  const made = bench({ onResult: ({ checkers }) => checkers[0]?.stop() })
  await made.pass(5)
  t.equal(made.results.length, 1)
  t.equal(made.clock.pending, 0)
  await made.pass(20_000)
  t.equal(made.begun.length, 1)
})

void test('nor stopped by hearing that it is overdue', async (t) => {
  const rules = { intervalMs: 1000, timeoutMs: 60_000 }
  const made = bench({ rules, answer: hangs, onOverdue: ({ checkers }) => checkers[0]?.stop() })
  await made.pass(20_000)
  t.equal(made.overdue.length, 1)
  t.equal(made.clock.pending, 0)
})

void test('before its first check it can be stopped, too', async (t) => {
  const made = bench({ count: 2 })
  made.checkers[1]?.stop()
  await made.pass(20_000)
  t.ok(made.begun.every(({ id }) => id === 'backend-0'))
})

void test('who waits for a place for two intervals is overdue, and again after two more', async (t) => {
  const made = bench({ count: 11, rules: { intervalMs: 1100, timeoutMs: 60_000 }, answer: hangs })
  const lateOnes = (): string[] => made.overdue.filter(({ id }) => id === 'backend-10').map(({ lateMs }) => `${lateMs}`)
  await made.pass(1000 + 2199)
  t.same(lateOnes(), [])
  await made.pass(1)
  t.same(lateOnes(), ['2200'])
  await made.pass(2200)
  t.same(lateOnes(), ['2200', '4400'])
  made.checkers[0]?.stop()
  made.checkers[10]?.stop()
  await made.pass(10_000)
  t.same(lateOnes(), ['2200', '4400'])
})

void test('however short the interval, nobody is overdue for being two seconds late', async (t) => {
  const made = bench({ rules: { intervalMs: 50, timeoutMs: 60_000 }, answer: hangs })
  await made.pass(1999)
  t.same(made.overdue, [])
  await made.pass(1)
  t.match(made.overdue, [{ lateMs: 2000 }])
  made.checkers[0]?.stop()
})

void test('who is checked in time never is overdue, however long it has been down', async (t) => {
  const made = bench({ answer: () => ({ tookMs: 1999, result: BAD }) })
  await made.pass(1_000_000)
  t.same(made.overdue, [])
})
