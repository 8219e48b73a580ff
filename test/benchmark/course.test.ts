/** When the benchmark's load makes its requests, and from when on they take their time. */
import { test } from 'tap'

import { Course } from './load/course.ts'

void test('so many a second: a request that found everybody waiting takes its time from when it was due', async (t) => {
  const requests = 5
  const course = new Course(requests, 1000)
  const sinces: number[] = []
  // All of them by one, who is slow: it has each answer when the next request has long been due.
  const begin = (since: number): void => {
    sinces.push(since)
    setTimeout(() => {
      course.answered(since)
      course.ready(begin)
    }, 5)
  }
  course.start()
  course.ready(begin)
  const { p50, p99 } = await course.result
  t.equal(sinces.length, requests)
  const gaps = sinces.slice(1).map((since, index) => Math.round(1e6 * (since - (sinces[index] ?? NaN))) / 1e6)
  t.same(gaps, [1, 1, 1, 1], 'each is due a millisecond after the one before')
  t.ok(p99 > p50, 'the last has waited for all before it')
})

void test('as fast as can be: a request takes its time from when it is made', async (t) => {
  const course = new Course(3)
  let last = 0
  const begin = (since: number): void => {
    t.ok(since >= last, 'not before the answer to the one before')
    setImmediate(() => {
      last = performance.now()
      course.answered(since)
      course.ready(begin)
    })
  }
  course.start()
  course.ready(begin)
  await course.result
})
