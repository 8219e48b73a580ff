/**
 * Clients that do not take in what they asked for: nothing is held for them for ever.
 */
import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect } from 'node:net'

import { test } from 'tap'

import { backend, gatewayTo, totals } from '../helpers/gateway.ts'
import { get, RawClient } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

const SHORT = { listen: { bodyTimeout: 300 } } as const

void test('answers that are written, but not taken in, are cut after bodyTimeout', async (t) => {
  const body = Buffer.alloc(60_000, 'x')
  const server = await backend(t, (_request, response) => response.end(body))
  const gateway = await gatewayTo(t, [server], { timeouts: { body: '60s' } }, SHORT)
  const socket = connect({ port: gateway.port, host: '127.0.0.1' })
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  // More than the buffers of the system hold, and nothing is read: what does not fit waits in the gateway.
  socket.write(get().repeat(100))
  await gateway.line(({ outcome }) => outcome === 'aborted')
  t.match(totals(gateway), { inFlight: 0 })
})

void test('a client that reads slowly, but reads, gets it all', async (t) => {
  const body = Buffer.alloc(3_000_000, 'abcdefghij')
  const server = await backend(t, (_request, response) => response.end(body))
  const { port } = await gatewayTo(t, [server], {}, SHORT)
  const client = await RawClient.open(t, port)
  client.send(get())
  const slowly = setInterval(() => {
    client.socket.pause()
    setTimeout(() => client.socket.resume(), 40)
  }, 50)
  const answer = await client.answer()
  clearInterval(slowly)
  t.ok(answer.body.equals(body))
  client.send(get())
  t.equal((await client.answer()).status, 200, 'and the connection is kept')
})

void test('HTTP/2: an answer that is written, but for which no window is opened, is cut', async (t) => {
  const server = await backend(t, (_request, response) => response.end('x'.repeat(1000)))
  const gateway = await gatewayTo(t, [server], {}, { listen: { bodyTimeout: 300, tls: SERVER } })
  const client = connectHttp2(`https://127.0.0.1:${gateway.port}`, { ca: CA, settings: { initialWindowSize: 0 } })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/' })
  stream.on('error', () => undefined)
  await once(stream, 'close')
  t.equal(stream.rstCode, constants.NGHTTP2_CANCEL)
})

void test('HTTP/2: a refused upload that never ends does not hold its stream', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], { maxBodySize: 10 }, { listen: { tls: SERVER } })
  const client = connectHttp2(`https://127.0.0.1:${gateway.port}`, { ca: CA })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/', ':method': 'POST' })
  stream.on('error', () => undefined)
  stream.write('more than ten bytes')
  const [headers] = await once(stream, 'response')
  t.equal(Reflect.get(Object(headers), ':status'), 413)
  stream.resume()
  await once(stream, 'close')
  t.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR)
  t.match(totals(gateway), { inFlight: 0 })
})
