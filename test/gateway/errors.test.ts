/**
 * Every error of the gateway by a real cause: its code, its status, its form, and nothing about what lies behind.
 */
import { test, type Test } from 'tap'

import { blackHole } from '../helpers/black-hole.ts'
import { backend, closedPort, gatewayTo, isError, startGateway, totals } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, rawBackend, RawClient, valuesOf, type RawBackend } from '../helpers/raw.ts'

/** A backend that reads requests and says nothing. */
async function silent(t: Test): Promise<RawBackend> {
  return rawBackend(t, {})
}

void test('SLUICE_NO_ROUTE', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/a/*', pool: 'web' }],
  })
  isError(t, await ask(t, port, get('/b')), 'SLUICE_NO_ROUTE', [server.port])
  const post = 'POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody'
  isError(t, await ask(t, port, post), 'SLUICE_NO_ROUTE', [server.port], 'with a body')
})

void test('a refusal costs the client its connection only where its body was not read', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/a/*', pool: 'web' }],
  })
  const client = await RawClient.open(t, port)
  await inTurn([1, 2, 3], async () => {
    client.send(get('/b'))
    const answer = await client.answer()
    t.equal(answer.status, 404)
    t.notMatch(valuesOf(answer, 'connection'), ['close'])
  })
})

void test('SLUICE_NO_BACKEND when all weights are 0', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, { pools: { web: { backends: [{ url: server.url, weight: 0 }] } } })
  isError(t, await ask(t, port, get()), 'SLUICE_NO_BACKEND', [server.port])
  t.equal(server.connections(), 0)
})

void test('SLUICE_QUEUE_FULL and SLUICE_QUEUE_TIMEOUT', async (t) => {
  const server = await silent(t)
  const gateway = await gatewayTo(t, [server], { connections: { max: 1, pending: 1, queue: 200 } })
  const [first, second] = [await RawClient.open(t, gateway.port), await RawClient.open(t, gateway.port)]
  first.send(get())
  await (await server.connection(0)).inbox.until(() => server.heads[0])
  second.send(get('/waits'))
  const waiting = second.answer()
  while (totals(gateway).requests < 2) {
    // oxlint-disable-next-line no-await-in-loop -- the pool tells nobody
    await new Promise((resolve) => setImmediate(resolve))
  }
  isError(t, await ask(t, gateway.port, get('/full')), 'SLUICE_QUEUE_FULL', [server.port])
  isError(t, await waiting, 'SLUICE_QUEUE_TIMEOUT', [server.port])
  t.match(totals(gateway), { inFlight: 1, failures: 0 }, 'no fault of the backend')
  t.equal(server.heads.length, 1)
})

void test('a place in the queue is taken as soon as a connection is free', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      if (!head.startsWith('GET /first')) connection.send(ok('next'))
    },
  })
  const gateway = await gatewayTo(t, [server], { connections: { max: 1, pending: 10, queue: '20s' } })
  const first = await RawClient.open(t, gateway.port)
  first.send(get('/first'))
  const connection = await server.connection(0)
  await connection.inbox.until(() => server.heads[0])
  const others = [1, 2, 3].map(async () => ask(t, gateway.port, get('/next')))
  connection.send(ok('first'))
  t.equal((await first.answer()).body.toString(), 'first')
  t.same(
    (await Promise.all(others)).map(({ status }) => status),
    [200, 200, 200],
  )
  t.equal(server.accepted.length, 1)
})

void test('SLUICE_HEADERS_TIMEOUT, TO-06 also when the head comes drop by drop', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      if (!head.startsWith('GET /drops')) return
      const timer = setInterval(() => connection.send('x'), 20)
      connection.send('HTTP/1.1 200 OK\r\nX: ')
      connection.socket.on('close', () => clearInterval(timer))
    },
  })
  const gateway = await gatewayTo(t, [server], { timeouts: { headers: 200 } })
  isError(t, await ask(t, gateway.port, get('/silence')), 'SLUICE_HEADERS_TIMEOUT', [server.port])
  isError(t, await ask(t, gateway.port, get('/drops')), 'SLUICE_HEADERS_TIMEOUT', [server.port], 'drop by drop')
  const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody'
  isError(t, await ask(t, gateway.port, post), 'SLUICE_HEADERS_TIMEOUT', [server.port], 'POST')
  t.match(totals(gateway), { inFlight: 0, failures: 3 })
})

void test('SLUICE_TOTAL_TIMEOUT', async (t) => {
  const server = await silent(t)
  const gateway = await gatewayTo(t, [server], { timeouts: { headers: '10s', total: 200 } })
  isError(t, await ask(t, gateway.port, get()), 'SLUICE_TOTAL_TIMEOUT', [server.port])
  t.match(totals(gateway), { inFlight: 0 })
})

void test('timeouts.total does not cut an answer that has begun', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf')
      setTimeout(() => connection.send('half'), 300)
    },
  })
  const { port } = await gatewayTo(t, [server], { timeouts: { total: 100 } })
  t.equal((await ask(t, port, get())).body.toString(), 'halfhalf')
})

void test('SLUICE_CONNECT_TIMEOUT, and TO-11 others are not held up', async (t) => {
  const hole = await blackHole(t)
  const server = await backend(t)
  const alone = await gatewayTo(t, [`http://127.0.0.1:${hole}`], { timeouts: { connect: 200 } })
  isError(t, await ask(t, alone.port, get()), 'SLUICE_CONNECT_TIMEOUT', [hole])
  t.match(totals(alone), { inFlight: 0, requests: 1, failures: 1 })
  const both = await gatewayTo(t, [`http://127.0.0.1:${hole}`, server], { timeouts: { connect: 200 } })
  const answers = await Promise.all(Array.from({ length: 20 }, async () => ask(t, both.port, get())))
  t.ok(
    answers.every(({ status }) => status === 200),
    'the other backend is tried',
  )
})

void test('a connection that is never made is bounded by timeouts.total too', async (t) => {
  const hole = await blackHole(t)
  const gateway = await gatewayTo(t, [`http://127.0.0.1:${hole}`], { timeouts: { connect: '15s', total: 200 } })
  isError(t, await ask(t, gateway.port, get()), 'SLUICE_TOTAL_TIMEOUT', [hole])
  t.match(totals(gateway), { inFlight: 0 })
})

void test('BF-30 nothing of a refused answer is kept in the error', async (t) => {
  const server = await answering(
    t,
    'HTTP/1.1 200 OK\r\nETag: "x"\r\nSet-Cookie: a=b\r\nServer: secret\r\nbad line\r\n\r\n',
  )
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, get('/secret/path'))
  isError(t, answer, 'SLUICE_BAD_RESPONSE', [server.port])
  t.notMatch(answer.head + answer.body.toString(), /etag|set-cookie|secret/i)
})

void test('errors of HEAD requests have no body and leave the connection usable', async (t) => {
  const dead = await closedPort()
  const { port } = await gatewayTo(t, [`http://127.0.0.1:${dead}`])
  const client = await RawClient.open(t, port)
  client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal((await client.answer('HEAD')).status, 502)
  client.send(get())
  isError(t, await client.answer(), 'SLUICE_CONNECT_FAILED', [dead])
})

void test('a refusal keeps the connection where nothing is left to read on it', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/web/*', pool: 'web' }],
  })
  const client = await RawClient.open(t, gateway.port)
  const empty = 'POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'
  client.send(`${empty}${empty}${get('/web/a')}`)
  t.equal((await client.answer()).status, 404)
  t.equal((await client.answer()).status, 404)
  t.equal((await client.answer()).status, 200)
  client.send('POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n')
  t.equal((await client.answer()).status, 404)
  await client.end()
})
