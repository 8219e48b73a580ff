/**
 * The budget of retries in virtual time, and the wait before them.
 */
import { test } from 'tap'

import { backoffMs, RetryBudget } from '../../src/core/retry.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

function taken(budget: RetryBudget, most: number): number {
  let count = 0
  while (count < most && budget.take()) count++
  return count
}

function begin(budget: RetryBudget, clock: VirtualClock, requests: number): void {
  for (let i = 0; i < requests; i++) budget.begin(clock.now())
}

void test('retries under way: the minimum always, else a share of the requests under way', async (t) => {
  const clock = new VirtualClock()
  const budget = new RetryBudget({ ratio: 0.2, minimum: 3 }, clock)
  begin(budget, clock, 1)
  t.equal(taken(budget, 100), 3, 'the minimum for few requests')
  begin(budget, clock, 49)
  t.equal(taken(budget, 100), 7, '20 % of 50, of which 3 are taken')
  for (let i = 0; i < 10; i++) budget.giveBack()
  t.equal(taken(budget, 100), 10, 'what is given back can be taken again')
  for (let i = 0; i < 10; i++) budget.giveBack()
  for (let i = 0; i < 50; i++) budget.end()
  t.equal(taken(budget, 100), 3, 'requests that are over count no more')
})

void test('nothing at all with a ratio and a minimum of 0', async (t) => {
  const clock = new VirtualClock()
  const budget = new RetryBudget({ ratio: 0, minimum: 0 }, clock)
  begin(budget, clock, 1000)
  t.equal(taken(budget, 1), 0)
})

void test('RT-10: failures that are over in no time are not repeated beyond the share of requests either', async (t) => {
  const clock = new VirtualClock()
  const budget = new RetryBudget({ ratio: 0.2, minimum: 3 }, clock)
  let retries = 0
  // 1,000 requests a second for a minute, each of which fails at once, as does each retry.
  for (let i = 0; i < 60_000; i++) {
    clock.advance(1)
    budget.begin(clock.now())
    if (budget.take()) {
      retries++
      budget.giveBack()
    }
    budget.end()
  }
  t.ok(retries <= 12_000, `${retries} retries of 60,000 requests`)
  t.ok(retries > 11_000, `and the share is used: ${retries}`)
})

void test('who waits for a place gets one in turn, as they are given back', async (t) => {
  const clock = new VirtualClock()
  const budget = new RetryBudget({ ratio: 0, minimum: 2 }, clock)
  t.equal(taken(budget, 3), 2)
  const granted: number[] = []
  const leave = [1, 2, 3, 4].map((n) => budget.wait(() => granted.push(n)))
  leave[1]?.()
  t.same(granted, [])
  budget.giveBack()
  t.same(granted, [1])
  budget.giveBack()
  t.same(granted, [1, 3], 'who left is passed over')
  t.equal(budget.take(), false, 'and what was granted is taken')
  leave[3]?.()
  budget.giveBack()
  t.same(granted, [1, 3])
  t.equal(budget.take(), true)
})

void test('the window forgets', async (t) => {
  const clock = new VirtualClock()
  const budget = new RetryBudget({ ratio: 0.2, minimum: 1 }, clock)
  const quickly = (most: number): number => {
    let count = 0
    for (; count < most && budget.take(); count++) budget.giveBack()
    return count
  }
  t.equal(quickly(100), 10, 'a quiet pool has ten times the minimum')
  clock.advance(9000)
  t.equal(quickly(100), 0, 'not again in the same ten seconds')
  clock.advance(1000)
  t.equal(quickly(100), 10, 'but in the next ones')
  clock.advance(3_600_000)
  t.equal(quickly(100), 10, 'however long that is')
})

void test('the wait doubles up to its maximum, and is drawn from all of it', async (t) => {
  const backoff = { baseMs: 25, maxMs: 250 }
  t.same(
    [0, 1, 2, 3, 4, 50, 2000].map((round) => backoffMs(backoff, round, () => 1)),
    [25, 50, 100, 200, 250, 250, 250],
  )
  t.equal(
    backoffMs(backoff, 3, () => 0),
    0,
  )
  const random = seededRandom(1)
  const waits = Array.from({ length: 10_000 }, () => backoffMs(backoff, 2, random))
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
  t.ok(Math.abs(mean - 50) < 2, `uniform: a mean of ${mean}`)
})
