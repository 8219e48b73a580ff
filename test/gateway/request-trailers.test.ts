/**
 * Trailer sections, in both directions: they go on to whoever can take them, and never carry what belongs into a head
 * (RFC 9110, section 6.5).
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, startGateway, type Backend } from '../helpers/gateway.ts'
import { answering, ask, askAll, fieldsOf, get, inTurn, RawClient, valuesOf } from '../helpers/raw.ts'

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

/** What frames, routes or authenticates a message, or concerns one connection only: of no use behind the content. */
const NEVER = [
  'Content-Length: 3',
  'content-length: 0',
  'Transfer-Encoding: chunked',
  'Host: evil.example',
  'Trailer: X-Sum',
  'Set-Cookie: a=b',
  'Authorization: Basic eA==',
  'Connection: close',
  'Keep-Alive: timeout=1',
  'TE: trailers',
  'Upgrade: websocket',
  'Proxy-Connection: close',
  'Proxy-Authenticate: Basic',
  'Proxy-Authorization: Basic eA==',
]

/** Who a client is, only a trusted proxy may say. */
const IDENTITY = [
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Port: 1',
  'Forwarded: for=6.6.6.6',
  'X-Real-IP: 6.6.6.6',
  'True-Client-IP: 6.6.6.6',
  'CF-Connecting-IP: 6.6.6.6',
  'X_Forwarded_For: 6.6.6.6',
]

const GOOD = ['X-Sum: 9', 'Server-Timing: db;dur=53', 'x-sum: 10']

/** A body with these trailers. */
function chunks(trailers: readonly string[]): string {
  return `5\r\nhello\r\n6\r\n world\r\n0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`
}

// --- of answers ---

/** An answer in chunks with these trailers, announced or not. */
function answer(trailers: readonly string[], fields: readonly string[] = []): string {
  return ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', ...fields, '', chunks(trailers)].join('\r\n')
}

void test('TR-04: trailers of an answer go to clients that ask for them', async (t) => {
  const asking = [
    ['TE: trailers'],
    ['te:Trailers'],
    ['TE: gzip, trailers'],
    ['TE: trailers , deflate;q=0.5'],
    ['TE: gzip;q=0.5', 'TE: trailers'],
    ['Connection: TE', 'TE: trailers'],
  ]
  await inTurn([[], ['Trailer: X-Sum, Server-Timing']], async (announced) => {
    const server = await answering(t, answer(GOOD, announced))
    const { port } = await gatewayTo(t, [server])
    const client = await RawClient.open(t, port)
    await inTurn(asking, async (lines) => {
      client.send(get('/', lines))
      const { body, trailers, complete } = await client.answer()
      t.equal(body.toString(), 'hello world', lines.join())
      t.ok(complete, lines.join())
      t.same(fieldsOf(`\r\n${trailers}`), fieldsOf(`\r\n${GOOD.join('\r\n')}`), lines.join())
    })
    t.equal(server.accepted.length, 1, 'one connection serves them all')
  })
})

void test('TR-04: trailers of an answer are dropped for clients that do not ask for them, and cannot take them', async (t) => {
  const server = await answering(t, answer(GOOD, ['Trailer: X-Sum']))
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn(
    [[], ['TE:'], ['TE: gzip'], ['TE: trailersx'], ['TE: x-trailers'], ['X-TE: trailers']],
    async (lines) => {
      client.send(get('/', lines))
      const { body, trailers, complete } = await client.answer()
      t.match({ body: body.toString(), trailers, complete }, { body: 'hello world', trailers: '', complete: true })
    },
  )
  const [old, ...rest] = await askAll(t, port, 'GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n')
  t.match(old, { complete: true, chunked: false })
  t.equal(old?.body.toString(), 'hello world')
  t.same(rest, [])
})

void test('TR-04: an answer that has no trailer section announces none, and is whole', async (t) => {
  const ASKING = 'Host: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n'
  const answers: ReadonlyArray<readonly [method: string, bytes: string]> = [
    ['GET', 'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 11\r\n\r\nhello world'],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nTrailer: X-Sum\r\n\r\n'],
    ['GET', 'HTTP/1.1 204 No Content\r\nTrailer: X-Sum\r\n\r\n'],
  ]
  await inTurn(answers, async ([method, bytes]) => {
    const server = await answering(t, bytes)
    const { port } = await gatewayTo(t, [server])
    const { status, body, fields, complete } = await ask(t, port, `${method} / HTTP/1.1\r\n${ASKING}`, method)
    const name = `${method}, ${bytes.split('\r\n', 1)[0]}`
    t.equal(status, Number(bytes.split(' ', 2)[1]), name)
    t.same(valuesOf({ fields }, 'trailer'), [], name)
    t.ok(complete, name)
    if (method === 'GET' && status === 200) t.equal(body.toString(), 'hello world', name)
  })
})

void test('TR-04: an answer that goes through hooks is whole, and has what it announces', async (t) => {
  const server = await answering(t, answer(GOOD, ['Trailer: X-Sum']))
  await inTurn(['as it was', 'changed'], async (how) => {
    const { port } = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
      app.addHook('onSend', async (_request, _reply, payload) => (how === 'changed' ? 'hello world' : payload))
    })
    const { status, body, fields, trailers, complete } = await ask(t, port, get('/', ['TE: trailers']))
    t.match({ status, body: body.toString(), complete }, { status: 200, body: 'hello world', complete: true }, how)
    if (valuesOf({ fields }, 'trailer').length > 0) t.match(trailers, /^x-sum: /im, how)
  })
})

void test('TR-05: what belongs into a head is dropped from the trailers of an answer', async (t) => {
  await inTurn([[], GOOD], async (good) => {
    const server = await answering(t, answer([...NEVER, ...good]))
    const { port } = await gatewayTo(t, [server])
    const client = await RawClient.open(t, port)
    await inTurn([['TE: trailers'], [], ['TE: trailers']], async (lines) => {
      client.send(get('/', lines))
      const { fields, body, trailers, complete } = await client.answer()
      t.equal(body.toString(), 'hello world')
      t.ok(complete)
      t.same(fieldsOf(`\r\n${trailers}`), lines.length === 0 ? [] : fieldsOf(`\r\n${good.join('\r\n')}`))
      for (const name of ['set-cookie', 'content-length', 'host', 'authorization', 'x-sum']) {
        t.same(valuesOf({ fields }, name), [], `${name} does not become a field of the head`)
      }
      t.not(valuesOf({ fields }, 'connection')[0], 'close')
    })
    t.equal(client.inbox.length, 0)
  })
})

void test('TR-05: an answer whose trailers are none is cut off', async (t) => {
  const lines = ['no colon', 'X: a\0b', 'X: a\rSet-Cookie: b', 'X: a\nSet-Cookie: b', ' X: folded', 'X y: z', ': x']
  await inTurn(lines, async (line) => {
    const server = await answering(t, answer([line]))
    const { port } = await gatewayTo(t, [server])
    const { trailers, complete } = await ask(t, port, get('/', ['TE: trailers']))
    t.match({ trailers, complete }, { trailers: '', complete: false }, JSON.stringify(line))
  })
})

// --- of requests ---

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n'

/** A backend that keeps the trailers of each request. */
async function keeper(t: Test): Promise<Backend & { readonly trailers: string[][] }> {
  const trailers: string[][] = []
  const server = await backend(t, (request, response) => {
    request.on('end', () => {
      trailers.push(request.rawTrailers)
      response.end('ok')
    })
  })
  return { ...server, trailers }
}

/** Names and values in turn. */
function flat(lines: readonly string[]): string[] {
  return fieldsOf(`\r\n${lines.join('\r\n')}`).flat()
}

void test('TR-01: trailers of a request go on behind its content', async (t) => {
  const server = await keeper(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  const requests = [
    `${POST}\r\n${chunks(GOOD)}`,
    `${POST}Trailer: X-Sum\r\n\r\n${chunks(GOOD)}`,
    `${POST}TE: trailers\r\nConnection: TE\r\n\r\n${chunks(GOOD)}`,
    `${POST}\r\n${chunks([])}`,
    `${POST}\r\n${chunks(['X-Sum:\t9 \t', 'X-Empty:', 'X-Obs: \xe4'])}`,
  ]
  await inTurn(requests, async (bytes) => {
    client.send(bytes)
    t.equal((await client.answer()).status, 200)
  })
  t.same(server.trailers, [flat(GOOD), flat(GOOD), flat(GOOD), [], ['X-Sum', '9', 'X-Empty', '', 'X-Obs', '\xe4']])
  t.same(new Set(server.requests.map((request) => request.body().toString())), new Set(['hello world']))
  t.equal(server.connections(), 1, 'and the connection is good for the next request')
})

void test('TR-01: what belongs into a head is dropped from the trailers of a request, or refused', async (t) => {
  const server = await keeper(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn([...NEVER, ...IDENTITY], async (line) => {
    const before = server.trailers.length
    const { status } = await ask(t, port, `${POST}\r\n${chunks([...GOOD, line])}`)
    // Node's parser takes framing in a trailer section for an attack, which is as good.
    if (status !== 400) t.same([status, server.trailers.slice(before)], [200, [flat(GOOD)]], line)
    else t.equal(server.trailers.length, before, `${line}: no whole request`)
  })
  t.equal((await ask(t, port, `${POST}\r\n${chunks([...IDENTITY, 'Authorization: x'])}`)).status, 200)
  t.same(server.trailers.at(-1), [], 'none is left')
  await inTurn(server.requests, async (request) => {
    t.equal(request.headers['x-forwarded-for'], '127.0.0.1')
    t.equal(request.headers.host, 'a')
    for (const name of ['authorization', 'x-real-ip', 'x-sum', 'content-length']) t.notOk(name in request.headers, name)
  })
})

void test('TR-03: trailers of a request that are none: refused, or dropped, and nothing follows', async (t) => {
  const server = await keeper(t)
  const { port } = await gatewayTo(t, [server])
  const lines = [
    'no colon',
    'X: a\0b',
    'X: a\rX-Sum: b',
    'X: a\nX-Sum: b',
    'X: a\n',
    ' X: folded first',
    'X: a\r\n folded',
    'X y: z',
    'X : z',
    ': x',
    'X: \x7f',
    `X: ${'x'.repeat(100_000)}`,
    'X: y\r\n'.repeat(20_000),
  ]
  await inTurn(lines, async (line) => {
    const name = JSON.stringify(line.slice(0, 20))
    const before = server.trailers.length
    const answers = await askAll(t, port, `${POST}\r\n${chunks([line])}${SMUGGLED}`)
    t.equal(answers.length, 1, `${name}: one answer, and closed`)
    t.ok([400, 431].includes(answers[0]?.status ?? 0), `${name}: ${answers[0]?.status}`)
    t.equal(server.trailers.length, before, `${name}: no whole request`)
  })
  t.notOk(server.requests.some(({ url }) => url === '/smuggled'))
  t.equal((await ask(t, port, get())).status, 200)
})
