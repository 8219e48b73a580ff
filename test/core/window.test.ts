/**
 * Windows of outcomes: what they hold and what they have forgotten, against a list of everything there ever was.
 */
import { array, assert, boolean, constant, double, integer, oneof, property, record } from 'fast-check'
import { test } from 'tap'

import { CountWindow, type OutcomeWindow, SlidingCounts, TimeWindow } from '../../src/core/window.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

function add(window: OutcomeWindow, failed: boolean, times: number): void {
  for (let i = 0; i < times; i += 1) window.add(failed)
}

/** Failures of the total. */
const held = ({ failures, total }: OutcomeWindow): string => `${failures} of ${total}`

const HOUR_MS = 3_600_000

void test('the last N outcomes: the oldest makes room for the newest', async (t) => {
  for (const size of [1, 31, 32, 33, 64, 100]) {
    const window = new CountWindow(size)
    t.equal(held(window), '0 of 0')
    add(window, true, size - 1)
    t.equal(held(window), `${size - 1} of ${size - 1}`, `${size}: one short of full`)
    window.add(true)
    t.equal(held(window), `${size} of ${size}`, `${size}: full`)
    window.add(true)
    t.equal(held(window), `${size} of ${size}`, `${size}: and stays that`)
    add(window, false, size - 1)
    t.equal(held(window), `1 of ${size}`, `${size}: one failure is left`)
    window.add(false)
    t.equal(held(window), `0 of ${size}`, `${size}: and is gone`)
  }
})

void test('a cleared window is like a new one', async (t) => {
  for (const window of [new CountWindow(3), new TimeWindow(1000, new VirtualClock())]) {
    add(window, true, 2)
    window.clear()
    t.equal(held(window), '0 of 0')
    add(window, false, 3)
    t.equal(held(window), '0 of 3')
  }
})

type Step = 'good' | 'bad' | 'clear' | number

void test('property: the last N are those of a list', async () => {
  const step = oneof({ weight: 20, arbitrary: constant<Step>('bad') }, constant<Step>('clear'), {
    weight: 20,
    arbitrary: constant<Step>('good'),
  })
  assert(
    property(integer({ min: 1, max: 100 }), array(step, { size: '+2' }), (size, steps) => {
      const window = new CountWindow(size)
      let list: boolean[] = []
      return steps.every((each) => {
        if (each === 'clear') window.clear()
        else window.add(each === 'bad')
        list = each === 'clear' ? [] : [...list, each === 'bad'].slice(-size)
        return window.total === list.length && window.failures === list.filter(Boolean).length
      })
    }),
  )
})

void test('a time: an outcome from the start of a bucket is held for all of it, and not a moment longer', async (t) => {
  const clock = new VirtualClock()
  const window = new TimeWindow(10_000, clock)
  add(window, true, 3)
  clock.advance(9999)
  t.equal(held(window), '3 of 3')
  clock.advance(1)
  t.equal(held(window), '0 of 0')
})

void test('a time: an outcome from the end of a bucket goes with that bucket', async (t) => {
  const clock = new VirtualClock()
  const window = new TimeWindow(10_000, clock)
  clock.advance(999)
  window.add(true)
  clock.advance(1)
  window.add(false)
  clock.advance(8999)
  t.equal(held(window), '1 of 2')
  clock.advance(1)
  t.equal(held(window), '0 of 1', 'nine tenths of the time and a millisecond later')
  clock.advance(999)
  t.equal(held(window), '0 of 1')
  clock.advance(1)
  t.equal(held(window), '0 of 0', 'the second is from the next bucket')
})

void test('a time: each tenth takes its own with it, once', async (t) => {
  const clock = new VirtualClock()
  const window = new TimeWindow(1000, clock)
  for (let bucket = 1; bucket <= 10; bucket += 1) {
    add(window, bucket % 2 === 0, bucket)
    clock.advance(bucket === 10 ? 99 : 100)
  }
  t.equal(held(window), '30 of 55')
  clock.advance(1)
  const left: string[] = []
  for (let bucket = 1; bucket <= 10; bucket += 1) {
    left.push(held(window))
    clock.advance(100)
  }
  t.same(left, [
    '30 of 54',
    '28 of 52',
    '28 of 49',
    '24 of 45',
    '24 of 40',
    '18 of 34',
    '18 of 27',
    '10 of 19',
    '10 of 10',
    '0 of 0',
  ])
})

void test('CB-09: while the clock stands still nothing is lost', async (t) => {
  const window = new TimeWindow(1000, { now: () => 5 })
  add(window, true, 1000)
  add(window, false, 1000)
  t.equal(held(window), '1000 of 2000')
})

void test('CB-09: after a jump forward, however far, the window is empty and works as before', async (t) => {
  for (const jump of [1000, HOUR_MS, 1e15]) {
    const clock = new VirtualClock()
    const window = new TimeWindow(1000, clock)
    add(window, true, 5)
    clock.advance(jump)
    t.equal(held(window), '0 of 0', `${jump} ms`)
    window.add(true)
    clock.advance(900)
    window.add(false)
    t.equal(held(window), '1 of 2')
    clock.advance(100)
    t.equal(held(window), '0 of 1')
    clock.advance(1000)
    t.equal(held(window), '0 of 0')
  }
})

interface Outcome {
  readonly at: number
  readonly failed: boolean
}

const steps = array(
  oneof(
    { weight: 5, arbitrary: constant<Step>('good') },
    { weight: 5, arbitrary: constant<Step>('bad') },
    { weight: 4, arbitrary: integer({ min: 0, max: 400 }).map((ms): Step => ms) },
    integer({ min: 900, max: 5000 }).map((ms): Step => ms),
    constant<Step>('clear'),
  ),
  { size: '+2' },
)

void test('property: the outcomes of a time are those of a list', async () => {
  assert(
    property(integer({ min: 0, max: 5000 }), steps, (start, all) => {
      const clock = new VirtualClock()
      clock.advance(start)
      const window = new TimeWindow(1000, clock)
      let list: Outcome[] = []
      const bucket = (at: number): number => Math.floor((at - start) / 100)
      return all.every((each) => {
        if (typeof each === 'number') clock.advance(each)
        else if (each === 'clear') window.clear()
        else window.add(each === 'bad')
        if (each === 'clear') list = []
        if (each === 'good' || each === 'bad') list.push({ at: clock.now(), failed: each === 'bad' })
        const inside = list.filter(({ at }) => bucket(at) > bucket(clock.now()) - 10)
        return window.total === inside.length && window.failures === inside.filter(({ failed }) => failed).length
      })
    }),
  )
})

void test('property: whatever the time, nothing is forgotten before nine tenths of it, nor held after it', async () => {
  const fraction = double({ min: 0, max: 1.2, noNaN: true })
  const outcomes = array(record({ after: fraction, failed: boolean() }), { size: '+1' })
  assert(
    property(double({ min: 0.5, max: 1e7, noNaN: true }), outcomes, (overMs, all) => {
      const clock = new VirtualClock()
      const window = new TimeWindow(overMs, clock)
      const list: Outcome[] = []
      return all.every(({ after, failed }) => {
        clock.advance(after * overMs)
        window.add(failed)
        list.push({ at: clock.now(), failed })
        const age = ({ at }: Outcome): number => (clock.now() - at) / overMs
        const least = list.filter((each) => age(each) < 0.9 - 1e-9).length
        const most = list.filter((each) => age(each) < 1 + 1e-9).length
        return window.total >= least && window.total <= most
      })
    }),
  )
})

void test('counts of several kinds do not mix', async (t) => {
  const counts = new SlidingCounts(1000, 3, 0)
  const at = (now: number): number[] => {
    counts.moveTo(now)
    return [0, 1, 2].map((kind) => counts.sum(kind))
  }
  counts.count(0)
  counts.count(2)
  t.same(at(150), [1, 0, 1])
  counts.count(1)
  counts.count(2)
  t.same(at(999), [1, 1, 2])
  t.same(at(1000), [0, 1, 1])
  t.same(at(1100), [0, 0, 0])
})

void test('a window that could hold nothing is refused', async (t) => {
  for (const size of [0, -1, 1.5, Number.NaN, Infinity]) t.throws(() => new CountWindow(size), RangeError)
  for (const overMs of [0, -1, Number.NaN, Infinity]) {
    t.throws(() => new TimeWindow(overMs, new VirtualClock()), RangeError)
  }
})
