/**
 * Traces that go through (W3C Trace Context): continued or begun, a span for each attempt, and nothing in them that a
 * client could do harm with.
 */
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'

import Fastify from 'fastify'
import { test, type Test } from 'tap'

import { sluice, type Config } from '../../src/index.ts'
import { backend, gatewayTo, rawValues, startGateway, type Backend } from '../helpers/gateway.ts'
import { startChangeable } from '../helpers/changing.ts'
import { ask, fieldsOf, get, inTurn, portOf, rawBackend, valuesOf } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const PARENT = `00-${TRACE}-${SPAN}-01`
const WRITTEN = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$/

interface Seen {
  readonly traceId: string
  readonly spanId: string
  readonly flags: string
  readonly state: readonly string[]
}

/** What a backend was told of the trace. */
function seenIn(t: Test, rawHeaders: readonly string[]): Seen {
  const parents = rawValues(rawHeaders, 'traceparent')
  t.match(parents, [WRITTEN])
  t.equal(parents.length, 1, 'one traceparent')
  const [, traceId = '', spanId = '', flags = ''] = (parents[0] ?? '').split('-')
  return { traceId, spanId, flags, state: rawValues(rawHeaders, 'tracestate') }
}

async function sent(t: Test, to: { port: number; server: Backend }, lines: readonly string[]): Promise<Seen> {
  const before = to.server.requests.length
  t.equal((await ask(t, to.port, get('/', lines))).status, 200)
  return seenIn(t, to.server.requests[before]?.rawHeaders ?? [])
}

async function tracing(
  t: Test,
  rules: NonNullable<Config['tracing']> = {},
  trusted = false,
): Promise<{ port: number; server: Backend }> {
  const server = await backend(t)
  const listen = trusted ? { trustedProxies: ['127.0.0.1'] } : {}
  const { port } = await gatewayTo(t, [server], {}, { tracing: rules, listen })
  return { port, server }
}

void test('without a trace one begins with each request', async (t) => {
  const to = await tracing(t)
  const [one, other] = [await sent(t, to, []), await sent(t, to, [])]
  t.match(
    [one, other],
    [
      { flags: '01', state: [] },
      { flags: '01', state: [] },
    ],
  )
  t.not(one.traceId, other.traceId)
  t.not(one.spanId, other.spanId)
})

void test("the client's trace is continued, with a span of the attempt and its state in order", async (t) => {
  const to = await tracing(t)
  const seen = await sent(t, to, [`TraceParent: ${PARENT}`, 'tracestate: a=1,b=2', 'X: y', 'TraceState: c=3 , d=4'])
  t.match(seen, { traceId: TRACE, flags: '01', state: ['a=1,b=2,c=3,d=4'] })
  t.not(seen.spanId, SPAN)
  t.match(await sent(t, to, [`traceparent: 00-${TRACE}-${SPAN}-00`]), { traceId: TRACE, flags: '00', state: [] })
  t.match(await sent(t, to, [`traceparent: cc-${TRACE}-${SPAN}-01-and-more`]), { traceId: TRACE, flags: '01' })
})

void test('a traceparent that is wrong begins another trace, and takes its state along', async (t) => {
  const to = await tracing(t)
  const wrong = [
    ['traceparent: '],
    [`traceparent: 00-${'0'.repeat(32)}-${SPAN}-01`],
    [`traceparent: 00-${TRACE}-${'0'.repeat(16)}-01`],
    [`traceparent: 00-${TRACE.toUpperCase()}-${SPAN}-01`],
    [`traceparent: ff-${TRACE}-${SPAN}-01`],
    [`traceparent: ${PARENT}-more`],
    [`traceparent: ${PARENT}`, `traceparent: ${PARENT}`],
    [`traceparent: ${PARENT}`, 'Traceparent:'],
    [`traceparent: cc-${TRACE}-${SPAN}-01-x`, `TRACEPARENT: ${PARENT}`],
    [`traceparent: 00-${TRACE}-${SPAN}-\u00e9\u00e9`],
    [`trace-parent: ${PARENT}`],
    [`trace_parent: ${PARENT}`],
    [],
  ]
  await inTurn(wrong, async (lines) => {
    const seen = await sent(t, to, [...lines, 'tracestate: a=1'])
    t.not(seen.traceId, TRACE, lines.join())
    t.same(seen.state, [], lines.join())
  })
})

void test('a tracestate that is wrong is left out, and the trace goes on', async (t) => {
  const to = await tracing(t)
  const wrong = [
    'a',
    'a=1,b',
    'a=\u00e4',
    'A=1',
    ','.repeat(5000),
    Array(33).fill('a=1').join(),
    `a=${'v'.repeat(9000)}`,
  ]
  await inTurn(wrong, async (state) => {
    const seen = await sent(t, to, [`traceparent: ${PARENT}`, `tracestate: ${state}`])
    t.match(seen, { traceId: TRACE, state: [] }, state.slice(0, 50))
    t.same(seen.state, [])
  })
  const long = Array.from({ length: 32 }, (_, index) => `k${index}=${'v'.repeat(200)}`).join()
  const { state } = await sent(t, to, [`traceparent: ${PARENT}`, `tracestate: ${long}`])
  t.ok((state[0] ?? '').length >= 512 && (state[0] ?? '').length <= 2048, 'no more than is reasonable')
})

void test('anybody may ask for less to be recorded, only who is trusted for more', async (t) => {
  const no = `traceparent: 00-${TRACE}-${SPAN}-00`
  const yes = `traceparent: ${PARENT}`
  const flagsWith = async (sample: number, trusted: boolean): Promise<string> => {
    const to = await tracing(t, { sample }, trusted)
    const flags: string[] = []
    await inTurn([[no], [yes], []], async (lines) => void flags.push((await sent(t, to, lines)).flags))
    return flags.join(' ')
  }
  t.equal(await flagsWith(1, false), '00 01 01')
  t.equal(await flagsWith(0, false), '00 00 00')
  t.equal(await flagsWith(1, true), '00 01 01')
  t.equal(await flagsWith(0, true), '00 01 00')
})

void test('with `accept: trusted` traces of others are begun anew', async (t) => {
  const lines = [`traceparent: ${PARENT}`, 'tracestate: a=1']
  const seen = await sent(t, await tracing(t, { accept: 'trusted' }), lines)
  t.not(seen.traceId, TRACE)
  t.same(seen.state, [])
  t.match(await sent(t, await tracing(t, { accept: 'trusted' }, true), lines), { traceId: TRACE, state: ['a=1'] })
})

void test('each attempt has a span of its own in the same trace', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => connection.send('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'),
  })
  const other = await rawBackend(t, {
    onRequest: (connection) => connection.send('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'),
  })
  const { app, port } = await gatewayTo(t, [server, other], { retry: { attempts: 2 } })
  const ended = new Promise<unknown>((resolve) => {
    app.observers.push({
      exchange: ({ trace, attempt }) => resolve({ traceId: trace?.traceId, spanId: attempt?.spanId }),
    })
  })
  await ask(t, port, get('/', [`traceparent: ${PARENT}`]))
  const spans = [...server.heads, ...other.heads].map((head) => {
    const [parent = ''] = valuesOf({ fields: fieldsOf(head) }, 'traceparent')
    t.match(parent, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`))
    return parent.slice(36, 52)
  })
  t.equal(new Set([SPAN, ...spans]).size, 3)
  const seen = JSON.stringify(await ended)
  t.ok(
    spans.some((spanId) => seen === JSON.stringify({ traceId: TRACE, spanId })),
    'the exchange knows the last one',
  )
})

void test("a route's rules go before it, and nothing of the client's comes through beside them", async (t) => {
  const server = await backend(t)
  const rules: ReadonlyArray<readonly [string, NonNullable<Config['routes']>[number]['requestHeaders']]> = [
    ['/no-state', { remove: ['TraceState'] }],
    ['/none', { remove: ['traceparent'] }],
    ['/own', { set: { Traceparent: 'ours' } }],
  ]
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: rules.map(([path, requestHeaders]) => ({ path, pool: 'web', requestHeaders: requestHeaders ?? {} })),
  })
  const lines = [`traceparent: ${PARENT}`, 'tracestate: a=1', 'Connection: traceparent, tracestate']
  await inTurn(rules, async ([path]) => void (await ask(t, port, get(path, lines))))
  const seen = server.requests.map(({ rawHeaders }) => [
    rawValues(rawHeaders, 'traceparent'),
    rawValues(rawHeaders, 'tracestate'),
  ])
  t.match(seen[0]?.[0], [new RegExp(`^00-${TRACE}-`)])
  t.same(seen[0]?.[1], [])
  t.same(seen.slice(1), [
    [[], []],
    [['ours'], []],
  ])
})

void test('a client cannot have the fields left out as those of one hop, nor put them behind a body', async (t) => {
  const to = await tracing(t)
  const lines = [`traceparent: ${PARENT}`, 'tracestate: a=1', 'Connection: traceparent, tracestate']
  t.match(await sent(t, to, lines), { traceId: TRACE, state: ['a=1'] })
  const server = await rawBackend(t, { onRequest: (connection) => connection.send('HTTP/1.1 204 No Content\r\n\r\n') })
  const { port } = await gatewayTo(t, [server])
  const behind = `0\r\ntraceparent: ${PARENT}\r\ntracestate: a=1\r\nX-Other: 1\r\n\r\n`
  await ask(t, port, `POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n${behind}`)
  const { inbox } = await server.connection(0)
  const text = await inbox.until(() => (inbox.text.includes('\r\n0\r\n') ? inbox.text : undefined))
  t.notOk(text.includes(TRACE))
})

void test('switched off, both go on as they came; both ways it changes while it runs', async (t) => {
  const server = await backend(t)
  const lines = [`TraceParent: ${PARENT}`, 'traceparent: nonsense', 'Tracestate: A', 'tracestate: b']
  const pools = { web: { backends: [server.url] } }
  const gateway = await startChangeable(t, { pools, tracing: { propagate: false } })
  await ask(t, gateway.port, get('/', lines))
  const raw = server.requests[0]?.rawHeaders ?? []
  t.same(
    [rawValues(raw, 'traceparent'), rawValues(raw, 'tracestate')],
    [
      [PARENT, 'nonsense'],
      ['A', 'b'],
    ],
  )
  t.ok(raw.includes('TraceParent') && raw.includes('Tracestate'))
  t.equal(await gateway.put({ pools, listen: {}, tracing: {} }), 200)
  t.match(await sent(t, { ...gateway, server }, [`traceparent: ${PARENT}`]), { traceId: TRACE, flags: '01' })
  t.equal(await gateway.put({ pools, tracing: { sample: 0 } }), 200)
  t.match(await sent(t, { ...gateway, server }, [`traceparent: ${PARENT}`]), { traceId: TRACE, flags: '00' })
})

void test('over HTTP/2, where two traceparents are wrong as well', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const client = connectHttp2(`https://127.0.0.1:${port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const future = `cc-${TRACE}-${SPAN}-01-x`
  await inTurn([PARENT, future, [PARENT, PARENT], [future, future]], async (traceparent) => {
    const stream = client.request({ ':path': '/', traceparent, tracestate: ['a=1', 'b=2'] })
    stream.resume()
    await once(stream, 'end')
  })
  const seen = server.requests.map(({ rawHeaders }) => seenIn(t, rawHeaders))
  t.match(seen.slice(0, 2), [
    { traceId: TRACE, state: ['a=1,b=2'] },
    { traceId: TRACE, state: ['a=1,b=2'] },
  ])
  for (const { traceId, state } of seen.slice(2)) t.same([traceId === TRACE, state], [false, []])
})

void test('with an upgrade', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) =>
      connection.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'),
  })
  const { port } = await gatewayTo(t, [server])
  const lines = ['Connection: Upgrade', 'Upgrade: echo', `traceparent: ${PARENT}`]
  t.equal((await ask(t, port, get('/', lines))).status, 101)
  const [parent = ''] = valuesOf({ fields: fieldsOf(server.heads[0] ?? '') }, 'traceparent')
  t.match(parent, new RegExp(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-01$`))
})

void test('in a mounted pool', async (t) => {
  const server = await backend(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(sluice, { prefix: '/on', pool: { backends: [server.url] } })
  app.register(sluice, { prefix: '/off', pool: { backends: [server.url] }, tracing: { propagate: false } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  await inTurn(['/on', '/off'], async (path) => {
    await ask(t, portOf(app.server), get(path, [`traceparent: ${PARENT}`]))
  })
  const [on, off] = server.requests.map(({ rawHeaders }) => rawValues(rawHeaders, 'traceparent'))
  t.match(on, [new RegExp(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-01$`)])
  t.same(off, [PARENT])
})
