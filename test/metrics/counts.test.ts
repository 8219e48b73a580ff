/**
 * What is counted of requests and attempts: everything once, however it ended, and as the client saw it.
 */
import { connect as connectHttp2, constants, type ClientHttp2Stream } from 'node:http2'

import { test } from 'tap'

import { buildGateway } from '../../src/index.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { backend, closedPort } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, portOf, RawClient, rawBackend } from '../helpers/raw.ts'
import { ended, scrape, scraped } from '../helpers/metrics.ts'
import { CA, SERVER } from '../helpers/secure.ts'

void test('requests and attempts are counted as the client saw them', async (t) => {
  const one = await backend(t, (request, response) => {
    response.writeHead(Number(request.url?.slice(1))).end()
  })
  const all = await startWithAdmin(t, {
    config: { pools: { web: { backends: [one.url], retry: { attempts: 1 }, breaker: false } } },
  })
  const seen: Record<string, number> = {}
  const statuses = [200, 204, 301, 304, 400, 404, 404, 418, 500, 503, 599]
  await inTurn([...statuses, ...statuses], async (status, index) => {
    const method = index % 2 === 0 ? 'GET' : 'DELETE'
    const answer = await fetch(`http://127.0.0.1:${all.port}/${status}`, { method, redirect: 'manual' })
    const group = `${String(answer.status)[0]}xx`
    seen[group] = (seen[group] ?? 0) + 1
  })
  const found = await ended(all, 22)
  t.same(found.counts('sluice_requests_total', 'status', { route: '/*', pool: 'web' }), seen)
  t.same(found.counts('sluice_attempts_total', 'outcome', { pool: 'web', backend: `127.0.0.1:${one.port}` }), seen)
  t.equal(found.sum('sluice_request_duration_seconds_count', { route: '/*' }), 22)
  t.equal(found.sum('sluice_request_duration_seconds_bucket', { route: '/*', le: '+Inf' }), 22)
  t.equal(found.sum('sluice_attempt_duration_seconds_count', { pool: 'web' }), 22)
  const [request = 0, attempt = 0] = [
    found.sum('sluice_request_duration_seconds_sum'),
    found.sum('sluice_attempt_duration_seconds_sum'),
  ]
  t.ok(attempt > 0 && request >= attempt, 'an attempt takes no longer than its request')
  t.equal(found.sum('sluice_requests_total', { route: 'none' }), 0)
})

void test('a client that leaves is counted as aborted, and what it left in flight as over', async (t) => {
  const one = await backend(t, () => undefined)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const client = await RawClient.open(t, all.port)
  client.send(get('/'))
  await one.request(0)
  t.equal((await scrape(all)).sum('sluice_backend_in_flight', { pool: 'web' }), 1)
  client.socket.destroy()
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { aborted: 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { aborted: 1 })
  t.equal(found.sum('sluice_attempt_duration_seconds_count'), 0, 'no response headers came')
  t.equal(found.sum('sluice_request_duration_seconds_count', { route: '/*' }), 1)
  t.equal(found.sum('sluice_backend_in_flight'), 0)
})

void test('a client that leaves in the middle of its answer is counted as aborted', async (t) => {
  const one = await backend(t, (_request, response) => void response.write('a beginning'))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const client = await RawClient.open(t, all.port)
  client.send(get('/'))
  await client.inbox.until(() => (client.inbox.text.includes('a beginning') ? true : undefined))
  client.socket.destroy()
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { aborted: 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { '2xx': 1 }, 'the backend had answered')
})

void test('an answer that breaks off counts with its status, its attempt with what broke it', async (t) => {
  const one = await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', 'ends')
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const answer = await ask(t, all.port, get('/'))
  t.notOk(answer.complete)
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { '2xx': 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { reset: 1 })
  t.equal(found.sum('sluice_attempt_duration_seconds_count'), 1, 'its head had come')
})

void test('each attempt of a request that is retried is counted where it went, and why there was another', async (t) => {
  const [bad, good] = [await answering(t, 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n'), await backend(t)]
  const port = await closedPort()
  const backends = [
    { id: 'bad', url: bad.url },
    { id: 'closed', url: `http://127.0.0.1:${port}` },
    { id: 'good', url: good.url },
  ]
  const web = { backends, retry: { attempts: 3, backoff: { base: 1, max: 1 } }, health: { passive: false as const } }
  const all = await startWithAdmin(t, { config: { pools: { web } } })
  const requests = 6
  await inTurn(Array.from({ length: requests }), async () => {
    t.equal((await fetch(`http://127.0.0.1:${all.port}/`)).status, 200)
  })
  const found = await ended(all, requests)
  t.same(found.counts('sluice_requests_total', 'status'), { '2xx': requests })
  t.same(found.counts('sluice_attempts_total', 'outcome', { backend: 'good' }), { '2xx': requests })
  const [busy = 0, refused = 0] = [
    found.sum('sluice_attempts_total', { backend: 'bad', outcome: '5xx' }),
    found.sum('sluice_attempts_total', { backend: 'closed', outcome: 'refused' }),
  ]
  t.equal(busy, bad.heads.length)
  t.ok(busy > 0 && refused > 0)
  t.same(found.counts('sluice_retries_total', 'reason', { pool: 'web' }), { 503: busy, connect: refused })
  t.equal(found.sum('sluice_attempt_duration_seconds_count'), requests + busy, 'those with response headers')
})

void test('a budget without room for a retry is counted', async (t) => {
  const one = await answering(t, 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n')
  const two = await answering(t, 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n')
  const web = { backends: [one.url, two.url], retry: { budget: { ratio: 0, minimum: 0 } } }
  const all = await startWithAdmin(t, { config: { pools: { web } } })
  t.equal((await scrape(all)).sum('sluice_retry_budget_exhausted_total', { pool: 'web' }), 0)
  await inTurn([1, 2, 3], () => fetch(`http://127.0.0.1:${all.port}/`))
  const found = await ended(all, 3)
  t.equal(found.sum('sluice_retry_budget_exhausted_total', { pool: 'web' }), 3)
  t.equal(found.sum('sluice_retries_total') ?? 0, 0)
})

void test('what Sluice answers itself counts on the route that took it, or on none', async (t) => {
  const one = await backend(t)
  const pools = { web: { backends: [one.url], maxBodySize: 3 }, empty: { backends: [{ url: one.url, weight: 0 }] } }
  const routes = [
    { path: '/web/*', host: 'Shop.Example.com', pool: 'web' },
    { path: '/empty/:what', pool: 'empty' },
  ]
  const all = await startWithAdmin(t, { config: { pools, routes } })
  const shop = 'Host: shop.example.com\r\n'
  const status = async (bytes: string): Promise<number> => (await ask(t, all.port, bytes)).status
  t.equal(await status(`GET /web/a HTTP/1.1\r\n${shop}\r\n`), 200)
  t.equal(await status(`POST /web/a HTTP/1.1\r\n${shop}Content-Length: 9\r\n\r\n`), 413)
  t.equal(await status(get('/empty/a')), 503)
  t.equal(await status(get('/nowhere')), 404)
  t.equal(await status(get('/web/a')), 404, 'of another host')
  t.equal(await status(`OPTIONS http://me@shop.example.com/web/a HTTP/1.1\r\n${shop}\r\n`), 400)
  t.equal(await status('no request\r\n\r\n'), 400, 'which the parser refuses')
  const found = await ended(all, 7)
  const by = (route: string, pool: string): object => found.counts('sluice_requests_total', 'status', { route, pool })
  t.same(by('shop.example.com/web/*', 'web'), { '2xx': 1, '4xx': 1 })
  t.same(by('/empty/:what', 'empty'), { '5xx': 1 })
  t.same(by('none', 'none'), { '4xx': 4 })
  t.equal(found.sum('sluice_requests_total'), 7)
  t.equal(found.sum('sluice_request_duration_seconds_count'), 7)
  t.equal(found.sum('sluice_attempts_total'), 1)
})

void test('what plugins of users answer is counted, too, and what they keep until its client leaves', async (t) => {
  const one = await backend(t)
  const app = await buildGateway({ log: { level: 'silent' }, pools: { web: { backends: [one.url] } } })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
  })
  const held = Promise.withResolvers<void>()
  app.addHook('onRequest', (request, reply, next) => {
    if (request.url === '/secret') void reply.code(401).send('no')
    else if (request.url === '/held') held.resolve()
    else next()
  })
  await app.register(async (scope) => scope.get('/own', () => 'own'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.admin?.listen({ port: 0, host: '127.0.0.1' })
  const port = portOf(app.server)
  t.equal((await ask(t, port, get('/secret'))).status, 401)
  t.equal((await ask(t, port, get('/own'))).status, 200)
  const client = await RawClient.open(t, port)
  client.send(get('/held'))
  await held.promise
  client.socket.destroy()
  if (app.admin === undefined) throw new Error('no admin listener')
  const found = await ended({ adminPort: portOf(app.admin.server) }, 3)
  t.same(found.counts('sluice_requests_total', 'status', { route: '/*', pool: 'web' }), { '4xx': 1, aborted: 1 })
  t.same(found.counts('sluice_requests_total', 'status', { route: 'none' }), { '2xx': 1 })
})

void test('a tunnel counts as a success when it has ended', async (t) => {
  const one = await rawBackend(t, {
    onConnection: ({ socket }) => socket.on('end', () => socket.end()),
    onRequest: (connection) => connection.send('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
  })
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const client = await RawClient.open(t, all.port)
  client.send(get('/', ['Connection: Upgrade', 'Upgrade: x']))
  t.equal((await client.answer()).status, 101)
  const during = await scrape(all)
  t.equal(during.sum('sluice_backend_in_flight'), 1)
  t.equal(during.sum('sluice_requests_total'), 0)
  client.socket.destroy()
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { '2xx': 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { '2xx': 1 })
  t.equal(found.sum('sluice_backend_in_flight'), 0)
})

void test('requests over HTTP/2 are counted alike: answered, refused, broken off, aborted, of no route', async (t) => {
  const one = await backend(t, (request, response) => {
    if (request.url === '/web/ok') response.end('ok')
    else if (request.url === '/web/half')
      response.writeHead(200, { 'content-length': '9' }).write('half', () => response.destroy())
  })
  const pools = { web: { backends: [one.url] }, empty: { backends: [{ url: one.url, weight: 0 }] } }
  const routes = [
    { path: '/web/*', pool: 'web' },
    { path: '/empty', pool: 'empty' },
  ]
  const all = await startWithAdmin(t, { config: { pools, routes, listen: { tls: SERVER } } })
  const client = connectHttp2(`https://127.0.0.1:${all.port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const send = (path: string): ClientHttp2Stream => client.request({ ':path': path })
  await inTurn(['/web/ok', '/web/half', '/empty', '/none'], async (path) => {
    const stream = send(path)
    stream.on('error', () => undefined).resume()
    await new Promise((resolve) => void stream.once('close', resolve))
  })
  const stream = send('/web/hang')
  stream.on('error', () => undefined)
  await one.request(2)
  stream.close()
  const found = await ended(all, 5)
  t.same(found.counts('sluice_requests_total', 'status', { route: '/web/*' }), { '2xx': 2, aborted: 1 })
  t.same(found.counts('sluice_requests_total', 'status', { route: '/empty' }), { '5xx': 1 })
  t.same(found.counts('sluice_requests_total', 'status', { route: 'none' }), { '4xx': 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { '2xx': 1, reset: 1, aborted: 1 })
})

void test('a HEAD that its client calls off is over as any other request, over HTTP/2 too', async (t) => {
  const one = await backend(t, () => undefined)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } }, listen: { tls: SERVER } } })
  const client = connectHttp2(`https://127.0.0.1:${all.port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/', ':method': 'HEAD' })
  stream.on('error', () => undefined)
  await one.request(0)
  stream.close(constants.NGHTTP2_CANCEL)
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { aborted: 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { aborted: 1 })
  t.equal(found.sum('sluice_backend_in_flight'), 0)
})

void test('a body that cannot be read is one request, on its route, with the answer that it got', async (t) => {
  const one = await backend(t, () => undefined)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const client = await RawClient.open(t, all.port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
  await one.request(0)
  client.send('no size\r\n')
  t.equal((await client.answer()).status, 400)
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status', { route: '/*', pool: 'web' }), { '4xx': 1 })
  t.equal(found.sum('sluice_requests_total'), 1)
  t.same(found.counts('sluice_attempts_total', 'outcome'), { 'bad-body': 1 })
  t.equal(found.sum('sluice_backend_in_flight'), 0)
})

void test('a client that closes its side in the middle of its body has left, once', async (t) => {
  const one = await backend(t, () => undefined)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } } } })
  const client = await RawClient.open(t, all.port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
  await one.request(0)
  client.socket.end()
  await client.end()
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status', { route: '/*' }), { aborted: 1 })
  t.equal(found.sum('sluice_requests_total'), 1)
})

void test('an answer whose client leaves before its end is aborted, though the backend had long ended it', async (t) => {
  // More than a client of HTTP/2 takes unasked, and less than makes the backend wait.
  const one = await backend(t, (_request, response) => response.end(Buffer.alloc(75_000, 'x')))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [one.url] } }, listen: { tls: SERVER } } })
  const lines: unknown[] = []
  all.app.accessLog.write = (_level, fields) => void lines.push(JSON.parse(`{${fields}}`))
  const client = connectHttp2(`https://127.0.0.1:${all.port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/' })
  stream.on('error', () => undefined)
  await scraped(all, (found) => found.sum('sluice_backend_in_flight') === 0 && one.requests.length === 1)
  stream.close(constants.NGHTTP2_CANCEL)
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { aborted: 1 })
  t.same(found.counts('sluice_attempts_total', 'outcome'), { '2xx': 1 })
  t.match(lines, [{ status: 499, outcome: 'aborted' }], 'the log says the same')
})

void test('what a hook keeps until the client has left is aborted, in the log as in the metrics', async (t) => {
  const [good, port] = [await backend(t), await closedPort()]
  await inTurn([good.url, `http://127.0.0.1:${port}`], async (url) => {
    const kept = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const pools = { web: { backends: [url], retry: { attempts: 1 } } }
    const all = await startWithAdmin(t, {
      config: { pools },
      outfit: (app) => {
        app.addHook('onSend', async (_request, _reply, payload) => {
          kept.resolve()
          await released.promise
          return payload
        })
      },
    })
    const lines: unknown[] = []
    all.app.accessLog.write = (_level, fields) => void lines.push(JSON.parse(`{${fields}}`))
    const client = await RawClient.open(t, all.port)
    client.send(get('/'))
    await kept.promise
    client.socket.destroy()
    const found = await ended(all, 1)
    released.resolve()
    t.same(found.counts('sluice_requests_total', 'status'), { aborted: 1 }, url)
    t.match(lines, [{ status: 499, outcome: 'aborted' }], url)
  })
})

void test('a connection on which nobody ever asked for anything is no request, one that began to ask is', async (t) => {
  const one = await backend(t)
  const all = await startWithAdmin(t, {
    config: { listen: { headersTimeout: 200 }, pools: { web: { backends: [one.url] } } },
  })
  const [unused, late] = [await RawClient.open(t, all.port), await RawClient.open(t, all.port)]
  late.send('GET / HTTP/1.1\r\n')
  t.equal((await late.answer()).status, 408)
  await unused.end()
  const found = await ended(all, 1)
  t.same(found.counts('sluice_requests_total', 'status'), { '4xx': 1 })
})
