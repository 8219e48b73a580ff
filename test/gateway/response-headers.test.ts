/**
 * The backend's fields reach the client in their order, case and number, with the status and the reason.
 */
import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, valuesOf } from '../helpers/raw.ts'

void test('case, order and duplicates are kept; Set-Cookie too', async (t) => {
  const lines = [
    'x-lower: 1',
    'X-UPPER: 2',
    'Set-Cookie: a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT',
    'X-Twice: a',
    'set-cookie: b=2',
    'x-twice: b',
    'X-Empty: ',
    'Vary: a, b',
    'Set-Cookie: a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT',
    'WWW-Authenticate: Basic realm="a, b", Digest x="y"',
  ]
  const server = await answering(t, ok('ok', lines))
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, get())
  t.same(
    answer.fields.slice(0, lines.length + 1).map(([name, value]) => `${name}: ${value}`),
    [...lines, 'Content-Length: 2'],
  )
})

void test('HH-16 Date is added where it is missing, and kept where it is there', async (t) => {
  const [without, withDate] = [
    await answering(t, ok()),
    await answering(t, ok('ok', ['DATE: Tue, 15 Nov 1994 08:12:31 GMT'])),
  ]
  const one = await gatewayTo(t, [without])
  const two = await gatewayTo(t, [withDate])
  t.match(valuesOf(await ask(t, one.port, get()), 'date'), [/GMT$/])
  t.same(valuesOf(await ask(t, two.port, get()), 'date'), ['Tue, 15 Nov 1994 08:12:31 GMT'])
})

void test('BF-08 status and reason are kept: any reason, none, any status', async (t) => {
  const lines = [
    ['HTTP/1.1 200 All is well', 200, 'All is well'],
    ['HTTP/1.1 404 Not Here: \xe4\xff', 404, 'Not Here: \xe4\xff'],
    ['HTTP/1.1 999 Odd', 999, 'Odd'],
    ['HTTP/1.1 599 ', 599, ''],
    ['HTTP/1.1 299', 299, ''],
    ['HTTP/1.0 226 IM Used', 226, 'IM Used'],
  ] as const
  await inTurn(lines, async ([line, status, reason]) => {
    const server = await answering(t, `${line}\r\nContent-Length: 2\r\n\r\nhi`)
    const { port } = await gatewayTo(t, [server])
    const answer = await ask(t, port, get())
    t.match(answer, { version: 'HTTP/1.1', status, complete: true }, line)
    if (reason !== '') t.equal(answer.reason, reason, line)
    t.equal(answer.body.toString(), 'hi')
  })
})

void test('every answer carries exactly one X-Request-Id', async (t) => {
  const server = await answering(t, ok('ok', ['X-Request-Id: of-the-backend', 'x-request-id: twice']))
  const { port } = await gatewayTo(t, [server])
  const [id, ...more] = valuesOf(await ask(t, port, get()), 'x-request-id')
  t.match(id, /^[A-Za-z0-9._-]{1,128}$/)
  t.not(id, 'of-the-backend')
  t.same(more, [])
  t.ok(server.heads[0]?.includes(`\r\nX-Request-Id: ${id}`), 'the backend was told the same')
})

void test('the request id of a trusted sender is kept, if it is one; of anybody else it is not', async (t) => {
  const server = await backend(t)
  const trusting = await gatewayTo(t, [server], {}, { listen: { trustedProxies: ['127.0.0.1'] } })
  const strict = await gatewayTo(t, [server])
  const ask1 = async (port: number, ...ids: string[]): Promise<string> => {
    const lines = ids.map((id) => `X-Request-Id: ${id}`)
    const values = valuesOf(await ask(t, port, get('/', lines)), 'x-request-id')
    t.equal(values.length, 1)
    t.equal(server.requests.at(-1)?.headers['x-request-id'], values[0])
    return values[0] ?? ''
  }
  t.equal(await ask1(trusting.port, 'A-z_0.9'), 'A-z_0.9')
  t.equal(await ask1(trusting.port, 'x'.repeat(128)), 'x'.repeat(128))
  await inTurn(['', 'a b', 'x'.repeat(129), 'a,b', '\xe4', '<script>'], async (id) => {
    t.not(await ask1(trusting.port, id), id, id)
  })
  t.notMatch(await ask1(trusting.port, 'one', 'two'), /one|two/)
  t.not(await ask1(strict.port, 'mine'), 'mine')
})

void test('BD-19 a partial answer is passed on untouched', async (t) => {
  const body = '--x\r\nContent-Range: bytes 0-1/9\r\n\r\nab\r\n--x--\r\n'
  const server = await answering(
    t,
    `HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, get('/', ['Range: bytes=0-1,4-5']))
  t.match(answer, { status: 206, reason: 'Partial Content' })
  t.equal(answer.body.toString(), body)
  t.match(server.heads[0], /\r\nRange: bytes=0-1,4-5/)
})
