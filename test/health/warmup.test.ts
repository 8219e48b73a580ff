/**
 * A backend that comes back to others gets its share in steps. The steps are told apart by its weight, not by the time.
 */
import { test, type Test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { watched, type Watched } from '../helpers/moody-backend.ts'
import { ask, get } from '../helpers/raw.ts'

interface Pair {
  readonly gateway: Watched
  readonly weight: () => number
  readonly set: (what: { readonly sick?: boolean; readonly failing?: boolean }) => void
}

/** A steady backend and one that is new to its work. */
async function pair(t: Test, warmup: number): Promise<Pair> {
  let [sick, failing] = [false, false]
  const steady = await backend(t, (request, response) => {
    request.resume()
    response.end('steady')
  })
  const fresh = await backend(t, (request, response) => {
    request.resume()
    const bad = request.url === '/health' ? sick : failing
    response.writeHead(bad ? 500 : 200).end('fresh')
  })
  const health = { warmup, active: { interval: 20, timeout: 10_000 } }
  const pool = { algorithm: 'weighted-round-robin', breaker: false, retry: { attempts: 1 }, health } as const
  const gateway = await watched(t, { steady, fresh }, pool)
  const member = gateway.app.snapshot.pools.get('web')?.pool.members.find(({ id }) => id === 'fresh')
  return {
    gateway,
    weight: () => member?.weight ?? 0,
    set: (what) => {
      sick = what.sick ?? sick
      failing = what.failing ?? failing
    },
  }
}

async function outAndBack(t: Test, { gateway, set }: Pair): Promise<void> {
  set({ sick: true })
  await gateway.seen.next({ backend: 'fresh', to: 'unhealthy' })
  set({ sick: false })
  const { cause } = await gateway.seen.next({ backend: 'fresh', from: 'unhealthy' })
  t.equal(cause, '2 checks passed')
}

void test('LB-13: the share of a backend that comes back grows in steps of 10, 30, 50 and 100 %', async (t) => {
  const both = await pair(t, 1200)
  await outAndBack(t, both)
  t.match((await both.gateway.status()).get('fresh'), { state: 'warming' })
  const steps = new Map<number, { fresh: number; all: number }>()
  const ask1 = async (): Promise<void> => {
    const before = both.weight()
    const { body } = await ask(t, both.gateway.port, get())
    // What was under way when its weight changed belongs to neither.
    if (both.weight() !== before) return
    const step = steps.get(before) ?? { fresh: 0, all: 0 }
    steps.set(before, { fresh: step.fresh + (body.toString() === 'fresh' ? 1 : 0), all: step.all + 1 })
  }
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  while (!both.gateway.seen.story('fresh').some((line) => line.includes('degraded > healthy'))) await ask1()
  // oxlint-disable-next-line no-await-in-loop
  for (let n = 0; n < 20; n++) await ask1()
  const weights = [...steps.keys()]
  // Warm, it is degraded until it is proven healthy, which its checks may have done by then.
  t.same(weights, [0.1, 0.3, 0.5, 1])
  for (const [weight, { fresh, all }] of steps) {
    const share = weight / (1 + weight)
    t.ok(Math.abs(fresh - share * all) <= 2, `with weight ${weight}, ${fresh} of ${all}`)
  }
  const story = both.gateway.seen.story('fresh', 'health').slice(-3)
  t.match(story[0], 'unhealthy > warming: 2 checks passed')
  t.match(story[1], 'warming > degraded: it is warm after 1200 ms')
  t.match(story[2], 'degraded > healthy')
})

void test('LB-13: a fleet that starts together has nothing to warm up for', async (t) => {
  const both = await pair(t, 60_000)
  t.equal(both.weight(), 1)
  t.same(both.gateway.seen.story('fresh', 'health'), [])
})

void test('a warming backend whose requests fail is out again, though its checks pass', async (t) => {
  const both = await pair(t, 60_000)
  await outAndBack(t, both)
  both.set({ failing: true })
  let served = 0
  // oxlint-disable-next-line no-await-in-loop -- until it has had enough
  for (; both.weight() === 0.1 && served < 100; served++) await ask(t, both.gateway.port, get())
  const { cause } = await both.gateway.seen.next({ backend: 'fresh', from: 'warming', to: 'unhealthy' })
  t.equal(cause, '5 of 5 requests failed while it was warming')
  t.ok(served >= 45, `one of eleven requests, so five of at least 45; it took ${served}`)
  t.match((await both.gateway.status()).get('fresh'), { state: 'unhealthy', effectiveWeight: 0 })
})

void test('a warming backend whose checks fail is out again', async (t) => {
  const both = await pair(t, 60_000)
  await outAndBack(t, both)
  both.set({ sick: true })
  const { cause } = await both.gateway.seen.next({ backend: 'fresh', from: 'warming', to: 'unhealthy' })
  t.equal(cause, '3 checks failed: answered 500')
})
