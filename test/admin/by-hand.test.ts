/**
 * The operator's hand: weight and state of a backend through the admin listener, and what becomes of both when the
 * configuration changes.
 */
import { test, type Test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { named } from '../helpers/moody-backend.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'

interface Standing {
  readonly id: string
  readonly weight: number
  readonly effectiveWeight: number
  readonly state: string
  readonly inFlight: number
}

interface Scene extends AdminGateway {
  readonly pools: {
    readonly web: {
      readonly backends: ReadonlyArray<{ readonly url: string; readonly id: string; readonly weight?: number }>
    }
  }
}

async function scene(t: Test): Promise<Scene> {
  const backends = [
    { url: (await backend(t, named('one'))).url, id: 'one' },
    { url: (await backend(t, named('two'))).url, id: 'two', weight: 2 },
  ]
  const pools = { web: { backends } }
  return { ...(await startWithAdmin(t, { config: { pools } })), pools }
}

async function call(
  adminPort: number,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${adminPort}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  return { status: response.status, body: await response.json() }
}

const patch = (adminPort: number, id: string, body: unknown) =>
  call(adminPort, 'PATCH', `/pools/web/backends/${id}`, body)

async function standings({ adminPort }: AdminGateway): Promise<Map<string, Standing>> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/status`)
  const { pools }: { pools: { web: { backends: Standing[] } } } = JSON.parse(await response.text())
  return new Map(pools.web.backends.map((each) => [each.id, each]))
}

async function answers({ port }: AdminGateway, count: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (let n = 0; n < count; n++) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time, so that weights decide
    const by = await (await fetch(`http://127.0.0.1:${port}/`)).text()
    found[by] = (found[by] ?? 0) + 1
  }
  return found
}

void test('a weight by hand holds until the configuration says something else of it', async (t) => {
  const all = await scene(t)
  const { status, body } = await patch(all.adminPort, 'one', { weight: 4 })
  t.equal(status, 200)
  t.match(body, { id: 'one', weight: 4, effectiveWeight: 4, state: 'healthy' })
  t.same(await answers(all, 6), { one: 4, two: 2 })
  const { configuration } = all.app
  const { settings } = configuration.inForce
  const read = (weights: { one?: number; two: number }, panic: number): unknown => ({
    pools: {
      web: {
        ...all.pools.web,
        panic,
        backends: all.pools.web.backends.map((each) => ({
          ...each,
          weight: each.id === 'one' ? (weights.one ?? 1) : weights.two,
        })),
      },
    },
  })
  const put = async (config: unknown): Promise<number> =>
    (
      await call(all.adminPort, 'PUT', '/config', {
        ...Object(config),
        listen: { host: settings.listen.host, port: settings.listen.port },
      })
    ).status
  t.equal(await put(read({ two: 2 }, 0.1)), 200)
  t.equal((await standings(all)).get('one')?.weight, 4, 'something else has changed')
  t.equal(await put(read({ one: 3, two: 2 }, 0.1)), 200)
  t.equal((await standings(all)).get('one')?.weight, 3, 'the weight has')
  t.match(
    all.app.events.latest.find(({ what }) => what === 'weight'),
    { backend: 'one', from: '1', to: '4', cause: 'by hand' },
  )
})

for (const state of ['draining', 'disabled'] as const) {
  void test(`${state}: nothing new, until it is taken back; one event each`, async (t) => {
    const all = await scene(t)
    t.match(await patch(all.adminPort, 'two', { state }), {
      status: 200,
      body: { state, weight: 2, effectiveWeight: 0 },
    })
    t.same(await answers(all, 5), { one: 5 })
    t.equal((await patch(all.adminPort, 'two', { state })).status, 200)
    const explained = await call(all.adminPort, 'GET', '/explain?path=/')
    t.match(explained.body, { leftOut: [{ id: 'two', state, reason: `it is ${state}, by hand` }] })
    t.match(await patch(all.adminPort, 'two', { state: 'auto' }), { body: { state: 'healthy', effectiveWeight: 2 } })
    t.same(await answers(all, 6), { one: 2, two: 4 })
    const events = all.app.events.latest
      .filter(({ backend: id }) => id === 'two')
      .map(({ from, to, cause }) => `${from} > ${to}: ${cause}`)
    t.same(events, [`healthy > ${state}: by hand`, `${state} > healthy: by hand: its health decides again`])
  })
}

void test('not even a pool in need uses who is out by hand', async (t) => {
  const { url } = await backend(t, named('one'))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [{ url, id: 'one' }], panic: 1 } } } })
  await patch(all.adminPort, 'one', { state: 'draining' })
  t.equal((await fetch(`http://127.0.0.1:${all.port}/`)).status, 503)
})

void test('what cannot be done is refused, and changes nothing', async (t) => {
  const all = await scene(t)
  const { adminPort } = all
  for (const body of [
    {},
    [],
    'x',
    3,
    null,
    { weight: -1 },
    { weight: '3' },
    { weight: 1e7 },
    { state: 'healthy' },
    { state: null },
    { weight: 3, stat: 'auto' },
    { weight: 3, state: 'off' },
  ]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await patch(adminPort, 'one', body)
    t.match(answer, { status: 400, body: { code: 'SLUICE_BAD_REQUEST' } }, JSON.stringify(body))
  }
  t.match(await patch(adminPort, 'three', { weight: 3 }), { status: 404, body: { code: 'SLUICE_NOT_FOUND' } })
  t.match(await call(adminPort, 'PATCH', '/pools/__proto__/backends/one', { weight: 3 }), { status: 404 })
  t.match((await standings(all)).get('one'), { weight: 1, state: 'healthy' })
})
