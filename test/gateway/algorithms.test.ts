/**
 * Algorithms that look at load or at the request, over real sockets.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, type Backend } from '../helpers/gateway.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'

const ascending = (a: number, b: number): number => a - b

async function three(t: Test): Promise<Backend[]> {
  return Promise.all([1, 2, 3].map(async () => backend(t)))
}

/** How many of `times` requests each backend got. */
async function shares(
  t: Test,
  backends: readonly Backend[],
  port: number,
  requests: readonly string[],
): Promise<number[]> {
  const before = backends.map(({ requests: seen }) => seen.length)
  await inTurn(requests, async (request) => ask(t, port, request))
  return backends.map(({ requests: seen }, index) => seen.length - (before[index] ?? 0))
}

void test('LB-05 least-connections: while one backend holds a request, the others get all', async (t) => {
  const held: Array<() => void> = []
  const both = await Promise.all(
    [1, 2].map(async () =>
      backend(t, (request, response) => {
        if (request.url === '/long') held.push(() => response.end('at last'))
        else response.end('ok')
      }),
    ),
  )
  const { port } = await gatewayTo(t, both, { algorithm: 'least-connections' })
  const client = await RawClient.open(t, port)
  client.send(get('/long'))
  await Promise.race(both.map(async (each) => each.request(0)))
  const counts = await shares(
    t,
    both,
    port,
    Array.from({ length: 10 }, () => get('/short')),
  )
  t.same(counts.toSorted(ascending), [0, 10])
  for (const answer of held) answer()
  t.equal((await client.answer()).body.toString(), 'at last')
})

const KEYS = {
  path: { key: { path: true }, of: (n: number) => get(`/item/${n}?page=1`) },
  header: { key: { header: 'X-User' }, of: (n: number) => get('/', [`X-User: user-${n}`]) },
  cookie: { key: { cookie: 'session' }, of: (n: number) => get('/', [`Cookie: theme=dark; session=s${n}`]) },
  query: { key: { query: 'id' }, of: (n: number) => get(`/?a=1&id=${n}`) },
} as const

for (const [name, { key, of }] of Object.entries(KEYS)) {
  void test(`LB-06 consistent-hash by ${name}: one key, one backend; many keys, all of them`, async (t) => {
    const backends = await three(t)
    const { port } = await gatewayTo(t, backends, { algorithm: { type: 'consistent-hash', key } })
    const same = await shares(
      t,
      backends,
      port,
      Array.from({ length: 10 }, () => of(7)),
    )
    t.same(same.toSorted(ascending), [0, 0, 10])
    const many = await shares(
      t,
      backends,
      port,
      Array.from({ length: 60 }, (_, n) => of(n)),
    )
    t.ok(
      many.every((count) => count > 0),
      many.join(' '),
    )
  })
}

const BY_IP = { algorithm: { type: 'consistent-hash', key: { ip: true } } } as const
const forwarded = (n: number): string => get('/', [`X-Forwarded-For: 192.0.2.${n}`])

void test('LB-08 consistent-hash by address, behind a trusted proxy: the address of the client', async (t) => {
  const backends = await three(t)
  const { port } = await gatewayTo(t, backends, BY_IP, { listen: { trustedProxies: ['127.0.0.1'] } })
  const same = await shares(
    t,
    backends,
    port,
    Array.from({ length: 10 }, () => forwarded(7)),
  )
  t.same(same.toSorted(ascending), [0, 0, 10])
  const many = await shares(
    t,
    backends,
    port,
    Array.from({ length: 60 }, (_, n) => forwarded(n)),
  )
  t.ok(
    many.every((count) => count > 0),
    many.join(' '),
  )
})

void test('FW-11 consistent-hash by address: what an untrusted client claims to be changes nothing', async (t) => {
  const backends = await three(t)
  const { port } = await gatewayTo(t, backends, BY_IP)
  const counts = await shares(
    t,
    backends,
    port,
    Array.from({ length: 100 }, (_, n) => forwarded(n)),
  )
  t.same(counts.toSorted(ascending), [0, 0, 100])
})

void test('the algorithm of a pool changes while it runs, by one call', async (t) => {
  const backends = await three(t)
  const { app, port } = await gatewayTo(t, backends, { algorithm: 'round-robin' })
  t.same(
    await shares(
      t,
      backends,
      port,
      Array.from({ length: 9 }, () => get()),
    ),
    [3, 3, 3],
  )
  const deps = { clock: { now: () => performance.now(), schedule: () => () => undefined }, random: Math.random }
  app.snapshot.pools
    .get('web')
    ?.pool.setAlgorithm(app.algorithms.create('consistent-hash', { key: { path: true } }, deps))
  const counts = await shares(
    t,
    backends,
    port,
    Array.from({ length: 9 }, () => get('/same')),
  )
  t.same(counts.toSorted(ascending), [0, 0, 9])
})
