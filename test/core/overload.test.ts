/**
 * When the gateway is overloaded, how much it then takes on, and when that is over: sample by sample.
 */
import { test } from 'tap'

import { Overload, type Load, type OverloadRules } from '../../src/core/overload.ts'

const RULES: OverloadRules = { eventLoopDelayMs: 1000, eventLoopUtilization: 1, heap: 0.9, rss: 0.9 }
const CALM: Load = { eventLoopDelayMs: 20, eventLoopUtilization: 1, heap: 0.89, rss: 0.5 }
const LATE = { ...CALM, eventLoopDelayMs: 1420 }

/** Samples one after the other. */
class Samples {
  readonly overload = new Overload()
  readonly turns: string[] = []
  rules: OverloadRules | undefined = RULES
  now = 0

  feed(load: Load, times = 1): this {
    for (let i = 0; i < times; i++) {
      this.now += 250
      const turn = this.overload.judge(load, this.rules, this.now)
      if (turn !== undefined) this.turns.push(`${turn.from} > ${turn.to}: ${turn.cause}`)
    }
    return this
  }

  /** Of 160 requests. */
  admitted(): number {
    return Array.from({ length: 160 }, () => this.overload.admits()).filter(Boolean).length
  }
}

void test('OV-04: being busy all the time is no overload, nor is one pause', (t) => {
  const samples = new Samples().feed(CALM, 100).feed(LATE).feed(CALM, 3).feed(LATE).feed(CALM)
  t.same(samples.turns, [])
  t.equal(samples.admitted(), 160)
  t.end()
})

void test('OV-02: who is late takes on half as much with every sample, never nothing, then a quarter more', (t) => {
  const samples = new Samples().feed(LATE, 2)
  t.same(samples.turns, ['normal > overloaded: the event loop is 1.4 s late, more than 1 s'])
  const taken = [samples.admitted()]
  for (let i = 0; i < 5; i++) taken.push(samples.feed(LATE).admitted())
  t.same(taken, [80, 40, 20, 10, 10, 10])
  t.equal(samples.overload.refused.eventLoopDelay, 6 * 160 - 170)
  const again: number[] = []
  for (let i = 0; i < 4; i++) again.push(samples.feed(CALM).admitted())
  t.same(again, [50, 90, 130, 160])
  t.equal(samples.overload.state, 'overloaded', 'until it has lasted')
  t.equal(samples.turns.length, 1, 'told once')
  t.end()
})

void test('it is over when everything has been as it should for some time; what comes back before is the same', (t) => {
  const samples = new Samples()
    .feed(LATE, 2)
    .feed(CALM, 2)
    .feed(CALM, 19)
    .feed(LATE, 2)
    .feed(CALM, 2 + 19)
  t.equal(samples.turns.length, 1)
  samples.feed(CALM)
  t.match(samples.turns[1], /^overloaded > normal: everything is within its limits; it took 11\.\d s and 0 refused/)
  t.equal(samples.overload.limit, undefined)
  samples.feed(LATE, 2)
  t.equal(samples.turns.length, 3, 'and the next one is another')
  t.end()
})

void test('OV-03: a full heap takes on nothing at once; memory that is full takes on a little', (t) => {
  const samples = new Samples().feed({ ...CALM, heap: 0.923 })
  t.same(samples.turns, ['normal > overloaded: the heap takes 92.3 % of what it may, more than 90 %'])
  t.equal(samples.admitted(), 0)
  samples.feed(CALM)
  t.equal(samples.admitted(), 40, 'and as much as before little by little')
  const other = new Samples().feed({ ...CALM, rss: 0.95 })
  t.same(other.turns, ['normal > overloaded: the process takes 95 % of the memory, more than 90 %'])
  t.equal(other.admitted(), 10)
  t.end()
})

void test('OV-03: garbage is looked for when memory stays short, ever more seldom, and not for lateness', (t) => {
  const samples = new Samples()
  const at: number[] = []
  for (let i = 0; i < 80; i++) {
    samples.feed({ ...CALM, heap: 0.95 })
    if (samples.overload.wantsCollection(samples.now)) at.push(samples.now)
  }
  t.same(at, [1250, 2250, 4250, 8250, 16_250])
  samples.feed(CALM)
  t.notOk(samples.overload.wantsCollection(samples.now + 1e6))
  const late = new Samples().feed(LATE, 20)
  t.notOk(late.overload.wantsCollection(1e6))
  t.end()
})

void test('limits that are switched off are not looked at; other rules hold from the next sample on', (t) => {
  const all: Load = { eventLoopDelayMs: 1e6, eventLoopUtilization: 1, heap: 2, rss: 2 }
  const off: OverloadRules = { eventLoopDelayMs: 0, eventLoopUtilization: 1, heap: 1, rss: 1 }
  const samples = new Samples()
  samples.rules = off
  t.same(samples.feed(all, 5).turns, [])
  samples.rules = { ...off, eventLoopUtilization: 0.95 }
  t.same(samples.feed({ ...all, eventLoopUtilization: 0.99 }, 2).turns, [
    'normal > overloaded: the event loop is busy 99 % of the time, more than 95 %',
  ])
  samples.admitted()
  samples.rules = undefined
  samples.feed(all)
  t.match(samples.turns[1], 'overloaded > normal: it is switched off; it took 0.3 s and 80 refused requests')
  t.equal(samples.admitted(), 160)
  t.end()
})
