/**
 * Answers that have no body: HEAD, 204 and 304, whatever the backend says or sends.
 */
import { gzipSync } from 'node:zlib'

import { test } from 'tap'

import { gatewayTo } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, RawClient, rawBackend, valuesOf } from '../helpers/raw.ts'

void test('HEAD: the fields of GET, no body, and the next answer is the right one', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      if (head.startsWith('HEAD /chunked')) connection.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      else if (head.startsWith('HEAD')) connection.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\n')
      else connection.send(ok('after'))
    },
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn(['/length', '/chunked'], async (target) => {
    client.send(`HEAD ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)
    const head = await client.answer('HEAD')
    client.send(get())
    t.equal(head.status, 200)
    t.same(valuesOf(head, 'content-length'), target === '/length' ? ['5'] : [])
    t.equal((await client.answer()).body.toString(), 'after', target)
  })
  t.equal(server.accepted.length, 1)
})

const BODILESS = [
  ['204 with a body', 'HTTP/1.1 204 No Content\r\n\r\nbody', 204, []],
  ['204 with a length', 'HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n', 204, []],
  ['204 with a length of 0', 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', 204, []],
  ['204 with both', 'HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody', 204, []],
  ['304 with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: "x"\r\n\r\n', 304, ['1000']],
  ['304 with a body', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody', 304, ['4']],
  ['304 that is chunked', 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 304, []],
] as const

void test('BD-18 204 and 304 keep their status and have no body', async (t) => {
  await inTurn(BODILESS, async ([name, bytes, status, length]) => {
    const server = await answering(t, bytes)
    const { port } = await gatewayTo(t, [server])
    const client = await RawClient.open(t, port)
    await inTurn([1, 2], async () => {
      client.send(get())
      const answer = await client.answer()
      t.match(answer, { status, complete: true }, name)
      t.same(valuesOf(answer, 'content-length'), length, name)
    })
    client.send('HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    t.equal((await client.answer('HEAD')).status, status, name)
    await client.end()
    t.equal(client.inbox.length, 0, `${name}: no body`)
  })
})

void test('BD-16 content codings are not touched, valid or not', async (t) => {
  const gzip = gzipSync('x'.repeat(100_000))
  const bodies = [gzip, Buffer.from('no gzip at all'), gzip.subarray(0, 20)]
  await inTurn(bodies, async (body) => {
    await inTurn(['gzip', Array.from({ length: 500 }, () => 'gzip').join(', '), 'unheard-of'], async (coding) => {
      const server = await answering(t, ok(body, [`Content-Encoding: ${coding}`]))
      const { port } = await gatewayTo(t, [server])
      const answer = await ask(t, port, get())
      t.same(valuesOf(answer, 'content-encoding'), [coding])
      t.ok(answer.body.equals(body))
    })
  })
})
