/**
 * maxBodySize, and clients that stop in the middle of their body.
 */
import { test } from 'tap'

import { backend, gatewayTo, isError, totals } from '../helpers/gateway.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'

const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'

void test('BD-08 a Content-Length over the limit: 413 before the body, and no backend is asked', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], { maxBodySize: 1000 })
  await inTurn(['1001', '100000000000', '99999999999999999999'], async (length) => {
    const client = await RawClient.open(t, port)
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`)
    const answer = await client.answer()
    if (answer.status !== 400) isError(t, answer, 'SLUICE_BODY_TOO_LARGE', [server.port], length)
    await client.end()
  })
  t.equal(server.connections(), 0)
  const fits = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(1000)}`
  t.equal((await ask(t, port, fits)).status, 200)
})

void test('BD-09 a chunked body that crosses the limit: 413, and the backend sees no complete request', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], { maxBodySize: 1000 })
  const client = await RawClient.open(t, gateway.port)
  client.send(`${CHUNKED}3e8\r\n${'x'.repeat(1000)}\r\n`)
  const request = await server.request(0)
  client.send('1\r\ny\r\n')
  isError(t, await client.answer(), 'SLUICE_BODY_TOO_LARGE', [server.port])
  await request.over
  t.equal(request.complete(), false)
  t.match(totals(gateway), { inFlight: 0, failures: 0 }, 'no fault of the backend')
  const exact = `${CHUNKED}3e8\r\n${'x'.repeat(1000)}\r\n0\r\n\r\n`
  t.equal((await ask(t, gateway.port, exact)).status, 200, 'what just fits, fits')
})

void test('a client that stops sending its body: 408, and the backend is let go', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], {}, { listen: { bodyTimeout: 150 } })
  await inTurn(
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf', `${CHUNKED}4\r\nhalf\r\n`],
    async (bytes, index) => {
      const client = await RawClient.open(t, gateway.port)
      client.send(bytes)
      isError(t, await client.answer(), 'SLUICE_CLIENT_TIMEOUT', [server.port])
      await client.end()
      const request = await server.request(index)
      await request.over
      t.equal(request.complete(), false)
    },
  )
  t.match(totals(gateway), { inFlight: 0, requests: 2, failures: 0 }, 'no fault of the backend')
  t.equal((await ask(t, gateway.port, get())).status, 200)
})
