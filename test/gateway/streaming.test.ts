/**
 * Nothing is held back: the first bytes arrive while the rest does not exist yet, in both directions.
 */
import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { get, rawBackend, RawClient } from '../helpers/raw.ts'

void test('BD-11 the first event of a stream arrives at once, and each one after it', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) =>
      connection.send(
        'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n',
      ),
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get())
  await client.inbox.until(() => (client.inbox.text.includes('data: 1\n\n') ? true : undefined))
  const connection = await server.connection(0)
  connection.send('9\r\ndata: 2\n\n\r\n')
  await client.inbox.until(() => (client.inbox.text.includes('data: 2\n\n') ? true : undefined))
  connection.send('0\r\n\r\n')
  t.equal((await client.answer()).body.toString(), 'data: 1\n\ndata: 2\n\n')
})

void test('the head of an answer arrives before its first byte of content', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection) => connection.send('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n'),
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get())
  await client.inbox.until(() => (client.inbox.text.includes('\r\n\r\n') ? true : undefined))
  t.match(client.inbox.text, /^HTTP\/1\.1 200 OK\r\n/)
})

void test('a request streams too, and an answer can begin before it has ended', async (t) => {
  const server = await backend(t, (request, response) => {
    response.writeHead(200)
    request.on('data', (piece: Buffer) => response.write(piece))
    request.on('end', () => response.end('.'))
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n')
  await client.inbox.until(() => (client.inbox.text.includes('ping') ? true : undefined))
  client.send('4\r\npong\r\n')
  await client.inbox.until(() => (client.inbox.text.includes('pong') ? true : undefined))
  client.send('0\r\n\r\n')
  const answer = await client.answer()
  t.ok(answer.complete)
  t.equal(answer.body.toString(), 'pingpong.')
})
