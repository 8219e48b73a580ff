/**
 * The client's fields reach the backend in their order, case and number, and nothing is added but what is announced.
 */
import { test } from 'tap'

import { backend, gatewayTo, rawValues } from '../helpers/gateway.ts'
import { answering, ask, get, ok, fieldsOf, inTurn, valuesOf } from '../helpers/raw.ts'

const ADDED = ['Host', 'Via', 'X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Request-Id', 'traceparent']

void test('HH-12 case, order and duplicates of fields are kept', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  const lines = [
    'x-lower: 1',
    'X-UPPER: 2',
    'x-MiXeD:3',
    'X-Twice: a',
    'Accept: */*',
    'x-twice: b',
    'X-Twice: a',
    'X-Empty:',
    'X-Space:    x  y   ',
    "!#$%&'*+-.^`|~: token",
    'X-Tab:\ta\tb',
  ]
  t.equal((await ask(t, port, get('/', lines))).status, 200)
  const fields = fieldsOf(server.heads[0] ?? '').map(([name, value]) => `${name}: ${value}`)
  t.same(
    fields.filter((line) => !ADDED.some((name) => line.startsWith(`${name}: `))),
    lines.map((line) =>
      line
        .replace(/:[ \t]*/, ': ')
        .trimEnd()
        .replace(/:$/, ': '),
    ),
  )
})

void test('HH-14 nothing is added but Host, Via, X-Forwarded-*, X-Request-Id and traceparent', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get())
  t.same(
    fieldsOf(server.heads[0] ?? '').map(([name]) => name),
    ADDED,
  )
})

void test('HH-11 credentials and preferences go on unchanged', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const sent = {
    authorization: 'Basic dXNlcjpwYXNz==',
    'user-agent': 'Test/1.0 (a; b) c',
    'accept-encoding': 'gzip;q=0, br, *;q=0.1',
    cookie: 'a=b; c="d e"; $f=%20',
    'if-none-match': 'W/"x", "y"',
    range: 'bytes=0-1,5-',
  }
  await ask(
    t,
    port,
    get(
      '/',
      Object.entries(sent).map(([name, value]) => `${name}: ${value}`),
    ),
  )
  for (const [name, value] of Object.entries(sent))
    t.same(rawValues(server.requests[0]?.rawHeaders ?? [], name), [value])
})

void test('HH-13 two Cookie lines become one', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get('/', ['X-A: 1', 'Cookie: a=1; b=2', 'X-B: 2', 'cookie: c=3', 'COOKIE: d=4']))
  const raw = server.requests[0]?.rawHeaders ?? []
  t.same(rawValues(raw, 'cookie'), ['a=1; b=2; c=3; d=4'])
  t.ok(raw.indexOf('Cookie') < raw.indexOf('X-B'))
})

const OBS_TEXT = Array.from({ length: 128 }, (_, index) => String.fromCodePoint(128 + index)).join('')

void test('HH-06 bytes from 0x80 to 0xff pass in values, both ways', async (t) => {
  const server = await answering(t, ok('body', [`X-Back: ${OBS_TEXT}`]))
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, get('/', [`X-There: a${OBS_TEXT}z`]))
  t.same(valuesOf(answer, 'x-back'), [OBS_TEXT])
  t.equal(fieldsOf(server.heads[0] ?? '').find(([name]) => name === 'X-There')?.[1], `a${OBS_TEXT}z`)
})

void test('a Content-Type that is no media type goes on as it is', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const types = [
    '',
    'json',
    'a/b/c',
    'text/plain; charset',
    '/',
    'multipart/form-data',
    'application/json;;',
    '\xff',
    'a b/c',
    'text/ plain',
  ]
  await inTurn(types, async (type, index) => {
    const request = `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: 2\r\n\r\nhi`
    t.equal((await ask(t, port, request)).status, 200, type)
    const recorded = server.requests[index]
    t.same(rawValues(recorded?.rawHeaders ?? [], 'content-type'), [type])
    t.equal(recorded?.body().toString(), 'hi')
  })
  const twice = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\nhi'
  t.equal((await ask(t, port, twice)).status, 200, 'two of them')
})

void test('FR-12 names with underscores cannot pass for framing or identity', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const lines = [
    'Content_Length: 5',
    'Transfer_Encoding: chunked',
    'transfer_Encoding: x',
    'X_Forwarded_For: 6.6.6.6',
    'X_Real_IP: 6.6.6.6',
  ]
  t.equal((await ask(t, port, get('/', [...lines, 'x_other_name: kept', 'Content--Length: 7']))).status, 200)
  const raw = server.requests[0]?.rawHeaders ?? []
  t.same(
    raw.filter((name, index) => index % 2 === 0 && name.includes('_')),
    ['x_other_name'],
  )
})

void test('no control character of a client reaches a backend: Node refuses each of them', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const codes = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f]
  await inTurn(codes, async (code) => {
    const character = String.fromCharCode(code)
    // A tab is white space in a value; CR and LF alone are no line end.
    const value = code === 0x09 ? '' : `GET / HTTP/1.1\r\nHost: a\r\nX-A: b${character}c\r\n\r\n`
    const requests = [`GET /a${character}b HTTP/1.1\r\nHost: a\r\n\r\n`, value].filter((request) => request !== '')
    await inTurn(requests, async (request) => t.equal((await ask(t, port, request)).status, 400, String(code)))
  })
  t.equal(server.requests.length, 0)
})
