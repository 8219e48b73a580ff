/**
 * Interim answers (1xx) of a backend on their way to the client.
 */
import type { ServerResponse } from 'node:http'

import { test } from 'tap'

import { backend, gatewayTo, totals } from '../helpers/gateway.ts'
import { answering, get, inTurn, RawClient, rawBackend, valuesOf } from '../helpers/raw.ts'

void test('103 Early Hints and other interim answers go on, each before the final one', async (t) => {
  const server = await answering(
    t,
    'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n' +
      'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Odd: \xe9\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  )
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get() + get('/second'))
  await inTurn([1, 2], async () => {
    const answer = await client.answer()
    t.equal(answer.status, 200)
    t.equal(answer.body.toString(), 'ok')
    t.same(client.interim.splice(0), [
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload',
      'HTTP/1.1 102 Processing',
      'HTTP/1.1 103 Early Hints\r\nX-Odd: \xe9',
    ])
  })
})

void test('an interim answer arrives although the final one is still to come', async (t) => {
  const held: ServerResponse[] = []
  const server = await backend(t, (_request, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    held.push(response)
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get())
  await client.inbox.until(() => (client.inbox.text.includes('\r\n\r\n') ? true : undefined))
  held[0]?.end('done')
  t.equal((await client.answer()).body.toString(), 'done')
})

void test('BF-21: a 100 of the backend is not passed on: the client has had ours', async (t) => {
  const server = await answering(t, 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send('PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi')
  t.equal((await client.answer()).status, 200)
  t.same(client.interim, ['HTTP/1.1 100 Continue'])
})

void test('BF-23: never to an HTTP/1.0 client', async (t) => {
  const server = await answering(
    t,
    'HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  )
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  t.equal((await client.answer()).status, 200)
  t.same(client.interim, [])
})

void test('hints of an attempt that failed do no harm to the one that follows', async (t) => {
  let first = true
  const server = await rawBackend(t, {
    onRequest: (connection) => {
      connection.send('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n')
      if (first) connection.socket.end()
      else connection.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      first = false
    },
  })
  const gateway = await gatewayTo(t, [server])
  const client = await RawClient.open(t, gateway.port)
  client.send(get())
  const answer = await client.answer()
  t.equal(answer.status, 200)
  t.equal(client.interim.length, 2)
  t.same(valuesOf(answer, 'link'), [])
  t.match(totals(gateway), { inFlight: 0, requests: 2, failures: 1 })
})
