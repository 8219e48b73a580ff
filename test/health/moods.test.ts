/**
 * What one backend can do to its clients - die, freeze, restart, refuse, break off, fail now and then, turn slow, look
 * well to checks only - while others are there: no client notices, the events say why, and it comes back.
 */
import { test, type Test } from 'tap'

import type { PoolConfig } from '../../src/index.ts'
import { backend } from '../helpers/gateway.ts'
import { MoodyBackend, named, Traffic, watched, type Watched } from '../helpers/moody-backend.ts'

interface Scene {
  readonly moody: MoodyBackend
  readonly gateway: Watched
  readonly traffic: Traffic
}

/** A check that is not meant to time out shall not, however busy the machine is. */
const ACTIVE = { interval: 50, timeout: 5000 } as const
/** By checks alone, so that it is certain what comes first. */
const CHECKS = { health: { active: ACTIVE, passive: false } } as const
const BREAKER = { open: 100, maxOpen: 200 } as const

/** A moody backend and two steady ones, all of them with traffic. */
async function scene(t: Test, pool: Omit<PoolConfig, 'backends'> = {}): Promise<Scene> {
  const moody = await MoodyBackend.start(t)
  const backends = { moody, one: await backend(t, named('one')), two: await backend(t, named('two')) }
  const gateway = await watched(t, backends, {
    health: { active: ACTIVE, passive: { ejection: 300 } },
    breaker: BREAKER,
    ...pool,
  })
  const traffic = new Traffic(t, gateway.port)
  await traffic.moreBy('moody', 20)
  return { moody, gateway, traffic }
}

function others({ seen }: Watched): string[] {
  const about = ['health', 'breaker'] as const
  return ['one', 'two'].flatMap((name) => about.flatMap((what) => seen.story(name, what)))
}

/** It is out, the others go on, and only it has changed. */
async function isOut(t: Test, { gateway, traffic }: Scene): Promise<void> {
  await traffic.more(50)
  t.match((await gateway.status()).get('moody'), { state: 'unhealthy', effectiveWeight: 0 })
  t.same(others(gateway), [], 'nothing was held against the others')
}

/** It is back as if nothing had been, and no client has noticed. */
async function recovers(t: Test, { gateway, traffic }: Scene): Promise<void> {
  await gateway.seen.next({ backend: 'moody', what: 'health', from: 'unhealthy', to: 'degraded' })
  await gateway.seen.next({ backend: 'moody', what: 'health', to: 'healthy' })
  // Its breaker may need a trial or two, which take some of these.
  await traffic.moreBy('moody', 20)
  await traffic.stop()
  t.same(traffic.failures, [], 'no client has noticed')
  const healthy = { state: 'healthy', effectiveWeight: 1, inFlight: 0, breaker: { state: 'closed' } }
  t.match((await gateway.status()).get('moody'), healthy)
  t.same(others(gateway), [], 'nothing was held against the others')
}

void test('LB-14: killed, and started again', async (t) => {
  const all = await scene(t, CHECKS)
  const { moody, gateway } = all
  await moody.kill()
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'health', to: 'unhealthy' })
  t.match(cause, /^3 checks failed: .*ECONNREFUSED/)
  await isOut(t, all)
  await moody.restart()
  await recovers(t, all)
})

/** What takes it out for an hour once requests have found nobody there, while checks alone never do. */
const WITHOUT_CONNECTION = {
  ejection: { health: { active: { ...ACTIVE, fall: 1000 }, passive: { minimum: 5, ejection: '1h' } }, breaker: false },
  breaker: {
    health: { active: { ...ACTIVE, fall: 1000 }, passive: false },
    breaker: { minimum: 5, failureRate: 0.1, open: '1h', maxOpen: '1h' },
  },
} as const

for (const [what, pool] of Object.entries(WITHOUT_CONNECTION)) {
  void test(`out for want of a connection, by its ${what}: back as soon as checks get one`, async (t) => {
    const all = await scene(t, pool)
    const { moody, gateway, traffic } = all
    await moody.kill()
    const { cause } = await gateway.seen.next({ backend: 'moody', to: what === 'breaker' ? 'open' : 'unhealthy' })
    t.match(cause, /requests failed$/)
    await traffic.more(50)
    await moody.restart()
    await gateway.seen.next({ backend: 'moody', what: 'health', from: 'degraded', to: 'healthy' })
    await traffic.moreBy('moody', 20)
    await traffic.stop()
    t.same(traffic.failures, [], 'no client has noticed')
    t.same(others(gateway), [])
  })
}

void test('refusing', async (t) => {
  const all = await scene(t, CHECKS)
  const { moody, gateway } = all
  await moody.refuse()
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'health', to: 'unhealthy' })
  t.match(cause, /^3 checks failed: .*ECONNREFUSED/)
  await isOut(t, all)
  await moody.be('well')
  await recovers(t, all)
})

void test('stopped by a signal, which leaves its connections open, and continued', async (t) => {
  const on = ['connect', 'reset', 'timeout', 502, 503, 504] as const
  const health = { active: { interval: 50, timeout: 500, fall: 2 }, passive: false } as const
  const all = await scene(t, { health, timeouts: { headers: 300 }, retry: { on: [...on] } })
  const { moody, gateway } = all
  moody.freeze()
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'health', to: 'unhealthy' })
  t.equal(cause, '2 checks failed: no answer within 500 ms')
  await isOut(t, all)
  moody.thaw()
  await recovers(t, all)
})

void test('breaking off every request', async (t) => {
  const all = await scene(t)
  const { moody, gateway } = all
  await moody.be('resetting')
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'health', to: 'unhealthy' })
  t.match(cause, /^(?:3 checks failed: .+|\d+ of \d+ requests failed)$/)
  await isOut(t, all)
  await moody.be('well')
  await recovers(t, all)
})

void test('answering 500 to half of its requests', async (t) => {
  const health = { active: ACTIVE, passive: { window: 20 } }
  const all = await scene(t, { health, retry: { on: [500] }, breaker: { ...BREAKER, window: 1000 } })
  const { moody, gateway, traffic } = all
  await moody.be('half', 'well')
  const first = await gateway.seen.next({ backend: 'moody', what: 'health' })
  t.match(first, { from: 'healthy', to: 'degraded', cause: /^\d+ of 20 requests failed$/ }, 'though all checks pass')
  await traffic.more(50)
  await moody.be('well')
  await gateway.seen.next({ backend: 'moody', what: 'health', to: 'healthy' })
  await traffic.moreBy('moody', 20)
  await traffic.stop()
  t.same(traffic.failures, [], 'no client has noticed')
  t.notMatch(gateway.seen.story('moody', 'health').join('\n'), 'checks failed')
})

void test('answering 500 to all its requests, but not to checks', async (t) => {
  const passive = { ejection: 300 }
  const all = await scene(t, { health: { active: ACTIVE, passive }, retry: { on: [500] } })
  const { moody, gateway } = all
  await moody.be('failing', 'well')
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'health', to: 'unhealthy' })
  t.match(cause, /^\d+ of \d+ requests failed$/)
  await moody.be('well')
  await recovers(t, all)
  t.notMatch(gateway.seen.story('moody', 'health').join('\n'), 'checks failed')
})

void test('fifty times as slow: its breaker leaves it alone, its checks do not matter', async (t) => {
  const slowCall = { slowCall: 100, slowCallRate: 0.5, minimum: 3, window: 1000 }
  const algorithm = { type: 'least-connections', slow: 0 }
  const all = await scene(t, { algorithm, breaker: { ...BREAKER, ...slowCall } })
  const { moody, gateway, traffic } = all
  await moody.be('slow', 'well')
  const { cause } = await gateway.seen.next({ backend: 'moody', what: 'breaker', from: 'closed', to: 'open' })
  t.match(cause, /^\d+ of \d+ requests took over 100 ms$/)
  await gateway.seen.next({ backend: 'moody', to: 'half-open' })
  const again = await gateway.seen.next({ backend: 'moody', what: 'breaker', from: 'half-open' })
  t.match(again, { to: 'open', cause: 'a trial took over 100 ms' })
  await moody.be('well')
  await gateway.seen.next({ backend: 'moody', what: 'breaker', to: 'closed' })
  await traffic.moreBy('moody', 20)
  await traffic.stop()
  t.same(traffic.failures, [])
  t.same(gateway.seen.story(undefined, 'health'), [], 'slow is not sick')
})

void test('as slow as that and no limit configured: least connections leaves it alone, and comes back to it', async (t) => {
  const all = await scene(t, { algorithm: 'least-connections', breaker: false })
  const { moody, gateway, traffic } = all
  await traffic.more(50)
  await moody.be('slow', 'well')
  // A few have to be slow before it shows, and some were on their way.
  await traffic.moreBy('moody', 6)
  const before = traffic.by('moody')
  await traffic.more(200)
  const after = traffic.by('moody') - before
  t.ok(after <= 10, `${after} of 200 went to the slow one`)
  await moody.be('well')
  await traffic.moreBy('moody', 100)
  await traffic.stop()
  t.same(traffic.failures, [])
  t.same(gateway.seen.story(undefined, 'health'), [], 'slow is not sick')
})

void test('HC-10: flapping', async (t) => {
  const all = await scene(t)
  const { moody, gateway, traffic } = all
  for (let round = 0; round < 4; round++) {
    // oxlint-disable no-await-in-loop -- up and down in turn
    if (round % 2 === 0) await moody.refuse()
    else await moody.be('resetting')
    await gateway.seen.next({ backend: 'moody', what: 'health', to: 'degraded' })
    await traffic.more(50)
    await moody.be('well')
    await traffic.more(50)
    await gateway.seen.next({ backend: 'moody', what: 'health', to: 'healthy' })
    // oxlint-enable no-await-in-loop
  }
  await traffic.stop()
  t.same(traffic.failures, [], 'no client has noticed')
  t.same(others(gateway), [])
})
