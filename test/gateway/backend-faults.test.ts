/**
 * What backends do wrong before an answer has begun: the client gets an error of the gateway's own, the backend is
 * blamed, and nothing of the broken answer is passed on.
 */
import { test, type Test } from 'tap'

import { backend, closedPort, gatewayTo, isError, totals } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, rawBackend, RawClient, valuesOf, type Bytes } from '../helpers/raw.ts'

/** Each of these answers is refused with SLUICE_BAD_RESPONSE. */
async function areRefused(t: Test, answers: Readonly<Record<string, Bytes>>): Promise<void> {
  await inTurn(Object.entries(answers), async ([name, bytes]) => {
    const server = await answering(t, bytes)
    const gateway = await gatewayTo(t, [server])
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    isError(t, await client.answer(), 'SLUICE_BAD_RESPONSE', [server.port], name)
    t.equal(client.inbox.length, 0, `${name}: and nothing else`)
    const connection = await server.connection(0)
    await connection.inbox.end()
    t.match(totals(gateway), { inFlight: 0, failures: 1 }, `${name}: counted`)
  })
}

const BODY = 'Content-Length: 2\r\n\r\nhi'

void test('BF-05 what is not HTTP', async (t) => {
  await areRefused(t, {
    text: 'hello\r\n\r\n',
    'HTTP/0.9': '<html>hello</html>\r\n\r\n',
    binary: '\x00\x01\x02\xff\r\n\r\n',
    'a TLS alert': '\x15\x03\x01\x00\x02\x02\x28\r\n\r\n',
    SSH: 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    'a leading space': ` HTTP/1.1 200 OK\r\n${BODY}`,
    'a leading line': `\r\nHTTP/1.1 200 OK\r\n${BODY}`,
    'lower case': `http/1.1 200 OK\r\n${BODY}`,
  })
})

void test('BF-06 other versions', async (t) => {
  const versions = [
    'HTTP/2.0',
    'HTTP/2',
    'HTTP/1.x',
    'HTTP/1.2',
    'HTTP/0.9',
    'HTTP/1',
    'HTTP/01.1',
    'HTTP/1.10',
    'ICY',
    'RTSP/1.0',
  ]
  await areRefused(t, Object.fromEntries(versions.map((version) => [version, `${version} 200 OK\r\n${BODY}`])))
})

void test('BF-07 statuses that are none', async (t) => {
  const statuses = [
    '20',
    '2000',
    'abc',
    '+200',
    '-20',
    '0',
    '099',
    '000',
    '',
    '2 0',
    '0x200',
    '2OO',
    ' 200',
    '200.0',
    '\xb2\xb0\xb0',
  ]
  await areRefused(t, Object.fromEntries(statuses.map((status) => [`"${status}"`, `HTTP/1.1 ${status} OK\r\n${BODY}`])))
})

void test('BF-14 two ways to say where the body ends', async (t) => {
  await areRefused(t, {
    'length and chunked':
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    'chunked and length':
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    'two lengths': `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n${BODY}`,
    'two equal lengths': `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${BODY}`,
    'a list of lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi',
    'a negative length': 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi',
    'a length with a sign': 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi',
    'no length': 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi',
    'a hexadecimal length': 'HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi',
    'an endless length': 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhi',
    'an unknown coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi',
    'two codings': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    'two lines of coding':
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    identity: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi',
    'an empty coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nhi',
    'chunked with HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  })
})

void test('BF-09 BF-26 fields that are none', async (t) => {
  const fields = {
    NUL: 'X: a\x00b',
    'a bare CR': 'X: a\rSet-Cookie: evil=1',
    'a bare LF': 'X: a\nSet-Cookie: evil=1',
    'an empty name': ': x',
    'no colon': 'Set-Cookie evil=1',
    folding: 'X: a\r\n Set-Cookie: evil=1',
    'folding with a tab': 'X: a\r\n\tb',
    'a first line that is folded': ' X: a',
    'a space before the colon': 'X : a',
    'a space in the name': 'X Y: a',
    'a name beyond ASCII': '\xe4: a',
    'DEL in a value': 'X: a\x7f',
    'ESC in a value': 'X: \x1b[0m',
    'a CR at the end of a value': 'X: a\r',
  }
  await areRefused(
    t,
    Object.fromEntries(Object.entries(fields).map(([name, line]) => [name, `HTTP/1.1 200 OK\r\n${line}\r\n${BODY}`])),
  )
  await areRefused(t, { 'line ends that are LF alone': `HTTP/1.1 200 OK\nContent-Length: 2\n\nhi\r\n\r\n` })
})

void test('BF-27 heads without measure', async (t) => {
  await areRefused(t, {
    '400 kB in one field': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(400_000)}\r\n${BODY}`,
    '400 kB without an end': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(400_000)}`,
    '4000 fields': `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(4000)}${BODY}`,
    'a reason of 100 kB': `HTTP/1.1 200 ${'x'.repeat(100_000)}\r\n${BODY}`,
  })
})

void test('BF-25 a protocol switch that nobody asked for', async (t) => {
  await areRefused(t, { 101: 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes' })
})

void test('BF-21 interim answers nobody asked for, before the final one', async (t) => {
  const interim =
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'
  const server = await answering(t, interim + ok('final').toString())
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn([1, 2], async () => {
    client.send(get())
    const answer = await client.answer()
    t.equal(answer.status, 200)
    t.equal(answer.body.toString(), 'final')
  })
  t.equal(server.accepted.length, 1)
})

void test('BF-23 an HTTP/1.0 client gets no interim answer', async (t) => {
  const server = await answering(t, `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('final').toString()}`)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send('GET / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n')
  t.equal((await client.answer()).status, 200)
  t.same(client.interim, [])
})

void test('BF-03 BF-24 backends that close or reset instead of answering: 502', async (t) => {
  await inTurn(['', 'HTTP/1.1 200 OK\r\nContent-Le', 'HTTP/1.1 100 Continue\r\n\r\n', 'HTTP'], async (bytes) => {
    await inTurn(['ends', 'resets'] as const, async (then) => {
      const server = await answering(t, bytes, then)
      const gateway = await gatewayTo(t, [server])
      const name = `${JSON.stringify(bytes)} ${then}`
      isError(t, await ask(t, gateway.port, get()), 'SLUICE_RESET', [server.port], name)
      // Alone in its pool, it is asked twice: `retry.attempts`.
      t.match(totals(gateway), { inFlight: 0, requests: 2, failures: 2 }, name)
    })
  })
})

void test('BF-03 a backend that closes as soon as it has accepted: 502', async (t) => {
  await inTurn(['ends', 'resets'], async (how) => {
    const server = await rawBackend(t, {
      onConnection: (connection) => (how === 'ends' ? connection.socket.end() : connection.reset()),
    })
    const gateway = await gatewayTo(t, [server])
    const answer = await ask(t, gateway.port, get())
    // A reset can be there before the connection was seen to be made.
    const early = answer.body.includes('SLUICE_CONNECT_FAILED')
    isError(t, answer, early && how === 'resets' ? 'SLUICE_CONNECT_FAILED' : 'SLUICE_RESET', [server.port], how)
    t.match(totals(gateway), { inFlight: 0, failures: 2 })
  })
})

void test('a refused connection: another backend is tried, whatever the method, and the body is not lost', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [`http://127.0.0.1:${await closedPort()}`, server])
  await inTurn([1, 2, 3, 4], async () => {
    t.equal((await ask(t, gateway.port, get())).status, 200)
    const post = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody'
    t.equal((await ask(t, gateway.port, post)).status, 200)
  })
  t.same(
    server.requests.map((request) => `${request.method} ${request.body().toString()}`),
    Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? 'GET ' : 'POST body')),
  )
  t.match(totals(gateway), { inFlight: 0 })
})

void test('every backend refuses: 502 SLUICE_CONNECT_FAILED', async (t) => {
  const ports = [await closedPort(), await closedPort()]
  const gateway = await gatewayTo(
    t,
    ports.map((port) => `http://127.0.0.1:${port}`),
  )
  isError(t, await ask(t, gateway.port, get()), 'SLUICE_CONNECT_FAILED', ports)
  t.match(totals(gateway), { inFlight: 0, requests: 2, failures: 2 })
  t.match(await gateway.line(() => true), {
    level: 'warn',
    code: 'SLUICE_CONNECT_FAILED',
    reason: /ECONNREFUSED/,
    attempts: 2,
  })
})

void test('BF-28 an early refusal of an upload reaches the client, and the upload stops', async (t) => {
  const server = await rawBackend(t, {
    deaf: true,
    onConnection: (connection) => {
      connection.socket.once('readable', () => {
        connection.send('HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge')
        connection.socket.end()
      })
    },
  })
  const gateway = await gatewayTo(t, [server])
  const client = await RawClient.open(t, gateway.port)
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${64 * 1024 ** 2}\r\n\r\n`)
  client.send(Buffer.alloc(64 * 1024 ** 2, 'x'))
  const answer = await client.answer()
  t.equal(answer.status, 413)
  t.equal(answer.body.toString(), 'large')
  t.same(valuesOf(answer, 'connection'), ['close'])
  await client.end()
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('BF-29 BF-32 an early answer of a backend that does not read on: delivered, and its connection not reused', async (t) => {
  await inTurn(['200 OK', '500 Internal Server Error'], async (status) => {
    const server = await rawBackend(t, {
      onRequest: (connection, head) => {
        if (head.startsWith('POST')) connection.send(`HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\nearly`)
        else connection.send(ok('next'))
      },
    })
    const gateway = await gatewayTo(t, [server])
    const client = await RawClient.open(t, gateway.port)
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n')
    const answer = await client.answer()
    t.equal(answer.body.toString(), 'early', status)
    client.send('6\r\nsecond\r\n0\r\n\r\n')
    t.equal((await ask(t, gateway.port, get())).body.toString(), 'next')
    t.equal(server.accepted.length, 2, 'a connection of its own')
    await (await server.connection(0)).inbox.end()
  })
})
