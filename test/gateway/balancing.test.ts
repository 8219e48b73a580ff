/**
 * Which backend gets a request, seen from outside.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, isError, startGateway, type Backend } from '../helpers/gateway.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

async function three(t: Test): Promise<Backend[]> {
  return Promise.all(['A', 'B', 'C'].map(async (name) => backend(t, (_request, response) => response.end(name))))
}

async function sequence(t: Test, port: number, length: number): Promise<string> {
  let names = ''
  await inTurn(Array.from({ length }), async () => {
    names += (await ask(t, port, get())).body.toString()
  })
  return names
}

function counts(backends: readonly Backend[]): number[] {
  return backends.map(({ requests }) => requests.length)
}

void test('LB-01 round robin, 30 requests one after the other over 3: 10 each', async (t) => {
  await inTurn(['round-robin', 'weighted-round-robin'], async (algorithm) => {
    const backends = await three(t)
    const { port } = await gatewayTo(t, backends, { algorithm })
    await sequence(t, port, 30)
    t.same(counts(backends), [10, 10, 10])
  })
})

void test('LB-02 round robin, 20 at a time: 20 each of 60; least connections, 17 to 23', async (t) => {
  await inTurn(['round-robin', 'least-connections'], async (algorithm) => {
    const backends = await three(t)
    const { port } = await gatewayTo(t, backends, { algorithm })
    await inTurn([1, 2, 3], async () => {
      await Promise.all(Array.from({ length: 20 }, async () => ask(t, port, get())))
    })
    if (algorithm === 'round-robin') t.same(counts(backends), [20, 20, 20])
    else t.ok(counts(backends).every((count) => count >= 17 && count <= 23))
  })
})

void test('weights 5:1:1 give A A B A C A A', async (t) => {
  const backends = await three(t)
  const weighted = backends.map(({ url }, index) => ({ url, weight: index === 0 ? 5 : 1 }))
  const { port } = await startGateway(t, { pools: { web: { backends: weighted } } })
  const cycle = 'AABACAA'
  const names = await sequence(t, port, 21)
  t.ok((cycle + cycle).includes(names.slice(0, 7)), names)
  t.equal(names, names.slice(0, 7).repeat(3))
})

void test('LB-04 weight 0 gets nothing', async (t) => {
  const backends = await three(t)
  const weighted = backends.map(({ url }, index) => ({ url, weight: index === 1 ? 0 : 1 }))
  const { port } = await startGateway(t, { pools: { web: { backends: weighted } } })
  await sequence(t, port, 10)
  t.same(counts(backends), [5, 0, 5])
  t.equal(backends[1]?.connections(), 0)
})

void test('all weights 0: 503', async (t) => {
  const backends = await three(t)
  const weighted = backends.map(({ url }) => ({ url, weight: 0 }))
  const { port } = await startGateway(t, { pools: { web: { backends: weighted } } })
  isError(t, await ask(t, port, get()), 'SLUICE_NO_BACKEND')
})
