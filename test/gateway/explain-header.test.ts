/**
 * X-Sluice-Explain: a trusted proxy that shows the admin token is told how the backend for its request was chosen, and
 * nobody else is; whatever becomes of it, no backend ever sees the field.
 */
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'

import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'

import { sluice, type Config, type PoolConfig } from '../../src/index.ts'
import { backend, isError, rawValues, startGateway, type Gateway, type Handler } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, portOf, rawBackend, valuesOf, type Answer } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

const TOKEN = 'open-sesame'
const ASKED = `X-Sluice-Explain: ${TOKEN}`
const TRUSTED = ['127.0.0.1']
const ADMIN = { token: TOKEN }

type Told = Readonly<Record<string, unknown>>

/** A gateway whose pool always picks the first backend that may be picked. */
async function toFirst(
  t: Test,
  backends: PoolConfig['backends'],
  pool: Omit<PoolConfig, 'backends'> = {},
  rest: Partial<Config> = {},
  prepare?: (app: FastifyInstance) => void,
): Promise<Gateway> {
  // What a pool thinks of backends that fail again and again is not the subject here.
  const unwatched = { breaker: false, health: { passive: false } } as const
  const config = {
    admin: ADMIN,
    listen: { trustedProxies: TRUSTED },
    ...rest,
    pools: { web: { algorithm: 'first', ...unwatched, ...pool, backends } },
  }
  return startGateway(t, config, (app) => {
    prepare?.(app)
    app.algorithms.register('first', () => ({
      pick: (candidates) => candidates.reduce((first) => first),
      explain: ([first]) => ({ picks: first, how: 'The first one – always' }),
    }))
  })
}

/** What the answer's field says; it is what may stand in a field, and no more of it. */
function told(t: Test, value: string | undefined): Told {
  if (value === undefined) throw new Error('the answer says nothing')
  t.match(value, /^[ -~]+$/, 'visible ASCII')
  t.ok(value.length <= 4096, `${value.length} bytes`)
  return { ...Object(JSON.parse(value)) }
}

function toldBy(t: Test, answer: Answer): Told {
  const values = valuesOf(answer, 'x-sluice-explain')
  t.equal(values.length, 1)
  return told(t, values[0])
}

function listIn(said: Told, name: string): ReadonlyArray<Readonly<Record<string, unknown>>> {
  const list = said[name]
  return Array.isArray(list) ? list : []
}

const failing: Handler = (request, response) => {
  request.resume()
  request.on('end', () => response.writeHead(503).end())
}

void test('a trusted proxy with the token is told the whole decision; the backend sees nothing of it', async (t) => {
  const server = await backend(t)
  const { port } = await toFirst(
    t,
    [
      { url: server.url, id: 'A' },
      { url: 'http://127.0.0.1:9', id: 'B' },
      { url: 'http://127.0.0.1:9', id: 'C', weight: 0 },
    ],
    {},
    { routes: [{ path: '/shop/*', host: 'gateway.example', methods: ['GET', 'POST'], pool: 'web' }] },
  )
  const answer = await ask(t, port, get('/shop/a', [ASKED]))
  t.equal(answer.status, 200)
  const said = toldBy(t, answer)
  t.match(said, { attempts: [{ ms: Number }] })
  t.same(said, {
    route: { path: '/shop/*', host: 'gateway.example', methods: ['GET', 'POST'] },
    pool: 'web',
    algorithm: 'first',
    why: 'The first one – always',
    chosen: 'A',
    candidates: [
      { id: 'A', score: null, state: 'healthy' },
      { id: 'B', score: null, state: 'healthy' },
    ],
    leftOut: [{ id: 'C', reason: 'its weight is 0' }],
    attempts: [{ backend: 'A', outcome: 200, ms: listIn(said, 'attempts')[0]?.['ms'] }],
  })
  t.same(rawValues(server.requests[0]?.rawHeaders ?? [], 'x-sluice-explain'), [])
})

void test('scores are those from before the choice', async (t) => {
  const server = await backend(t)
  const backends = [{ url: server.url, id: 'A', weight: 2 }]
  const { port } = await toFirst(t, backends, { algorithm: 'least-connections' })
  const free = toldBy(t, await ask(t, port, get('/', [ASKED])))
  t.match(free, { candidates: [{ id: 'A', score: 0 }], attempts: [{ outcome: 200 }] })
})

interface Refusal {
  readonly name: string
  readonly lines?: readonly string[]
  readonly config?: Partial<Config>
}

const REFUSED: readonly Refusal[] = [
  { name: 'a wrong token', lines: ['X-Sluice-Explain: open-sesam'] },
  { name: 'no token', lines: ['X-Sluice-Explain:'] },
  { name: 'the token as for the admin listener', lines: [`X-Sluice-Explain: Bearer ${TOKEN}`] },
  { name: 'the token twice', lines: [ASKED, ASKED] },
  { name: 'a name that some read as another', lines: [`X_Sluice_Explain: ${TOKEN}`] },
  { name: 'a loopback address that is no trusted proxy', config: { listen: { trustedProxies: ['192.0.2.1'] } } },
  { name: 'no trusted proxies', config: { listen: {} } },
  { name: 'no token configured', lines: ['X-Sluice-Explain:'], config: { admin: {} } },
  { name: 'an empty token configured', lines: ['X-Sluice-Explain:'], config: { admin: { token: '' } } },
  { name: 'any token, with none configured', config: { admin: {} } },
  { name: 'no admin listener', config: { admin: false } },
]

void test('nobody else is told anything, and no backend sees the field either', async (t) => {
  await inTurn(REFUSED, async ({ name, lines = [ASKED], config = {} }) => {
    const server = await backend(t)
    const { port } = await toFirst(t, [server.url], {}, config)
    const answer = await ask(t, port, get('/', lines))
    t.equal(answer.status, 200, name)
    t.same(valuesOf(answer, 'x-sluice-explain'), [], name)
    t.notMatch(server.requests[0]?.rawHeaders.join('\n') ?? '', /explain/i, name)
  })
})

void test('what a backend says under that name is passed on to nobody, in no part of its answer', async (t) => {
  const theirs = 'X-Sluice-Explain: theirs\r\n'
  const server = await answering(
    t,
    `HTTP/1.1 103 Early Hints\r\n${theirs}Link: </a>\r\n\r\nHTTP/1.1 200 OK\r\n${theirs}X-Other: 1\r\n` +
      `Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${theirs}X-Behind: 1\r\n\r\n`,
  )
  const { port } = await toFirst(t, [server.url])
  const plain = await ask(t, port, get('/', ['TE: trailers', 'Connection: TE']))
  t.same(valuesOf(plain, 'x-other'), ['1'])
  t.match(plain.trailers, /x-behind: 1/i)
  t.notMatch(plain.head + plain.trailers, /explain/i)
  const asked = await ask(t, port, get('/', [ASKED]))
  t.match(toldBy(t, asked), { chosen: `127.0.0.1:${server.port}` })
})

void test('behind a body it is not passed on either', async (t) => {
  const server = await backend(t, (request, response) => {
    request.resume()
    request.on('end', () => response.end(request.rawTrailers.join('\n')))
  })
  const { port } = await toFirst(t, [server.url])
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const answer = await ask(t, port, `${head}2\r\nok\r\n0\r\n${ASKED}\r\nX-Behind: 1\r\n\r\n`)
  t.equal(answer.body.toString(), 'X-Behind\n1')
  t.same(valuesOf(answer, 'x-sluice-explain'), [])
})

void test('after another attempt both are told', async (t) => {
  const [bad, good] = [await backend(t, failing), await backend(t)]
  const backends = [
    { url: bad.url, id: 'bad' },
    { url: good.url, id: 'good' },
  ]
  const { port } = await toFirst(t, backends, { retry: { backoff: { base: 0, max: 0 } } })
  const answer = await ask(t, port, get('/', [ASKED]))
  t.equal(answer.status, 200)
  const said = toldBy(t, answer)
  t.match(said, { chosen: 'bad', candidates: [{ id: 'bad' }, { id: 'good' }] })
  t.match(listIn(said, 'attempts'), [
    { backend: 'bad', outcome: 503, ms: Number },
    { backend: 'good', outcome: 200, ms: Number },
  ])
  for (const { requests } of [bad, good]) t.notMatch(requests[0]?.rawHeaders.join('\n') ?? '', /explain/i)
})

void test('an error of the gateway tells as much: who was left out and why, or what went wrong', async (t) => {
  const nobody = await toFirst(t, [{ url: 'http://127.0.0.1:9', id: 'A', weight: 0 }])
  const without = await ask(t, nobody.port, get())
  isError(t, without, 'SLUICE_NO_BACKEND')
  t.same(valuesOf(without, 'x-sluice-explain'), [])
  const answer = await ask(t, nobody.port, get('/', [ASKED]))
  isError(t, answer, 'SLUICE_NO_BACKEND')
  t.match(toldBy(t, answer), {
    route: { path: '/*' },
    why: 'No backend can be chosen',
    candidates: [],
    leftOut: [{ id: 'A', reason: 'its weight is 0' }],
    chosen: null,
    attempts: [],
  })

  const broken = await answering(t, 'no HTTP\r\n\r\n')
  const { port } = await toFirst(t, [{ url: broken.url, id: 'A' }])
  const bad = await ask(t, port, get('/', [ASKED]))
  isError(t, bad, 'SLUICE_BAD_RESPONSE')
  t.match(toldBy(t, bad), { chosen: 'A', attempts: [{ backend: 'A', outcome: 'bad-response' }] })
})

void test('an attempt that nobody is left to follow is told once, and logged once', async (t) => {
  const bad = await backend(t, failing)
  const backends = [
    { url: bad.url, id: 'bad' },
    { url: 'http://127.0.0.1:9', id: 'other' },
  ]
  const gateway = await toFirst(t, backends, { algorithm: 'spoiling' }, {}, (app) => {
    app.algorithms.register('spoiling', () => ({
      pick: (candidates) => candidates.reduce((first) => first),
      // When it is decided that another attempt is to be made, and before it is.
      learn: () => queueMicrotask(() => disableAll(app)),
    }))
  })
  const answer = await ask(t, gateway.port, get('/', [ASKED]))
  isError(t, answer, 'SLUICE_NO_BACKEND')
  t.match(toldBy(t, answer), { chosen: 'bad', candidates: [{ id: 'bad' }, { id: 'other' }] })
  t.match(listIn(toldBy(t, answer), 'attempts'), [{ backend: 'bad', outcome: 503 }])
  t.equal(listIn(toldBy(t, answer), 'attempts').length, 1)
  const line: Told = { ...(await gateway.line(() => true)) }
  t.match(line, { attempts: 1, tries: [{ backend: 'bad', outcome: 503 }] })
  t.equal(listIn(line, 'tries').length, 1)
})

function disableAll({ snapshot }: FastifyInstance): void {
  const entry = snapshot.pools.get('web')
  for (const member of entry?.pool.members ?? []) {
    const standing = entry?.standings.of(member)
    if (standing !== undefined) standing.hand = 'disabled'
  }
}

void test('over HTTP/2', async (t) => {
  const server = await backend(t)
  const listen = { tls: SERVER, trustedProxies: TRUSTED }
  const { port } = await toFirst(t, [{ url: server.url, id: 'A' }], {}, { listen })
  const client = connectHttp2(`https://127.0.0.1:${port}`, { ca: CA })
  t.teardown(() => client.destroy())
  await inTurn([TOKEN, 'wrong'], async (token) => {
    const stream = client.request({ ':path': '/', 'x-sluice-explain': token })
    stream.resume()
    const [fields] = await once(stream, 'response')
    const value: unknown = Object(fields)['x-sluice-explain']
    if (token === TOKEN) t.match(told(t, String(value)), { chosen: 'A', attempts: [{ outcome: 200 }] })
    else t.equal(value, undefined)
  })
  for (const { rawHeaders } of server.requests) t.notMatch(rawHeaders.join('\n'), /explain/i)
  t.equal(server.requests.length, 2)
})

void test('with a switch of protocols', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      connection.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
      connection.socket.end()
    },
  })
  const { port } = await toFirst(t, [{ url: server.url, id: 'A' }])
  const answer = await ask(t, port, get('/', ['Connection: Upgrade', 'Upgrade: echo', ASKED]))
  t.equal(answer.status, 101)
  t.match(toldBy(t, answer), { chosen: 'A', attempts: [{ outcome: 101 }] })
  t.match(server.heads[0] ?? '', /upgrade: echo/i)
  t.notMatch(server.heads[0] ?? '', /explain/i)
})

void test('also where hooks of plugins look at every answer', async (t) => {
  const server = await backend(t)
  const { port } = await toFirst(t, [{ url: server.url, id: 'A' }], {}, {}, (app) => {
    app.addHook('onSend', async (_request, reply, payload) => {
      reply.header('x-seen', 'yes')
      return payload
    })
  })
  const answer = await ask(t, port, get('/', [ASKED]))
  t.same(valuesOf(answer, 'x-seen'), ['yes'])
  t.match(toldBy(t, answer), { chosen: 'A', attempts: [{ outcome: 200 }] })
})

void test('a thousand candidates: as many as fit 4 KiB, among them who was tried, and how many there are more', async (t) => {
  const server = await backend(t)
  const names = Array.from({ length: 1000 }, (_, index) => `backend-${index}`)
  const out = Array.from({ length: 300 }, (_, index) => `out-${index}`)
  const backends = [
    ...names.map((id) => ({ url: server.url, id })),
    ...out.map((id) => ({ url: server.url, id, weight: 0 })),
  ]
  const { port } = await toFirst(t, backends, { algorithm: 'last' }, {}, (app) =>
    app.algorithms.register('last', () => ({
      pick: (candidates) => candidates.reduce((_before, each) => each),
      explain: () => ({ picks: undefined, how: '"\u{1F600}é"'.repeat(10_000) }),
    })),
  )
  const said = toldBy(t, await ask(t, port, get('/', [ASKED])))
  t.match(said, { chosen: 'backend-999', candidates: [{ id: 'backend-999' }, { id: 'backend-0' }] })
  t.match(said, { attempts: [{ backend: 'backend-999', outcome: 200 }] })
  const shown = { candidates: listIn(said, 'candidates').length, leftOut: listIn(said, 'leftOut').length }
  t.ok(shown.candidates > 10 && shown.leftOut > 10, JSON.stringify(shown))
  t.same(said['notShown'], { candidates: 1000 - shown.candidates, leftOut: 300 - shown.leftOut, attempts: 0 })
})

void test('an algorithm that explains itself wrongly costs the explanation, not the request', async (t) => {
  const server = await backend(t)
  const { port } = await toFirst(t, [server.url], { algorithm: 'odd' }, {}, (app) =>
    app.algorithms.register('odd', () => ({
      pick: (candidates) => candidates.reduce((first) => first),
      explain: () => JSON.parse('{ "how": "oddly", "scores": [1] }'),
    })),
  )
  const answer = await ask(t, port, get('/', [ASKED]))
  t.equal(answer.status, 200)
  t.same(valuesOf(answer, 'x-sluice-explain'), [])
})

void test('a mounted pool knows no token: it tells nothing, and does not pass the field on', async (t) => {
  const server = await backend(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sluice, { prefix: '/reports', pool: { backends: [server.url] }, trustedProxies: TRUSTED })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await inTurn([ASKED, 'X-Sluice-Explain:'], async (line) => {
    const answer = await ask(t, portOf(app.server), get('/reports/a', [line, 'Connection: close']))
    t.equal(answer.status, 200)
    t.same(valuesOf(answer, 'x-sluice-explain'), [])
  })
  t.equal(server.requests.length, 2)
  for (const { rawHeaders } of server.requests) t.notMatch(rawHeaders.join('\n'), /explain/i)
})
