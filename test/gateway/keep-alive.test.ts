/**
 * Connections to backends: reused, kept for as long as announced, and never used for another's bytes.
 */
import { test } from 'tap'

import { backend, gatewayTo, totals } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, rawBackend, RawClient } from '../helpers/raw.ts'

void test('100 requests one after the other use one connection; an idle one is closed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], { connections: { idle: 150 } })
  await inTurn(Array.from({ length: 100 }), async () => {
    t.equal((await ask(t, port, get())).status, 200)
  })
  t.equal(server.connections(), 1)
  await server.openAtMost(0)
  t.equal((await ask(t, port, get())).status, 200)
  t.equal(server.connections(), 2)
})

void test('no more connections than connections.max', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], { connections: { max: 3, queue: '20s' } })
  const answers = await Promise.all(Array.from({ length: 100 }, async () => ask(t, port, get())))
  t.ok(answers.every(({ status }) => status === 200))
  t.ok(server.connections() <= 3, `${server.connections()} connections`)
})

void test('Keep-Alive: timeout of a backend is obeyed', async (t) => {
  const server = await answering(t, ok('ok', ['Keep-Alive: timeout=1']))
  const { port } = await gatewayTo(t, [server], { connections: { idle: '60s' } })
  t.equal((await ask(t, port, get())).status, 200)
  t.equal(await (await server.connection(0)).inbox.end(), 'end', 'closed at once, with a second to spare')
  t.equal((await ask(t, port, get())).status, 200)
  t.equal(server.accepted.length, 2)
})

void test('KP-11 a connection that its backend closes is not reused', async (t) => {
  const answers = [
    ok('ok', ['Connection: close']),
    ok('ok', ['connection: x, Close']),
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
  ]
  await inTurn(answers, async (bytes) => {
    // It says so, and does not do it.
    const server = await answering(t, bytes)
    const { port } = await gatewayTo(t, [server])
    await inTurn([1, 2, 3], async () => {
      t.equal((await ask(t, port, get())).body.toString(), 'ok')
    })
    t.equal(server.accepted.length, 3)
    await (await server.connection(2)).inbox.end()
  })
})

void test('HTTP/1.0 with keep-alive is reused', async (t) => {
  const server = await answering(t, 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok')
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get())
  await ask(t, port, get())
  t.equal(server.accepted.length, 1)
})

void test('RT-05 a kept connection that is dead: GET is sent once more on a fresh one', async (t) => {
  await inTurn(['ends', 'resets'], async (how) => {
    const server = await rawBackend(t, {
      onRequest: (connection) => {
        if (connection.heads.length === 1) connection.send(ok())
        else if (how === 'ends') connection.socket.end()
        else connection.reset()
      },
    })
    const { port } = await gatewayTo(t, [server])
    t.equal((await ask(t, port, get('/1'))).status, 200)
    t.equal((await ask(t, port, get('/2'))).status, 200, how)
    t.equal(server.heads.length, 3, 'the second one twice')
  })
})

void test('RT-06 a kept connection that dies under a POST: delivered once, never twice', async (t) => {
  const bodies = [
    'Content-Length: 4\r\n\r\nbody',
    'Content-Length: 0\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n',
  ]
  await inTurn(bodies, async (body) => {
    const server = await rawBackend(t, {
      onRequest: (connection, head) => {
        if (head.startsWith('GET')) connection.send(ok())
        else connection.reset()
      },
    })
    const { port } = await gatewayTo(t, [server])
    t.equal((await ask(t, port, get())).status, 200)
    const answer = await ask(t, port, `POST / HTTP/1.1\r\nHost: a\r\n${body}`)
    t.equal(answer.status, 502)
    t.equal(server.heads.filter((head) => head.startsWith('POST')).length, 1)
  })
})

void test('a connection that was closed while idle costs nobody a request', async (t) => {
  const server = await rawBackend(t, { onRequest: (connection) => connection.send(ok()) })
  const { port } = await gatewayTo(t, [server])
  await inTurn([0, 1, 2], async (n) => {
    t.equal((await ask(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')).status, 200)
    const { socket, inbox } = await server.connection(n)
    socket.end()
    await inbox.end()
  })
  t.equal(server.heads.length, 3)
})

void test('bytes behind a complete answer never reach the next client', async (t) => {
  const evil = ok('evil', ['X-Evil: 1'])
  const firsts = [
    ok('good'),
    ok('x'.repeat(20_000)),
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n',
    'HTTP/1.1 204 No Content\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\n\r\n',
    ok(''),
  ]
  await inTurn(firsts, async (first) => {
    const server = await rawBackend(t, {
      onRequest: (connection) => connection.send(Buffer.concat([Buffer.from(first), evil])),
    })
    const { port } = await gatewayTo(t, [server])
    await inTurn([1, 2, 3], async () => {
      const answer = await ask(t, port, get())
      t.notMatch(answer.head + answer.body.toString(), /evil/i)
    })
    t.equal(server.accepted.length, 3, 'none is used twice')
  })
})

void test('bytes that nobody asked for close an idle connection', async (t) => {
  const server = await rawBackend(t, { onRequest: (connection) => connection.send(ok()) })
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get())
  const connection = await server.connection(0)
  connection.send(ok('evil'))
  await connection.inbox.end()
  t.equal((await ask(t, port, get())).body.toString(), 'ok')
})

void test('KP-15 credentials of one client are not those of the next on the same connection', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, get('/', ['Authorization: Basic one', 'Cookie: one']))
  await ask(t, port, get())
  t.equal(server.connections(), 1)
  t.match(server.requests[1]?.headers, { authorization: undefined, cookie: undefined })
})

void test('KP-01 three requests on one connection of a client, the last with Connection: close', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn([[], [], ['Connection: close']], async (lines) => {
    client.send(get('/', lines))
    t.equal((await client.answer()).status, 200)
  })
  t.equal(await client.end(), 'end')
  t.equal(client.inbox.length, 0)
})

void test('KP-02 HTTP/1.0 clients: closed, or kept as announced', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn([1, 2], async () => {
    client.send('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n')
    t.equal((await client.answer()).body.toString(), 'ok')
  })
  client.send('GET / HTTP/1.0\r\nHost: a\r\n\r\n')
  t.equal((await client.answer()).body.toString(), 'ok')
  t.equal(await client.end(), 'end')
})

void test('KP-04 pipelined requests are answered in order, and one at a time', async (t) => {
  const held: Array<() => void> = []
  const server = await backend(t, (request, response) => {
    const answer = (): void => void response.end(request.url)
    if (request.url === '/0') held.push(answer)
    else answer()
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send([0, 1, 2, 3, 4].map((n) => get(`/${n}`)).join(''))
  await server.request(0)
  // Another client is served meanwhile: whoever pipelines holds one place, not all of them.
  t.equal((await ask(t, port, get('/other'))).body.toString(), '/other')
  t.equal(server.requests.length, 2)
  for (const answer of held) answer()
  await inTurn([0, 1, 2, 3, 4], async (n) => {
    t.equal((await client.answer()).body.toString(), `/${n}`)
  })
})

void test('KP-05 bytes behind Connection: close are ignored', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send(get('/', ['Connection: close']) + get('/ignored'))
  t.equal((await client.answer()).status, 200)
  await client.end()
  t.equal(client.inbox.length, 0)
  t.same(
    server.requests.map(({ url }) => url),
    ['/'],
  )
})

void test('KP-04: a hundred requests may wait for their turn; a client that sends more of them is cut off', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server])
  const client = await RawClient.open(t, gateway.port)
  client.send(get().repeat(101))
  await inTurn(Array.from({ length: 101 }), async () => {
    t.equal((await client.answer()).status, 200)
  })
  const held = await backend(t, () => undefined)
  const hostile = await gatewayTo(t, [held])
  const flood = await RawClient.open(t, hostile.port)
  flood.send(get().repeat(102))
  await flood.end()
  t.match(await hostile.line(() => true), { outcome: 'aborted' })
  await held.openAtMost(0)
  t.match(totals(hostile), { inFlight: 0, requests: 1 })
})

void test('maxConnections: one more is refused, and served when there is room again', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { maxConnections: 2 } })
  const [first, second] = [await RawClient.open(t, port), await RawClient.open(t, port)]
  first.send(get())
  second.send(get())
  t.same([(await first.answer()).status, (await second.answer()).status], [200, 200])
  const third = await RawClient.open(t, port)
  third.send(get())
  await third.end()
  t.equal(third.inbox.length, 0)
  second.socket.destroy()
  await inTurn([1], async () => {
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- until the gateway has noticed
      const again = await RawClient.open(t, port)
      again.send(get())
      // oxlint-disable-next-line no-await-in-loop
      if (await Promise.race([again.answer().then(() => true), again.end().then(() => false)])) return
    }
  })
  first.send(get())
  t.equal((await first.answer()).status, 200)
})
