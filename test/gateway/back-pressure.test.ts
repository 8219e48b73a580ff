/**
 * Who does not read makes the other side wait: what lies between is bounded, however much there is to send.
 */
import type { Socket } from 'node:net'

import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { get, pour, rawBackend, RawClient } from '../helpers/raw.ts'

const MIB = 1024 ** 2
const PIECE = Buffer.alloc(MIB, 'x')
const MUCH = 96

/** What the system's own buffers on loopback and ours may hold together: far below what is sent. */
const BETWEEN = 40 * MIB

void test('BD-14 a backend that reads nothing stops the client, and memory stays bounded', async (t) => {
  const server = await rawBackend(t, { deaf: true })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${MUCH * MIB}\r\n\r\n`)
  const taken = await pour(client.socket, MUCH * MIB)
  t.ok(taken < BETWEEN, `${taken} bytes taken`)
})

void test('a client that reads nothing stops the backend, with a length and chunked', async (t) => {
  let socket: Socket | undefined
  const server = await backend(t, (request, response) => {
    socket = request.socket
    const length = request.url === '/length' ? { 'content-length': MUCH * MIB } : {}
    response.writeHead(200, length)
    response.flushHeaders()
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get('/length'))
  client.socket.pause()
  await server.request(0)
  t.ok(socket)
  if (socket !== undefined) {
    const taken = await pour(socket, MUCH * MIB)
    t.ok(taken < BETWEEN, `${taken} bytes taken`)
  }
  client.socket.destroy()
})

void test('what was held back arrives in full when the client reads again', async (t) => {
  const server = await backend(t, (_request, response) =>
    response.end(Buffer.concat(Array.from({ length: 24 }, () => PIECE))),
  )
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.socket.pause()
  client.send(get())
  await server.request(0)
  await new Promise((resolve) => setTimeout(resolve, 100))
  client.socket.resume()
  const answer = await client.answer()
  t.equal(answer.body.length, 24 * MIB)
  t.ok(answer.complete)
})
