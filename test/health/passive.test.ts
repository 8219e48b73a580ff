/**
 * What requests alone say against backends: who is taken out, who never is, when they come back; and what a pool does
 * when few or none are left.
 */
import { test, type Test } from 'tap'

import type { PoolConfig } from '../../src/index.ts'
import { backend, isError, type Backend } from '../helpers/gateway.ts'
import { watched, type Watched } from '../helpers/moody-backend.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

interface Fleet {
  readonly gateway: Watched
  readonly backends: Readonly<Record<string, Backend>>
  /** Those that fail requests, and those that fail checks. */
  readonly failing: Set<string>
  readonly sick: Set<string>
}

const NAMES = ['a', 'b', 'c', 'd']
const ACTIVE = { interval: 20, timeout: 10_000 } as const

/** Four backends whose names decide how they are. */
async function fleet(t: Test, pool: Omit<PoolConfig, 'backends'>, size = 4): Promise<Fleet> {
  const failing = new Set<string>()
  const sick = new Set<string>()
  const backends: Record<string, Backend> = {}
  await inTurn(NAMES.slice(0, size), async (name) => {
    backends[name] = await backend(t, (request, response) => {
      request.resume()
      const bad = (request.url === '/health' ? sick : failing).has(name)
      response.writeHead(bad ? 500 : 200).end(name)
    })
  })
  const defaults = { algorithm: 'round-robin', breaker: false, retry: { attempts: 1 } } as const
  return { gateway: await watched(t, backends, { ...defaults, ...pool }), backends, failing, sick }
}

/** How often each backend answered. */
async function shares(t: Test, { gateway }: Fleet, count: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  await inTurn(Array.from({ length: count }), async () => {
    const { status, body } = await ask(t, gateway.port, get())
    const by = status === 503 ? 'nobody' : body.toString()
    found[by] = (found[by] ?? 0) + 1
  })
  return found
}

async function states({ gateway }: Fleet): Promise<Record<string, unknown>> {
  const status = await gateway.status()
  return Object.fromEntries([...status].map(([id, each]) => [id, Reflect.get(each, 'state')]))
}

void test('the last one is never taken out by its requests', async (t) => {
  for (const strategy of ['graded', 'any', 'all'] as const) {
    // oxlint-disable no-await-in-loop -- one after the other
    const all = await fleet(t, { health: { strategy, passive: { maxEjected: 1, ejection: '1h' } } }, 1)
    all.failing.add('a')
    t.same(await shares(t, all, 60), { a: 60 }, strategy)
    t.same(await states(all), { a: strategy === 'graded' ? 'degraded' : 'healthy' })
    // oxlint-enable no-await-in-loop
  }
})

void test('of several that all fail, one is left, whatever share may be taken out', async (t) => {
  const all = await fleet(t, { health: { strategy: 'any', passive: { maxEjected: 1, ejection: '1h' } } })
  for (const name of NAMES) all.failing.add(name)
  await shares(t, all, 200)
  const out = Object.values(await states(all)).filter((state) => state === 'unhealthy')
  t.equal(out.length, 3)
  t.same(all.gateway.seen.story(undefined, 'pool'), [])
})

for (const [maxEjected, most] of [
  [0, 0],
  [0.24, 0],
  [0.25, 1],
  [0.5, 2],
  [0.74, 2],
  [0.75, 3],
] as const) {
  void test(`with maxEjected ${maxEjected}, requests take out ${most} of four`, async (t) => {
    const all = await fleet(t, { health: { strategy: 'any', passive: { maxEjected, ejection: '1h' } } })
    for (const name of NAMES) all.failing.add(name)
    await shares(t, all, 160)
    const out = Object.values(await states(all)).filter((state) => state === 'unhealthy')
    t.equal(out.length, most)
    t.equal(all.gateway.seen.story(undefined, 'health').length, most)
  })
}

void test('checks may take out more than maxEjected, and all', async (t) => {
  const all = await fleet(t, { health: { active: ACTIVE, passive: { maxEjected: 0 } } })
  for (const name of NAMES) all.sick.add(name)
  await all.gateway.seen.next({ what: 'pool', from: 'enough', to: 'empty' })
  isError(t, await ask(t, all.gateway.port, get()), 'SLUICE_NO_BACKEND')
  t.same(await shares(t, all, 20), { nobody: 20 })
  t.equal(all.gateway.seen.story(undefined, 'pool').length, 1, 'one event, not one a request')
  all.sick.delete('c')
  const { cause } = await all.gateway.seen.next({ what: 'pool', from: 'empty', to: 'enough' })
  t.equal(cause, 'backends can be chosen again')
  t.match(await shares(t, all, 5), { c: 5 })
})

void test('who is taken out by requests comes back when the ejection is over, and is healthy once it has proved it', async (t) => {
  const all = await fleet(t, { health: { passive: { ejection: 100 } } }, 2)
  all.failing.add('a')
  await shares(t, all, 80)
  const { seen } = all.gateway
  await seen.next({ backend: 'a', from: 'healthy', to: 'degraded' })
  const out = await seen.next({ backend: 'a', from: 'degraded', to: 'unhealthy' })
  t.match(out.cause, /^\d+ of \d+ requests failed$/)
  all.failing.delete('a')
  const { cause } = await seen.next({ backend: 'a', from: 'unhealthy', to: 'degraded' })
  t.equal(cause, 'its ejection is over')
  t.match((await all.gateway.status()).get('a'), { state: 'degraded', effectiveWeight: 0.5 })
  await shares(t, all, 80)
  await seen.next({ backend: 'a', from: 'degraded', to: 'healthy' })
  t.same(seen.story('b'), [])
})

void test('while the ejection lasts, checks that pass bring nobody back', async (t) => {
  const all = await fleet(t, { health: { active: ACTIVE, passive: { ejection: '1h' } } }, 2)
  all.failing.add('a')
  await shares(t, all, 80)
  await all.gateway.seen.next({ backend: 'a', to: 'unhealthy' })
  const { a } = all.backends
  const before = a?.requests.length ?? 0
  await a?.request(before + 10)
  t.match(await states(all), { a: 'unhealthy' })
  t.match(await shares(t, all, 20), { b: 20 })
})

void test('all: requests that fail take nobody out while checks pass, and do with them', async (t) => {
  const health = { strategy: 'all', active: ACTIVE, passive: { ejection: '1h' } } as const
  const all = await fleet(t, { health }, 2)
  all.failing.add('a')
  await shares(t, all, 80)
  t.same(await states(all), { a: 'healthy', b: 'healthy' })
  all.sick.add('a')
  const { cause } = await all.gateway.seen.next({ backend: 'a', from: 'healthy', to: 'unhealthy' })
  t.match(cause, /^3 checks failed: answered 500, and \d+ of \d+ requests failed$/)
})

void test('outcomes of a time, not the last so many', async (t) => {
  const all = await fleet(t, { health: { passive: { over: '1h', minimum: 10, ejection: '1h' } } }, 2)
  all.failing.add('a')
  await shares(t, all, 18)
  t.same(all.gateway.seen.events, [], 'one short of the minimum')
  await shares(t, all, 2)
  const { cause } = await all.gateway.seen.next({ backend: 'a', to: 'unhealthy' })
  t.equal(cause, '10 of 10 requests failed')
})

void test('`passive: false`: nothing that becomes of requests matters', async (t) => {
  const all = await fleet(t, { health: { passive: false } }, 2)
  all.failing.add('a')
  await shares(t, all, 100)
  t.same(all.gateway.seen.events, [])
  t.match((await all.gateway.status()).get('a'), { state: 'healthy', failures: 50, health: { passive: null } })
})

void test('panic: below the share all are used, and both changes are one event', async (t) => {
  const all = await fleet(t, { panic: 0.5, health: { active: ACTIVE } })
  const { seen } = all.gateway
  for (const name of ['a', 'b']) all.sick.add(name)
  await seen.each(['a', 'b'], 'unhealthy')
  t.match(await shares(t, all, 20), { c: 10, d: 10 }, 'half of them are still enough')
  t.same(seen.story(undefined, 'pool'), [])
  all.sick.add('c')
  const { cause } = await seen.next({ what: 'pool', from: 'enough', to: 'panic' })
  t.equal(cause, 'so few backends can be used that all of them are')
  t.match(await shares(t, all, 40), { a: 10, b: 10, c: 10, d: 10 })
  t.match(await states(all), { a: 'unhealthy', b: 'unhealthy', c: 'unhealthy', d: 'healthy' })
  all.sick.clear()
  await seen.next({ what: 'pool', from: 'panic', to: 'enough' })
  t.equal(seen.story(undefined, 'pool').length, 2)
})

void test('panic: none is left, and all are used', async (t) => {
  const all = await fleet(t, { panic: 0.1, health: { active: ACTIVE } }, 2)
  for (const name of NAMES) all.sick.add(name)
  await all.gateway.seen.next({ what: 'pool', to: 'panic' })
  t.same(await shares(t, all, 20), { a: 10, b: 10 })
})
