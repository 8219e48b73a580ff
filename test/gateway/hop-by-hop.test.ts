/**
 * Fields that concern one connection stay on it, in both directions.
 */
import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { answering, ask, fieldsOf, get, inTurn, ok, RawClient, valuesOf } from '../helpers/raw.ts'

function names(head: string | undefined): string[] {
  return fieldsOf(head ?? '').map(([name]) => name.toLowerCase())
}

void test('HP-01 Connection and what it lists are removed, other fields kept', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get('/', ['Connection: X-Hop, keep-alive', 'X-Hop: 1', 'x-hop: 2', 'X-Stays: 1']))
  t.same(
    names(server.heads[0]).filter((name) => /hop|connection|stays/.test(name)),
    ['x-stays'],
  )
})

void test('HP-02 two Connection lines count both', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  const lines = [
    'Connection: x-one',
    'X-One: 1',
    'CONNECTION: \t X-Two ,, x-three',
    'X-Two: 2',
    'X-Three: 3',
    'X-Four: 4',
  ]
  await ask(t, port, get('/', lines))
  t.same(
    names(server.heads[0]).filter((name) => /^x-(one|two|three|four)|connection/.test(name)),
    ['x-four'],
  )
})

void test('HP-03 HP-05 fields of one hop are removed without being listed', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  const lines = [
    'Keep-Alive: timeout=5',
    'Proxy-Connection: keep-alive',
    'Proxy-Authenticate: Basic',
    'Proxy-Authorization: Basic eA==',
    'TE: trailers',
    'Trailer: X-Sum',
    'Upgrade: websocket',
    'HTTP2-Settings: AAMAAABk',
    'X-Stays: 1',
  ]
  t.equal((await ask(t, port, get('/', lines))).status, 200)
  t.same(names(server.heads[0]), [
    'host',
    'x-stays',
    'via',
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'x-request-id',
    'traceparent',
  ])
})

void test('WS-14 an upgrade to h2c is never forwarded', async (t) => {
  const server = await answering(t, ok())
  const { port } = await gatewayTo(t, [server])
  const lines = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']
  const answer = await ask(t, port, get('/', lines))
  t.not(answer.status, 101)
  for (const head of server.heads) t.notMatch(head, /upgrade|http2|h2c/i)
})

void test('HP-08 Connection cannot take away the host, the framing or what the gateway says of the client', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const lines = ['Connection: host, content-length, x-forwarded-for, x-request-id', 'Content-Length: 3']
  t.equal((await ask(t, port, `${get('/', lines)}abc`)).status, 200)
  t.match(server.requests[0]?.headers, {
    host: 'gateway.example',
    'content-length': '3',
    'x-forwarded-for': '127.0.0.1',
  })
  t.equal(server.requests[0]?.body().toString(), 'abc')
})

void test('HP-11 the connection of a backend is not that of the client', async (t) => {
  const server = await answering(t, ok('ok', ['Connection: close', 'X-Stays: 1']), 'ends')
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn([1, 2, 3], async () => {
    client.send(get())
    const answer = await client.answer()
    t.equal(answer.status, 200)
    t.notMatch(valuesOf(answer, 'connection'), ['close'])
    t.same(valuesOf(answer, 'x-stays'), ['1'])
  })
})

void test('fields of one hop in answers are removed, with what they list', async (t) => {
  const lines = [
    'Connection: X-Hop',
    'X-Hop: 1',
    'Keep-Alive: timeout=77',
    'Proxy-Authenticate: Basic',
    'Proxy-Connection: close',
    'Trailer: X-Sum',
    'Upgrade: h2c',
    'TE: x',
    'X-Stays: 1',
  ]
  const server = await answering(t, ok('ok', lines))
  const { port } = await gatewayTo(t, [server])
  const { head } = await ask(t, port, get())
  t.same(
    names(head).filter((name) => !['connection', 'keep-alive'].includes(name)),
    ['x-stays', 'content-length', 'x-request-id', 'date'],
  )
  t.notMatch(head, /timeout=77|x-hop/i)
})

void test('HP-12 Connection: content-length in an answer leaves its framing intact', async (t) => {
  const server = await answering(t, ok('four', ['Connection: content-length, transfer-encoding, close']), 'ends')
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, get())
  t.equal(answer.body.toString(), 'four')
  t.ok(answer.complete)
})
