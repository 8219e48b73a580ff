/**
 * Another attempt: when it is made, where it goes, and when it is not made.
 */
import type { Socket } from 'node:net'

import { test, type Test } from 'tap'

import type { PoolConfig } from '../../src/index.ts'
import {
  startGateway,
  type Gateway,
  backend,
  closedPort,
  gatewayTo,
  isError,
  sha256,
  totals,
  type Backend,
  type Handler,
} from '../helpers/gateway.ts'
import { ask, get, inTurn, RawClient, rawBackend } from '../helpers/raw.ts'

const NO_WAIT = { base: 0, max: 0 }

const failing =
  (status: number, fields: Record<string, string> = {}): Handler =>
  (request, response) => {
    request.resume()
    request.on('end', () => response.writeHead(status, fields).end(`failed with ${status}`))
  }

const resetting: Handler = (request) => {
  request.resume()
  request.on('end', () => request.socket.resetAndDestroy())
}

/** A gateway whose pool always picks the first backend that may be picked. */
async function toFirst(t: Test, backends: readonly string[], pool: Omit<PoolConfig, 'backends'>): Promise<Gateway> {
  // What a pool thinks of backends that fail again and again is not the subject here.
  const unwatched = { breaker: false, health: { passive: false } } as const
  return startGateway(t, { pools: { web: { algorithm: 'first', ...unwatched, ...pool, backends } } }, (app) =>
    app.algorithms.register('first', () => ({ pick: (candidates) => candidates.reduce((first) => first) })),
  )
}

async function two(t: Test, first: Handler, pool: Omit<PoolConfig, 'backends'> = {}): ReturnType<typeof set> {
  return set(t, [first, undefined], pool)
}

async function set(t: Test, handlers: ReadonlyArray<Handler | undefined>, pool: Omit<PoolConfig, 'backends'>) {
  const backends: Backend[] = []
  await inTurn(handlers, async (handler) => backends.push(await backend(t, handler)))
  const gateway = await toFirst(
    t,
    backends.map(({ url }) => url),
    pool,
  )
  return { backends, gateway, port: gateway.port, delivered: () => backends.map(({ requests }) => requests.length) }
}

const withBody = (method: string, body: string): string =>
  `${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`

void test('RT-02 RT-11: a reset before the first byte, and 502, 503, 504: a GET goes to another backend', async (t) => {
  await inTurn([resetting, failing(502), failing(503), failing(504)], async (first) => {
    const { gateway, port, delivered } = await two(t, first)
    const answer = await ask(t, port, get())
    t.equal(answer.status, 200)
    t.equal(answer.body.toString(), 'ok')
    t.same(delivered(), [1, 1])
    t.match(totals(gateway), { inFlight: 0, requests: 2, failures: 1 })
  })
})

void test('every attempt is in the log', async (t) => {
  const { gateway, port, backends } = await two(t, failing(503))
  await ask(t, port, get())
  t.match(await gateway.line(() => true), {
    level: 'info',
    status: 200,
    attempts: 2,
    tries: [
      { backend: `127.0.0.1:${backends[0]?.port}`, outcome: 503, ms: Number },
      { backend: `127.0.0.1:${backends[1]?.port}`, outcome: 200, ms: Number },
    ],
  })
  t.notOk('code' in (gateway.lines[0] ?? {}), 'and no failure, for in the end there was none')
})

void test('idempotent methods are repeated, others are not', async (t) => {
  await inTurn(
    ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY'],
    async (method) => {
      const { port, delivered } = await two(t, resetting)
      t.equal((await ask(t, port, `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`, method)).status, 200, method)
      t.same(delivered(), [1, 1], method)
    },
  )
  await inTurn(['POST', 'PATCH', 'LOCK', 'MKCOL', 'PURGE'], async (method) => {
    const { port, delivered } = await two(t, resetting)
    isError(t, await ask(t, port, withBody(method, 'x')), 'SLUICE_RESET')
    t.same(delivered(), [1, 0], method)
  })
  const { port, delivered } = await two(t, failing(503))
  t.equal((await ask(t, port, withBody('POST', 'x'))).body.toString(), 'failed with 503', 'the answer of the backend')
  t.same(delivered(), [1, 0])
})

void test('what was not sent may go elsewhere whatever its method', async (t) => {
  const server = await backend(t)
  const { port } = await toFirst(t, [`http://127.0.0.1:${await closedPort()}`, server.url], {})
  t.equal((await ask(t, port, withBody('POST', 'precious'))).status, 200)
  t.equal(server.requests[0]?.body().toString(), 'precious')
})

void test('a body is sent again as long as it was kept whole', async (t) => {
  const small = 's'.repeat(1000)
  const pool = { retry: { bufferBody: 1000 } }
  const kept = await two(t, resetting, pool)
  t.equal((await ask(t, kept.port, withBody('PUT', small))).status, 200)
  t.same(
    kept.backends.map(({ requests }) => requests[0]?.body().toString()),
    [small, small],
  )
  const chunked = `PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n`
  const again = await two(t, failing(503), pool)
  t.equal((await ask(t, again.port, chunked)).status, 200)
  t.same(
    again.backends.map(({ requests }) => requests[0]?.body().toString()),
    ['abcdefg', 'abcdefg'],
  )
  const large = await two(t, resetting, pool)
  isError(t, await ask(t, large.port, withBody('PUT', `${small}!`)), 'SLUICE_RESET')
  t.same(large.delivered(), [1, 0], 'one byte more than is kept')
})

void test('a body that is still coming goes on to the next backend, whole', async (t) => {
  const first = await rawBackend(t, {
    // Answers as soon as it has the head, and takes nothing of the body.
    onRequest: ({ socket }) => {
      socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n')
    },
  })
  const second = await backend(t)
  const { port } = await toFirst(t, [first.url, second.url], { retry: { bufferBody: '1MiB' } })
  const client = await RawClient.open(t, port)
  const body = Buffer.alloc(200_000, 'abcdefghij')
  client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`)
  client.send(body.subarray(0, 50_000))
  await second.request(0)
  client.send(body.subarray(50_000))
  t.equal((await client.answer()).status, 200)
  t.equal(second.requests[0]?.sha256(), sha256(body))
})

void test('RT-04: never more than `attempts` in all, on the backends in turn', async (t) => {
  const { port, delivered } = await set(t, [failing(503), failing(503), failing(503), failing(503)], {
    retry: { attempts: 3, backoff: NO_WAIT },
  })
  t.equal((await ask(t, port, get())).body.toString(), 'failed with 503')
  t.same(delivered(), [1, 1, 1, 0])
  const off = await two(t, failing(503), { retry: { attempts: 1 } })
  t.equal((await ask(t, off.port, get())).status, 503)
  t.same(off.delivered(), [1, 0], 'switched off')
})

void test('the same backend again only when there is no other, and only for what may pass', async (t) => {
  let requests = 0
  const server = await backend(t, (request, response) => {
    requests++
    if (requests === 1) request.socket.resetAndDestroy()
    else response.end('recovered')
  })
  const alone = await gatewayTo(t, [server])
  t.equal((await ask(t, alone.port, get())).body.toString(), 'recovered')
  const busy = await backend(t, failing(503))
  const answering = await gatewayTo(t, [busy])
  t.equal((await ask(t, answering.port, get())).status, 503)
  t.equal(busy.requests.length, 1, 'who has answered is not asked again')
  const three = await set(t, [resetting, resetting, undefined], { retry: { attempts: 4, backoff: NO_WAIT } })
  t.equal((await ask(t, three.port, get())).status, 200)
  t.same(three.delivered(), [1, 1, 1], 'each other one first')
})

void test('Retry-After: who says when to come back is not asked before, and the client is told', async (t) => {
  const { port, delivered } = await set(
    t,
    [failing(503, { 'retry-after': '7' }), failing(503, { 'retry-after': '9' })],
    {
      retry: { attempts: 5, backoff: NO_WAIT },
    },
  )
  const answer = await ask(t, port, get())
  t.match(answer, { status: 503, fields: [] })
  t.match(answer.head, /\r\nretry-after: 9/i)
  t.same(delivered(), [1, 1])
})

void test('statuses that are not asked for are passed on, and 4xx always but 429', async (t) => {
  await inTurn([400, 404, 408, 425, 500, 501, 505, 507], async (status) => {
    const { port, delivered } = await two(t, failing(status))
    t.equal((await ask(t, port, get())).status, status)
    t.same(delivered(), [1, 0], String(status))
  })
  const wider = { retry: { on: [429, 500, 'timeout'] } } as const
  await inTurn([429, 500], async (status) => {
    const { port, gateway } = await two(t, failing(status), wider)
    t.equal((await ask(t, port, get())).status, 200)
    t.match(totals(gateway), { failures: status === 429 ? 0 : 1 }, 'a client that asks too much is no failure')
  })
  const narrow = await two(t, resetting, wider)
  isError(t, await ask(t, narrow.port, get()), 'SLUICE_RESET')
  const slow = await two(t, () => undefined, { ...wider, timeouts: { headers: 50 } })
  t.equal((await ask(t, slow.port, get())).status, 200, 'timeout')
})

void test('a large answer that is not passed on is dropped, with its connection', async (t) => {
  const { port, backends, gateway } = await two(t, (_request, response) => {
    response.writeHead(503)
    response.write(Buffer.alloc(1_000_000))
  })
  t.equal((await ask(t, port, get())).body.toString(), 'ok')
  await backends[0]?.openAtMost(0)
  t.match(totals(gateway), { inFlight: 0 })
})

void test('never after the first byte has reached the client', async (t) => {
  const { port, delivered } = await two(t, (request, response) => {
    response.writeHead(200, { 'content-length': 10 })
    response.write('begun')
    setImmediate(() => request.socket.resetAndDestroy())
  })
  const client = await RawClient.open(t, port)
  client.send(get())
  await client.end()
  t.same(delivered(), [1, 0])
})

void test('a client that leaves while another attempt waits: none is made, and nothing stays', async (t) => {
  const { gateway, backends, delivered } = await two(t, resetting, { retry: { backoff: { base: '10s', max: '10s' } } })
  const client = await RawClient.open(t, gateway.port)
  client.send(get())
  await (
    await backends[0]?.request(0)
  )?.over
  client.socket.destroy()
  t.match(await gateway.line(() => true), { outcome: 'aborted', attempts: 1 })
  t.same(delivered(), [1, 0])
})

void test('no wait beyond the time for the whole request', async (t) => {
  const { port, delivered } = await two(t, resetting, {
    timeouts: { total: 400 },
    retry: { backoff: { base: '10m', max: '10m' } },
  })
  isError(t, await ask(t, port, get()), 'SLUICE_RESET')
  t.same(delivered(), [1, 0])
})

void test('RT-10: when every backend fails, retries stay within their share of the requests', async (t) => {
  const { port, backends, gateway } = await set(t, [failing(503), failing(503), failing(503)], {
    retry: { backoff: { base: 1, max: 1 }, budget: { ratio: 0.2, minimum: 1 } },
  })
  const requests = 2000
  await inTurn(Array.from({ length: requests / 50 }), async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, async () => ask(t, port, get())))
    t.ok(answers.every(({ status }) => status === 503))
  })
  const delivered = backends.reduce((sum, each) => sum + each.requests.length, 0)
  t.ok(delivered > requests, 'some are repeated')
  t.ok(delivered <= requests * 1.2, `${delivered} deliveries of ${requests} requests`)
  t.match(totals(gateway), { inFlight: 0 })
})

void test('a spent budget: an answer is passed on at once, a failure waits for room', async (t) => {
  const none = { retry: { budget: { ratio: 0, minimum: 0 }, backoff: { base: 1, max: 1 } } }
  const answered = await two(t, failing(503), none)
  t.equal((await ask(t, answered.port, get())).status, 503)
  t.same(answered.delivered(), [1, 0])
  const failed = await two(t, resetting, none)
  isError(t, await ask(t, failed.port, get()), 'SLUICE_RESET')
  t.same(failed.delivered(), [1, 0])
  const unsent = await backend(t)
  const gateway = await toFirst(t, [`http://127.0.0.1:${await closedPort()}`, unsent.url], none)
  t.equal((await ask(t, gateway.port, get())).status, 200, 'what was not sent needs no budget')
})

void test('LB-14: one of three backends dies in mid-traffic: no GET fails, the others share the rest', async (t) => {
  const held: Socket[] = []
  const dying: Handler = ({ socket }) => {
    held.push(socket)
    // Of 60 at once, 20 hang here when it dies.
    if (held.length === 20) for (const each of held) each.resetAndDestroy()
  }
  const { port, delivered, gateway } = await set(t, [undefined, undefined, dying], {
    algorithm: 'round-robin',
    // How long one may wait for its turn; this machine may be busy.
    retry: { backoff: { base: 25, max: '10s' } },
  })
  const answers = await Promise.all(Array.from({ length: 60 }, async () => ask(t, port, get())))
  t.ok(answers.every(({ status }) => status === 200))
  t.same(
    delivered().map((count) => count >= 20 && count <= 40),
    [true, true, true],
    `delivered ${delivered().join(', ')}`,
  )
  t.match(totals(gateway), { inFlight: 0, failures: 20 })
})
