/**
 * The state machine of health in virtual time: every transition of its table at the exact threshold and one short of it,
 * how long an ejection lasts, warming, and what holds whatever happens.
 */
import { array, assert, boolean, constant, constantFrom, integer, oneof, property, record } from 'fast-check'
import { test } from 'tap'

import type { Clock } from '../../src/core/clock.ts'
import {
  type ActiveRules,
  Health,
  type HealthRules,
  type HealthState,
  type HealthStrategy,
  type PassiveRules,
  TRANSITIONS,
} from '../../src/core/health.ts'
import type { Verdict } from '../../src/core/lease.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

/** The defaults of the configuration. */
const ACTIVE: ActiveRules = { fall: 3, rise: 2 }
const PASSIVE: PassiveRules = { window: 100, minimum: 20, degrade: 0.3, eject: 0.5, recover: 0.1, ejectionMs: 30_000 }
const RULES: HealthRules = { strategy: 'graded', active: ACTIVE, passive: PASSIVE, warmupMs: 0 }

const ONLY_CHECKS: Partial<HealthRules> = { passive: undefined }
const ONLY_REQUESTS: Partial<HealthRules> = { active: undefined }
const WARMS: Partial<HealthRules> = { warmupMs: 60_000 }
const STRATEGIES: readonly HealthStrategy[] = ['graded', 'any', 'all']
const SHARES = { healthy: [1], degraded: [0.5], unhealthy: [0], warming: [0.1, 0.3, 0.5] } as const

interface Bench {
  readonly clock: VirtualClock
  readonly health: Health
  /** Every flip since they were last looked at, as `from > to: cause`. */
  readonly flips: () => string[]
  readonly shares: number[]
  readonly pool: { mayEject: boolean; othersAreWarm: boolean }
  readonly good: (times?: number) => void
  readonly bad: (times?: number) => void
  /** Outcomes of requests: failures first, successes then. */
  readonly requests: (failed: number, succeeded?: number) => void
}

function repeat(times: number, fn: () => void): void {
  for (let i = 0; i < times; i += 1) fn()
}

function bench(rules: Partial<HealthRules> = {}, clock = new VirtualClock(), timers: Clock = clock): Bench {
  const flips: string[] = []
  const shares: number[] = []
  const pool = { mayEject: true, othersAreWarm: true }
  const health = new Health(
    { ...RULES, ...rules },
    {
      clock: timers,
      neighbours: { mayEject: () => pool.mayEject, othersAreWarm: () => pool.othersAreWarm },
      onFlip: (from, to, cause) => void flips.push(`${from} > ${to}: ${cause}`),
      onShare: () => void shares.push(health.share),
    },
  )
  return {
    clock,
    health,
    flips: () => flips.splice(0),
    shares,
    pool,
    good: (times = 1) => repeat(times, () => health.checkPassed(false, true)),
    bad: (times = 1) => repeat(times, () => health.checkFailed('connect ECONNREFUSED')),
    requests: (failed, succeeded = 0) => {
      repeat(failed, () => health.outcome('failure'))
      repeat(succeeded, () => health.outcome('success'))
    },
  }
}

/** Past its first check, which is judged apart. */
function checked(rules: Partial<HealthRules> = {}): Bench {
  const made = bench(rules)
  made.good()
  return made
}

/** Taken out by requests, with checks that passed before. */
function ejected(rules: Partial<HealthRules> = {}): Bench {
  const made = bench(rules)
  if (rules.active !== undefined || !('active' in rules)) made.good(10)
  made.requests(20)
  made.flips()
  return made
}

/** New in a pool at work, and warming up since it has passed its first check, where there are any. */
function warming(rules: Partial<HealthRules> = {}): Bench {
  const made = bench({ ...WARMS, ...rules })
  made.health.joins()
  if (rules.active !== undefined || !('active' in rules)) made.good()
  made.flips()
  return made
}

// --- the first check ---

void test('the first check is decisive: one failure takes a backend out at once', async (t) => {
  for (const rules of [{}, { strategy: 'any' }, ONLY_CHECKS, { strategy: 'all', ...ONLY_CHECKS }] as const) {
    const { bad, flips } = bench(rules)
    bad()
    t.same(flips(), ['healthy > unhealthy: the first check failed: connect ECONNREFUSED'])
  }
  const { bad, flips } = bench({ strategy: 'all' })
  bad()
  t.same(flips(), [], 'unless requests have a say in it')
})

void test('the first check is decisive: one success is enough', async (t) => {
  for (const strategy of ['graded', 'any'] as const) {
    const { good, bad, health, flips } = bench({ strategy })
    good()
    t.same(flips(), [])
    t.equal(health.share, 1)
    bad()
    t.not(health.state, 'unhealthy', 'the second one is not decisive')
  }
})

void test('the first check is decisive, too, for who is degraded or warms up already', async (t) => {
  const degraded = bench()
  degraded.requests(7, 13)
  degraded.requests(1)
  t.equal(degraded.health.state, 'degraded')
  degraded.bad()
  t.equal(degraded.health.state, 'unhealthy')
  const joined = warming(ONLY_REQUESTS)
  joined.health.adopt({ ...RULES, ...WARMS })
  joined.bad()
  t.same(joined.flips(), ['warming > unhealthy: the first check failed: connect ECONNREFUSED'])
})

// --- graded ---

void test('graded: one failed check degrades, three in a row take out, and two do not', async (t) => {
  const { good, bad, flips, health } = checked()
  bad()
  t.same(flips(), ['healthy > degraded: 1 check failed: connect ECONNREFUSED'])
  t.equal(health.share, 0.5)
  bad()
  good()
  bad(2)
  t.same(flips(), [], 'two, one good, two more')
  bad()
  t.same(flips(), ['degraded > unhealthy: 3 checks failed: connect ECONNREFUSED'])
  t.equal(health.share, 0)
})

void test('HC-01: exactly `fall` failed checks take out and exactly `rise` good ones bring back', async (t) => {
  for (const strategy of STRATEGIES) {
    for (const [fall, rise] of [
      [1, 1],
      [2, 3],
      [3, 2],
      [5, 7],
    ] as const) {
      // prettier-ignore
      const { good, bad, health } = checked({ strategy, passive: undefined, active: { fall, rise } })
      bad(fall - 1)
      t.not(health.state, 'unhealthy', `${strategy}: ${fall - 1} of ${fall}`)
      bad()
      t.equal(health.state, 'unhealthy', `${strategy}: ${fall}`)
      good(rise - 1)
      bad()
      good(rise - 1)
      t.equal(health.state, 'unhealthy', `${strategy}: ${rise - 1} of ${rise}, twice`)
      good()
      t.equal(health.state, strategy === 'graded' ? 'degraded' : 'healthy', `${strategy}: back after ${rise}`)
    }
  }
})

void test('graded: back after two good checks with half its share, and healthy after the third', async (t) => {
  const { good, bad, flips } = checked()
  bad(3)
  flips()
  good()
  t.same(flips(), [])
  good()
  t.same(flips(), ['unhealthy > degraded: 2 checks passed'])
  good()
  t.same(flips(), ['degraded > healthy: 3 checks passed, 0 of 0 requests failed'])
})

void test('graded: a failed check among the good ones begins the proof anew', async (t) => {
  const { good, bad, health } = checked()
  bad()
  good(2)
  bad()
  good(2)
  t.equal(health.state, 'degraded')
  good()
  t.equal(health.state, 'healthy')
})

void test('graded: 30 of 100 failures are not above `degrade`, 31 are', async (t) => {
  const { good, requests, flips, pool } = bench()
  pool.mayEject = false
  good(3)
  requests(0, 70)
  requests(30)
  t.same(flips(), [], '30 of 100')
  requests(1)
  t.same(flips(), ['healthy > degraded: 31 of 100 requests failed'])
})

void test('graded: 50 of 100 failures are not above `eject`, 51 are', async (t) => {
  const { requests, flips } = bench()
  requests(0, 50)
  requests(50)
  t.same(flips(), ['healthy > degraded: 22 of 72 requests failed'])
  requests(1)
  t.same(flips(), ['degraded > unhealthy: 51 of 100 requests failed'])
})

void test('nothing is judged before there are enough outcomes, however bad they are', async (t) => {
  for (const strategy of STRATEGIES) {
    const { requests, health } = bench({ strategy, active: undefined })
    requests(19)
    t.equal(health.state, 'healthy')
    requests(1)
    t.equal(health.state, 'unhealthy')
  }
})

void test('a success that completes the minimum takes nobody out: the next failure does', async (t) => {
  const { requests, bad, good, health } = bench()
  good()
  bad()
  good()
  requests(19, 1)
  good()
  t.equal(health.state, 'degraded', 'neither a request that succeeds nor a check that passes')
  requests(1)
  t.equal(health.state, 'unhealthy')
})

void test('thresholds are exact: a percentage of a hundred requests is that many', async (t) => {
  for (let percent = 2; percent < 100; percent += 1) {
    const passive = { ...PASSIVE, minimum: 100, degrade: percent / 100, eject: 1 }
    const { requests, health } = bench({ passive })
    requests(0, 100 - percent)
    requests(percent)
    t.equal(health.state, 'healthy', `${percent} of 100`)
    requests(1)
    t.equal(health.state, 'degraded', `${percent + 1} of 100`)
  }
  // 0.1 * 70 is a little more than 7.
  const { requests, good, bad, flips } = checked()
  requests(7, 63)
  bad()
  flips()
  good(3)
  t.same(flips(), [], '7 of 70 are not below a tenth')
  requests(0, 1)
  t.same(flips(), ['degraded > healthy: 3 checks passed, 7 of 71 requests failed'])
})

void test('graded: healthy again with three good checks and less than a tenth of failures, not with one of them', async (t) => {
  const { requests, good, bad, flips } = checked()
  requests(10, 90)
  bad()
  flips()
  good(3)
  t.same(flips(), [], '10 of 100 after three')
  bad()
  requests(0, 1)
  good(2)
  t.same(flips(), [], 'fewer after two')
  good()
  t.match(flips(), [/^degraded > healthy: 3 checks passed, \d of 100 requests failed$/])
})

void test('graded: without checks, enough requests must have gone well', async (t) => {
  const { requests, clock, flips } = ejected(ONLY_REQUESTS)
  clock.advance(30_000)
  t.same(flips(), ['unhealthy > degraded: its ejection is over'])
  requests(1, 18)
  t.same(flips(), [], '19 are too few')
  requests(0, 1)
  t.same(flips(), ['degraded > healthy: 1 of 20 requests failed'])
})

void test('no failure at all is good enough when `recover` is 0', async (t) => {
  const { requests, clock, health } = ejected({ active: undefined, passive: { ...PASSIVE, recover: 0 } })
  clock.advance(30_000)
  requests(0, 20)
  t.equal(health.state, 'healthy')
})

void test('graded: who says that it is degraded is, until it no longer does, and its checks pass otherwise', async (t) => {
  const { health, good, bad, flips } = checked()
  health.checkPassed(true, true)
  t.same(flips(), ['healthy > degraded: its check says that it is degraded'])
  for (let i = 0; i < 10; i += 1) health.checkPassed(true, true)
  t.same(flips(), [], 'however often it says so')
  good()
  t.equal(health.state, 'healthy', 'all of them were good ones')
  bad(3)
  health.checkPassed(true, true)
  t.equal(health.state, 'unhealthy')
  health.checkPassed(true, true)
  t.equal(health.state, 'degraded', 'brought back by two of them')
  health.checkPassed(true, true)
  t.equal(health.state, 'degraded')
})

void test('who says that it is degraded keeps its whole share where nothing is halved', async (t) => {
  for (const strategy of ['any', 'all'] as const) {
    const { health, flips } = checked({ strategy })
    health.checkPassed(true, true)
    t.same(flips(), [])
  }
})

// --- any and all ---

void test('any: either judgement takes it out, at its threshold', async (t) => {
  const checks = checked({ strategy: 'any' })
  checks.bad(2)
  t.same(checks.flips(), [])
  checks.bad()
  t.same(checks.flips(), ['healthy > unhealthy: 3 checks failed: connect ECONNREFUSED'])
  checks.good(2)
  t.same(checks.flips(), ['unhealthy > healthy: 2 checks passed'])
  const requests = checked({ strategy: 'any' })
  requests.requests(0, 29)
  requests.requests(29)
  t.same(requests.flips(), [], '29 of 58')
  requests.requests(2)
  t.same(requests.flips(), ['healthy > unhealthy: 30 of 59 requests failed'])
})

void test('any: the one judgement that there is decides', async (t) => {
  const checks = checked({ strategy: 'any', ...ONLY_CHECKS })
  checks.requests(100)
  checks.bad(2)
  t.same(checks.flips(), [])
  checks.bad()
  t.same(checks.flips(), ['healthy > unhealthy: 3 checks failed: connect ECONNREFUSED'])
  const requests = bench({ strategy: 'any', ...ONLY_REQUESTS })
  requests.requests(20)
  t.same(requests.flips(), ['healthy > unhealthy: 20 of 20 requests failed'])
  requests.clock.advance(30_000)
  t.same(requests.flips(), ['unhealthy > healthy: its ejection is over'])
})

void test('all: only both together take it out, whichever comes last', async (t) => {
  const first = checked({ strategy: 'all' })
  first.bad(100)
  first.requests(19)
  t.same(first.flips(), [])
  first.requests(1)
  t.same(first.flips(), ['healthy > unhealthy: 100 checks failed: connect ECONNREFUSED, and 20 of 20 requests failed'])
  const second = checked({ strategy: 'all' })
  second.requests(100)
  second.bad(2)
  t.same(second.flips(), [])
  second.pool.mayEject = false
  second.bad()
  t.same(
    second.flips(),
    ['healthy > unhealthy: 3 checks failed: connect ECONNREFUSED, and 100 of 100 requests failed'],
    'which is not by requests alone',
  )
  t.equal(second.health.ejectedByRequests, false)
})

void test('all: either brings it back', async (t) => {
  const checks = checked({ strategy: 'all' })
  checks.requests(20)
  checks.bad(3)
  checks.flips()
  checks.good()
  t.same(checks.flips(), [])
  checks.good()
  t.same(checks.flips(), ['unhealthy > healthy: 2 checks passed'])
  t.equal(checks.clock.pending, 0)
  const time = checked({ strategy: 'all' })
  time.requests(20)
  time.bad(3)
  time.flips()
  time.clock.advance(29_999)
  t.same(time.flips(), [])
  time.clock.advance(1)
  t.same(time.flips(), ['unhealthy > healthy: its ejection is over'])
})

void test('all: who is not asked does not object', async (t) => {
  const checks = checked({ strategy: 'all', ...ONLY_CHECKS })
  checks.bad(2)
  t.same(checks.flips(), [])
  checks.bad()
  t.same(checks.flips(), ['healthy > unhealthy: 3 checks failed: connect ECONNREFUSED'])
  checks.clock.advance(1_000_000)
  t.same(checks.flips(), [], 'and time brings nobody back')
  checks.good(2)
  t.same(checks.flips(), ['unhealthy > healthy: 2 checks passed'])
  const requests = bench({ strategy: 'all', ...ONLY_REQUESTS })
  requests.pool.mayEject = false
  requests.requests(20)
  t.same(requests.flips(), [])
  requests.pool.mayEject = true
  requests.requests(1)
  t.same(requests.flips(), ['healthy > unhealthy: 21 of 21 requests failed'])
  t.equal(requests.health.ejectedByRequests, true)
  requests.clock.advance(30_000)
  t.same(requests.flips(), ['unhealthy > healthy: its ejection is over'])
})

void test('with neither judgement nothing ever happens', async (t) => {
  for (const strategy of STRATEGIES) {
    const { requests, flips } = bench({ strategy, active: undefined, passive: undefined })
    requests(100)
    t.same(flips(), [])
  }
})

// --- flapping ---

void test('flapping: with nine good checks of ten, wherever the bad one is, none takes it out', async (t) => {
  for (const strategy of STRATEGIES) {
    for (let at = 0; at < 10; at += 1) {
      const { good, bad, flips } = checked({ strategy })
      for (let ten = 0; ten < 20; ten += 1) {
        good(at)
        bad()
        good(9 - at)
      }
      t.notOk(flips().some((flip) => flip.includes('> unhealthy')))
    }
  }
  const random = seededRandom(5)
  const { good, bad, flips, health } = checked()
  for (let ten = 0; ten < 1000; ten += 1) {
    const at = Math.floor(random() * 10)
    good(at)
    bad()
    good(9 - at)
  }
  const seen = flips()
  t.notOk(seen.some((flip) => flip.includes('> unhealthy')))
  t.ok(seen.length > 1000, 'though it is degraded time and again')
  good(3)
  t.equal(health.state, 'healthy')
})

// --- ejection ---

void test('healthy on /health but failing on real paths: checks that pass do not end an ejection', async (t) => {
  const { good, clock, flips, health } = ejected()
  t.equal(health.ejectedByRequests, true)
  for (let s = 0; s < 29; s += 1) {
    clock.advance(1000)
    good()
  }
  clock.advance(999)
  t.same(flips(), [])
  clock.advance(1)
  t.same(flips(), ['unhealthy > degraded: 39 checks passed'], 'and half of its share has to be earned')
  t.equal(health.ejectedByRequests, false)
  good()
  t.match(flips(), [/^degraded > healthy: 3 checks passed/], 'with one more check at least')
})

void test('who is ejected and fails its checks is not back before both are over', async (t) => {
  for (const strategy of ['graded', 'any'] as const) {
    const { good, bad, clock, flips } = ejected({ strategy })
    bad()
    clock.advance(40_000)
    t.same(flips(), [], 'its time is over')
    good()
    t.same(flips(), [])
    good()
    t.match(flips(), [/^unhealthy > \w+: 2 checks passed$/])
  }
})

void test('the window is empty when it comes back', async (t) => {
  const { requests, clock, health, flips } = ejected(ONLY_REQUESTS)
  requests(50)
  clock.advance(30_000)
  t.same(health.evidence.outcomes, 0)
  flips()
  requests(19)
  t.same(flips(), [], 'what failed before is paid for')
  requests(1)
  t.same(flips(), ['degraded > unhealthy: 20 of 20 requests failed'])
})

/** How long it is out when it fails at once, each time that it has been back for `behavesMs`. */
function ejectionTimes({ clock, health, requests }: Bench, times: number, behavesMs: number): number[] {
  return Array.from({ length: times }, () => {
    clock.advance(behavesMs)
    requests(20)
    const forMs = health.evidence.ejectedUntil - clock.now()
    clock.advance(forMs - 1)
    if (health.state !== 'unhealthy') return NaN
    clock.advance(1)
    return health.state === 'unhealthy' ? NaN : forMs
  })
}

void test('an ejection lasts longer with each repetition, up to ten times as long', async (t) => {
  for (const strategy of STRATEGIES) {
    const times = ejectionTimes(bench({ strategy, ...ONLY_REQUESTS }), 12, 0)
    t.same(
      times,
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10].map((n) => n * 30_000),
      strategy,
    )
  }
})

void test('an ejection is shorter by one for each such time that it behaved', async (t) => {
  const made = bench(ONLY_REQUESTS)
  t.same(ejectionTimes(made, 3, 0), [30_000, 60_000, 90_000])
  t.same(ejectionTimes(made, 2, 29_999), [120_000, 150_000], 'one short of it')
  t.same(ejectionTimes(made, 2, 30_000), [150_000, 150_000], 'as long as the first')
  t.same(ejectionTimes(made, 1, 60_000), [120_000], 'twice as long')
  t.same(ejectionTimes(made, 1, 1_000_000), [30_000], 'for ever')
})

void test('who was down does not behave', async (t) => {
  const { requests, good, bad, clock, health } = ejected()
  bad()
  clock.advance(1_000_000)
  good(2)
  requests(20)
  t.equal(health.evidence.ejectedUntil - clock.now(), 60_000)
  clock.advance(90_000)
  bad(3)
  good(2)
  requests(20)
  t.equal(health.evidence.ejectedUntil - clock.now(), 60_000, 'but what went well before that counts: 30 of the 90 s')
})

void test('who may not be ejected is degraded, and goes with the next failure when it may', async (t) => {
  const { requests, good, health, flips, pool } = checked()
  pool.mayEject = false
  requests(60)
  t.equal(health.state, 'degraded')
  t.equal(health.ejectedByRequests, false)
  t.equal(health.share, 0.5)
  pool.mayEject = true
  requests(0, 1)
  good()
  t.equal(health.state, 'degraded', 'a success is no reason to go')
  flips()
  requests(1)
  t.same(flips(), ['degraded > unhealthy: 61 of 62 requests failed'])
})

void test('checks need nobody to allow it', async (t) => {
  const { bad, health, pool } = checked()
  pool.mayEject = false
  bad(3)
  t.equal(health.state, 'unhealthy')
  t.equal(health.ejectedByRequests, false)
})

void test('an ejection ends though its timer is early by a moment', async (t) => {
  const clock = new VirtualClock()
  const timers: Clock = { now: () => clock.now(), schedule: (fn, delayMs) => clock.schedule(fn, delayMs - 0.9) }
  const { requests, health } = bench(ONLY_REQUESTS, clock, timers)
  requests(20)
  clock.advance(30_000)
  t.equal(health.state, 'degraded')
})

// --- a window of time ---

void test('a window of time forgets: failures of long ago degrade nobody, and hinder nobody from recovering', async (t) => {
  const passive = { ...PASSIVE, window: { overMs: 10_000 } }
  const { requests, clock, good, health, flips } = checked({ passive })
  requests(19)
  clock.advance(10_000)
  requests(19)
  t.same(flips(), [], 'never 20 at once')
  requests(0, 20)
  requests(1)
  t.equal(health.state, 'degraded', '20 of 40')
  good(3)
  t.equal(health.state, 'degraded')
  clock.advance(10_000)
  good()
  t.equal(health.state, 'healthy')
  requests(20)
  t.equal(health.state, 'unhealthy')
})

// --- warming ---

void test('warming: 10, 30, 50 % by thirds, then the whole share', async (t) => {
  for (const strategy of STRATEGIES) {
    const { health, clock, shares, flips, good } = warming({ strategy })
    good(3)
    const seen = [health.share]
    for (const ms of [19_999, 1, 19_999, 1, 19_999]) {
      clock.advance(ms)
      seen.push(health.share)
    }
    t.same(seen, [0.1, 0.1, 0.3, 0.3, 0.5, 0.5])
    t.same(shares, [0.3, 0.5], 'each is told')
    clock.advance(1)
    t.equal(health.state, 'healthy')
    t.equal(health.share, 1)
    t.match(flips()[0], /^warming > \w+: it is warm after 60000 ms$/)
    t.equal(clock.pending, 0)
  }
})

void test('warming: graded, who cannot prove that it is well has half of its share then', async (t) => {
  const { health, clock, good } = warming()
  good(1)
  clock.advance(60_000)
  t.equal(health.state, 'degraded')
  good()
  t.equal(health.state, 'healthy')
})

void test('warming: who joins others does, or comes back to them, and nobody when no other is warm', async (t) => {
  const cold = bench({ ...WARMS, ...ONLY_REQUESTS })
  cold.pool.othersAreWarm = false
  cold.health.joins()
  t.same(cold.flips(), [])
  const off = bench(ONLY_REQUESTS)
  off.health.joins()
  t.same(off.flips(), [])
  const joined = bench({ ...WARMS, ...ONLY_REQUESTS })
  joined.health.joins()
  t.same(joined.flips(), ['healthy > warming: new in the pool'])
  for (const strategy of STRATEGIES) {
    for (const othersAreWarm of [false, true]) {
      const { good, bad, flips, pool } = checked({ strategy, ...ONLY_CHECKS, ...WARMS })
      bad(3)
      flips()
      pool.othersAreWarm = othersAreWarm
      good(2)
      const to = othersAreWarm ? 'warming' : strategy === 'graded' ? 'degraded' : 'healthy'
      t.same(flips(), [`unhealthy > ${to}: 2 checks passed`])
    }
  }
})

void test('who joins a pool that is checked gets nothing before its first check, which decides', async (t) => {
  for (const strategy of STRATEGIES) {
    for (const [warmupMs, othersAreWarm, to] of [
      [0, true, 'healthy'],
      [60_000, false, 'healthy'],
      [60_000, true, 'warming'],
    ] as const) {
      const { health, good, flips, pool } = bench({ strategy, warmupMs })
      pool.othersAreWarm = othersAreWarm
      health.joins()
      t.same(flips(), ['healthy > unhealthy: new in the pool, and not checked yet'])
      t.equal(health.share, 0)
      good()
      t.same(flips(), [`unhealthy > ${to}: the first check passed`])
    }
    // With `all`, checks alone keep nobody out.
    if (strategy === 'all') continue
    const failing = bench({ strategy })
    failing.health.joins()
    failing.flips()
    failing.bad()
    failing.good()
    t.equal(failing.health.state, 'unhealthy', 'then it needs as many as anybody')
    failing.good()
    t.not(failing.health.state, 'unhealthy')
  }
})

void test('other rules: what is known stays, as far as they ask for it', async (t) => {
  const { health, requests, flips, good } = checked()
  requests(0, 65)
  requests(35)
  t.equal(health.state, 'degraded')
  flips()
  health.adopt({ ...RULES, strategy: 'any' })
  t.same(flips(), ['degraded > healthy: with strategy any there are no half shares'])
  t.equal(health.state, 'healthy')
  t.equal(health.evidence.outcomes, 100, 'the window is the same')
  health.adopt({ ...RULES, passive: { ...PASSIVE, window: 50 } })
  t.equal(health.evidence.outcomes, 0, 'another window begins anew')
  requests(30)
  t.equal(health.state, 'unhealthy')
  health.adopt({ ...RULES, passive: undefined })
  good(2)
  t.not(health.state, 'unhealthy', 'nobody is ejected where requests are not asked')
})

void test('other rules without checks: what checks had found is forgotten', async (t) => {
  const { health, bad, clock } = checked()
  bad(3)
  t.equal(health.state, 'unhealthy')
  health.adopt({ ...RULES, active: undefined })
  t.not(health.state, 'unhealthy')
  t.equal(clock.pending, 0)
})

void test('warming: more than half of at least five failed requests send it back', async (t) => {
  for (const strategy of ['graded', 'any'] as const) {
    const few = warming({ strategy })
    few.requests(4)
    t.same(few.flips(), [], 'four are too few')
    few.requests(1)
    t.same(few.flips(), ['warming > unhealthy: 5 of 5 requests failed while it was warming'])
    t.equal(few.health.ejectedByRequests, true)
    t.equal(few.health.evidence.ejectedUntil, 30_000)
    const half = warming({ strategy })
    half.requests(0, 5)
    half.requests(5)
    t.same(half.flips(), [], 'half of them')
    half.requests(1)
    t.same(half.flips(), ['warming > unhealthy: 6 of 11 requests failed while it was warming'])
  }
})

void test('warming: requests alone send nobody back when the pool has too few others', async (t) => {
  const { requests, health, pool } = warming()
  pool.mayEject = false
  requests(50)
  t.equal(health.state, 'warming')
  pool.mayEject = true
  requests(1)
  t.equal(health.state, 'unhealthy')
})

void test('warming: failed checks send it back, at their threshold', async (t) => {
  for (const strategy of ['graded', 'any'] as const) {
    const { good, bad, flips, clock } = warming({ strategy })
    good()
    bad(2)
    t.same(flips(), [])
    bad()
    t.same(flips(), ['warming > unhealthy: 3 checks failed: connect ECONNREFUSED'])
    t.equal(clock.pending, 0)
  }
})

void test('warming: where only both together take out, only both send back', async (t) => {
  const { good, bad, requests, flips } = warming({ strategy: 'all' })
  good()
  bad(10)
  t.same(flips(), [])
  requests(5)
  t.same(flips(), [
    'warming > unhealthy: 10 checks failed: connect ECONNREFUSED, and 5 of 5 requests failed while it was warming',
  ])
  const other = warming({ strategy: 'all' })
  other.good(5)
  other.requests(50)
  t.same(other.flips(), [])
  const alone = warming({ strategy: 'all', ...ONLY_REQUESTS })
  alone.requests(5)
  t.same(alone.flips(), ['warming > unhealthy: 5 of 5 requests failed while it was warming'])
})

// --- the end ---

void test('no timer is left when it stops, whatever it was doing', async (t) => {
  for (const made of [bench(), ejected(), ejected(ONLY_REQUESTS), warming(), checked()]) {
    const { state } = made.health
    made.health.stop()
    t.equal(made.clock.pending, 0, state)
    made.requests(100, 100)
    made.bad(10)
    made.good(10)
    made.health.joins()
    made.clock.advance(1_000_000)
    t.equal(made.clock.pending, 0, 'nor comes one of requests that end later')
    t.same(made.flips(), [])
    t.equal(made.health.state, state)
  }
})

void test('stopped by what it tells, it goes no further', async (t) => {
  const clock = new VirtualClock()
  const flips: HealthState[] = []
  const health = new Health(RULES, {
    clock,
    neighbours: { mayEject: () => true, othersAreWarm: () => true },
    onFlip: (_, to) => {
      flips.push(to)
      health.stop()
    },
    onShare: () => undefined,
  })
  for (let i = 0; i < 20; i += 1) health.outcome('failure')
  t.same(flips, ['degraded'])
  t.equal(clock.pending, 0)
})

void test('an ejection for want of a connection ends when checks get one, any other does not', async (t) => {
  for (const [verdict, expected] of [
    ['unreachable', 'degraded'],
    ['failure', 'unhealthy'],
  ] as const) {
    const { health, good } = checked()
    good(5)
    repeat(50, () => health.outcome(verdict))
    t.equal(health.state, 'unhealthy')
    good(1)
    t.equal(health.state, 'unhealthy', 'one is not enough, whatever checks found before')
    good(1)
    t.equal(health.state, expected, verdict)
  }
})

void test('checks on a connection that was kept do not say that a new one can be had', async (t) => {
  const { health, clock } = checked()
  repeat(50, () => health.outcome('unreachable'))
  repeat(9, () => health.checkPassed(false, false))
  t.same([health.state, health.risen, health.reachable], ['unhealthy', true, false])
  health.checkPassed(false, true)
  t.same([health.state, health.reachable], ['degraded', true])
  repeat(50, () => health.outcome('unreachable'))
  repeat(9, () => health.checkPassed(false, false))
  clock.advance(2 * PASSIVE.ejectionMs - 1)
  t.equal(health.state, 'unhealthy')
  clock.advance(1)
  t.equal(health.state, 'degraded', 'time ends it all the same')
})

void test('what ejects is what went wrong last', async (t) => {
  const { health, good, bad, clock } = checked()
  repeat(19, () => health.outcome('unreachable'))
  health.outcome('failure')
  t.equal(health.state, 'unhealthy')
  bad()
  good(9)
  t.equal(health.state, 'unhealthy', 'it got a connection, and failed all the same')
  clock.advance(PASSIVE.ejectionMs)
  t.equal(health.state, 'degraded')
})

void test('what hung since before it was out does not change what took it out', async (t) => {
  const { health, good } = checked()
  repeat(20, () => health.outcome('unreachable'))
  t.equal(health.state, 'unhealthy')
  health.outcome('failure')
  good(2)
  t.equal(health.state, 'degraded')
})

void test('it may be restarting whether a check or a request notices first', async (t) => {
  const { health, bad, good } = checked()
  good(5)
  health.outcome('unreachable')
  bad()
  t.same([health.state, health.checkWithinMs], ['degraded', 250])
})

void test('checks that pass and fail in turns do not stay in a hurry', async (t) => {
  const { health, bad, good } = checked()
  repeat(20, () => health.outcome('unreachable'))
  bad()
  good()
  t.equal(health.checkWithinMs, 250)
  for (let n = 0; n < 5; n += 1) {
    bad()
    t.equal(health.checkWithinMs, 1000)
    good()
    t.equal(health.checkWithinMs, 1000)
  }
})

void test('with a window of time and little traffic, degraded is not for ever', async (t) => {
  const { health, clock, requests } = bench({ active: undefined, passive: { ...PASSIVE, window: { overMs: 10_000 } } })
  requests(20)
  t.equal(health.state, 'unhealthy')
  clock.advance(PASSIVE.ejectionMs)
  t.equal(health.state, 'degraded')
  requests(0, 1)
  t.equal(health.state, 'degraded', 'one good answer is no proof')
  clock.advance(9000)
  requests(1)
  clock.advance(1000)
  requests(0, 1)
  t.equal(health.state, 'degraded', 'one of two failed')
  clock.advance(10_000)
  requests(0, 1)
  t.equal(health.state, 'healthy', 'all that the window knows is well')
})

void test('without checks nothing ends an ejection but time', async (t) => {
  const { health, clock } = ejected({ active: undefined })
  repeat(50, () => health.outcome('unreachable'))
  clock.advance(PASSIVE.ejectionMs - 1)
  t.equal(health.state, 'unhealthy')
  clock.advance(1)
  t.not(health.state, 'unhealthy')
})

void test('checks come soon while one that cannot be reached may be restarting', async (t) => {
  const { health, bad, good } = checked()
  repeat(50, () => health.outcome('unreachable'))
  t.equal(health.state, 'unhealthy')
  for (let n = 0; n < 30; n += 1) {
    t.equal(health.checkWithinMs, n < 10 ? 250 : 1000, `after ${n} checks that failed`)
    bad()
  }
  t.equal(health.checkWithinMs, Infinity, 'it is down')
  good()
  t.equal(health.checkWithinMs, 250, 'and now it comes up')
  good()
  t.equal(health.state, 'degraded')
  t.equal(health.checkWithinMs, 250)
  good()
  t.equal(health.state, 'healthy')
  bad()
  t.equal(health.checkWithinMs, 1000, 'what was, was')
})

// --- whatever happens ---

type Step =
  | { readonly what: 'passed' | 'failed' | 'says degraded' }
  | { readonly what: 'requests'; readonly verdict: Exclude<Verdict, 'ignored'>; readonly times: number }
  | { readonly what: 'time'; readonly ms: number }
  | { readonly what: 'pool'; readonly mayEject: boolean; readonly othersAreWarm: boolean }

const times = integer({ min: 1, max: 30 })
const step = oneof(
  constantFrom<Step>({ what: 'passed' }, { what: 'failed' }, { what: 'says degraded' }),
  record({ what: constant('requests'), verdict: constantFrom('success', 'failure', 'unreachable'), times }),
  record({ what: constant('time'), ms: integer({ min: 0, max: 40_000 }) }),
  record({ what: constant('pool'), mayEject: boolean(), othersAreWarm: boolean() }),
)
const window = constantFrom<PassiveRules['window']>(100, 30, { overMs: 10_000 })
const anyPassive = window.chain((given) => constant<PassiveRules>({ ...PASSIVE, window: given }))
const anyRules = record({
  strategy: constantFrom(...STRATEGIES),
  active: constantFrom(undefined, ACTIVE),
  passive: oneof(constant(undefined), anyPassive),
  warmupMs: constantFrom(0, 60_000),
})

function take(made: Bench, given: Step, hasChecks: boolean): void {
  if (given.what === 'time') made.clock.advance(given.ms)
  else if (given.what === 'pool') Object.assign(made.pool, given)
  else if (given.what === 'requests') repeat(given.times, () => made.health.outcome(given.verdict))
  else if (!hasChecks) return
  else if (given.what === 'failed') made.bad()
  else made.health.checkPassed(given.what === 'says degraded', true)
}

void test('property: the share is that of the state, and every flip is a line of the table', async () => {
  assert(
    property(anyRules, array(step, { maxLength: 60 }), (rules, steps) => {
      const made = bench(rules)
      const lines = new Set(TRANSITIONS[rules.strategy].map(({ from, to }) => `${from} > ${to}`))
      made.health.joins()
      return steps.every((given) => {
        take(made, given, rules.active !== undefined)
        const { state, share } = made.health
        const flips = made.flips()
        return (
          SHARES[state].some((one) => one === share) &&
          (!made.health.ejectedByRequests || state === 'unhealthy') &&
          made.clock.pending <= 1 &&
          flips.every((flip) => lines.has(flip.slice(0, flip.indexOf(':'))) && !/: $|undefined/.test(flip))
        )
      })
    }),
    { numRuns: 1000 },
  )
})

void test('property: a success never makes things worse', async () => {
  const success = constantFrom<Step>({ what: 'passed' }, { what: 'requests', verdict: 'success', times: 1 })
  assert(
    property(anyRules, array(oneof(step, success), { maxLength: 60 }), (rules, steps) => {
      const made = bench(rules)
      return steps.every((given) => {
        const before = made.health.share
        take(made, given, rules.active !== undefined)
        const succeeded = given.what === 'passed' || (given.what === 'requests' && given.verdict === 'success')
        return !succeeded || made.health.share >= before
      })
    }),
    { numRuns: 1000 },
  )
})

void test('property: there is always a way back, as far as the whole share', async () => {
  assert(
    property(anyRules, array(step, { maxLength: 60 }), (rules, steps) => {
      const made = bench(rules)
      for (const given of steps) take(made, given, rules.active !== undefined)
      for (let s = 0; s < 400; s += 1) {
        made.clock.advance(1000)
        if (rules.active !== undefined) made.good()
        if (made.health.share > 0) made.requests(0, 5)
      }
      return made.health.state === 'healthy' && made.clock.pending === 0
    }),
    { numRuns: 300 },
  )
})
