/**
 * The guard of reloads in virtual time: which failures are evidence against a change, and from which one on.
 */
import { type Test, test } from 'tap'

import { ReloadGuard, type ReloadGuardRules } from '../../src/core/reload-guard.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const WINDOW_MS = 30_000

class Watched {
  readonly clock = new VirtualClock()
  readonly guard: ReloadGuard

  constructor(rules: Partial<ReloadGuardRules> = {}) {
    this.guard = new ReloadGuard({ windowMs: WINDOW_MS, errorRate: 0.1, minimum: 50, ...rules }, this.clock)
  }

  /** Requests that begin and end now, the failed ones last. @returns what was said of each, as far as anything was */
  requests(count: number, failed: number, startedAt = this.clock.now()): readonly string[] {
    const said: string[] = []
    for (let index = 0; index < count; index++) {
      const evidence = this.guard.count(startedAt, index >= count - failed)
      if (evidence !== undefined) said.push(evidence)
    }
    return said
  }
}

/** Said at the last of these requests, and not one before. */
function onlyAtLast(t: Test, watched: Watched, count: number, failed: number, name: string): void {
  t.same(watched.requests(count - 1, failed - 1), [], `${name}: one short of it`)
  t.equal(watched.requests(1, 1).length, 1, name)
}

void test('the share has to grow by the rate, exactly, at a number of requests', async (t) => {
  const watched = new Watched()
  watched.guard.changed()
  onlyAtLast(t, watched, 50, 5, '5 of 50')
  watched.guard.changed()
  t.same(watched.requests(50, 4), [], '4 of 50 is less than 4 of 100 before and a tenth')
  const few = new Watched()
  few.guard.changed()
  t.same(few.requests(49, 49), [], 'all failed, and still one too few')
  t.same(
    few.requests(1, 0),
    ['49 of 50 requests failed since, 0 % before'],
    'the one that makes them enough may be good',
  )
})

void test('thresholds that no binary fraction meets are met all the same', async (t) => {
  // A fifth before, three tenths after: their difference is a little less than a tenth as computers count.
  for (const [before, after, errorRate] of [
    [20, 30, 0.1],
    [10, 40, 0.3],
    [30, 100, 0.7],
    [60, 90, 0.3],
  ] as const) {
    const watched = new Watched({ minimum: 100, errorRate })
    watched.requests(100, before)
    watched.guard.changed()
    onlyAtLast(t, watched, 100, after, `${before} %, then ${after} %`)
    const short = new Watched({ minimum: 100, errorRate })
    short.requests(100, before)
    short.guard.changed()
    t.same(short.requests(100, after - 1), [], `${before} %, then ${after - 1} %`)
  }
})

void test('all of them', async (t) => {
  const watched = new Watched({ minimum: 1, errorRate: 1 })
  watched.guard.changed()
  t.same(watched.requests(1, 1), ['1 of 1 requests failed since, 0 % before'])
})

void test('what failed before is not held against a change', async (t) => {
  const watched = new Watched()
  watched.requests(200, 100)
  watched.guard.changed()
  t.same(watched.requests(500, 299), [], 'half before, somewhat more after')
  t.equal(watched.requests(1, 1).length, 0)
  t.same(watched.requests(2, 2), ['302 of 503 requests failed since, 50 % before'])
})

void test('how it was before is forgotten after the window', async (t) => {
  const watched = new Watched()
  watched.requests(100, 100)
  watched.clock.advance(WINDOW_MS + 1)
  watched.guard.changed()
  t.same(watched.requests(50, 5), ['5 of 50 requests failed since, 0 % before'])
})

void test('requests that began before the change say nothing about it', async (t) => {
  const watched = new Watched()
  watched.clock.advance(1000)
  watched.guard.changed()
  t.same(watched.requests(100, 100, 999), [])
  t.same(watched.requests(49, 49, 1000), [], 'nor do they make up the number')
  t.same(watched.requests(1, 1, 1000), ['50 of 50 requests failed since, 0 % before'], 'one of the same moment does')
})

void test('after the window a change is no longer watched', async (t) => {
  const inTime = new Watched()
  inTime.guard.changed()
  inTime.requests(49, 49)
  inTime.clock.advance(WINDOW_MS)
  t.equal(inTime.requests(1, 1).length, 1, 'its last moment counts')

  const late = new Watched()
  late.guard.changed()
  late.requests(49, 49)
  late.clock.advance(WINDOW_MS + 1)
  t.same(late.requests(100, 100), [])
})

void test('a change during a watch begins it anew', async (t) => {
  const watched = new Watched()
  watched.guard.changed()
  watched.requests(49, 0)
  watched.clock.advance(WINDOW_MS)
  watched.guard.changed()
  t.same(watched.requests(49, 49), [], 'those since the first change are not counted')
  watched.clock.advance(WINDOW_MS)
  t.equal(watched.requests(1, 1).length, 1, 'and it has the whole time again')
})

void test('it says so once, and nothing without a change, or when told to rest', async (t) => {
  const watched = new Watched()
  t.same(watched.requests(200, 200), [], 'no change')
  watched.clock.advance(2 * WINDOW_MS)
  watched.guard.changed()
  t.equal(watched.requests(200, 200).length, 1)
  watched.clock.advance(2 * WINDOW_MS)
  watched.guard.changed()
  watched.guard.rest()
  t.same(watched.requests(200, 200), [])
})
