/**
 * The access log over a real gateway: what a line says, which requests have one, and what never is in one.
 */
import { connect as connectHttp2 } from 'node:http2'

import type { Test } from 'tap'
import { test } from 'tap'

import type { Config } from '../../src/index.ts'
import { backend, closedPort, gatewayTo, startGateway, type Gateway } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, RawClient } from '../helpers/raw.ts'
import { CA, SERVER, tlsTail } from '../helpers/secure.ts'

const any = (): boolean => true
/** Says that what came before it is over: lines are written in the order in which exchanges end. */
const LAST = '/the-last-one'

/** What is logged of these requests, in the order in which they ended. */
async function pathsLogged(t: Test, gateway: Gateway, requests: readonly string[]): Promise<unknown[]> {
  await inTurn([...requests, get(`${LAST}?end`)], async (bytes) => ask(t, gateway.port, bytes))
  await gateway.line((line) => String(Reflect.get(line, 'path')).startsWith(LAST))
  return gateway.lines.map((line) => Reflect.get(line, 'path')).slice(0, -1)
}

void test('LI-06: a line says who asked for what, who answered, how it went, and how long each part took', async (t) => {
  const one = await backend(t, (request, response) => {
    request.resume().on('end', () => response.writeHead(201, { 'content-length': 11 }).end('hello there'))
  })
  const gateway = await startGateway(t, {
    listen: { trustedProxies: ['127.0.0.1'] },
    pools: { web: { backends: [{ url: one.url, id: 'one' }] } },
    routes: [{ path: '/shop/*', host: 'shop.example.com', pool: 'web' }],
  })
  const head = 'POST /shop/a?b=c&d=%20e HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 5\r\n'
  const fields =
    'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Forwarded-For: 192.0.2.7\r\nX-Request-Id: theirs-1\r\nAuthorization: Basic c2VjcmV0\r\nCookie: a=secret\r\n'
  await ask(t, gateway.port, `${head}${fields}\r\n12345`)
  const line = await gateway.line(any)
  t.match(line, {
    level: 'info',
    message: 'request',
    requestId: 'theirs-1',
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    client: '192.0.2.7',
    peer: '127.0.0.1',
    method: 'POST',
    path: '/shop/a?b=c&d=%20e',
    status: 201,
    outcome: 'answered',
    route: 'shop.example.com/shop/*',
    pool: 'web',
    backend: 'one',
    attempts: 1,
    tries: [{ backend: 'one', outcome: 201, ms: Number }],
    bytesIn: 5,
    bytesOut: 11,
    queueMs: Number,
    connectMs: Number,
    firstByteMs: Number,
    ms: Number,
  })
  const [queueMs, connectMs, firstByteMs, ms] = ['queueMs', 'connectMs', 'firstByteMs', 'ms'].map((name) =>
    Number(Reflect.get(line, name)),
  )
  const parts = (queueMs ?? NaN) + (connectMs ?? NaN) + (firstByteMs ?? NaN)
  t.ok(parts <= (ms ?? NaN) + 0.2, 'the parts are no longer than the whole, but for rounding')
  t.notMatch(JSON.stringify(line), /secret|c2VjcmV0/)
  t.notOk('code' in line || 'failure' in line || 'reason' in line)
})

void test('every attempt is there, with how it ended; and why there is no answer, if there is none', async (t) => {
  const gone = `http://127.0.0.1:${await closedPort()}`
  const [bad, good] = await Promise.all([
    backend(t, (_, response) => response.writeHead(503).end()),
    backend(t, (_, response) => response.end('ok')),
  ])
  const pool = { algorithm: 'round-robin', breaker: false as const, retry: { attempts: 3 } }
  const gateway = await gatewayTo(t, [gone, bad, good], pool)
  // Round robin begins with any of them.
  await inTurn(['/1', '/2', '/3'], async (target) => ask(t, gateway.port, get(target)))
  const retried = await gateway.line(({ attempts }) => attempts === 3)
  const ids = [gone, bad.url, good.url].map((url) => new URL(url).host)
  t.match(retried, { attempts: 3, backend: ids[2], outcome: 'answered', bytesOut: 2 })
  t.match(Reflect.get(retried, 'tries'), [
    { backend: ids[0], outcome: 'refused', ms: Number },
    { backend: ids[1], outcome: 503, ms: Number },
    { backend: ids[2], outcome: 200, ms: Number },
  ])
  const alone = await gatewayTo(t, [gone], { retry: { attempts: 1 } })
  const answer = await ask(t, alone.port, get('/refused'))
  t.match(await alone.line(any), {
    level: 'warn',
    message: 'request failed',
    status: 502,
    outcome: 'refused',
    code: 'SLUICE_CONNECT_FAILED',
    failure: 'refused',
    reason: /ECONNREFUSED/,
    attempts: 1,
    tries: [{ backend: ids[0], outcome: 'refused', ms: Number }],
    bytesOut: answer.body.length,
  })
})

const statusIn = (path = ''): number => Number(/\d{3}/.exec(path)?.[0])

void test('each line tells of its own route, backend and status, whatever came before it', async (t) => {
  const [one, other] = await Promise.all(
    ['one', 'other'].map((id) => backend(t, ({ url }, response) => response.writeHead(statusIn(url)).end(id))),
  )
  const backends = [
    { url: one?.url ?? '', id: 'one "1"' },
    { url: other?.url ?? '', id: 'other' },
  ]
  const gateway = await startGateway(t, {
    pools: { web: { backends, algorithm: 'round-robin' }, shop: { backends } },
    routes: [
      { path: '/web/*', pool: 'web' },
      { path: '/shop/*', pool: 'shop' },
    ],
  })
  const targets = ['/web/200', '/shop/200', '/web/404', '/shop/201', '/web/204'].flatMap((path) =>
    Array.from({ length: 4 }, (_, n) => `${path}?n=${n}`),
  )
  const given = new Map<string, string>()
  await inTurn(targets, async (target) => {
    const { body } = await ask(t, gateway.port, get(target))
    given.set(target, String(body))
  })
  await gateway.line((line) => Reflect.get(line, 'path') === targets.at(-1))
  t.equal(gateway.lines.length, targets.length)
  for (const line of gateway.lines) {
    const path = String(Reflect.get(line, 'path'))
    const [name = ''] = /\w+/.exec(path) ?? []
    const id = String(Reflect.get(line, 'backend'))
    const [record] = [Reflect.get(line, 'tries')].flat()
    t.match(line, { route: `/${name}/*`, pool: name, status: statusIn(path), outcome: 'answered', attempts: 1 }, path)
    t.match(record, { backend: id, outcome: statusIn(path) }, path)
    if (given.get(path) !== '') t.equal(id.split(' ')[0], given.get(path), path)
  }
})

void test('bytes of what broke off, and of what has none', async (t) => {
  const short = await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234', 'ends')
  const broken = await gatewayTo(t, [short.url], { retry: { attempts: 1 } })
  const client = await RawClient.open(t, broken.port)
  client.send(get('/'))
  await client.end()
  t.match(await broken.line(any), { level: 'warn', outcome: 'broken', status: 200, bytesOut: 4, failure: 'reset' })
  const head = await gatewayTo(t, [(await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')).url])
  await ask(t, head.port, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', 'HEAD')
  t.match(await head.line(any), { method: 'HEAD', status: 200, bytesOut: 0 })
})

void test('a client that leaves: 499, and no words of blame', async (t) => {
  const one = await backend(t, () => undefined)
  const gateway = await gatewayTo(t, [one])
  const client = await RawClient.open(t, gateway.port)
  client.send(get('/'))
  await one.request(0)
  client.socket.destroy()
  const line = await gateway.line(any)
  t.match(line, { level: 'info', status: 499, outcome: 'aborted', attempts: 1, client: '127.0.0.1' })
  t.notOk('firstByteMs' in line)
})

void test('what never became an exchange has a line: refused, answered by a plugin, left behind', async (t) => {
  const one = await backend(t)
  const gateway = await startGateway(
    t,
    { pools: { web: { backends: [one.url] } }, routes: [{ path: '/a/*', pool: 'web' }] },
    (app) => {
      app.addHook('onRequest', (request, reply, next) => {
        if (request.url === '/a/mine') reply.code(401).send({ not: 'you' })
        else if (request.url === '/a/throws') next(new Error('secret'))
        else if (request.url !== '/a/never') next()
      })
    },
  )
  const sent = get('/nowhere?x=1', ['Cookie: secret', 'Authorization: Bearer secret'])
  const answer = await ask(t, gateway.port, sent)
  const refused = await gateway.line(({ status }) => status === 404)
  t.match(refused, { message: 'request refused', outcome: 'refused', code: 'SLUICE_NO_ROUTE', path: '/nowhere?x=1' })
  t.match(refused, { client: '127.0.0.1', peer: '127.0.0.1', method: 'GET', bytesOut: answer.body.length, ms: Number })
  t.equal(Reflect.get(refused, 'requestId'), answer.fields.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1])
  await ask(t, gateway.port, get('/a/mine'))
  t.match(await gateway.line(({ status }) => status === 401), { message: 'request', outcome: 'answered', bytesOut: 13 })
  await ask(t, gateway.port, get('/a/throws'))
  t.match(await gateway.line(({ status }) => status === 500), { outcome: 'refused', code: 'SLUICE_INTERNAL' })
  const client = await RawClient.open(t, gateway.port)
  client.send(get('/a/never'))
  await new Promise((later) => void setImmediate(later))
  client.socket.destroy()
  t.match(await gateway.line(({ status }) => status === 499), {
    outcome: 'aborted',
    path: '/a/never',
    client: '127.0.0.1',
  })
  await ask(t, gateway.port, 'GET http://me:secret@a/ HTTP/1.1\r\nHost: a\r\n\r\n')
  t.match(await gateway.line(({ status }) => status === 400), { code: 'SLUICE_BAD_REQUEST', path: 'http://a/' })
  t.notMatch(JSON.stringify(gateway.lines), /secret/)
})

void test('what never became an exchange says who asked as all others do, behind proxies and over HTTP/2', async (t) => {
  const one = await backend(t)
  const gateway = await startGateway(t, {
    listen: { trustedProxies: ['127.0.0.1'], tls: SERVER },
    pools: { web: { backends: [one.url] } },
    routes: [{ path: '/a', pool: 'web' }],
  })
  const port = await tlsTail(t, gateway.port, { ca: CA })
  const named = { 'Forwarded: for=192.0.2.7': '192.0.2.7', 'X-Forwarded-For: made up': '127.0.0.1' }
  await inTurn(Object.entries(named), async ([field, client]) => {
    await ask(t, port, get('/nowhere', [field]))
    t.match(await gateway.line((line) => Reflect.get(line, 'client') === client), { peer: '127.0.0.1', status: 404 })
  })
  const session = connectHttp2(`https://127.0.0.1:${gateway.port}`, { ca: CA })
  t.teardown(() => session.destroy())
  const fields = { ':path': '/by-http2', forwarded: 'for=192.0.2.8' }
  session.request(fields).resume()
  const line = await gateway.line((each) => Reflect.get(each, 'path') === '/by-http2')
  t.match(line, { client: '192.0.2.8', peer: '127.0.0.1', status: 404 })
})

type Log = NonNullable<Config['log']>['access']

/** A gateway whose backend answers with the status that the path begins with. */
async function logging(t: Test, access: Log): Promise<Gateway> {
  const one = await backend(t, (request, response) => {
    const status = Number(request.url?.slice(1, 4))
    response.writeHead(Number.isInteger(status) ? status : 500).end()
  })
  const log = { level: 'silent', access: access ?? true } as const
  return gatewayTo(t, [one], { retry: { attempts: 1 }, breaker: false }, { log })
}

void test('a query is kept, masked or dropped', async (t) => {
  const requests = ['/200?token=secret&x&y=', '/200', '/200?', '/200?a=b=c'].map((target) => get(target))
  t.same(await pathsLogged(t, await logging(t, true), requests), [
    '/200?token=secret&x&y=',
    '/200',
    '/200?',
    '/200?a=b=c',
  ])
  t.same(await pathsLogged(t, await logging(t, { query: 'mask' }), requests), [
    '/200?token=*&*&y=*',
    '/200',
    '/200?*',
    '/200?a=*',
  ])
  t.same(await pathsLogged(t, await logging(t, { query: 'drop' }), requests), ['/200', '/200', '/200', '/200'])
})

void test('request fields are logged where they are asked for', async (t) => {
  const gateway = await logging(t, { headers: ['User-Agent', 'x-none', 'accept'] })
  await ask(t, gateway.port, get('/200', ['User-Agent: one "two"', 'Accept: a', 'Accept: b']))
  t.same(Reflect.get(await gateway.line(any), 'headers'), { 'user-agent': 'one "two"', accept: 'a, b' })
})

void test('with a sample of none, only what failed or was slow is logged', async (t) => {
  const targets = ['/200/a', '/404', '/500', '/503', '/200/b']
  const requests = targets.map((target) => get(target))
  t.same(await pathsLogged(t, await logging(t, { sample: 0 }), requests), ['/500', '/503'])
  t.same(await pathsLogged(t, await logging(t, { sample: 0, slow: '1h' }), requests), ['/500', '/503'])
})

void test('what takes as long as `slow` is logged whatever the sample', async (t) => {
  const { promise: whenAsked, resolve: answer } = Promise.withResolvers<void>()
  const one = await backend(t, (_, response) => void whenAsked.then(() => response.end('ok')))
  const gateway = await gatewayTo(t, [one], {}, { log: { level: 'silent', access: { sample: 0, slow: '20ms' } } })
  const client = await RawClient.open(t, gateway.port)
  client.send(get('/slow'))
  await one.request(0)
  // The least that makes it one: the very time that is set.
  await new Promise((later) => void setTimeout(later, 21))
  answer()
  t.match(await gateway.line(any), { status: 200, path: '/slow' })
})

void test('a sample is a share', async (t) => {
  const gateway = await logging(t, { sample: 0.5 })
  const client = await RawClient.open(t, gateway.port)
  const all = 400
  await inTurn(Array.from({ length: all }), async () => {
    client.send(get('/200'))
    await client.answer()
  })
  client.send(get('/500'))
  await client.answer()
  await gateway.line(({ status }) => status === 500)
  const logged = gateway.lines.length - 1
  // Six standard deviations of a fair coin: a false alarm in a thousand million runs.
  t.ok(Math.abs(logged - all / 2) < 60, `${logged} of ${all}`)
})

void test('switched off, what the gateway itself failed at is still told', async (t) => {
  const gone = `http://127.0.0.1:${await closedPort()}`
  const one = await backend(t, (_, response) => response.writeHead(500).end())
  const gateway = await startGateway(t, {
    log: { level: 'silent', access: false },
    pools: { web: { backends: [one.url], breaker: false }, gone: { backends: [gone], breaker: false } },
    routes: [
      { path: '/web/*', pool: 'web' },
      { path: '/gone/*', pool: 'gone' },
    ],
  })
  await inTurn(['/web/a', '/nowhere', '/gone/a'], async (target) => ask(t, gateway.port, get(target)))
  await gateway.line(any)
  t.same(
    gateway.lines.map((line) => [line.level, Reflect.get(line, 'path')]),
    [['warn', '/gone/a']],
  )
})
