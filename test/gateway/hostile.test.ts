/**
 * What a hostile client could do to the gateway itself: end its process through an application's hooks, keep its
 * sockets, or leave it with work that nobody waits for.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { createGunzip } from 'node:zlib'

import { test } from 'tap'

import { backend, gatewayTo, isError, startGateway, totals } from '../helpers/gateway.ts'
import { answering, ask, get, guarded, inTurn, rawBackend, RawClient, valuesOf } from '../helpers/raw.ts'

const post = (lines: readonly string[], body = ''): string =>
  `POST / HTTP/1.1\r\nHost: a\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${body}`

void test('a body that a decompressing hook cannot read: 400, and the gateway lives on', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('preParsing', (_request, _reply, payload, done) => done(null, payload.pipe(createGunzip())))
  })
  await inTurn([1, 2], async () => {
    isError(t, await ask(t, gateway.port, post(['Content-Length: 5'], 'hello')), 'SLUICE_BAD_REQUEST', [server.port])
  })
  t.equal(totals(gateway).inFlight, 0)
  t.equal(totals(gateway).failures, 0)
})

void test('an answer that breaks off while an onSend hook takes its time is cut off', async (t) => {
  const server = await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx', 'ends')
  const { promise: waiting, resolve: letOn } = Promise.withResolvers<void>()
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => {
      await waiting
      return payload
    })
  })
  const client = await RawClient.open(t, gateway.port)
  client.send(get())
  t.match(await gateway.line(({ outcome }) => outcome === 'broken'), { code: 'SLUICE_RESET' })
  letOn()
  await client.end()
  t.equal(totals(gateway).inFlight, 0)
})

void test('a hook that sets a header that cannot be sent costs that answer, not the process', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url?.startsWith('/large') === true) response.end(Buffer.alloc(1_000_000))
    else response.end('ok')
  })
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', (request, reply, done) => {
      void reply.header('x-echo', decodeURIComponent(request.url.split('?')[1] ?? ''))
      done()
    })
  })
  await inTurn(['/?%E2%82%AC', '/large?a%0Ab', '/?a%0Ab'], async (target) => {
    const answer = await ask(t, gateway.port, get(target))
    isError(t, answer, 'SLUICE_INTERNAL', [server.port])
    t.same(valuesOf(answer, 'x-echo'), [])
  })
  t.equal((await ask(t, gateway.port, get('/?fine'))).status, 200)
  t.equal(totals(gateway).inFlight, 0)
})

void test('TO-03 a client that is told 408 and keeps its side open is closed all the same', async (t) => {
  const server = await backend(t)
  const { app, port } = await gatewayTo(t, [server], {}, { listen: { headersTimeout: 500 } })
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  await once(app.server, 'connection')
  socket.write('GET / HT')
  socket.resume()
  const closed = new Promise<void>((resolve) => {
    const look = (): void => {
      app.server.getConnections((_error, count) => void (count === 0 ? resolve() : setTimeout(look, 20)))
    }
    look()
  })
  await guarded(closed, () => 'a connection that was answered 408')
})

void test('a client that leaves while a hook takes its time: nothing is sent for it', async (t) => {
  const server = await backend(t)
  const { promise: inHook, resolve: entered } = Promise.withResolvers<void>()
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', async (request) => {
      entered()
      await once(request.raw.socket, 'close')
    })
  })
  const client = await RawClient.open(t, gateway.port)
  client.send(get())
  await inHook
  client.socket.destroy()
  await gateway.line(({ outcome }) => outcome === 'aborted')
  t.equal(server.requests.length, 0)
  t.same(totals(gateway), { inFlight: 0, requests: 0, failures: 0 })
})

void test('CA-06 a client that resets an upload which the backend does not read is not held against the backend', async (t) => {
  const server = await rawBackend(t, { deaf: true })
  const gateway = await gatewayTo(t, [server], { timeouts: { headers: 1000 } })
  const client = await RawClient.open(t, gateway.port)
  client.send(post(['Content-Length: 50000000']))
  client.send(Buffer.alloc(50_000_000))
  await server.connection(0)
  // Full to the brim: the gateway takes nothing more from the client.
  const full = new Promise<void>((resolve) => {
    let before = -1
    const look = (): void => {
      if (client.socket.writableLength === before) return resolve()
      before = client.socket.writableLength
      setTimeout(look, 200)
    }
    look()
  })
  await full
  client.socket.resetAndDestroy()
  await gateway.line(({ outcome }) => outcome === 'aborted')
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('Connection may list a hundred names and more', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const names = Array.from({ length: 150 }, (_, n) => `x-${n}`).join(',')
  await ask(t, port, get('/', [`Connection: ${names},x-hop`, 'X-Hop: 1', 'X-149: 1', 'X-Kept: 1']))
  const { headers } = await server.request(0)
  t.equal(headers['x-hop'], undefined)
  t.equal(headers['x-149'], undefined)
  t.equal(headers['x-kept'], '1')
})

void test('trustedProxies may be everybody', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { trustedProxies: ['0.0.0.0/0', '::/0'] } })
  await ask(t, port, get('/', ['X-Forwarded-For: 192.0.2.1']))
  t.equal((await server.request(0)).headers['x-forwarded-for'], '192.0.2.1, 127.0.0.1')
})

void test('X-Forwarded-Proto of trusted proxies in a row: what the client spoke', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { trustedProxies: ['127.0.0.1'] } })
  await ask(t, port, get('/', ['X-Forwarded-Proto: HTTPS, http']))
  t.equal((await server.request(0)).headers['x-forwarded-proto'], 'https')
})
