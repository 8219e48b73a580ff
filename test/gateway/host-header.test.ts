/**
 * Which Host is believed, and which one backends see.
 */
import { test } from 'tap'

import { backend, gatewayTo, isError, rawValues, startGateway } from '../helpers/gateway.ts'
import { ask, askAll, get, inTurn } from '../helpers/raw.ts'

void test("hostHeader: the client's, the backend's own, or a literal", async (t) => {
  const server = await backend(t)
  const expected = {
    preserve: 'gateway.example',
    backend: `127.0.0.1:${server.port}`,
    'internal.example:8443': 'internal.example:8443',
  }
  await inTurn(Object.entries(expected), async ([hostHeader, host], index) => {
    const { port } = await gatewayTo(t, [server], { hostHeader })
    await ask(t, port, get())
    const raw = server.requests[index]?.rawHeaders ?? []
    t.same(rawValues(raw, 'host'), [host])
    t.same(rawValues(raw, 'x-forwarded-host'), ['gateway.example'], 'and what the client asked for is told')
  })
})

void test('HO-01 no Host, and two of them, also equal ones, are refused', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(
    ['', 'Host: a\r\nHost: b\r\n', 'Host: a\r\nHost: a\r\n', 'Host: a\r\nX: y\r\nhOST: a\r\n'],
    async (lines) => {
      const answer = await ask(t, port, `GET / HTTP/1.1\r\n${lines}\r\n`)
      t.equal(answer.status, 400, JSON.stringify(lines))
    },
  )
  t.equal(server.requests.length, 0)
})

const BAD_HOSTS = [
  'a/b',
  'user@a',
  'a,b',
  'a b',
  '"a"',
  'a?b',
  'a#b',
  'a\\b',
  'a\x01b',
  'a\x7fb',
  'a\x00b',
  "a'b",
  '<a>',
  '../a',
  'a%00',
  '\xe4',
]

void test('HO-02 a Host that is none is refused', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(BAD_HOSTS, async (host) => {
    isError(
      t,
      await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`),
      'SLUICE_BAD_REQUEST',
      [],
      JSON.stringify(host),
    )
  })
  t.equal(server.requests.length, 0)
})

void test('HO-03 a bad port or bracket is refused', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const hosts = [
    'a:80@evil',
    'a:x',
    'a:80:80',
    'a:-1',
    'a:123456',
    'a:99999',
    '[::1',
    '::1',
    '[::1]x',
    '[x]',
    '[::1]:x',
    ':80',
    'a:+80',
  ]
  await inTurn(hosts, async (host) => {
    t.equal((await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 400, host)
    t.equal(
      (await ask(t, port, `GET http://${host}/ HTTP/1.1\r\nHost: a\r\n\r\n`)).status,
      400,
      `absolute form: ${host}`,
    )
  })
  t.equal(server.requests.length, 0)
  await inTurn(
    ['[::1]:80', 'a.example:65535', '127.0.0.1', 'xn--nxasmq6b.example', 'under_score', 'a.'],
    async (host) => {
      t.equal((await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host)
    },
  )
})

void test('HO-05 HTTP/1.0 without a Host gets the default route and a Host of our own', async (t) => {
  const [server, named] = [await backend(t), await backend(t)]
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] }, named: { backends: [named.url] } },
    routes: [
      { path: '/*', pool: 'web' },
      { path: '/*', host: 'a.example', pool: 'named' },
    ],
  })
  const [answer] = await askAll(t, port, 'GET / HTTP/1.0\r\n\r\n')
  t.equal(answer?.status, 200)
  t.same(rawValues(server.requests[0]?.rawHeaders ?? [], 'host'), [`127.0.0.1:${server.port}`])
  t.same(
    rawValues(server.requests[0]?.rawHeaders ?? [], 'x-forwarded-host').filter((value) => value !== ''),
    [],
  )
  t.equal(named.requests.length, 0)
})

void test('HO-07 case, default port and a trailing dot make no other host', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/*', host: 'a.example', pool: 'web' }],
  })
  await inTurn(['a.example', 'A.EXAMPLE', 'a.example:80', 'a.example.', 'A.Example.:8080'], async (host, index) => {
    t.equal((await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host)
    t.equal(server.requests[index]?.headers.host, host, 'forwarded as it came')
  })
  await inTurn(['b.example', 'a.example.evil', 'xa.example', 'a.example@b.example'], async (host) => {
    t.not((await ask(t, port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host)
  })
})
