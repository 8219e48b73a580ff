/**
 * Requests that two servers could read differently: refused, the connection closed, and no backend hears of them.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { ask, askAll, bytesOf, get, inTurn, RawClient, type Bytes } from '../helpers/raw.ts'

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

function post(lines: readonly string[], body = ''): string {
  return `POST / HTTP/1.1\r\nHost: a\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${body}`
}

/** Each of these is answered with errors of the gateway's own, if at all, and the connection is closed. */
async function areRefused(t: Test, requests: Readonly<Record<string, Bytes>>): Promise<void> {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(Object.entries(requests), async ([name, bytes]) => {
    const answers = await askAll(t, port, Buffer.concat([bytesOf(bytes), bytesOf(SMUGGLED)]))
    for (const { status } of answers)
      t.ok((status >= 400 && status < 500) || status === 501 || status === 505, `${name}: ${status}`)
  })
  t.same(
    server.requests.filter((request) => request.complete()).map(({ method, url }) => `${method} ${url}`),
    [],
    'nothing reached the backend',
  )
}

void test('FR-01 FR-02 more than one Content-Length', async (t) => {
  await areRefused(t, {
    different: post(['Content-Length: 5', 'Content-Length: 6'], 'abcdef'),
    'the other way round': post(['Content-Length: 6', 'Content-Length: 5'], 'abcdef'),
    equal: post(['Content-Length: 5', 'Content-Length: 5'], 'abcde'),
    'a list': post(['Content-Length: 5, 5'], 'abcde'),
    'with chunked': post(['Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
    'chunked first': post(['Transfer-Encoding: chunked', 'Content-Length: 5'], '0\r\n\r\n'),
  })
})

void test('FR-04 FR-06 FR-07 FR-08 FR-10 a Content-Length that is no number', async (t) => {
  const values = [
    '+5',
    '-5',
    '0x5',
    '5_0',
    '5.0',
    '5e0',
    '"5"',
    '',
    ' ',
    '5 5',
    '5;',
    '5,',
    ',5',
    'five',
    '\x005',
    '5\x0b',
    '\x855',
    '\xa05',
    '5\xa0',
    '\xb2',
  ]
  const huge = ['18446744073709551616', '18446744073709551621', '99999999999999999999999999']
  await areRefused(
    t,
    Object.fromEntries(
      [...values, ...huge].map((value) => [JSON.stringify(value), post([`Content-Length: ${value}`], 'abcde')]),
    ),
  )
  await areRefused(t, {
    'empty, then a valid one': post(['Content-Length:', 'Content-Length: 5'], 'abcde'),
    'no colon': post(['Content-Length 5'], 'abcde'),
    'a first line that begins with a space': 'POST / HTTP/1.1\r\n Content-Length: 5\r\nHost: a\r\n\r\nabcde',
  })
})

void test('FR-14 junk behind an empty body', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const answers = await askAll(t, port, `${post(['Content-Length: 0'])}junk junk\r\n\r\n${SMUGGLED}`)
  t.ok(answers.length > 0 && answers.length < 3)
  t.equal(answers.at(-1)?.status, 400)
  t.notOk(server.requests.some(({ url }) => url === '/smuggled'))
})

void test('FR-19 FR-20 FR-21 FR-22 FR-28 FR-30 codings other than chunked', async (t) => {
  const codings = [
    'xchunked',
    'blegh',
    'identity',
    '',
    ' ',
    'chunked\x00',
    '\x0bchunked',
    'chunked\x0c',
    'chunked\x01',
    'chunked\x7f',
    'chunked\x85',
    '\xa0chunked',
    'chunked\xff',
    'ch\xfcnked',
    '"chunked"',
    "'chunked'",
    'chunked;q=1',
    'chunked, gzip',
    'gzip, chunked',
    'chunked, identity',
    'identity, chunked',
    'chunked, chunked',
    'chunked chunked',
    'chunked,',
    ',chunked',
    'chunk',
    'chunkedd',
    'cow, chunked',
  ]
  const body = '5\r\nabcde\r\n0\r\n\r\n'
  await areRefused(
    t,
    Object.fromEntries(codings.map((coding) => [JSON.stringify(coding), post([`Transfer-Encoding: ${coding}`], body)])),
  )
  await areRefused(
    t,
    Object.fromEntries(
      codings.map((coding) => [
        `${JSON.stringify(coding)} with a length`,
        post([`Transfer-Encoding: ${coding}`, 'Content-Length: 5'], body),
      ]),
    ),
  )
  await areRefused(t, {
    'two lines': post(['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], body),
    'two lines, chunked last': post(['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'], body),
    'twice chunked': post(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], body),
  })
})

void test('FR-23 FR-25 FR-26 a Transfer-Encoding that is hidden', async (t) => {
  const body = '5\r\nabcde\r\n0\r\n\r\n'
  const lines = [
    'Transfer-Encoding : chunked',
    'Transfer-Encoding\t: chunked',
    'Transfer-Encoding\x00: chunked',
    'Transfer-Encoding\xa0: chunked',
    ' Transfer-Encoding: chunked',
    '\tTransfer-Encoding: chunked',
    '\x00Transfer-Encoding: chunked',
    'Transfer-\r\n Encoding: chunked',
    'X: y\nTransfer-Encoding: chunked',
    'X: y\rTransfer-Encoding: chunked',
    'Transfer-Encoding:\r\n chunked',
    'Transfer-Encoding: chunked\r\n , identity',
  ]
  await areRefused(
    t,
    Object.fromEntries(lines.map((line) => [JSON.stringify(line), post([line, 'Content-Length: 15'], body)])),
  )
})

void test('FR-31 Transfer-Encoding in an HTTP/1.0 request', async (t) => {
  const body = '5\r\nabcde\r\n0\r\n\r\n'
  await areRefused(t, {
    alone: `POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
    'with keep-alive': `POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
    'with a length': `POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n${body}`,
  })
})

void test('FR-32 chunked in another case and behind a tab is chunked', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['CHUNKED', '\tchunked', 'Chunked  ', 'chunked'], async (coding) => {
    t.equal((await ask(t, port, post([`transfer-ENCODING:${coding}`], '5\r\nabcde\r\n0\r\n\r\n'))).status, 200, coding)
  })
  t.same(
    server.requests.map((request) => request.body().toString()),
    ['abcde', 'abcde', 'abcde', 'abcde'],
  )
})

void test('FR-33 FR-38 FR-40 chunks that are none: the request to the backend is never completed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const chunks = [
    '0x5\r\nabcde\r\n',
    '+5\r\nabcde\r\n',
    '-5\r\nabcde\r\n',
    '5_\r\nabcde\r\n',
    ' 5\r\nabcde\r\n',
    'g\r\nabcde\r\n',
    '5\x00\r\nabcde\r\n',
    '5 5\r\nabcde\r\n',
    '\r\nabcde\r\n',
    'fffffffffffffffff\r\nabcde\r\n',
    '5\nabcde\r\n',
    '5\r\nabcde\n',
    '5\r\nabcdefgh\r\n',
    '5\rabcde\r\n',
    '5;a\x00b\r\nabcde\r\n',
    '5;a\rb\r\nabcde\r\n',
    '5;a="\r\n"\r\nabcde\r\n',
    '5;a\nabcde\r\n',
  ]
  await inTurn(chunks, async (chunk) => {
    const name = JSON.stringify(chunk)
    const answers = await askAll(t, port, `${post(['Transfer-Encoding: chunked'], `${chunk}0\r\n\r\n`)}${SMUGGLED}`)
    t.match(answers, [{ status: 400 }], name)
    t.equal(answers.length, 1, name)
  })
  await server.openAtMost(0)
  t.same(
    server.requests.filter((request) => request.complete()).map(({ url }) => url),
    [],
  )
})

void test('FR-39 chunk extensions without end', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const chunk = `5;${'x'.repeat(65_536)}\r\nabcde\r\n0\r\n\r\n`
  const answers = await askAll(t, port, post(['Transfer-Encoding: chunked'], chunk))
  t.ok(
    answers.every(({ status }) => status === 400 || status === 413),
    'refused',
  )
  t.notOk(server.requests.some((request) => request.complete()))
})

void test('HH-01 HH-04 HH-05 fields that are none', async (t) => {
  const names = ['', 'a b', 'a[b]', 'a/b', 'a@b', '\xe4', 'a\x00', 'a"b', '(a)', 'a\\b', 'a{b}']
  await areRefused(t, Object.fromEntries(names.map((name) => [JSON.stringify(name), post([`${name}: x`])])))
  const values = ['a\x00b', 'a\x01b', 'a\x0bb', 'a\x7fb', 'a\x1bb', 'a\rb', 'a\r\n b', 'a\r\n\tb']
  await areRefused(t, Object.fromEntries(values.map((value) => [JSON.stringify(value), post([`X: ${value}`])])))
})

void test('HH-08 a field of 200 kB: 431, and closed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get('/', [`X: ${'x'.repeat(200_000)}`]))
  t.equal((await client.answer()).status, 431)
  await client.end()
  t.equal(server.requests.length, 0)
})

void test('a refusal by the parser does not get into an answer that is under way', async (t) => {
  const server = await backend(t, (request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half')
    request.resume()
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(post(['Transfer-Encoding: chunked'], '1\r\nx\r\n'))
  await client.inbox.until(() => (client.inbox.text.includes('half') ? true : undefined))
  client.send('no chunk\r\n')
  const answer = await client.answer()
  t.equal(answer.body.toString(), 'half')
  t.notOk(answer.complete)
})
