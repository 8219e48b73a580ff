/**
 * Via: every request says which gateways it came through, and one that comes back is stopped.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, isError, rawValues, startGateway, totals, type Gateway } from '../helpers/gateway.ts'
import { ask, get, inTurn, type Answer } from '../helpers/raw.ts'

/** Points the only backend of a gateway at another gateway, which has no port before it listens. */
function turnTo(from: Gateway, to: Gateway): void {
  for (const { url } of from.app.snapshot.pools.get('web')?.pool.members ?? []) url.port = String(to.port)
}

/** The error is the inner gateway's, with its own id, on its way through the outer one. */
function isLoop(t: Test, answer: Answer): void {
  t.equal(answer.status, 508)
  t.match(JSON.parse(answer.body.toString()), { code: 'SLUICE_LOOP' })
}

void test('a Via entry is added behind those that are there', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { via: 'edge-1' } })
  await ask(t, port, get('/', ['Via: 1.0 fred, 1.1 p.example.net (Apache/1.1)']))
  await ask(t, port, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  t.same(
    server.requests.map(({ rawHeaders }) => rawValues(rawHeaders, 'via')),
    [['1.0 fred, 1.1 p.example.net (Apache/1.1)', '1.1 edge-1'], ['1.0 edge-1']],
  )
})

void test('without a name each gateway has one of its own; false sends none', async (t) => {
  const server = await backend(t)
  await inTurn([{}, {}, { listen: { via: false } }], async (rest) => {
    const { port } = await gatewayTo(t, [server], {}, rest)
    await ask(t, port, get())
  })
  const [first, second, third] = server.requests.map(({ rawHeaders }) => rawValues(rawHeaders, 'via'))
  t.match(first, [/^1\.1 sluice-[0-9a-f]{8}$/])
  t.match(second, [/^1\.1 sluice-[0-9a-f]{8}$/])
  t.not(first?.[0], second?.[0])
  t.same(third, [])
})

void test('FW-13: a gateway whose backend is itself answers 508 within one round', async (t) => {
  await inTurn([true, 'edge-1'], async (via) => {
    const inner = await startGateway(t, { pools: { web: { backends: ['http://127.0.0.1:1'] } }, listen: { via } })
    turnTo(inner, inner)
    isLoop(t, await ask(t, inner.port, get()))
    t.match(totals(inner), { inFlight: 0, requests: 1 })
  })
})

void test('FW-13: a circle of two gateways is broken by whoever sees itself first', async (t) => {
  const first = await startGateway(t, { pools: { web: { backends: ['http://127.0.0.1:1'] } } })
  const second = await gatewayTo(t, [`http://127.0.0.1:${first.port}`])
  turnTo(first, second)
  isLoop(t, await ask(t, first.port, get()))
  t.match([totals(first), totals(second)], [{ requests: 1 }, { requests: 1 }])
})

void test('only the name itself is it, in any case, wherever it stands', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { via: 'edge-1' } })
  const own = ['1.1 edge-1', '1.1 a, HTTP/1.1 EDGE-1 (comment), 1.1 b', '1.1 a,1.1\tedge-1']
  await inTurn(own, async (via) => isError(t, await ask(t, port, get('/', [`Via: ${via}`])), 'SLUICE_LOOP', [], via))
  isError(t, await ask(t, port, get('/', ['Via: 1.1 a', 'Via: 2.0 edge-1'])), 'SLUICE_LOOP', [], 'two lines')
  await inTurn(['1.1 edge-11', '1.1 edge', '1.1 a (edge-1)', 'edge-1 a', '1.1 xedge-1', ''], async (via) => {
    t.equal((await ask(t, port, get('/', [`Via: ${via}`]))).status, 200, via)
  })
})
