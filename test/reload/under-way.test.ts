/**
 * What is under way while the configuration changes: it ends as it would have, its backend is told of by the right
 * counters, and what needs another attempt finds one among those who are there now.
 */
import type { ServerResponse } from 'node:http'

import { test, type Test } from 'tap'

import type { Config, PoolConfig } from '../../src/index.ts'
import { backend, closedPort, type Backend } from '../helpers/gateway.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'
import { membersOf, startChangeable, until, type Changeable } from '../helpers/changing.ts'

/** A backend that answers when it is told to; what has come and has no answer yet is in `held`. */
async function holding(t: Test, name: string): Promise<Backend & { readonly held: ServerResponse[] }> {
  const held: ServerResponse[] = []
  const server = await backend(t, (request, response) => {
    if (request.url === '/now') response.end(name)
    else {
      held.push(response)
      response.on('close', () => void held.splice(held.indexOf(response), 1))
    }
  })
  return Object.assign(server, { held })
}

const NO_RETRY = { attempts: 1 }
const PATIENT = { drain: '5m' }
const OTHER: PoolConfig = { backends: ['http://127.0.0.1:9'] }

function web(pool: PoolConfig, rest: Omit<Config, 'pools'> = {}): Config {
  return {
    reload: PATIENT,
    ...rest,
    pools: { web: pool, other: OTHER },
    routes: rest.routes ?? [{ path: '/*', pool: 'web' }],
  }
}

/** Sends requests that stay under way. */
async function send(t: Test, port: number, count: number, bytes = get('/held')): Promise<RawClient[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const client = await RawClient.open(t, port)
      client.send(bytes)
      return client
    }),
  )
}

async function allEnded({ app }: Changeable, pool: string): Promise<void> {
  const sums = (): number[] => membersOf(app, pool).map(({ inFlight, waiting }) => inFlight + waiting)
  await until(
    () => sums().every((sum) => sum === 0),
    () => `in flight: ${sums().join()}`,
  )
}

void test('RD-05: a request ends as it would have, although its route and its pool are gone', async (t) => {
  const server = await holding(t, 'a')
  const gateway = await startChangeable(t, web({ backends: [server.url] }))
  const [client] = await send(t, gateway.port, 1)
  await server.request(0)
  const [member] = membersOf(gateway.app, 'web')
  t.equal(
    await gateway.put({ reload: PATIENT, pools: { other: OTHER }, routes: [{ path: '/other', pool: 'other' }] }),
    200,
  )
  t.equal((await ask(t, gateway.port, get('/now'))).status, 404, 'whoever comes now is too late')
  t.equal(server.held.length, 1, 'it is still there')
  server.held[0]?.end('late, and whole')
  t.match(await client?.answer(), { status: 200, body: Buffer.from('late, and whole'), complete: true })
  await server.openAtMost(0)
  t.match(member, { inFlight: 0, waiting: 0, requests: 1, failures: 0 })
})

void test('RD-03: a download and an upload end as they would have, whatever changes about their pool', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.method === 'GET') response.writeHead(200, { 'content-length': 10 }).write('first')
    else request.on('end', () => response.end('got it'))
    if (request.method === 'GET') request.socket.once('finish-it', () => response.end('later'))
    finish.push(() => request.socket.emit('finish-it'))
  })
  const finish: Array<() => void> = []
  const pool = (n: number): Config =>
    web({
      backends: n < 3 ? [{ url: server.url, weight: n + 1 }] : OTHER.backends,
      algorithm: n % 2 === 0 ? 'random' : 'peak-ewma',
      connections: { max: n + 1 },
      timeouts: { body: `${n + 20}s`, headers: `${n + 20}s` },
      retry: { attempts: n + 1, bufferBody: n },
      maxBodySize: n === 0 ? 0 : 1,
      breaker: n % 2 === 0 && {},
    })
  const gateway = await startChangeable(t, { ...pool(0), pools: { ...pool(0).pools, web: { backends: [server.url] } } })
  const [download, upload] = [await RawClient.open(t, gateway.port), await RawClient.open(t, gateway.port)]
  download.send(get())
  upload.send('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst')
  await download.inbox.until(() => download.inbox.text.includes('first') || undefined)
  await server.request(1)
  await inTurn([0, 1, 2, 3], async (n) => t.equal(await gateway.put(pool(n)), 200))
  for (const each of finish) each()
  upload.send('later')
  t.match(await download.answer(), { status: 200, body: Buffer.from('firstlater'), complete: true })
  t.match(await upload.answer(), { status: 200, body: Buffer.from('got it'), complete: true })
  t.same(
    server.requests
      .find(({ method }) => method === 'PUT')
      ?.body()
      .toString(),
    'firstlater',
  )
  await server.openAtMost(0)
})

void test('RD-05: a retry of a request whose route and pool are gone is made as it would have been', async (t) => {
  const [first, second] = [await holding(t, 'a'), await holding(t, 'b')]
  const pool = { backends: [first.url, second.url], retry: { on: [503] as const, attempts: 2 } }
  const gateway = await startChangeable(t, web(pool))
  const [client] = await send(t, gateway.port, 1)
  await until(
    () => first.held.length + second.held.length === 1,
    () => 'the first attempt',
  )
  t.equal(
    await gateway.put({ reload: PATIENT, pools: { other: OTHER }, routes: [{ path: '/other', pool: 'other' }] }),
    200,
  )
  const [failing, other] = first.held.length === 1 ? [first, second] : [second, first]
  failing.held[0]?.writeHead(503).end()
  await other.request(0)
  other.held[0]?.end('from the other')
  t.match(await client?.answer(), { status: 200, body: Buffer.from('from the other') })
  await Promise.all([first.openAtMost(0), second.openAtMost(0)])
})

void test('KP-12: a backend that was taken out keeps what it has until its time to end is over, and no longer', async (t) => {
  const [gone, stays] = [await holding(t, 'gone'), await holding(t, 'stays')]
  const gateway = await startChangeable(
    t,
    web({ backends: [gone.url, stays.url], algorithm: 'round-robin', retry: NO_RETRY }),
  )
  const clients = await send(t, gateway.port, 6)
  await Promise.all([gone.request(2), stays.request(2)])
  await inTurn(Array.from({ length: 4 }), async () => ask(t, gateway.port, get('/now')))
  const members = membersOf(gateway.app, 'web')
  t.equal(await gateway.put(web({ backends: [stays.url], algorithm: 'round-robin', retry: NO_RETRY })), 200)
  await gone.openAtMost(3)
  t.equal(gone.held.length, 3, 'what is under way stays, what is idle goes')
  gone.held[0]?.end('late')
  await gone.openAtMost(2)
  // Those that are there already have been promised their time.
  t.equal(await gateway.put(web({ backends: [stays.url], retry: NO_RETRY }, { reload: { drain: '1ms' } })), 200)
  t.equal((await ask(t, gateway.port, get('/now'))).status, 200)
  t.equal(gone.open(), 2)
  for (const response of [...gone.held, ...stays.held]) response.end('late')
  const answers = await Promise.all(clients.map(async (client) => client.answer()))
  t.same(
    answers.map(({ status, complete }) => status === 200 && complete),
    Array.from({ length: 6 }, () => true),
  )
  await gone.openAtMost(0)
  t.same(
    members.map(({ inFlight, waiting }) => inFlight + waiting),
    [0, 0],
  )
})

void test('KP-12: what hangs at a backend that was taken out is ended when its time is over, and tried elsewhere', async (t) => {
  const gone = await holding(t, 'gone')
  const stays = await backend(t)
  const reload = { drain: '20ms' }
  const retry = { budget: { minimum: 100 } }
  const pool = (url: string): Config =>
    web({ backends: [url], connections: { max: 2, queue: '1h' }, retry }, { reload })
  const gateway = await startChangeable(t, pool(gone.url))
  const clients = await send(t, gateway.port, 6)
  await gone.request(1)
  const [member] = membersOf(gateway.app, 'web')
  await until(
    () => member?.inFlight === 6,
    () => 'two at it, four before it',
  )
  t.equal(await gateway.put(pool(stays.url)), 200)
  const answers = await Promise.all(clients.map(async (client) => client.answer()))
  t.same(
    answers.map(({ body }) => body.toString()),
    Array.from({ length: 6 }, () => 'ok'),
  )
  await gone.openAtMost(0)
  t.equal(gone.connections(), 2, 'no other connection was made')
  t.match(member, { inFlight: 0, waiting: 0 })
  await allEnded(gateway, 'web')
})

void test('KP-12: what hangs in a pool that is gone is ended when its time is over, and no backend of it is asked again', async (t) => {
  const servers = [await holding(t, 'a'), await holding(t, 'b')]
  const reload = { drain: '20ms' }
  const gateway = await startChangeable(
    t,
    web({ backends: servers.map(({ url }) => url), retry: { attempts: 10 } }, { reload }),
  )
  const clients = await send(t, gateway.port, 6)
  await Promise.all(servers.map(async (server) => server.request(2)))
  t.equal(await gateway.put({ reload, pools: { other: OTHER } }), 200)
  const answers = await Promise.all(clients.map(async (client) => client.answer()))
  t.same(new Set(answers.map(({ status }) => status)), new Set([502]))
  await Promise.all(servers.map(async (server) => server.openAtMost(0)))
  t.same(
    servers.map((server) => server.requests.length),
    [3, 3],
  )
})

void test('RD-05: attempts that come late to a pool that is gone are ended with it', async (t) => {
  const servers = [await holding(t, 'a'), await holding(t, 'b')]
  const reload = { drain: '200ms' }
  const pool: PoolConfig = {
    backends: servers.map(({ url }) => url),
    algorithm: 'round-robin',
    retry: { on: [503], attempts: 2 },
  }
  const gateway = await startChangeable(t, web(pool, { reload }))
  const [client] = await send(t, gateway.port, 1)
  const held = (): ServerResponse | undefined => servers.flatMap((server) => server.held)[0]
  await until(
    () => held() !== undefined,
    () => 'the first attempt',
  )
  t.equal(await gateway.put({ reload, pools: { other: OTHER } }), 200)
  held()?.writeHead(503).end()
  t.match(await client?.answer(), { status: 502, body: /SLUICE_RESET/ })
  await Promise.all(servers.map(async (server) => server.openAtMost(0)))
})

void test('a request that waits between two attempts goes to a backend that is new', async (t) => {
  const port = await closedPort()
  const dead = `http://127.0.0.1:${port}`
  const fresh = await holding(t, 'fresh')
  const retry = { attempts: 10, budget: { minimum: 100 }, backoff: { base: '50ms', max: '50ms' } }
  const gateway = await startChangeable(t, web({ backends: [dead], retry, breaker: false }))
  const clients = await send(t, gateway.port, 20, get('/now'))
  await until(
    () => (membersOf(gateway.app, 'web')[0]?.requests ?? 0) >= 20,
    () => 'their first attempts',
  )
  t.equal(await gateway.put(web({ backends: [fresh.url], retry, breaker: false })), 200)
  const answers = await Promise.all(clients.map(async (client) => client.answer()))
  t.same(new Set(answers.map(({ status, body }) => `${status} ${body.toString()}`)), new Set(['200 fresh']))
  await allEnded(gateway, 'web')
})

void test('a request that waits to go elsewhere finds its way when elsewhere is gone', async (t) => {
  const servers = [await holding(t, 'a'), await holding(t, 'b')]
  const retry = { on: [503] as const, attempts: 3, backoff: { base: '50ms', max: '50ms' } }
  const gateway = await startChangeable(t, web({ backends: servers.map(({ url }) => url), retry }))
  const clients = await send(t, gateway.port, 3)
  await until(
    () => servers.flatMap(({ held }) => held).length === 3,
    () => 'three attempts',
  )
  for (const server of servers) for (const response of server.held) response.writeHead(503).end()
  // Each has failed at one, and waits to go to the other.
  await until(
    () => membersOf(gateway.app, 'web').every(({ inFlight }) => inFlight === 0),
    () => 'all to wait',
  )
  t.equal(await gateway.put(web({ backends: servers.slice(0, 1).map(({ url }) => url), retry })), 200)
  const done = Promise.all(clients.map(async (client) => client.answer()))
  await until(
    () => servers[0]?.held.length === 3,
    () => `${servers[0]?.held.length} there`,
  )
  for (const response of servers[0]?.held ?? []) response.end('well')
  t.same(
    (await done).map(({ status }) => status),
    [200, 200, 200],
  )
})

void test('a pool whose backends are all replaced at once serves at once, although none of them is checked yet', async (t) => {
  const [blue, green] = [await holding(t, 'blue'), await holding(t, 'green')]
  const health = { active: { path: '/now', interval: '1h' } }
  const gateway = await startChangeable(t, web({ backends: [blue.url], health }))
  t.equal((await ask(t, gateway.port, get('/now'))).body.toString(), 'blue')
  t.equal(await gateway.put(web({ backends: [green.url], health })), 200)
  const { status, body } = await ask(t, gateway.port, get('/now'))
  t.same([status, body.toString()], [200, 'green'])
})

void test('requests that wait for a connection get one as soon as there may be more', async (t) => {
  const server = await holding(t, 'a')
  const pool = (max: number): Config => web({ backends: [server.url], connections: { max, queue: '1h' } })
  const gateway = await startChangeable(t, pool(1))
  const clients = await send(t, gateway.port, 5)
  await until(
    () => membersOf(gateway.app, 'web')[0]?.inFlight === 5,
    () => 'five in flight',
  )
  t.equal(await gateway.put(pool(4)), 200)
  await server.request(3)
  t.equal(server.open(), 4)
  // And as many as there may be, no more.
  server.held[0]?.end('a')
  await server.request(4)
  t.equal(server.connections(), 4)
  for (const response of server.held) response.end('a')
  await Promise.all(clients.map(async (client) => t.equal((await client.answer()).status, 200)))
})

void test('a tunnel and a stream to a backend that is gone end with its time, not before', async (t) => {
  const server = await backend(t, (_request, response) => void response.writeHead(200).write('first'))
  const gateway = await startChangeable(t, web({ backends: [server.url] }))
  const [client] = await send(t, gateway.port, 1)
  await client?.inbox.until(() => client.inbox.text.includes('first') || undefined)
  const stays = await holding(t, 'stays')
  const reload = { drain: '10ms' }
  // The first two change nothing for it; the third takes its backend out.
  t.equal(await gateway.put(web({ backends: [server.url], algorithm: 'random' }, { reload })), 200)
  t.equal(await gateway.put(web({ backends: [{ url: server.url, weight: 0 }, stays.url] }, { reload })), 200)
  t.equal((await ask(t, gateway.port, get('/now'))).body.toString(), 'stays')
  t.equal(client?.inbox.ended, undefined)
  t.equal(await gateway.put(web({ backends: [stays.url] }, { reload })), 200)
  await client?.end()
  await server.openAtMost(0)
})

void test('RD-08: whoever asks sees the old or the new configuration, never a mix', async (t) => {
  const servers = [await holding(t, '0'), await holding(t, '1')]
  const config = (n: number): Config => ({
    reload: PATIENT,
    pools: { web: { backends: [servers[n]?.url ?? ''], hostHeader: `host-${n}` } },
    routes: [
      {
        path: '/*',
        pool: 'web',
        requestHeaders: { set: { 'x-rule': String(n) } },
        responseHeaders: { set: { 'x-rule': String(n) } },
        rewrite: { addPrefix: n === 0 ? '' : '/..'.slice(0, 0) },
      },
    ],
  })
  const gateway = await startChangeable(t, config(0))
  const mixed: string[] = []
  let asked = 0
  const over = new AbortController()
  const work = async (): Promise<void> => {
    const client = await RawClient.open(t, gateway.port)
    while (!over.signal.aborted) {
      client.send(get('/now'))
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { status, body, fields } = await client.answer()
      asked++
      const rule = fields.find(([name]) => name.toLowerCase() === 'x-rule')?.[1]
      if (status !== 200 || rule !== body.toString()) mixed.push(`${status} ${body.toString()} ${rule}`)
    }
  }
  const working = Promise.all(Array.from({ length: 8 }, work))
  await inTurn(Array.from({ length: 60 }), async (_, round) => {
    t.equal(await gateway.put(config((round + 1) % 2)), 200)
    const before = asked
    await until(
      () => asked > before + 10,
      () => 'more answers',
    )
  })
  over.abort()
  await working
  t.same(mixed, [])
  const wrong = servers.flatMap(({ requests }, n) =>
    requests.filter(({ headers }) => headers['x-rule'] !== String(n) || headers.host !== `host-${n}`),
  )
  t.equal(wrong.length, 0)
})

void test('RD-07: configurations that come at the same time take their turns, and the last one stays', async (t) => {
  const servers = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => holding(t, name)))
  const gateway = await startChangeable(t, web({ backends: [servers[0]?.url ?? ''] }))
  const first = gateway.app.configuration.inForce.hash
  const seen: string[] = []
  gateway.app.events.listen(({ what, from, to }) => {
    if (what === 'reload') seen.push(from, to)
  })
  const statuses = await Promise.all([
    ...servers.slice(1).map(async ({ url }) => gateway.put(web({ backends: [url] }))),
    gateway.put({ pools: {} }),
    gateway.put(web({ backends: servers.map(({ url }) => url) })),
  ])
  t.same(statuses, [200, 200, 200, 422, 200])
  const { hash } = gateway.app.configuration.inForce
  t.same(
    membersOf(gateway.app, 'web').map(({ url }) => url.port),
    servers.map(({ port }) => String(port)),
  )
  t.equal(seen.length, 10)
  t.same([seen[0], seen.at(-1)], [first, hash])
  t.same(
    seen.filter((_, at) => at % 2 === 0).slice(1),
    [seen[1], seen[3], seen[5], seen[5]],
    'each follows the one before',
  )
  t.ok(servers.every(({ url }) => url !== '') && (await gateway.status()).includes(`"hash":"${hash}"`))
})

void test('two that go back at the same time go back two, whatever came in between', async (t) => {
  const servers = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => holding(t, name)))
  const config = (n: number): Config => web({ backends: [servers[n]?.url ?? ''] })
  const gateway = await startChangeable(t, config(0))
  const { configuration } = gateway.app
  const hashes = [configuration.inForce.hash]
  await inTurn([1, 2], async (n) => {
    await gateway.put(config(n))
    hashes.push(configuration.inForce.hash)
  })
  const [candidate] = configuration.before
  if (candidate === undefined) throw new Error('nothing was kept')
  await Promise.all([configuration.replace('another', () => candidate), configuration.rollback('one')])
  t.same(
    [configuration.inForce.hash, ...configuration.before.map(({ hash }) => hash)],
    [hashes[2], hashes[0], hashes[1]],
  )
  await Promise.all([configuration.rollback('one'), configuration.rollback('two')])
  t.same([configuration.inForce.hash, configuration.before.length], [hashes[0], 0])
})

void test('going back when as many are kept as may be forgets none of those before', async (t) => {
  const servers = await Promise.all(['a', 'b', 'c'].map(async (name) => holding(t, name)))
  const config = (n: number): Config => web({ backends: [servers[n]?.url ?? ''] }, { reload: { keep: 2 } })
  const gateway = await startChangeable(t, config(0))
  const { configuration } = gateway.app
  const { hash } = configuration.inForce
  await inTurn([1, 2], async (n) => gateway.put(config(n)))
  await configuration.rollback('one')
  await configuration.rollback('two')
  t.same([configuration.inForce.hash, configuration.before.length], [hash, 0])
})

void test('the counts of who stays are what is really open, and decide who is next, over every change', async (t) => {
  const servers = await Promise.all(['a', 'b', 'c'].map(async (name) => holding(t, name)))
  const [a, b, c] = servers.map(({ url }) => url)
  const pools: PoolConfig[] = [
    { backends: [a ?? '', b ?? ''] },
    { backends: [a ?? '', b ?? '', c ?? ''] },
    { backends: [b ?? '', c ?? '', a ?? ''], algorithm: 'power-of-two' },
    {
      backends: [a ?? '', b ?? '', c ?? ''],
      algorithm: 'least-connections',
      health: { active: { path: '/now', interval: '1h' } },
    },
    { backends: [a ?? '', b ?? '', c ?? ''], breaker: {}, connections: { max: 1000 }, timeouts: { headers: '50s' } },
    { backends: [a ?? '', b ?? '', c ?? ''], breaker: false, retry: NO_RETRY },
  ]
  const gateway = await startChangeable(t, web(pools[0] ?? OTHER))
  const clients: RawClient[] = []
  const counts = (): string =>
    membersOf(gateway.app, 'web')
      .map(({ url, inFlight }) => `${servers.find(({ port }) => String(port) === url.port)?.held.length}=${inFlight}`)
      .join(' ')
  await inTurn([...pools, ...pools.slice(1)], async (pool, round) => {
    const before = counts()
    t.equal(await gateway.put(web(pool)), 200)
    if (round > 1) t.same(counts().split(' ').toSorted(), before.split(' ').toSorted())
    clients.push(...(await send(t, gateway.port, 6)))
    await until(
      () => servers.flatMap(({ held }) => held).length === clients.length,
      () => counts(),
    )
    t.match(counts(), /^(?:(\d+)=\1 ?)+$/, `round ${round}`)
  })
  const open = servers.map(({ held }) => held.length)
  t.ok(Math.max(...open) - Math.min(...open) <= 2, `${open.join()}: the load is even in the end`)
  for (const server of servers) for (const response of server.held) response.end('x')
  await Promise.all(clients.map(async (client) => t.equal((await client.answer()).status, 200)))
  await allEnded(gateway, 'web')
})

void test('HC-09: health, ejections and breakers stay as they are, with the same backends', async (t) => {
  const well = await holding(t, 'well')
  const ill = await backend(t, (_request, response) => void response.writeHead(500).end())
  const pool = (n: number): Config =>
    web({
      backends: [well.url, { url: ill.url, weight: 1 + (n % 3) }],
      algorithm: (['round-robin', 'least-connections', 'power-of-two'] as const)[n % 3] ?? 'random',
      health: {
        active: { path: '/now', interval: n % 2 === 0 ? '1h' : '2h' },
        passive: { window: 20, minimum: 5 + n, degrade: 0.2, eject: 0.3, ejection: '1h' },
      },
      breaker: { minimum: 4, open: '1h', maxOpen: '1h', window: '1h', failureRate: 0.5 + n / 100 },
      timeouts: { headers: `${10 + n}s` },
      retry: { attempts: 2, on: [500], budget: { minimum: 100 + n } },
    })
  const gateway = await startChangeable(t, pool(0))
  const standing = (): unknown => {
    const entry = gateway.app.snapshot.pools.get('web')
    const member = entry?.pool.members.find(({ url }) => url.port === String(ill.port))
    const of = member && entry?.standings.of(member)
    return { state: of?.state, breaker: of?.breaker?.state, evidence: of?.health.evidence, failures: member?.failures }
  }
  // At once: a breaker that opens first would keep the evidence from the other.
  const all = await Promise.all(Array.from({ length: 40 }, async () => ask(t, gateway.port, get('/now'))))
  t.same(new Set(all.map(({ status }) => status)), new Set([200]))
  const before = standing()
  t.match(before, { state: /unhealthy|degraded/, breaker: 'open' })
  const flips: string[] = []
  gateway.app.events.listen(({ what, to }) => {
    if (what !== 'reload') flips.push(`${what} ${to}`)
  })
  await inTurn(Array.from({ length: 12 }), async (_, n) => {
    t.equal(await gateway.put(pool(n)), 200)
    t.same(standing(), before, `round ${n}`)
    t.equal((await ask(t, gateway.port, get('/now'))).body.toString(), 'well')
  })
  t.same(flips, [])
})

void test('the status shows at once who is there now', async (t) => {
  const [a, b] = [await holding(t, 'a'), await holding(t, 'b')]
  const gateway = await startChangeable(t, web({ backends: [a.url] }))
  t.equal(
    await gateway.put({
      pools: { fresh: { backends: [{ url: b.url, id: 'new', weight: 7 }] }, web: { backends: [b.url] } },
      routes: [{ path: '/*', pool: 'web' }],
    }),
    200,
  )
  const { pools } = JSON.parse(await gateway.status())
  t.match(pools, { fresh: { backends: [{ id: 'new', url: b.url, weight: 7 }] }, web: { backends: [{ url: b.url }] } })
  t.same([Object.keys(pools).toSorted(), pools.web.backends.length], [['fresh', 'web'], 1])
})
