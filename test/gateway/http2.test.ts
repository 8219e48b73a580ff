/**
 * HTTP/2 clients get what HTTP/1.1 clients get: requests and answers byte for byte, errors of the gateway's own, the
 * end of everything for a client that leaves, and no more memory for one that does not read.
 */
import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'

import { test, type Test } from 'tap'

import type { Config, PoolConfig } from '../../src/index.ts'
import {
  backend,
  closedPort,
  gatewayTo,
  isError,
  rawValues,
  sha256,
  startGateway,
  totals,
  type Backend,
  type Gateway,
} from '../helpers/gateway.ts'
import {
  CODES,
  data,
  END_HEADERS,
  END_STREAM,
  FrameClient,
  get,
  GOAWAY,
  headers,
  HEADERS,
  INITIAL,
  INITIAL_WINDOW_SIZE,
  LARGEST,
  NO_TABLE,
  post,
  requestFields,
  reset,
  settings,
  WIDE,
  windowUpdate,
  type Fields,
} from '../helpers/http2-frames.ts'
import {
  type Answer,
  answering,
  type Bytes,
  bytesOf,
  guarded,
  inTurn,
  ok,
  rawBackend,
  settled,
} from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

const TLS = { tls: SERVER }
const MIB = 1024 ** 2

async function start(
  t: Test,
  backends: ReadonlyArray<{ readonly url: string } | string>,
  pool: Omit<PoolConfig, 'backends'> = {},
  listen: NonNullable<Config['listen']> = {},
): Promise<Gateway> {
  return gatewayTo(t, backends, pool, { listen: { ...TLS, ...listen } })
}

async function open(t: Test, port: number): Promise<ClientHttp2Session> {
  const session = connect(`https://localhost:${port}`, { ca: CA, host: '127.0.0.1' })
  t.teardown(() => session.destroy())
  session.on('error', () => undefined)
  await once(session, 'connect')
  return session
}

interface Got {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly interim: ReadonlyArray<IncomingHttpHeaders>
  readonly body: Buffer
  readonly trailers: IncomingHttpHeaders
  /** 'NO_ERROR' for an answer that ended well. */
  readonly code: string
}

interface Sent {
  readonly body?: Bytes
  readonly trailers?: OutgoingHttpHeaders
}

/** One request and its answer, through Node's own client. */
async function ask(session: ClientHttp2Session, fields: OutgoingHttpHeaders = {}, sent: Sent = {}): Promise<Got> {
  const { body, trailers } = sent
  const stream = session.request(fields, { endStream: body === undefined, waitForTrailers: trailers !== undefined })
  const got = { status: 0, headers: {}, trailers: {} }
  const interim: IncomingHttpHeaders[] = []
  const pieces: Buffer[] = []
  stream.on('headers', (each) => void interim.push(each))
  stream.on('response', (each) => Object.assign(got, { headers: each, status: Number(each[':status']) }))
  stream.on('trailers', (each) => Object.assign(got, { trailers: each }))
  stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}))
  stream.on('data', (piece: Buffer) => void pieces.push(piece))
  stream.on('error', () => undefined)
  if (body !== undefined) inPieces(body).pipe(stream)
  await guarded(once(stream, 'close'), () => `a request for ${String(fields[':path'])}`)
  return { ...got, interim, body: Buffer.concat(pieces), code: CODES[stream.rstCode] ?? String(stream.rstCode) }
}

/** Node's client counts what it still has to send against the memory of a connection, and gives up at 10 MB. */
function inPieces(body: Bytes): Readable {
  const whole = bytesOf(body)
  const count = Math.ceil(whole.length / MIB)
  return Readable.from(Array.from({ length: count }, (_, n) => whole.subarray(n * MIB, (n + 1) * MIB)))
}

/** In the form of HTTP/1, for what checks answers of both. */
function asAnswer({ status, headers: fields, body }: Got): Answer {
  const pairs = Object.entries(fields)
    .filter(([name]) => !name.startsWith(':'))
    .flatMap(([name, value]) => [value ?? []].flat().map((each) => [name, each] as const))
  const head = pairs.map(([name, value]) => `${name}: ${value}`).join('\r\n')
  return { head, version: '', status, reason: '', fields: pairs, body, trailers: '', complete: true, chunked: false }
}

/** What HTTP/2 does not have (RFC 9113, section 8.2.2). */
const CONNECTION_FIELDS = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']

async function isForgotten(gateway: Gateway): Promise<void> {
  await gateway.line(({ outcome }) => outcome === 'aborted')
}

// --- requests ---

void test('a request reaches the backend as HTTP/1.1: fields, cookies, Host, who asked', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  const fields: Fields = [
    ['x-first', '1'],
    ['cookie', 'a=1'],
    ['x-forwarded-for', '192.0.2.1'],
    ['x-forwarded-proto', 'http'],
    ['cookie', 'b=2'],
    ['x-twice', 'one'],
    ['x-twice', 'two'],
    ['cookie', 'c=3'],
    ['user-agent', ''],
  ]
  client.send(get(1, '/a//b?x=%41&x=;', fields))
  t.equal((await client.answer(1)).status, 200)
  const { method, url, rawHeaders } = await server.request(0)
  t.equal(method, 'GET')
  t.equal(url, '/a//b?x=%41&x=;')
  const names = rawHeaders.filter((_, index) => index % 2 === 0)
  t.notOk(
    names.some((name) => name.startsWith(':')),
    'no pseudo-field',
  )
  t.equal(rawHeaders[1], 'gateway.example')
  t.same(rawValues(rawHeaders, 'host'), ['gateway.example'])
  t.same(rawValues(rawHeaders, 'cookie'), ['a=1; b=2; c=3'])
  t.same(rawValues(rawHeaders, 'x-first'), ['1'])
  t.same(rawValues(rawHeaders, 'x-twice'), ['one', 'two'])
  t.same(rawValues(rawHeaders, 'user-agent'), [''])
  t.same(rawValues(rawHeaders, 'x-forwarded-for'), ['127.0.0.1'])
  t.same(rawValues(rawHeaders, 'x-forwarded-proto'), ['https'])
  t.same(rawValues(rawHeaders, 'x-forwarded-host'), ['gateway.example'])
  t.match(rawValues(rawHeaders, 'via'), [/^2(?:\.0)? /])
  t.same(rawValues(rawHeaders, 'transfer-encoding'), [])
  t.same(rawValues(rawHeaders, 'content-length'), [])
})

const AUTHORITY: ReadonlyArray<readonly [what: string, fields: Fields, host: string | undefined]> = [
  ['Host alone', [['host', 'a.example']], 'a.example'],
  [':authority with a port', [[':authority', 'a.example:8443']], 'a.example:8443'],
  [
    'both, the same',
    [
      [':authority', 'a.example'],
      ['host', 'a.example'],
    ],
    'a.example',
  ],
  [
    'both, different',
    [
      [':authority', 'a.example'],
      ['host', 'b.example'],
    ],
    undefined,
  ],
  [
    'two Host',
    [
      ['host', 'a.example'],
      ['host', 'a.example'],
    ],
    undefined,
  ],
  ['user information', [[':authority', 'user@a.example']], undefined],
  ['a path', [[':authority', 'a.example/b']], undefined],
  ['a line end', [[':authority', 'a.example\r\nx-a: b']], undefined],
  ['a port that is none', [[':authority', 'a.example:99999']], undefined],
  ['an empty one', [[':authority', '']], undefined],
  ['nothing', [], undefined],
]

/** An answer of 400, or a reset: nothing goes on. */
async function isRefused(t: Test, client: FrameClient, stream: number, name: string): Promise<void> {
  const { status, reset: code } = await client.answer(stream)
  t.ok(status === 400 || code === 'PROTOCOL_ERROR', `${name}: ${status}, ${code}`)
}

void test('HO-02 HO-03: the host is what :authority says, and a request with none or another one is refused', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  await inTurn(AUTHORITY, async ([what, fields, host], index) => {
    const before = server.requests.length
    const id = 2 * index + 1
    const pseudo = fields.filter(([name]) => name.startsWith(':'))
    const others = fields.filter(([name]) => !name.startsWith(':'))
    client.send(headers(id, [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], ...pseudo, ...others]))
    if (host === undefined) await isRefused(t, client, id, what)
    else t.equal((await client.answer(id)).status, 200, what)
    t.same(
      server.requests.slice(before).map(({ headers: { host: seen } }) => seen),
      host === undefined ? [] : [host],
      what,
    )
  })
})

void test('HO-07: routes are found by host, however it is written', async (t) => {
  const [ours, others] = [await backend(t), await backend(t)]
  const pools = { ours: { backends: [ours.url] }, others: { backends: [others.url] } }
  const routes = [
    { path: '/*', host: 'a.example', pool: 'ours' },
    { path: '/*', pool: 'others' },
  ]
  const { port } = await startGateway(t, { listen: TLS, pools, routes })
  const client = await FrameClient.open(t, port)
  const hosts = ['a.example', 'A.EXAMPLE', 'a.example:443', 'a.example.', 'b.example']
  await inTurn(hosts, async (host, index) => {
    const pseudo = requestFields('GET', `/${host}`).filter(([name]) => name !== ':authority')
    client.send(
      headers(4 * index + 1, [...pseudo, [':authority', host]]),
      headers(4 * index + 3, [...pseudo, ['host', host]]),
    )
    await client.answer(4 * index + 1)
    await client.answer(4 * index + 3)
  })
  t.same(
    ours.requests.map(({ url }) => url.slice(1)),
    hosts.slice(0, -1).flatMap((host) => [host, host]),
  )
  t.equal(others.requests.length, 2)
})

const TARGETS: ReadonlyArray<readonly [path: string, forwarded: boolean]> = [
  ['/%2F;x=1+~', true],
  ['//host/path', true],
  ['/a b', false],
  ['/a\tb', false],
  ['/a\0', false],
  ['/ HTTP/1.1\r\nX-Injected: 1\r\n\r\nGET /b', false],
  ['/a\x7f', false],
  ['/a#b', false],
  ['a', false],
  ['*', false],
  ['http://other.example/a', false],
  ['?a', false],
]

void test('RL-04 PN-01 PN-06: :path is forwarded byte for byte, or refused', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  await inTurn(TARGETS, async ([path, forwarded], index) => {
    const before = server.requests.length
    const name = JSON.stringify(path)
    client.send(get(2 * index + 1, path))
    if (forwarded) t.equal((await client.answer(2 * index + 1)).status, 200, name)
    else await isRefused(t, client, 2 * index + 1, name)
    t.same(
      server.requests.slice(before).map(({ url }) => url),
      forwarded ? [path] : [],
      name,
    )
  })
})

void test('a segment that leads out of its route is refused', async (t) => {
  const server = await backend(t)
  const pools = { web: { backends: [server.url] } }
  const config = { listen: TLS, pools, routes: [{ path: '/in/*', pool: 'web' }] }
  const { port } = await startGateway(t, config)
  const session = await open(t, port)
  isError(t, asAnswer(await ask(session, { ':path': '/in/..%2fout' })), 'SLUICE_BAD_REQUEST')
  isError(t, asAnswer(await ask(session, { ':path': '/out' })), 'SLUICE_NO_ROUTE')
  t.equal((await ask(session, { ':path': '/in/a' })).status, 200)
  t.equal(server.requests.length, 1)
})

void test('the method is a token that is known, or refused in our own words', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const session = await open(t, port)
  await inTurn(['OPTIONS', 'DELETE', 'PATCH', 'PROPFIND', 'REPORT', 'TRACE'], async (method) => {
    t.equal((await ask(session, { ':method': method })).status, 200, method)
    t.equal((await server.request(server.requests.length - 1)).method, method)
  })
  const before = server.requests.length
  await inTurn(['NOTHING', 'get'], async (method) => {
    isError(t, asAnswer(await ask(session, { ':method': method })), 'SLUICE_BAD_REQUEST', [], method)
  })
  const client = await FrameClient.open(t, port)
  client.send(headers(1, requestFields('GET / HTTP/1.1\r\nX-Injected:', '/')))
  await isRefused(t, client, 1, 'a method with more in it')
  t.equal(server.requests.length, before)
})

void test('OPTIONS * goes on as such', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  t.equal((await ask(await open(t, port), { ':method': 'OPTIONS', ':path': '*' })).status, 200)
  t.match(await server.request(0), { method: 'OPTIONS', url: '*' })
})

void test('CONNECT is refused in our own words', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const session = await open(t, port)
  const got = await ask(session, { ':method': 'CONNECT', ':authority': `127.0.0.1:${server.port}` }, { body: '' })
  isError(t, asAnswer(got), 'SLUICE_BAD_REQUEST')
  const client = await FrameClient.open(t, port)
  // RFC 8441: only to who has offered it.
  client.send(headers(1, [...requestFields('CONNECT', '/'), [':protocol', 'websocket']], END_HEADERS))
  await isRefused(t, client, 1, 'a WebSocket')
  t.equal(server.connections(), 0)
})

void test('H2-03: fields of HTTP/1 connections, and values that could become lines, never go on', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  const refused: Fields = [
    ['transfer-encoding', 'chunked'],
    ['connection', 'x-a'],
    ['keep-alive', 'timeout=5'],
    ['proxy-connection', 'keep-alive'],
    ['upgrade', 'websocket'],
    ['te', 'gzip'],
    ['content-length', '5'],
    ['content-length', '+0'],
  ]
  await inTurn(refused, async ([name, value], index) => {
    client.send(get(2 * index + 1, '/', [[name, value]]))
    await isRefused(t, client, 2 * index + 1, `${name}: ${String(value)}`)
  })
  t.equal(server.requests.length, 0)
  const dirty: Fields = [
    ['x-a', 'b\r\nX-Injected: 1'],
    ['x-a', 'b\nX-Injected: 1'],
    ['x-a', 'b\0c'],
    ['x-a: b\r\nx-injected', '1'],
    ['x a', 'b'],
  ]
  await inTurn(dirty, async ([name, value], index) => {
    const id = 2 * (refused.length + index) + 1
    client.send(get(id, '/', [[name, value]]))
    const { status } = await client.answer(id)
    // Node leaves such a field out and goes on without it.
    if (status !== 200) return t.ok([0, 400].includes(status), `${name}: ${status}`)
    const { rawHeaders } = await server.request(server.requests.length - 1)
    const known = new Set([
      'host',
      'via',
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-forwarded-host',
      'x-request-id',
      'traceparent',
    ])
    return t.same(
      rawHeaders.filter((each, at) => at % 2 === 0 && !known.has(each.toLowerCase()) && each !== 'Connection'),
      [],
      `${name}: ${String(value)}`,
    )
  })
})

void test('HH-06: obs-text passes byte for byte in both directions', async (t) => {
  const all = Buffer.from(Array.from({ length: 128 }, (_, n) => 0x80 + n)).toString('latin1')
  const server = await rawBackend(t, { onRequest: (connection) => connection.send(ok('ok', [`X-Answer: ${all}`])) })
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  client.send(get(1, '/', [['x-asked', all]]))
  t.equal((await client.answer(1)).status, 200)
  t.ok(server.heads[0]?.includes(`\r\nx-asked: ${all}\r\n`))
  t.equal((await ask(await open(t, port))).headers['x-answer'], all)
})

// --- bodies ---

void test('bodies with and without a length arrive whole, and say how long they are when it is known', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const session = await open(t, port)
  const content = randomBytes(300_000)
  const post2 = { ':method': 'POST' }
  await ask(session, { ...post2, 'content-length': content.length }, { body: content })
  await ask(session, post2, { body: content })
  await ask(session, { ...post2, 'content-length': 0 })
  await ask(session, post2, { body: '' })
  const seen = server.requests.map((each) => [
    each.bytes(),
    each.headers['content-length'],
    each.headers['transfer-encoding'],
    each.complete(),
  ])
  t.same(seen.slice(0, 3), [
    [content.length, String(content.length), undefined, true],
    [content.length, undefined, 'chunked', true],
    [0, '0', undefined, true],
  ])
  t.match(seen[3], [0], 'an empty body may be told either way')
  t.equal(server.requests[0]?.sha256(), sha256(content))
  t.equal(server.requests[1]?.sha256(), sha256(content))
})

void test('BD-12: 20 MB up and down at once, byte for byte', async (t) => {
  const content = randomBytes(20 * MIB)
  const server = await backend(t, (request, response) => void request.pipe(response))
  const { port } = await start(t, [server])
  const session = await open(t, port)
  const { code, body } = await ask(session, { ':method': 'PUT' }, { body: content })
  t.equal(code, 'NO_ERROR')
  t.equal(sha256(body), sha256(content))
})

const ANSWERS: ReadonlyArray<readonly [what: string, bytes: Bytes, body: string]> = [
  ['a length', ok('hello'), 'hello'],
  ['a length of 0', ok(''), ''],
  ['a long one', ok('x'.repeat(200_000)), 'x'.repeat(200_000)],
  ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n', 'hello'],
  ['no chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', ''],
]

void test('answers of every framing end with END_STREAM, and with nothing behind it', async (t) => {
  await inTurn(ANSWERS, async ([what, bytes, body]) => {
    const { port } = await start(t, [await answering(t, bytes)])
    const client = await FrameClient.open(t, port, { first: WIDE })
    client.send(get(1))
    const answer = await client.answer(1)
    t.match(answer, { status: 200, ended: true, reset: undefined }, what)
    t.equal(answer.body.toString('latin1'), body, what)
    await client.ping()
    t.equal(client.on(1).reset, undefined, `${what}: no reset behind it`)
  })
  const { port } = await start(t, [await answering(t, 'HTTP/1.1 200 OK\r\n\r\nhello', 'ends')])
  const got = await ask(await open(t, port))
  t.match({ ...got, body: got.body.toString() }, { status: 200, code: 'NO_ERROR', body: 'hello' }, 'until it closes')
})

void test('HEAD, 204 and 304 have no content, and keep their length', async (t) => {
  const server = await backend(t, (request, response) => {
    const status = Number(request.url?.slice(1))
    response.writeHead(status, status === 204 ? {} : { 'content-length': 5 }).end()
  })
  const plain = await start(t, [server])
  const hooked = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => payload)
  })
  const cases = [
    [{ ':method': 'HEAD', ':path': '/200' }, '5'],
    [{ ':path': '/204' }, undefined],
    [{ ':path': '/304' }, '5'],
    [{ ':method': 'HEAD', ':path': '/404' }, '5'],
  ] as const
  await inTurn([plain, hooked], async ({ port }) => {
    const session = await open(t, port)
    await inTurn(cases, async ([fields, length]) => {
      const { status, headers: seen, body, code } = await ask(session, fields)
      const name = JSON.stringify(fields)
      t.equal(status, Number(fields[':path'].slice(1)), name)
      t.equal(seen['content-length'], length, name)
      t.equal(body.length, 0, name)
      t.equal(code, 'NO_ERROR', name)
    })
  })
})

void test('fields of answers: in lower case, every Set-Cookie, none of the connection, an id of ours', async (t) => {
  const lines = [
    'X-Mixed-Case: Value',
    'Set-Cookie: a=1',
    'Set-Cookie: b=2; Path=/',
    'Connection: X-Hop, close',
    'X-Hop: 1',
    'Keep-Alive: timeout=5',
    'Proxy-Connection: close',
    'X-Request-Id: theirs',
    'X-Empty:',
  ]
  const { port } = await start(t, [await answering(t, ok('ok', lines))])
  const { headers: seen } = await ask(await open(t, port))
  t.equal(seen['x-mixed-case'], 'Value')
  t.same(seen['set-cookie'], ['a=1', 'b=2; Path=/'])
  t.equal(seen['x-empty'], '')
  t.equal(seen['x-hop'], undefined)
  for (const name of CONNECTION_FIELDS) t.equal(seen[name], undefined, name)
  t.not(seen['x-request-id'], 'theirs')
  t.match(String(seen['x-request-id']), /^[\w-]+$/)
})

/** Backends repeat what is meant to come once, and send what belongs to HTTP/1.1 connections; HTTP/1 clients get it. */
const ODD_FIELDS = [
  'X-Content-Type-Options: nosniff',
  'Date: Thu, 01 Jan 1970 00:00:00 GMT',
  'ETag: "a"',
  'Content-Language: en',
  'HTTP2-Settings: AAMAAABk',
  'TE: gzip',
  '__proto__: a',
  'constructor: a',
]

void test('odd fields of backends cost no answer, wherever they stand, and not the process', async (t) => {
  await inTurn(ODD_FIELDS, async (line) => {
    const twice = `${line}\r\n${line}\r\n`
    const places: ReadonlyArray<readonly [where: string, bytes: string]> = [
      ['head', `HTTP/1.1 200 OK\r\n${twice}Content-Length: 2\r\n\r\nok`],
      ['head of a long answer', `HTTP/1.1 200 OK\r\n${twice}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`],
      ['103', `HTTP/1.1 103 Early Hints\r\n${twice}\r\n${ok('ok').toString('latin1')}`],
      ['trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${twice}\r\n`],
    ]
    await inTurn(places, async ([where, bytes]) => {
      const { port } = await start(t, [await answering(t, bytes)])
      const { status, body, code } = await ask(await open(t, port), { te: 'trailers' })
      t.match(
        { status, body: body.toString(), code },
        { status: 200, body: 'ok', code: 'NO_ERROR' },
        `${line}, ${where}`,
      )
    })
  })
})

void test('BF-08: a status beyond 599, which Node cannot send here, is a bad answer', async (t) => {
  await inTurn([600, 999], async (status) => {
    const { port } = await start(t, [await answering(t, `HTTP/1.1 ${status} Odd\r\nContent-Length: 2\r\n\r\nok`)])
    isError(t, asAnswer(await ask(await open(t, port))), 'SLUICE_BAD_RESPONSE')
  })
})

void test('a reason phrase has no place here, and nothing is warned of', async (t) => {
  const warnings: Error[] = []
  const note = (warning: Error): void => void warnings.push(warning)
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const server = await answering(t, 'HTTP/1.1 200 Quite Alright\r\nContent-Length: 2\r\n\r\nok')
  const plain = await start(t, [server])
  const hooked = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => payload)
  })
  await inTurn([plain, hooked], async ({ port }) => {
    const { status, headers: seen, code } = await ask(await open(t, port))
    t.match({ status, code }, { status: 200, code: 'NO_ERROR' })
    t.notMatch(JSON.stringify(seen), /Quite/)
  })
  // They are told on the next turn.
  await new Promise(setImmediate)
  t.same(warnings, [])
})

void test('103 Early Hints, and other interim answers, but no 100 of the backend', async (t) => {
  const interim =
    'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n'
  const { port } = await start(t, [await answering(t, `${interim}${ok('ok').toString('latin1')}`)])
  const { status, interim: seen } = await ask(await open(t, port))
  t.equal(status, 200)
  t.same(
    seen.map((each) => each[':status']),
    [103, 102],
  )
  t.equal(seen[0]?.['link'], '</a.css>')
})

void test('Expect: 100-continue is answered by us, and anything else that is expected refused in our own words', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  client.send(post(1, '/', [['expect', '100-continue']]))
  await client.until(() => (client.on(1).interim.includes(100) ? true : undefined))
  client.send(data(1, 'hello', END_STREAM))
  t.equal((await client.answer(1)).status, 200)
  t.equal((await server.request(0)).headers.expect, undefined)
  client.send(post(3, '/', [['expect', '100-Continue']]), data(3, 'hello', END_STREAM))
  t.match(await client.answer(3), { status: 200, interim: [100] }, 'in any case (RFC 9110, section 10.1.1)')
  const got = await ask(await open(t, port), { expect: 'a miracle' })
  t.equal(got.status, 417)
  t.match(got.body.toString(), /"code":"SLUICE_BAD_REQUEST"/)
  t.equal(server.requests.length, 2)
})

void test('TR-01 TR-04: trailers of requests and of answers', async (t) => {
  const server = await backend(t, (request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('ok')
      response.addTrailers({ 'X-Sum': '42', 'Set-Cookie': 'a=1' })
      response.end()
    })
  })
  const { port } = await start(t, [server])
  const session = await open(t, port)
  const sent = { body: 'hello', trailers: { 'x-checked': 'yes', 'x-forwarded-for': '192.0.2.1', cookie: 'a=1' } }
  const asked = await ask(session, { ':method': 'POST', te: 'trailers' }, sent)
  t.match({ ...asked, body: asked.body.toString() }, { status: 200, body: 'ok', code: 'NO_ERROR' })
  t.same(Object.entries(asked.trailers), [['x-sum', '42']])
  t.same(
    Object.entries((await ask(session, { ':method': 'POST' }, sent)).trailers),
    [],
    'only for who says that he reads them',
  )
  const [first] = server.requests
  t.equal(first?.body().toString(), 'hello')
})

void test('TR-01: trailers of a request arrive behind its body, those that may', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      const look = (): void => {
        if (connection.inbox.text.includes('\r\n0\r\n')) connection.send(ok())
        else connection.socket.once('data', look)
      }
      look()
    },
  })
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  const trailers: Fields = [
    ['x-checked', 'yes'],
    ['x-forwarded-for', '192.0.2.1'],
    ['x-request-id', 'mine'],
    ['cookie', 'a=1'],
  ]
  client.send(post(1), data(1, 'hello'), headers(1, trailers))
  t.equal((await client.answer(1)).status, 200)
  const [connection] = server.accepted
  t.match(connection?.inbox.text ?? '', /\r\n5\r\nhello\r\n0\r\nx-checked: yes\r\n\r\n$/)
})

void test('BD-11 SS-03: an event stream: each event at once, and the backend is told when its client leaves', async (t) => {
  const server = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })
  const gateway = await start(t, [server])
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1))
  await client.until(() => (client.on(1).body.toString() === 'data: first\n\n' ? true : undefined))
  client.send(reset(1))
  await leavesNothing(t, gateway, server, 'an event stream')
})

// --- errors of our own ---

void test('BF-30: errors of our own have the form of all errors, and no fields of HTTP/1 connections', async (t) => {
  const port = await closedPort()
  const refused = await start(t, [`http://127.0.0.1:${port}`], { retry: { attempts: 1 } })
  const garbage = await start(t, [await answering(t, 'garbage\r\n\r\n')])
  const silent = await start(t, [await rawBackend(t, {})], { timeouts: { headers: 100 } })
  const limited = await start(t, [await backend(t)], { maxBodySize: 10 })
  const cases: ReadonlyArray<readonly [gateway: Gateway, code: string, fields?: OutgoingHttpHeaders, sent?: Sent]> = [
    [refused, 'SLUICE_CONNECT_FAILED'],
    [garbage, 'SLUICE_BAD_RESPONSE'],
    [silent, 'SLUICE_HEADERS_TIMEOUT'],
    [limited, 'SLUICE_BODY_TOO_LARGE', { ':method': 'POST', 'content-length': 11 }, { body: 'hello hello' }],
    [limited, 'SLUICE_BODY_TOO_LARGE', { ':method': 'POST' }, { body: 'hello hello' }],
    [limited, 'SLUICE_BAD_REQUEST', { ':path': '/a#b' }],
  ]
  await inTurn(cases, async ([gateway, code, fields, sent]) => {
    const got = await ask(await open(t, gateway.port), fields, sent)
    isError(t, asAnswer(got), code, [port])
    for (const name of CONNECTION_FIELDS) t.equal(got.headers[name], undefined, `${code}: no ${name}`)
    t.equal(got.code, 'NO_ERROR', `${code}: ends well`)
    t.equal(totals(gateway).inFlight, 0, `${code}: in flight`)
  })
})

void test('HH-08: a header list over the limit is refused, and the connection goes on', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server], {}, { maxHeaderSize: 8192 })
  const client = await FrameClient.open(t, port)
  client.send(get(1, '/', [['x-large', 'x'.repeat(9000)]]))
  const { status, reset: code } = await client.answer(1)
  t.ok(status === 431 || code === 'ENHANCE_YOUR_CALM', `${status}, ${code}`)
  client.send(get(3, '/', [['x-large', 'x'.repeat(4000)]]))
  t.equal((await client.answer(3)).status, 200)
  t.equal(server.requests.length, 1)
})

// --- clients that leave ---

async function leavesNothing(t: Test, gateway: Gateway, server: Backend, name: string): Promise<void> {
  await isForgotten(gateway)
  await server.openAtMost(0)
  t.match(gateway.lines, [{ status: 499, outcome: 'aborted', level: 'info' }], name)
  t.equal(gateway.lines.length, 1, `${name}: logged once`)
  t.match(totals(gateway), { inFlight: 0, failures: 0 }, name)
}

void test('CA-01: reset before the answer: the backend is told, the connection goes on', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url === '/') response.end('ok')
  })
  const gateway = await start(t, [server], { connections: { idle: 1 } })
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1, '/wait'))
  const request = await server.request(0)
  client.send(reset(1))
  await request.over
  await leavesNothing(t, gateway, server, 'before the answer')
  client.send(get(3))
  t.equal((await client.answer(3)).status, 200)
})

void test('CA-03: reset in mid-download, also by one that was not reading', async (t) => {
  const much = Buffer.alloc(32 * MIB)
  await inTurn([false, true], async (wide) => {
    const server = await backend(t, (_request, response) => void response.write(wide ? 'first' : much))
    const gateway = await start(t, [server])
    const client = await FrameClient.open(t, gateway.port, wide ? { first: WIDE } : {})
    client.send(get(1))
    await client.until(() => (client.on(1).length > 0 ? true : undefined))
    client.send(reset(1))
    await leavesNothing(t, gateway, server, wide ? 'reading' : 'not reading')
  })
})

void test('CA-04: a reset in mid-upload, whatever its code: the backend never sees a complete request', async (t) => {
  const framings: ReadonlyArray<readonly [what: string, fields: Fields]> = [
    ['no length', []],
    ['a length', [['content-length', '100']]],
  ]
  await inTurn(CODES, async (code) => {
    await inTurn(framings, async ([what, fields]) => {
      const server = await backend(t)
      const gateway = await start(t, [server])
      const client = await FrameClient.open(t, gateway.port)
      client.send(post(1, '/', fields), data(1, 'half'))
      const request = await server.request(0)
      client.send(reset(1, code))
      await request.over
      t.notOk(request.complete(), `${code}, ${what}`)
      await leavesNothing(t, gateway, server, `${code}, ${what}`)
    })
  })
})

void test('CA-04: a connection that ends in mid-upload, by GOAWAY or without a word', async (t) => {
  const ways: ReadonlyArray<readonly [how: string, leave: (client: FrameClient) => void]> = [
    ['closes', (client) => client.socket.end()],
    ['is destroyed', (client) => client.socket.destroy()],
    [
      'says goodbye',
      (client) => {
        client.send(goodbye())
        client.socket.end()
      },
    ],
  ]
  await inTurn(ways, async ([how, leave]) => {
    const server = await backend(t)
    const gateway = await start(t, [server])
    const client = await FrameClient.open(t, gateway.port)
    client.send(post(1), data(1, 'half'))
    const request = await server.request(0)
    leave(client)
    await request.over
    t.notOk(request.complete(), how)
    await leavesNothing(t, gateway, server, how)
  })
})

function goodbye(): Buffer {
  const bytes = Buffer.alloc(9 + 8)
  bytes.writeUInt8(8, 2)
  bytes.writeUInt8(GOAWAY, 3)
  return bytes
}

void test('reset while it waits for a connection, and while it waits for another attempt', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url !== '/first') response.end('ok')
  })
  const gateway = await start(t, [server], { connections: { max: 1, pending: 5, queue: '20s' } })
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1, '/first'))
  await server.request(0)
  client.send(get(3, '/second'))
  await client.ping()
  client.send(reset(3))
  await isForgotten(gateway)
  client.send(reset(1), get(5, '/third'))
  t.equal((await client.answer(5)).status, 200)
  t.same(
    server.requests.map(({ url }) => url),
    ['/first', '/third'],
    'its turn never comes',
  )
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
  const refusing = await start(t, [`http://127.0.0.1:${await closedPort()}`], {
    retry: { attempts: 2, backoff: { base: '10s', max: '10s' } },
  })
  const other = await FrameClient.open(t, refusing.port)
  other.send(get(1))
  await other.ping()
  other.send(reset(1))
  await isForgotten(refusing)
  t.match(totals(refusing), { inFlight: 0 })
})

void test('reset while a hook takes its time: nothing is sent for it', async (t) => {
  const server = await backend(t)
  const { promise: inHook, resolve: entered } = Promise.withResolvers<void>()
  const gateway = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', async (request) => {
      entered()
      await once(request.raw, 'close')
    })
  })
  const client = await FrameClient.open(t, gateway.port)
  client.send(post(1))
  await inHook
  client.send(reset(1))
  await isForgotten(gateway)
  t.equal(server.requests.length, 0)
  t.match(totals(gateway), { inFlight: 0, requests: 0, failures: 0 })
})

// --- answers before the end of the request ---

void test('BF-28 BF-29: an early answer ends well, and the upload is called off', async (t) => {
  await inTurn(['stays', 'closes'], async (then) => {
    const server = await backend(t, (_request, response) => {
      response.writeHead(413, then === 'closes' ? { connection: 'close' } : {}).end('too much')
    })
    const gateway = await start(t, [server])
    const client = await FrameClient.open(t, gateway.port, { first: WIDE })
    client.send(post(1), data(1, Buffer.alloc(10_000)))
    const answer = await client.until(() => (client.on(1).ended ? client.on(1) : undefined))
    t.equal(answer.status, 413, then)
    t.equal(answer.body.toString(), 'too much', then)
    // The client goes silent: nobody waits for it.
    await client.until(() => client.on(1).reset)
    t.equal(client.on(1).reset, 'NO_ERROR', then)
    t.match(await gateway.line(() => true), { outcome: 'answered', status: 413 }, then)
    t.equal(totals(gateway).inFlight, 0, then)
    client.send(get(3))
    t.equal((await client.answer(3)).status, 413)
  })
})

void test('an early answer that is long, and one with trailers, end before the upload is called off', async (t) => {
  const long = 'x'.repeat(200_000)
  const server = await backend(t, (request, response) => {
    response.writeHead(200)
    response.write(long)
    if (request.url === '/trailers') response.addTrailers({ 'x-sum': '1' })
    response.end()
  })
  const { port } = await start(t, [server])
  const client = await FrameClient.open(t, port)
  await inTurn(['/', '/trailers'], async (path, index) => {
    const id = 2 * index + 1
    client.send(post(id, path, [['te', 'trailers']]), data(id, 'half'))
    await client.until(() => (client.on(id).length === INITIAL ? true : undefined))
    client.send(windowUpdate(0, 300_000), windowUpdate(id, 300_000))
    await client.until(() => (client.on(id).ended ? true : undefined))
    t.equal(client.on(id).length, long.length, path)
    const last = client.frames.findLast(({ stream, type }) => stream === id && type === HEADERS)
    t.equal(last?.flags, path === '/trailers' ? END_HEADERS | END_STREAM : END_HEADERS, path)
    await client.until(() => client.on(id).reset)
    t.equal(client.on(id).reset, 'NO_ERROR', path)
  })
})

void test('an upload of which nobody reads more is called off: no route, too large, no backend', async (t) => {
  const server = await backend(t)
  const pools = {
    web: { backends: [server.url], maxBodySize: 5 },
    none: { backends: [{ url: server.url, weight: 0 }] },
  }
  const routes = [
    { path: '/web', pool: 'web' },
    { path: '/none', pool: 'none' },
  ]
  const gateway = await startGateway(t, { listen: TLS, pools, routes })
  const client = await FrameClient.open(t, gateway.port)
  const cases: ReadonlyArray<readonly [path: string, status: number]> = [
    ['/nowhere', 404],
    ['/web', 413],
    ['/none', 503],
  ]
  await inTurn(cases, async ([path, status], index) => {
    const id = 2 * index + 1
    client.send(post(id, path), data(id, 'hello hello'))
    await client.until(() => (client.on(id).ended ? true : undefined))
    t.equal(client.on(id).status, status, path)
    await client.until(() => client.on(id).reset)
    t.equal(client.on(id).reset, 'NO_ERROR', path)
  })
})

// --- backends that break off ---

void test('BF-18 BF-20 RT-07: an answer that breaks off is reset, never ended', async (t) => {
  const cut: ReadonlyArray<readonly [what: string, bytes: string, then: 'ends' | 'resets']> = [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhello', 'ends'],
    ['a long one', `HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(100_000)}`, 'ends'],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'ends'],
    ['in a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel', 'ends'],
    ['a chunk that is none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n', 'ends'],
    ['bad trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx a: 1\r\n\r\n', 'ends'],
    ['a reset', 'HTTP/1.1 200 OK\r\n\r\nhello', 'resets'],
  ]
  await inTurn(cut, async ([what, bytes, then]) => {
    const gateway = await start(t, [await answering(t, bytes, then)])
    const client = await FrameClient.open(t, gateway.port, { first: WIDE })
    client.send(get(1))
    const { status, reset: code, ended } = await client.answer(1)
    t.match({ status, code, ended }, { status: 200, code: 'INTERNAL_ERROR', ended: false }, what)
    t.match(await gateway.line(() => true), { outcome: 'broken' }, what)
    t.match(totals(gateway), { inFlight: 0, requests: 1 }, what)
    t.ok(await client.ping(), `${what}: the connection goes on`)
  })
})

void test('an answer that breaks off while a hook has it is reset, too', async (t) => {
  const cut = 'HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n'
  const { promise: waiting, resolve: letOn } = Promise.withResolvers<void>()
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      connection.send(`${cut}hello`)
      if (head.startsWith('GET /early')) connection.socket.end()
      else void waiting.then(() => connection.socket.end())
    },
  })
  const gateway = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onSend', async (request, _reply, payload) => {
      if (request.url === '/early') await once(request.raw, 'close')
      return payload
    })
  })
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1, '/early'), get(3, '/late'))
  await client.until(() => (client.on(3).length > 0 ? true : undefined))
  letOn()
  await inTurn([1, 3], async (id) => {
    const { reset: code, ended } = await client.answer(id)
    t.match({ code, ended }, { code: 'INTERNAL_ERROR', ended: false }, `stream ${id}`)
  })
  t.equal(totals(gateway).inFlight, 0)
})

void test('TO-07: a backend that stalls in mid-body: reset', async (t) => {
  const { port } = await start(t, [await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhello')], {
    timeouts: { body: 200 },
  })
  const client = await FrameClient.open(t, port)
  client.send(get(1))
  const { status, reset: code, ended } = await client.answer(1)
  t.match({ status, code, ended }, { status: 200, code: 'INTERNAL_ERROR', ended: false })
})

// --- flow ---

/** Writes for ever, as fast as it is taken; tells how much was. */
function pour(response: ServerResponse): () => number {
  const piece = Buffer.alloc(MIB / 4, 'x')
  let written = 0
  const more = (): void => {
    while (written < 100 * MIB) {
      written += piece.length
      if (!response.write(piece)) return
    }
    response.end()
  }
  response.on('drain', more)
  more()
  return () => written - response.writableLength
}

/** What the system's own buffers on loopback and ours may hold of one answer: far below the 100 MB that there are. */
const BETWEEN = 16 * MIB

void test('streams whose windows stay closed stop their backends; others on the connection go on', async (t) => {
  const poured: Array<() => number> = []
  const server = await backend(t, (request, response) => {
    if (request.url === '/much') poured.push(pour(response))
    else response.end('ok')
  })
  const gateway = await start(t, [server])
  const client = await FrameClient.open(t, gateway.port)
  // The connection has room for all of them, each stream for 64 KB.
  client.send(windowUpdate(0, LARGEST - INITIAL))
  for (let n = 0; n < 5; n++) client.send(get(2 * n + 1, '/much'))
  await server.request(4)
  const taken = await settled(() => poured.reduce((sum, each) => sum + each(), 0))
  t.ok(taken < 5 * BETWEEN, `${taken} bytes taken`)
  client.send(get(11))
  t.equal((await client.answer(11)).body.toString(), 'ok')
  client.send(windowUpdate(1, 32 * MIB))
  await client.until(() => (client.on(1).length === INITIAL + 32 * MIB ? true : undefined))
  t.equal(client.on(3).length, INITIAL, 'no other stream moves')
})

void test('BD-14: a backend that does not read stops its client; others on the connection go on', async (t) => {
  const deaf = await rawBackend(t, { deaf: true })
  const server = await backend(t)
  const pools = { deaf: { backends: [deaf.url] }, web: { backends: [server.url] } }
  const routes = [
    { path: '/deaf', pool: 'deaf' },
    { path: '/*', pool: 'web' },
  ]
  const { port } = await startGateway(t, { listen: TLS, pools, routes })
  const session = await open(t, port)
  const stalled = session.request({ ':method': 'POST', ':path': '/deaf' })
  stalled.on('error', () => undefined)
  const piece = Buffer.alloc(MIB)
  let taken = 0
  const more = (): void => void stalled.write(piece, () => ((taken += MIB), taken < 100 * MIB && more()))
  more()
  await deaf.connection(0)
  t.ok((await settled(() => taken)) < 40 * MIB, `${taken} bytes taken`)
  const content = randomBytes(MIB)
  t.equal((await ask(session, { ':method': 'POST', ':path': '/web' }, { body: content })).status, 200)
  t.equal((await server.request(0)).sha256(), sha256(content))
})

void test('a client that takes nothing for as long as a backend may pause is let go', async (t) => {
  const server = await backend(t, (_request, response) => void pour(response))
  const gateway = await start(t, [server], { timeouts: { body: 300 } })
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1))
  t.match(await gateway.line(() => true), { status: 499, outcome: 'aborted' })
  await server.openAtMost(0)
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
  client.send(windowUpdate(0, 1), windowUpdate(1, 1))
  t.ok((await client.answer(1)).reset !== undefined)
})

void test('a client that never takes an answer that is there is let go', async (t) => {
  const server = await backend(t)
  const gateway = await start(t, [server], {}, { bodyTimeout: 200, keepAlive: 200 })
  const client = await FrameClient.open(t, gateway.port, { first: settings(NO_TABLE, [INITIAL_WINDOW_SIZE, 0]) })
  client.send(get(1))
  const { status, reset: code } = await client.answer(1)
  t.equal(status, 200)
  t.not(code, undefined)
  await client.end()
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('a client that stops in mid-upload is told, and its stream ends', async (t) => {
  const server = await backend(t)
  const gateway = await start(t, [server], {}, { bodyTimeout: 200 })
  const client = await FrameClient.open(t, gateway.port)
  client.send(post(1), data(1, 'half'))
  await client.until(() => (client.on(1).ended ? true : undefined))
  t.equal(client.on(1).status, 408)
  await client.until(() => client.on(1).reset)
  t.match(await gateway.line(() => true), { code: 'SLUICE_CLIENT_TIMEOUT' })
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('100 streams at once: each gets its own answer', async (t) => {
  const waiting: Array<() => void> = []
  const server = await backend(t, (request, response) => {
    waiting.push(() => response.end(request.url))
    if (waiting.length === 100) for (const answer of waiting.toReversed()) answer()
  })
  const gateway = await start(t, [server])
  const session = await open(t, gateway.port)
  const got = await Promise.all(Array.from({ length: 100 }, async (_, n) => ask(session, { ':path': `/${n}` })))
  t.same(
    got.map(({ body }) => body.toString()),
    got.map((_, n) => `/${n}`),
  )
  t.match(totals(gateway), { inFlight: 0, requests: 100, failures: 0 })
})

// --- the rest of the gateway ---

void test('hooks of plugins see requests and answers, and what they say counts', async (t) => {
  const server = await backend(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] })
    response.write('hello ')
    response.end('there')
  })
  const gateway = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', async (request, reply) => {
      void reply.header('x-hook', request.headers['x-asked'])
      if (request.url === '/forbidden') return reply.code(403).send({ no: true })
      return undefined
    })
    app.addHook('onSend', async (_request, _reply, payload) => {
      if (typeof payload !== 'object' || payload === null || !(Symbol.asyncIterator in payload)) return payload
      let text = ''
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the answer is a stream of bytes
      for await (const piece of payload as AsyncIterable<Buffer>) text += piece.toString()
      return text.toUpperCase()
    })
  })
  const session = await open(t, gateway.port)
  const changed = await ask(session, { 'x-asked': 'this' })
  t.match({ ...changed, body: changed.body.toString() }, { status: 200, body: 'HELLO THERE', code: 'NO_ERROR' })
  t.equal(changed.headers['x-hook'], 'this')
  t.same(changed.headers['set-cookie'], ['a=1', 'b=2'])
  for (const name of CONNECTION_FIELDS) t.equal(changed.headers[name], undefined, name)
  const refused = await ask(session, { ':path': '/forbidden' })
  t.equal(refused.status, 403)
  t.equal(refused.body.toString(), '{"no":true}')
  t.equal(totals(gateway).inFlight, 0)
})

/** What plugins that were written for HTTP/1 set, and what a client could make them set. */
const SET_BY_HOOKS: ReadonlyArray<readonly [name: string, value: string]> = [
  ['connection', 'keep-alive'],
  ['keep-alive', 'timeout=5'],
  ['transfer-encoding', 'chunked'],
  ['upgrade', 'h2c'],
  ['proxy-connection', 'close'],
  ['http2-settings', 'AAMAAABk'],
  ['te', 'gzip'],
  ['x-a', 'a\nb'],
  ['x-a', '\u20ac'],
  ['x a', 'b'],
]

void test('fields that hooks set and that have no place here cost no more than that answer', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url === '/cut') request.socket.destroy()
    else response.end('ok')
  })
  let field = SET_BY_HOOKS[0] ?? ['', '']
  const config = { listen: TLS, pools: { web: { backends: [server.url], retry: { attempts: 1 } } } }
  const gateway = await startGateway(t, config, (app) => {
    app.addHook('onRequest', async (_request, reply) => void reply.header(...field))
    app.get('/own', async () => 'ok')
  })
  const session = await open(t, gateway.port)
  await inTurn(SET_BY_HOOKS, async (each) => {
    field = each
    await inTurn(['/', '/cut', '/own', '/a#b'], async (path) => {
      const { status, headers: seen, code } = await ask(session, { ':path': path })
      const name = `${each.join(': ')}, ${path}`
      t.ok([200, 400, 500, 502].includes(status), `${name}: ${status}`)
      t.equal(code, 'NO_ERROR', name)
      for (const forbidden of CONNECTION_FIELDS) t.equal(seen[forbidden], undefined, `${name}: ${forbidden}`)
    })
  })
  field = ['x-fine', '1']
  t.equal((await ask(session)).headers['x-fine'], '1')
  t.equal(totals(gateway).inFlight, 0)
})

void test('a hook that throws: 500, and nothing of why', async (t) => {
  const server = await backend(t)
  const config = { listen: TLS, pools: { web: { backends: [server.url] } } }
  const gateway = await startGateway(t, config, (app) => {
    app.addHook('onRequest', async (request) => {
      if (request.url === '/throws') throw new Error('a secret')
    })
  })
  const session = await open(t, gateway.port)
  isError(t, asAnswer(await ask(session, { ':path': '/throws' })), 'SLUICE_INTERNAL')
  t.equal((await ask(session)).status, 200)
})

void test('routes of plugins are served, too', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { listen: TLS, pools: { web: { backends: [server.url] } } }, (app) => {
    app.get('/own', async () => ({ own: true }))
  })
  const got = await ask(await open(t, gateway.port), { ':path': '/own' })
  t.match({ status: got.status, body: got.body.toString() }, { status: 200, body: '{"own":true}' })
  t.match(String(got.headers['x-request-id']), /^[\w-]+$/)
  t.equal(server.requests.length, 0)
})

void test('RT-02: another backend is tried, also with a body that was kept', async (t) => {
  const bad = await rawBackend(t, { onRequest: (connection) => connection.reset() })
  const good = await backend(t)
  const gateway = await start(t, [bad, good], { retry: { attempts: 2 } })
  const session = await open(t, gateway.port)
  await inTurn([1, 2], async () => {
    const { status } = await ask(session, { ':method': 'PUT' }, { body: 'hello' })
    t.equal(status, 200)
  })
  t.ok(gateway.lines.some(({ attempts }) => attempts === 2))
  t.same(
    good.requests.map((each) => each.body().toString()),
    ['hello', 'hello'],
  )
})

void test('trusted proxies, and ids of theirs', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server], {}, { trustedProxies: ['127.0.0.1'] })
  const fields = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'http', 'x-request-id': 'theirs-1' }
  const { headers: seen } = await ask(await open(t, port), fields)
  t.equal(seen['x-request-id'], 'theirs-1')
  t.match((await server.request(0)).headers, {
    'x-forwarded-for': '192.0.2.1, 127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-request-id': 'theirs-1',
  })
})

void test('LI-06: requests are logged like others', async (t) => {
  const server = await backend(t)
  const gateway = await start(t, [server])
  const { headers: seen } = await ask(await open(t, gateway.port), { ':path': '/a?secret' })
  t.match(await gateway.line(() => true), {
    level: 'info',
    message: 'request',
    status: 200,
    outcome: 'answered',
    attempts: 1,
    method: 'GET',
    path: '/a?secret',
    client: '127.0.0.1',
    pool: 'web',
    backend: `127.0.0.1:${server.port}`,
    requestId: seen['x-request-id'],
  })
})

// --- connections ---

void test('SD-01: closing says GOAWAY, lets streams finish, and ends the connection', async (t) => {
  const { promise: finishing, resolve: finish } = Promise.withResolvers<void>()
  const server = await backend(t, (_request, response) => {
    response.write('first ')
    void finishing.then(() => response.end('last'))
  })
  const gateway = await start(t, [server])
  const client = await FrameClient.open(t, gateway.port)
  const idle = await FrameClient.open(t, gateway.port)
  client.send(get(1))
  await client.until(() => (client.on(1).length > 0 ? true : undefined))
  const closed = gateway.app.close()
  await client.frame(({ type }) => type === GOAWAY)
  t.equal(client.goaway, 'NO_ERROR')
  t.equal(await idle.end(), 'NO_ERROR', 'an idle one ends at once')
  client.send(get(3))
  finish()
  t.match(await client.answer(1), { status: 200, ended: true, reset: undefined })
  t.equal(client.on(1).body.toString(), 'first last')
  await client.end()
  t.equal(client.on(3).status, 0, 'nothing new is let in')
  t.equal(server.requests.length, 1)
  await guarded(closed, () => 'closing')
})

void test('SD-04: what is still under way after the grace is cut', async (t) => {
  const server = await backend(t, (_request, response) => void response.write('for ever'))
  const gateway = await gatewayTo(t, [server], {}, { listen: TLS, shutdown: { grace: 200 } })
  const client = await FrameClient.open(t, gateway.port)
  client.send(get(1))
  await client.until(() => (client.on(1).length > 0 ? true : undefined))
  await guarded(gateway.app.close(), () => 'closing')
  await client.end()
  t.equal(client.on(1).ended, false)
})

void test('KP-14: an idle connection is closed, whatever PING frames come', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server], {}, { keepAlive: 400 })
  const client = await FrameClient.open(t, port)
  client.send(get(1))
  t.equal((await client.answer(1)).status, 200)
  let pings = 0
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  while (await client.ping()) pings++
  t.ok(pings > 0)
  t.equal(await client.end(), 'NO_ERROR')
})

void test('a connection that is at work is not idle', async (t) => {
  const { promise: finishing, resolve: finish } = Promise.withResolvers<void>()
  const server = await backend(t, (request, response) => {
    if (request.url === '/slow') void finishing.then(() => response.end('slow'))
    else response.end('ok')
  })
  const { port } = await start(t, [server], {}, { keepAlive: 100, headersTimeout: 200 })
  const client = await FrameClient.open(t, port)
  client.send(get(1, '/slow'), get(3))
  t.equal((await client.answer(3)).status, 200)
  // Several times as long as an idle one would have.
  await new Promise((resolve) => setTimeout(resolve, 600))
  finish()
  t.equal((await client.answer(1)).body.toString(), 'slow')
  t.equal(await client.end(), 'NO_ERROR')
})

void test('TO-03: a connection without a request is closed, whatever else comes on it', async (t) => {
  const server = await backend(t)
  const { port } = await start(t, [server], {}, { headersTimeout: 300 })
  const silent = await FrameClient.open(t, port, { first: '' })
  const pinging = await FrameClient.open(t, port)
  const half = await FrameClient.open(t, port)
  half.send(headers(1, requestFields('GET', '/'), END_STREAM))
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  while (await pinging.ping());
  await inTurn([silent, pinging, half], async (client) => client.end())
  t.equal(server.requests.length, 0)
})

// --- another client ---

const CURL_MISSING = /HTTP2/.test(spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout ?? '')
  ? false
  : 'there is no curl that speaks HTTP/2'

async function curl(port: number, args: readonly string[], input?: Buffer): Promise<Buffer> {
  const ca = new URL('../helpers/certificates/ca.pem', import.meta.url).pathname
  const all = ['-sS', '--http2', '--cacert', ca, '--resolve', `localhost:${port}:127.0.0.1`, ...args]
  return new Promise((resolve, reject) => {
    const options = { encoding: 'buffer', maxBuffer: 64 * MIB } as const
    const child = execFile('curl', [...all], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}: ${stderr.toString()}`))
      else resolve(stdout)
    })
    child.stdin?.on('error', () => undefined).end(input)
  })
}

void test('curl: down, up, interim answers, errors', { skip: CURL_MISSING }, async (t) => {
  const content = randomBytes(5 * MIB)
  const server = await backend(t, (request, response, recorded) => {
    if (request.method === 'PUT') request.on('end', () => response.end(recorded.sha256()))
    else if (request.url === '/hints') response.writeEarlyHints({ link: '</a>; rel=preload' }, () => response.end('ok'))
    else response.end(content)
  })
  const { port } = await start(t, [server])
  const url = `https://localhost:${port}`
  t.equal(sha256(await curl(port, [`${url}/`])), sha256(content))
  t.equal((await curl(port, ['-T', '-', `${url}/up`], content)).toString(), sha256(content))
  t.match((await curl(port, ['-i', `${url}/hints`])).toString(), /^HTTP\/2 103 [^]*HTTP\/2 200 [^]*\r\n\r\nok$/)
  t.equal(
    (await curl(port, ['-w', '%{http_version} %{http_code}', '-o', '/dev/null', `${url}/a%23`])).toString(),
    '2 200',
  )
  t.match((await curl(port, ['-I', url])).toString(), /^HTTP\/2 200 /)
})
