/**
 * Breakers at work: when one opens, whom it concerns, what its trials are, what clients and the log see of it.
 */
import type { ServerResponse } from 'node:http'

import { test, type Test } from 'tap'

import type { PoolConfig } from '../../src/index.ts'
import { backend, isError, totals, type Handler } from '../helpers/gateway.ts'
import { named, watched, type Watched } from '../helpers/moody-backend.ts'
import { ask as askProcess, startGateway } from '../helpers/process.ts'
import { ask, get, guarded, inTurn, RawClient, valuesOf } from '../helpers/raw.ts'

const failing: Handler = (request, response) => {
  request.resume()
  response.writeHead(500).end('failed')
}

/** Nothing but the breaker. */
const ALONE = { health: { passive: false }, retry: { attempts: 1 } } as const
const LONG = { open: '1h', maxOpen: '1h' } as const

async function times(t: Test, { port }: Watched, count: number, target = '/'): Promise<number[]> {
  const statuses: number[] = []
  await inTurn(Array.from({ length: count }), async () => statuses.push((await ask(t, port, get(target))).status))
  return statuses
}

const all = (status: number, count: number): number[] => Array.from({ length: count }, () => status)

void test('CB-02: with one request less than the minimum it stays closed, however many of them fail', async (t) => {
  const bad = await backend(t, failing)
  const gateway = await watched(t, { bad }, { ...ALONE, breaker: LONG })
  t.same(await times(t, gateway, 19), all(500, 19))
  t.same(gateway.seen.events, [])
  t.match((await gateway.status()).get('bad'), { state: 'healthy', breaker: { state: 'closed' } })
  t.same(await times(t, gateway, 1), [500])
  const { cause } = await gateway.seen.next({ what: 'breaker', from: 'closed', to: 'open' })
  t.equal(cause, '20 of 20 requests failed')
  t.match((await gateway.status()).get('bad'), { breaker: { state: 'open' } })
  t.same(await times(t, gateway, 1), [503])
  t.equal(bad.requests.length, 20)
})

void test('CB-02: below the failure rate it stays closed', async (t) => {
  let n = 0
  // Every third.
  const mixed = await backend(t, (...args) => (++n % 3 === 0 ? failing(...args) : named('good')(...args)))
  const gateway = await watched(t, { mixed }, { ...ALONE, breaker: LONG })
  await times(t, gateway, 60)
  t.same(gateway.seen.events, [])
})

void test('4xx say nothing against a backend', async (t) => {
  const strict = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(404).end()
  })
  const gateway = await watched(t, { strict, other: strict }, { breaker: LONG, health: {} })
  t.same(await times(t, gateway, 60), all(404, 60))
  t.same(gateway.seen.events, [])
  t.match((await gateway.status()).get('strict'), { failures: 0, health: { passive: { outcomes: 30, failures: 0 } } })
})

void test('clients that leave say nothing against a backend', async (t) => {
  const hanging = await backend(t, (request) => void request.resume())
  const gateway = await watched(
    t,
    { hanging },
    { breaker: { ...LONG, minimum: 1 }, health: { passive: { minimum: 1 } } },
  )
  await inTurn(Array.from({ length: 30 }), async (_, n) => {
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    await hanging.request(n)
    client.socket.destroy()
    await gateway.line(() => gateway.lines.filter(({ outcome }) => outcome === 'aborted').length > n)
  })
  t.same(gateway.seen.events, [])
  t.same(totals(gateway), { inFlight: 0, requests: 30, failures: 0 })
  t.match((await gateway.status()).get('hanging'), { health: { passive: { outcomes: 0 } } })
})

interface Trials {
  readonly gateway: Watched
  readonly held: ServerResponse[]
  /** Waits until so many trials have come. */
  readonly trials: (count: number) => Promise<void>
}

/** A gateway whose only breaker has just become half-open; from now on its backend holds all requests. */
async function halfOpen(t: Test, breaker: PoolConfig['breaker']): Promise<Trials> {
  const held: ServerResponse[] = []
  const moody = await backend(t, (request, response) => {
    request.resume()
    if (moody.requests.length <= 20) response.writeHead(500).end()
    else held.push(response)
  })
  const gateway = await watched(t, { moody }, { ...ALONE, breaker: { open: 50, maxOpen: 50, ...Object(breaker) } })
  await times(t, gateway, 20)
  await gateway.seen.next({ what: 'breaker', from: 'open', to: 'half-open' })
  return { gateway, held, trials: async (count) => void (await moody.request(19 + count)) }
}

for (const permits of [1, 3]) {
  void test(`CB-04: half-open, no more than ${permits} trials are under way, whatever comes`, async (t) => {
    const { gateway, held, trials } = await halfOpen(t, { halfOpen: permits })
    const clients = await Promise.all(Array.from({ length: 12 }, async () => RawClient.open(t, gateway.port)))
    for (const client of clients) client.send(get())
    const statuses: number[] = []
    const answered = clients.map(async (client) => statuses.push((await client.answer()).status))
    await trials(permits)
    await gateway.line(() => gateway.lines.filter(({ code }) => code === 'SLUICE_NO_BACKEND').length === 12 - permits)
    t.equal(held.length, permits)
    t.match((await gateway.status()).get('moody'), { inFlight: permits, breaker: { state: 'half-open' } })
    for (const response of held) response.end('well again')
    await Promise.all(answered)
    t.same(
      statuses.toSorted((a, b) => a - b),
      [...all(200, permits), ...all(503, 12 - permits)],
    )
    await gateway.seen.next({ what: 'breaker', from: 'half-open', to: 'closed' })
    t.equal(gateway.seen.story('moody').length, 3, 'open, half-open, closed: no more')
  })
}

void test('CB-04: a client that leaves frees its trial place and says nothing', async (t) => {
  const { gateway, held, trials } = await halfOpen(t, { halfOpen: 1 })
  await inTurn([1, 2, 3], async (n) => {
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    await trials(n)
    client.socket.destroy()
    await gateway.line(() => gateway.lines.filter(({ outcome }) => outcome === 'aborted').length >= n)
  })
  t.match((await gateway.status()).get('moody'), { inFlight: 0, breaker: { state: 'half-open' } })
  const answer = ask(t, gateway.port, get())
  await trials(4)
  held.at(-1)?.end()
  t.equal((await answer).status, 200)
  await gateway.seen.next({ what: 'breaker', from: 'half-open', to: 'closed' })
})

void test('clients that take their time keep no trial place for ever', async (t) => {
  const { gateway, held, trials } = await halfOpen(t, { halfOpen: 3, window: 1000 })
  const slow = await Promise.all([1, 2, 3].map(async () => RawClient.open(t, gateway.port)))
  // An upload that never ends: its client sends a byte now and then, and its backend can say nothing.
  for (const client of slow) client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n')
  await trials(3)
  let status = 503
  const asked = (async () => {
    // oxlint-disable-next-line no-await-in-loop -- until there is a place
    while (status === 503) ({ status } = await ask(t, gateway.port, get()))
  })()
  await trials(4)
  held.at(-1)?.end('well')
  await asked
  t.equal(status, 200)
  t.match((await gateway.status()).get('moody'), { inFlight: 3, breaker: { state: 'half-open' } })
})

void test("CB-05: a breaker is its backend's in its pool, and nobody else's", async (t) => {
  const bad = await backend(t, (...args) => (args[0].url === '/web' ? failing : named('bad'))(...args))
  const good = await backend(t, named('good'))
  const other = { ...ALONE, breaker: LONG, backends: [{ id: 'bad', url: bad.url }] }
  const routes = [
    { path: '/web', pool: 'web' },
    { path: '/other', pool: 'other' },
  ]
  const pool = { ...ALONE, algorithm: 'round-robin', breaker: LONG } as const
  const gateway = await watched(t, { bad, good }, pool, { routes, pools: { other } })
  await times(t, gateway, 40, '/web')
  await gateway.seen.next({ pool: 'web', backend: 'bad', what: 'breaker', to: 'open' })
  t.same(await times(t, gateway, 30, '/web'), all(200, 30), 'the other backend of the pool goes on')
  t.same(await times(t, gateway, 30, '/other'), all(200, 30), 'the same backend in another pool does, too')
  t.equal(gateway.seen.events.length, 1)
  t.match((await gateway.status('other')).get('bad'), { breaker: { state: 'closed' } })
})

void test('CB-07: all breakers open: 503 with Retry-After, and one event for each change of state', async (t) => {
  const one = await backend(t, failing)
  const two = await backend(t, failing)
  const gateway = await watched(t, { one, two }, { ...ALONE, algorithm: 'round-robin', breaker: LONG })
  await times(t, gateway, 40)
  await gateway.seen.next({ what: 'pool', to: 'empty' })
  isError(t, await ask(t, gateway.port, get()), 'SLUICE_NO_BACKEND', [one.port, two.port])
  t.same(await times(t, gateway, 50), all(503, 50))
  t.equal(gateway.seen.story('one').length, 1)
  t.equal(gateway.seen.story('two').length, 1)
  t.equal(gateway.seen.story(undefined, 'pool').length, 1)
  t.equal(one.requests.length + two.requests.length, 40)
})

void test('CB-07: the log has a line for each change of state, and none for each request', async (t) => {
  const bad = await backend(t, failing)
  const config = { pools: { web: { ...ALONE, backends: [{ id: 'bad', url: bad.url }] } } }
  const { url, process: running } = await startGateway(t, JSON.stringify(config))
  await inTurn(Array.from({ length: 40 }), async () => askProcess(url))
  const refused = await askProcess(url)
  t.match([refused.status, refused.headers['retry-after']], [503, /^[1-9]\d*$/])
  await running.logged(/^backend bad of pool web is open \(breaker\): 20 of 20 requests failed$/)
  await running.logged(/^pool web is empty \(pool\): no backend can be chosen$/)
  t.equal(running.lines.filter((line) => line.includes('is open (breaker)')).length, 1)
  t.equal(running.lines.filter((line) => line.includes('is empty (pool)')).length, 1)
})

void test('a pool that was empty tells when it no longer is', async (t) => {
  const { gateway, held, trials } = await halfOpen(t, { halfOpen: 1 })
  const { seen } = gateway
  t.same(
    seen.story(undefined, 'pool').map((line) => line.split(':')[0]),
    ['pool web enough > empty', 'pool web empty > enough'],
  )
  const answer = ask(t, gateway.port, get())
  await trials(1)
  held[0]?.end('well')
  t.equal((await answer).status, 200)
})

void test('an observing breaker tells what it would do, and touches nothing', async (t) => {
  const bad = await backend(t, failing)
  const breaker = { mode: 'observe', open: 50, maxOpen: 50 } as const
  const gateway = await watched(t, { bad }, { ...ALONE, breaker })
  t.same(await times(t, gateway, 25), all(500, 25))
  await gateway.seen.next({ what: 'breaker', from: 'closed', to: 'open' })
  await gateway.seen.next({ what: 'breaker', from: 'open', to: 'half-open' })
  t.same(await times(t, gateway, 25), all(500, 25))
  t.equal(bad.requests.length, 50)
  t.same(gateway.seen.story(undefined, 'pool'), [])
  t.match((await gateway.status()).get('bad'), { state: 'healthy', effectiveWeight: 1 })
})

void test('`breaker: false` is none', async (t) => {
  const bad = await backend(t, failing)
  const gateway = await watched(t, { bad }, { ...ALONE, breaker: false })
  t.same(await times(t, gateway, 100), all(500, 100))
  t.same(gateway.seen.events, [])
  t.equal(valuesOf(await ask(t, gateway.port, get()), 'retry-after').length, 0)
})

void test('slow calls: from the head of an answer on nothing counts as slow', async (t) => {
  const long = await backend(t, (request, response) => {
    request.resume()
    response.write('a head at once')
    setTimeout(() => response.end(), 60)
  })
  const slow = { slowCall: 50, slowCallRate: 1, minimum: 5 }
  const gateway = await watched(t, { long }, { ...ALONE, breaker: { ...LONG, ...slow } })
  const statuses = await guarded(times(t, gateway, 6), () => 'six answers')
  t.same(statuses, all(200, 6))
  t.same(gateway.seen.events, [])
})
