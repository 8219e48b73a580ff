/**
 * What a change of the configuration leaves as it is, and what it may not touch.
 */
import { test, type Test } from 'tap'

import { Withdrawn } from '../../src/config/configuration.ts'
import type { Config } from '../../src/index.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { replaced } from '../helpers/changing.ts'
import { backend } from '../helpers/gateway.ts'
import { named } from '../helpers/moody-backend.ts'

function state({ app }: AdminGateway, id: string): string | undefined {
  const entry = app.snapshot.pools.get('web')
  const member = entry?.pool.members.find((each) => each.id === id)
  return member === undefined ? undefined : entry?.standings.of(member)?.state
}

async function answers(t: Test, { port }: AdminGateway, count: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (let n = 0; n < count; n++) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time
    const response = await fetch(`http://127.0.0.1:${port}/`)
    t.equal(response.status, 200)
    // oxlint-disable-next-line no-await-in-loop
    const by = await response.text()
    found[by] = (found[by] ?? 0) + 1
  }
  return found
}

void test('who is new gets nothing before its first check has passed', async (t) => {
  const one = await backend(t, named('one'))
  const checks = Promise.withResolvers<() => void>()
  const two = await backend(t, (request, response) => {
    if (request.url === '/health') checks.resolve(() => void response.end())
    else response.end('two')
  })
  const health = { active: { path: '/health', interval: '1h', timeout: '30s' } }
  const first = { url: one.url, id: 'one' }
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [first], health } } } })
  const second = { url: two.url, id: 'two' }
  await replaced(all, { pools: { web: { backends: [first, second], health } } })
  const pass = await checks.promise
  t.equal(state(all, 'two'), 'unhealthy')
  t.same(await answers(t, all, 4), { one: 4 })
  const healthy = new Promise<void>((resolve) => {
    all.app.events.listen(({ backend: id, to }) => {
      if (id === 'two' && to === 'healthy') resolve()
    })
  })
  pass()
  await healthy
  t.same(await answers(t, all, 4), { one: 2, two: 2 })
})

function warming(...urls: string[]): Config {
  return { pools: { web: { backends: urls, health: { warmup: '1h' } } } }
}

void test('without checks, who is new warms up when others are warm', async (t) => {
  const [one, two] = [await backend(t, named('one')), await backend(t, named('two'))]
  const all = await startWithAdmin(t, { config: warming(one.url) })
  await replaced(all, warming(one.url, two.url))
  t.equal(state(all, new URL(two.url).host), 'warming')
})

void test('HC-09: health, ejections and breakers are kept, and no event says otherwise', async (t) => {
  const [one, two] = [
    await backend(t, named('one')),
    await backend(t, (_request, response) => void response.writeHead(500).end()),
  ]
  const web = {
    backends: [
      { url: one.url, id: 'one' },
      { url: two.url, id: 'two' },
    ],
    retry: { on: [500] as const },
  }
  const health = { passive: { minimum: 5, ejection: '1h' } }
  const breaker = { minimum: 5, open: '1h', maxOpen: '1h', failureRate: 0.9 }
  const all = await startWithAdmin(t, { config: { pools: { web: { ...web, health, breaker } } } })
  await answers(t, all, 40)
  const before = state(all, 'two')
  t.not(before, 'healthy')
  const until = (): number | undefined => {
    const entry = all.app.snapshot.pools.get('web')
    const member = entry?.pool.members.find(({ id }) => id === 'two')
    return member === undefined ? undefined : entry?.standings.of(member)?.health.evidence.ejectedUntil
  }
  const [end, told] = [until(), all.app.events.latest.length]
  await replaced(all, {
    pools: { web: { ...web, health, breaker: { ...breaker, window: '20s' }, timeouts: { connect: '1s' } } },
  })
  t.equal(state(all, 'two'), before)
  t.equal(until(), end)
  t.same(
    all.app.events.latest.slice(told).map(({ what }) => what),
    ['reload'],
  )
})

function called(url: string): Config {
  return { pools: { web: { backends: [{ url, id: 'it' }] } } }
}

void test('another address is another backend, whatever it is called', async (t) => {
  const [one, two] = [await backend(t, named('one')), await backend(t, named('two'))]
  const all = await startWithAdmin(t, { config: called(one.url) })
  t.same(await answers(t, all, 2), { one: 2 })
  await replaced(all, called(two.url))
  t.same(await answers(t, all, 2), { two: 2 })
})

void test('what is withdrawn is no failure, and what is wrong is one', async (t) => {
  const { url } = await backend(t, named('one'))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [url] } } } })
  const { configuration } = all.app
  await t.rejects(
    configuration.replace('a test', () => {
      throw new Withdrawn()
    }),
  )
  t.equal(configuration.lastReload.ok, true)
  await t.rejects(replaced(all, { pools: { web: { backends: [url], algorithm: 'nobody-has-this' } } }), {
    name: 'ConfigError',
  })
  t.match(configuration.lastReload, { ok: false, error: /pools\.web\.algorithm: .*nobody-has-this/ })
  t.match(all.app.events.latest.at(-1), { what: 'reload', to: 'refused', cause: /^a test: / })
  t.same(await answers(t, all, 2), { one: 2 })
})

void test('nothing takes effect any more once the gateway stops', async (t) => {
  const { url } = await backend(t, named('one'))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [url] } } } })
  await all.app.close()
  await t.rejects(replaced(all, { pools: { web: { backends: [url], panic: 0.5 } } }), { message: /stopping/ })
})
