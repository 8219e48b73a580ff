/**
 * A client that leaves takes its request along: the backend is told by a closed connection, and is not blamed.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, totals, type Backend, type Gateway } from '../helpers/gateway.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'

type Leave = (client: RawClient) => void

const LEAVING: ReadonlyArray<readonly [how: string, leave: Leave]> = [
  ['closes', (client) => client.socket.destroy()],
  ['resets', (client) => client.socket.resetAndDestroy()],
]

async function isForgotten(t: Test, gateway: Gateway, server: Backend, name: string): Promise<void> {
  await server.openAtMost(0)
  const line = await gateway.line(({ outcome }) => outcome === 'aborted')
  t.match(line, { status: 499, outcome: 'aborted', level: 'info' }, name)
  t.match(totals(gateway), { inFlight: 0, requests: 1, failures: 0 }, name)
  t.equal(gateway.lines.filter(({ outcome }) => outcome !== undefined).length, 1, `${name}: logged once`)
}

void test('CA-01 CA-06 before the answer', async (t) => {
  await inTurn(LEAVING, async ([how, leave]) => {
    const server = await backend(t, () => {})
    const gateway = await gatewayTo(t, [server])
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    const request = await server.request(0)
    leave(client)
    await request.over
    await isForgotten(t, gateway, server, how)
  })
})

void test('CA-03 in mid-download', async (t) => {
  await inTurn(LEAVING, async ([how, leave]) => {
    const server = await backend(t, (_request, response) => void response.write('first'))
    const gateway = await gatewayTo(t, [server])
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    await client.inbox.until(() => (client.inbox.text.includes('first') ? true : undefined))
    leave(client)
    await isForgotten(t, gateway, server, how)
  })
})

void test('CA-03 in mid-download, while it was not reading', async (t) => {
  const server = await backend(t, (_request, response) => void response.write(Buffer.alloc(32 * 1024 ** 2)))
  const gateway = await gatewayTo(t, [server])
  const client = await RawClient.open(t, gateway.port)
  client.socket.pause()
  client.send(get())
  await server.request(0)
  client.socket.destroy()
  await isForgotten(t, gateway, server, 'not reading')
})

const UPLOADS = {
  length: 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf',
  chunked: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
}

void test('CA-04 in mid-upload: the backend never sees a complete request', async (t) => {
  await inTurn(Object.entries(UPLOADS), async ([framing, bytes]) => {
    await inTurn(LEAVING, async ([how, leave]) => {
      const server = await backend(t)
      const gateway = await gatewayTo(t, [server])
      const client = await RawClient.open(t, gateway.port)
      client.send(bytes)
      const request = await server.request(0)
      leave(client)
      await request.over
      t.equal(request.complete(), false, `${framing}, ${how}`)
      await isForgotten(t, gateway, server, `${framing}, ${how}`)
    })
  })
})

void test('while it waits for a connection', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url !== '/first') response.end('ok')
  })
  const gateway = await gatewayTo(t, [server], { connections: { max: 1, pending: 5, queue: '20s' } })
  const [first, second] = [await RawClient.open(t, gateway.port), await RawClient.open(t, gateway.port)]
  first.send(get('/first'))
  await server.request(0)
  second.send(get('/second'))
  second.socket.end()
  second.socket.destroy()
  await gateway.line(({ outcome }) => outcome === 'aborted')
  first.socket.destroy()
  t.equal((await ask(t, gateway.port, get('/third'))).status, 200)
  t.same(
    server.requests.map(({ url }) => url),
    ['/first', '/third'],
    'its turn never comes',
  )
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('CA-07 a reset in the middle of a pipelined batch does no harm', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server])
  await inTurn(Array.from({ length: 20 }), async () => {
    const client = await RawClient.open(t, gateway.port)
    client.send(get('/pipelined').repeat(10))
    await client.answer()
    client.socket.resetAndDestroy()
  })
  t.equal((await ask(t, gateway.port, get())).status, 200)
  await gateway.close()
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})
