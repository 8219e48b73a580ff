/**
 * Where the network cuts an answer into pieces makes no difference to it.
 */
import { test, type Test } from 'tap'

import { gatewayTo } from '../helpers/gateway.ts'
import { get, inTurn, ok, rawBackend, RawClient, valuesOf, type Answer, type Bytes, bytesOf } from '../helpers/raw.ts'

/** Asks once for every position in `bytes`, at which the answer is cut in two. */
async function everySplit(t: Test, bytes: Bytes, check: (answer: Answer, at: number) => void): Promise<void> {
  const wire = bytesOf(bytes)
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      const at = Number(/^GET \/(\d+)/.exec(head)?.[1])
      connection.send(wire.subarray(0, at))
      // Two turns of the loop: long enough for the first piece to be read on its own.
      setTimeout(() => connection.send(wire.subarray(at)), 2)
    },
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  const positions = Array.from({ length: wire.length + 1 }, (_, at) => at)
  await inTurn(positions, async (at) => {
    client.send(get(`/${at}`))
    check(await client.answer(), at)
  })
  t.equal(server.accepted.length, 1, 'one connection serves them all')
}

void test('an answer with a length, cut in two at every byte', async (t) => {
  await everySplit(t, ok('the content', ['X-A: 1', 'x-a: 2']), (answer, at) => {
    t.match(answer, { status: 200, complete: true, chunked: false }, `at ${at}`)
    t.equal(answer.body.toString(), 'the content')
    t.same(valuesOf(answer, 'x-a'), ['1', '2'])
  })
})

void test('TR-04 TR-05 a chunked answer with trailers, cut in two at every byte', async (t) => {
  const wire =
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n' +
    '4;ext="a;b"\r\nthe \r\n00007\r\ncontent\r\n0\r\nX-Sum: 9\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\n'
  await everySplit(t, wire, (answer, at) => {
    t.match(answer, { status: 200, complete: true, chunked: true }, `at ${at}`)
    t.equal(answer.body.toString(), 'the content')
    t.same(valuesOf(answer, 'set-cookie').concat(valuesOf(answer, 'content-length')), [])
    t.notMatch(answer.trailers, /content-length|set-cookie/i)
  })
})

void test('an interim answer and the final one, cut in two at every byte', async (t) => {
  const wire = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('final').toString()}`
  await everySplit(t, wire, (answer, at) => {
    t.match(answer, { status: 200, complete: true }, `at ${at}`)
    t.equal(answer.body.toString(), 'final')
  })
})

void test('an answer byte by byte', async (t) => {
  const wire = ok('slowly')
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      void inTurn(wire, async (byte) => {
        await connection.sent(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      })
    },
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get())
  const answer = await client.answer()
  t.ok(answer.complete)
  t.equal(answer.body.toString(), 'slowly')
})
