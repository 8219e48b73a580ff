/**
 * Spans as a collector gets them: one of each exchange, one of each attempt, with the ids that backends were told; and
 * that no collector can do a gateway harm, whatever it does.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import Fastify from 'fastify'
import { test, type Test } from 'tap'

import { checkObject } from '../../src/config/check.ts'
import { sluice, type Config } from '../../src/index.ts'
import { startChangeable } from '../helpers/changing.ts'
import { collector, told, type CollectedSpan, type Collector } from '../helpers/collector.ts'
import { backend, closedPort, gatewayTo, rawValues, startGateway, type Gateway } from '../helpers/gateway.ts'
import { outsideFolder, run, startGateway as startProcess } from '../helpers/process.ts'
import { answering, ask, fieldsOf, get, guarded, inTurn, ok, portOf, RawClient, valuesOf } from '../helpers/raw.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const PARENT = `traceparent: 00-${TRACE}-${SPAN}-01`
const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'

type Export = NonNullable<NonNullable<Config['tracing']>['export']>

function exportTo({ url }: Pick<Collector, 'url'>, more: Partial<Export> = {}): Omit<Config, 'pools'> {
  return { tracing: { export: { url, ...more } } }
}

/** The span of the exchange and those of its attempts, when a gateway that stops has sent the last of them. */
async function sent(gateway: Gateway, { spans }: Collector): Promise<[CollectedSpan | undefined, CollectedSpan[]]> {
  await gateway.close()
  return [spans.find(({ kind }) => kind === 2), spans.filter(({ kind }) => kind === 3)]
}

function spanIdsIn(heads: readonly string[]): string[] {
  return heads.map((head) => (valuesOf({ fields: fieldsOf(head) }, 'traceparent')[0] ?? '').slice(36, 52))
}

/** A moment in milliseconds. */
function at(nanoseconds: string | undefined): number {
  return Number(BigInt(nanoseconds ?? 0) / 1000n) / 1000
}

void test('one exchange is two spans, with the ids that the backend was told', async (t) => {
  const to = await collector(t)
  const server = await backend(t)
  const more = { service: 'edge', headers: { authorization: 'Bearer s3cret' } }
  const gateway = await gatewayTo(t, [server], {}, exportTo(to, more))
  const from = Date.now()
  await ask(t, gateway.port, get('/orders/7?token=x', [PARENT]))
  const [own, [attempt, ...none]] = await sent(gateway, to)
  const until = Date.now()
  t.same(none, [])
  t.match(own, { traceId: TRACE, parentSpanId: SPAN, name: 'GET /*', status: { code: 0 } })
  t.match(attempt, { traceId: TRACE, parentSpanId: own?.spanId, name: 'GET', status: { code: 0 } })
  t.same(rawValues(server.requests[0]?.rawHeaders ?? [], 'traceparent'), [`00-${TRACE}-${attempt?.spanId}-01`])
  t.same(told(own, 'http.request.method', 'http.route', 'url.path', 'url.scheme', 'server.address', 'client.address'), [
    'GET',
    '/*',
    '/orders/7',
    'http',
    'gateway.example',
    '127.0.0.1',
  ])
  t.same(told(own, 'http.response.status_code', 'sluice.pool', 'sluice.backend', 'sluice.outcome', 'error.type'), [
    200,
    'web',
    `127.0.0.1:${server.port}`,
    'answered',
    undefined,
  ])
  t.same(told(attempt, 'http.request.method', 'server.address', 'server.port', 'http.response.status_code'), [
    'GET',
    '127.0.0.1',
    server.port,
    200,
  ])
  t.same(told(attempt, 'http.request.resend_count', 'error.type'), [undefined, undefined])
  // The clocks may be some milliseconds apart.
  const times = [
    from - 25,
    at(own?.startTimeUnixNano),
    at(attempt?.startTimeUnixNano),
    at(attempt?.endTimeUnixNano),
    until + 25,
  ]
  t.same(
    times,
    times.toSorted((one, other) => one - other),
    'in order',
  )
  t.ok(at(own?.endTimeUnixNano) >= at(attempt?.endTimeUnixNano))
  const [message] = to.messages
  t.match(message?.headers, { authorization: 'Bearer s3cret', 'content-type': 'application/json' })
  t.match(message?.text, '{"key":"service.name","value":{"stringValue":"edge"}}')
  t.notMatch(message?.text, 'token=x')
})

void test('a trace that begins here has no parent; a method that nobody knows has no name', async (t) => {
  const to = await collector(t)
  const gateway = await gatewayTo(t, [await backend(t)], {}, exportTo(to))
  await ask(t, gateway.port, 'PROPFIND /a HTTP/1.1\r\nHost: a:80\r\n\r\n')
  const [own, [attempt]] = await sent(gateway, to)
  t.equal(own?.parentSpanId, undefined)
  t.match([own?.name, attempt?.name, attempt?.parentSpanId], ['HTTP /*', 'HTTP', own?.spanId])
  t.same(told(own, 'http.request.method', 'server.address'), ['_OTHER', 'a'])
})

void test('each attempt is a span: what failed, and how often it was sent before', async (t) => {
  const to = await collector(t)
  const bad = await answering(t, UNAVAILABLE)
  const dead = await closedPort()
  const good = await answering(t, ok())
  const pool = { algorithm: 'first', retry: { attempts: 3 } }
  const backends = [bad.url, `http://127.0.0.1:${dead}`, good.url]
  const gateway = await startGateway(t, { pools: { web: { ...pool, backends } }, ...exportTo(to) }, (app) => {
    app.algorithms.register('first', () => ({
      pick: ([first]) => {
        if (first === undefined) throw new Error('nothing to pick')
        return first
      },
    }))
  })
  t.equal((await ask(t, gateway.port, get('/', [PARENT]))).status, 200)
  const [own, attempts] = await sent(gateway, to)
  t.match(own, { status: { code: 0 } })
  t.same(told(own, 'http.response.status_code', 'error.type'), [200, undefined])
  t.same(
    attempts.map((each) => told(each, 'http.request.resend_count', 'server.port', 'http.response.status_code')),
    [
      [undefined, bad.port, 503],
      [1, dead, undefined],
      [2, good.port, 200],
    ],
  )
  t.same(
    attempts.map((each) => [each.status.code, ...told(each, 'error.type')]),
    [
      [2, '503'],
      [2, 'refused'],
      [0, undefined],
    ],
  )
  t.same(spanIdsIn([...bad.heads, ...good.heads]), [attempts[0]?.spanId, attempts[2]?.spanId])
  for (const { parentSpanId, traceId } of attempts) t.same([traceId, parentSpanId], [TRACE, own?.spanId])
  const times = attempts.flatMap(({ startTimeUnixNano, endTimeUnixNano }) => [
    at(startTimeUnixNano),
    at(endTimeUnixNano),
  ])
  t.same(
    times,
    times.toSorted((one, other) => one - other),
    'one after the other',
  )
  t.ok(at(attempts[0]?.endTimeUnixNano) > at(attempts[0]?.startTimeUnixNano), 'it took its time')
})

void test('what the gateway refuses itself', async (t) => {
  const to = await collector(t)
  const retry = { attempts: 1 }
  const gateway = await startGateway(t, {
    pools: {
      dead: { backends: [`http://127.0.0.1:${await closedPort()}`], retry },
      none: { backends: [{ url: 'http://127.0.0.1:1', weight: 0 }] },
      bad: { backends: [(await answering(t, UNAVAILABLE)).url], retry },
    },
    routes: ['dead', 'none', 'bad'].map((pool) => ({ path: `/${pool}`, pool })),
    ...exportTo(to),
  })
  await inTurn(['/dead', '/none', '/bad'], async (path) => void (await ask(t, gateway.port, get(path))))
  await gateway.close()
  const own = (path: string) => to.spans.find((span) => span.kind === 2 && told(span, 'http.route')[0] === path)
  const children = (path: string) => to.spans.filter(({ parentSpanId }) => parentSpanId === own(path)?.spanId)
  const names = ['http.response.status_code', 'error.type', 'sluice.outcome'] as const
  t.same(told(own('/dead'), ...names), [502, 'SLUICE_CONNECT_FAILED', 'refused'])
  t.same(told(own('/none'), ...names), [503, 'SLUICE_NO_BACKEND', 'refused'])
  t.same(children('/none'), [])
  t.same(told(own('/bad'), ...names), [503, '503', 'answered'])
  t.match([own('/dead'), own('/bad')], [{ status: { code: 2 } }, { status: { code: 2 } }])
  t.same(
    children('/dead').map((span) => told(span, 'error.type')),
    [['refused']],
  )
  t.same(
    children('/bad').map((span) => told(span, 'error.type')),
    [['503']],
  )
})

void test('a client that leaves, and a backend that breaks off', async (t) => {
  const to = await collector(t)
  const silent = await backend(t, () => undefined)
  const gateway = await gatewayTo(t, [silent], { retry: { attempts: 1 } }, exportTo(to))
  const ended = new Promise<void>((resolve) => void gateway.app.observers.push({ exchange: () => resolve() }))
  const client = await RawClient.open(t, gateway.port)
  client.send(get('/', [PARENT]))
  await silent.request(0)
  client.socket.destroy()
  await ended
  const [own, [attempt]] = await sent(gateway, to)
  const names = ['http.response.status_code', 'error.type', 'sluice.outcome'] as const
  t.same([own?.status.code, ...told(own, ...names)], [0, undefined, undefined, 'aborted'])
  t.same([attempt?.status.code, ...told(attempt, 'error.type')], [0, undefined])

  const other = await collector(t)
  const breaking = await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', 'resets')
  const second = await gatewayTo(t, [breaking], { retry: { attempts: 1 } }, exportTo(other))
  t.equal((await ask(t, second.port, get())).complete, false)
  const [broken, [failed]] = await sent(second, other)
  t.same([broken?.status.code, ...told(broken, ...names)], [2, 200, 'reset', 'broken'])
  t.same([failed?.status.code, ...told(failed, 'http.response.status_code', 'error.type')], [2, 200, 'reset'])
})

void test('what is not recorded is not sent', async (t) => {
  const to = await collector(t)
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], {}, exportTo(to))
  await ask(t, gateway.port, get('/', [`traceparent: 00-${TRACE}-${SPAN}-00`]))
  await gateway.close()
  t.same(to.messages, [])
})

void test('spans go out while the gateway runs, many at once, and none is lost', async (t) => {
  const to = await collector(t)
  const gateway = await gatewayTo(t, [await answering(t, ok())], {}, exportTo(to))
  const client = await RawClient.open(t, gateway.port)
  const count = 500
  for (let i = 0; i < count; i++) {
    client.send(get())
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await client.answer()
  }
  await to.message(1)
  await gateway.close()
  t.equal(to.spans.length, 2 * count)
  t.equal(new Set(to.spans.map(({ spanId }) => spanId)).size, 2 * count)
  const sizes = to.messages.map(({ text }) => text.split('"spanId"').length - 1)
  t.ok(Math.max(...sizes) <= 128, 'no message is large')
})

/** Five exchanges, and how many of their ten spans are lost, as the log says. */
async function lostOf(t: Test, url: string, more: Partial<Export> = {}): Promise<number> {
  let lost = 0
  const server = await backend(t)
  const pools = { web: { backends: [server.url] } }
  const gateway = await startGateway(t, { pools, ...exportTo({ url }, more) }, (app) => {
    Object.assign(app.log, {
      warn(message: unknown) {
        lost += Number(/^(\d+) spans did not reach the collector: ./.exec(String(message))?.[1])
      },
    })
  })
  await inTurn([1, 2, 3, 4, 5], async () => t.equal((await ask(t, gateway.port, get())).status, 200))
  await gateway.close()
  return lost
}

void test('whatever the collector does, requests go on and the gateway closes', async (t) => {
  const soon = { timeout: 200 }
  const failing = await collector(t, (response) => response.writeHead(500, 'No\u00e4').end('x'.repeat(10_000)))
  t.equal(await lostOf(t, failing.url, soon), 10)
  const hanging = await collector(t, () => undefined)
  t.equal(await lostOf(t, hanging.url, soon), 10)
  t.equal(await lostOf(t, `http://127.0.0.1:${await closedPort()}/`, soon), 10)
  const talking = await collector(t, (response) => response.end(`{"partialSuccess": ${'['.repeat(5000)}`))
  t.equal(await lostOf(t, talking.url), 0, 'what it says when it has taken them is no matter')
})

void test('a collector that goes on answering for ever is cut off while the gateway runs', async (t) => {
  let cut: (() => void) | undefined
  const over = new Promise<void>((resolve) => (cut = resolve))
  const dribbling = await collector(t, (response) => {
    response.writeHead(200).write('{')
    const timer = setInterval(() => response.write(' '), 10)
    response.on('close', () => {
      clearInterval(timer)
      cut?.()
    })
  })
  const gateway = await gatewayTo(t, [await backend(t)], {}, exportTo(dribbling, { timeout: 100 }))
  t.equal((await ask(t, gateway.port, get())).status, 200)
  await dribbling.message(1)
  await guarded(over, () => 'the end of the connection')
  t.equal((await ask(t, gateway.port, get())).status, 200)
})

void test('no more spans wait than may, and those that are lost are counted', async (t) => {
  const to = await collector(t)
  const lost = await lostOf(t, to.url, { queue: 3 })
  t.ok(lost > 0)
  t.equal(to.spans.length + lost, 10)
})

void test('another collector needs a restart, and its headers are shown to nobody', async (t) => {
  const to = await collector(t)
  const pools = { web: { backends: [(await backend(t)).url] } }
  const config = { pools, ...exportTo(to, { headers: { 'x-key': 's3cret' } }) }
  const gateway = await startChangeable(t, config)
  const port = gateway.app.admin === undefined ? 0 : portOf(gateway.app.admin.server)
  const shown = await (await fetch(`http://127.0.0.1:${port}/config`)).text()
  t.match(JSON.parse(shown), {
    tracing: { export: { url: to.url, headers: { 'x-key': '(not shown)' }, timeout: '5s' } },
  })
  t.notMatch(shown, 's3cret')
  t.equal(await gateway.put({ ...config, ...exportTo(to, { headers: { 'x-key': 'another' } }) }), 422)
  t.equal(await gateway.put({ pools }), 422)
  t.match(gateway.app.configuration.lastReload.error, /tracing\.export/)
  t.equal(await gateway.put({ pools, tracing: { ...config.tracing, sample: 0.5 } }), 200)
})

void test('settings that cannot work are named', async (t) => {
  const pools = { web: { backends: ['http://127.0.0.1:1'] } }
  const url = 'http://127.0.0.1:4318/v1/traces'
  const problems = (tracing: unknown): string[] =>
    (checkObject({ pools, tracing }).problems ?? []).map(({ path, message }) => `${path}: ${message}`)
  t.same(problems({ export: { url } }), [])
  t.match(problems({ export: {} }), [/^tracing\.export\.url: missing/])
  t.match(problems({ export: { url: 'collector:4318' } }), [/^tracing\.export\.url: expected a URL such as/])
  t.match(problems({ export: { url: 'http://u:p@a/' } }), [/^tracing\.export\.url: expected no user or password/])
  t.match(problems({ export: { url, headers: { host: 'a' } } }), [/^tracing\.export\.headers\.host: /])
  t.match(problems({ export: { url, headers: { a: 's3cret\n' } } }), [/^tracing\.export\.headers\.a: expected a value/])
  t.match(problems({ export: { url }, propagate: false }), [/^tracing\.propagate: expected true/])
  t.notMatch(problems({ export: { url, headers: { a: 12_345 } } }).join(), '12345')
})

void test('without the packages it is an error by name; a gateway that exports nothing needs none', async (t) => {
  const folder = outsideFolder(t)
  const hook = join(folder, 'hook.mjs')
  writeFileSync(
    hook,
    `import { registerHooks } from 'node:module'
registerHooks({
  resolve(specifier, context, next) {
    if (/^@opentelemetry.(exporter|resources)/.test(specifier)) throw new Error('Cannot find package ' + specifier)
    return next(specifier, context)
  },
})\n`,
  )
  const env = { ...process.env, NODE_OPTIONS: `--import=${pathToFileURL(hook).href}` }
  const pools = 'pools: { web: { backends: [http://127.0.0.1:1] } }'
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, `tracing: { export: { url: "http://127.0.0.1:4318/v1/traces" } }\n${pools}\n`)
  const { code, stderr } = await run(t, ['check', file], { env })
  t.equal(code, 1)
  t.match(stderr, /gateway\.yaml:1:\d+: tracing\.export: needs what is not installed: npm install @opentelemetry/)
  const started = await startProcess(t, pools, { env })
  started.process.signal('SIGTERM')
  t.match(await started.process.ended, { code: 0 })
})

void test('a mounted pool exports as well', async (t) => {
  const to = await collector(t)
  const app = Fastify()
  const server = await backend(t)
  app.register(sluice, { prefix: '/a', pool: { backends: [server.url] }, ...exportTo(to) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  await ask(t, portOf(app.server), get('/a/b', [PARENT]))
  await app.close()
  t.match(
    to.spans.map(({ name, traceId }) => [name, traceId]),
    [
      ['GET /a/*', TRACE],
      ['GET', TRACE],
    ],
  )
})
