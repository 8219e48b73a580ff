/**
 * The request target reaches the backend byte for byte, and names nothing but a path there.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, isError, startGateway, type Backend } from '../helpers/gateway.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

async function isKept(t: Test, port: number, server: Backend, targets: readonly string[]): Promise<void> {
  await inTurn(targets, async (target) => {
    const before = server.requests.length
    const answer = await ask(t, port, get(target))
    t.equal(answer.status, 200, target.slice(0, 80))
    t.equal(server.requests[before]?.url, target)
  })
}

void test('PN-01 paths are forwarded byte for byte', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await isKept(t, port, server, [
    '/',
    '/a%2Fb%2fc',
    '/%41%7e~',
    '/a;x=1;y=2/b;z',
    '/a+b%20c',
    "/!$&'()*+,;=:@-._~",
    '/a//b///c',
    '/a/',
    '/ends/%3F/%23',
    '/ends/|^`{}"<>[]',
    `/${'long/'.repeat(2000)}`,
    `/${'x'.repeat(8000)}`,
  ])
})

void test('PN-02 queries are forwarded byte for byte', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await isKept(t, port, server, [
    '/?',
    '/a?b',
    '/?a=1&a=2&a[]=3',
    '/?a;b=1;c',
    '/?=&&=',
    '/?a=%zz&b=%&c=%E0%A4%A',
    '/?a?b?c=/../..',
    '/?u=http://evil.example/%2e%2e/',
    '/?__proto__=1&constructor[prototype]=2',
    `/?${'q=1&'.repeat(2000)}`,
  ])
})

void test('PN-05 segments that only look like dot segments are ordinary', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/api/*', pool: 'web' }],
  })
  await isKept(t, port, server, [
    '/api/...',
    '/api/a..b',
    '/api/..a/b',
    '/api/.well-known/x',
    '/api/a./b.',
    '/api/%2e%2e%2e',
  ])
})

void test('PN-06 what looks like an authority stays a path', async (t) => {
  const server = await backend(t)
  const other = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const evil = `127.0.0.1:${other.port}`
  await isKept(t, port, server, [
    `//${evil}/path`,
    `/@${evil}`,
    `/:80@${evil}/x`,
    `///${evil}`,
    `/http://${evil}/`,
    `/\\${evil}`,
  ])
  t.equal(other.requests.length, 0)
})

void test('PN-08 percent signs that encode no UTF-8, or nothing: forwarded as they came, by the right route', async (t) => {
  const [server, admin] = [await backend(t), await backend(t)]
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] }, admin: { backends: [admin.url] } },
    routes: [
      { path: '/*', pool: 'web' },
      { path: '/admin/*', pool: 'admin' },
    ],
  })
  const odd = [
    '/%zz',
    '/%',
    '/a%',
    '/caf%E9',
    '/%E0%A4%A',
    '/%E0%A4',
    '/%ff%fe?%E9',
    '/%00',
    '/a%2',
    '/%u0041',
    '/%C3%A9%E9',
  ]
  await inTurn(odd, async (target, index) => {
    t.equal((await ask(t, port, get(target))).status, 200, target)
    t.equal(server.requests[index]?.url, target)
  })
  await inTurn(['/admin/%E9', '/%61dmin/%E9', '/admin/%zz/%61'], async (target, index) => {
    t.equal((await ask(t, port, get(target))).status, 200, target)
    t.equal(admin.requests[index]?.url, target)
  })
})

void test('PN-11 each request reaches the backend of its own route', async (t) => {
  const [one, two] = [await backend(t), await backend(t)]
  const { port } = await startGateway(t, {
    pools: { one: { backends: [one.url] }, two: { backends: [two.url] } },
    routes: [
      { path: '/one/*', pool: 'one', rewrite: { stripPrefix: '/one', addPrefix: '/a' } },
      { path: '/two/*', pool: 'two', rewrite: { stripPrefix: '/two', addPrefix: '/a/b' } },
    ],
  })
  await ask(t, port, get('/one/b/c'))
  await ask(t, port, get('/two/c'))
  t.same(
    [one, two].map(({ requests }) => requests.map(({ url }) => url)),
    [['/a/b/c'], ['/a/b/c']],
  )
})

void test('PN-12 names of prototypes are ordinary paths', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [
      { path: '/users/:id', pool: 'web' },
      { path: '/*', pool: 'web' },
    ],
  })
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf']
  await isKept(
    t,
    port,
    server,
    names.flatMap((name) => [`/${name}`, `/users/${name}`, `/?${name}=1`]),
  )
})

void test('the absolute form: its path is asked for, its authority goes before Host', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(
    [
      ['http://a.example/x?y', '/x?y', 'a.example'],
      ['http://a.example:81', '/', 'a.example:81'],
      ['http://a.example?q', '/?q', 'a.example'],
      ['HTTPS://A.example//x', '//x', 'A.example'],
    ] as const,
    async ([target, url, host], index) => {
      t.equal((await ask(t, port, get(target))).status, 200)
      t.match(server.requests[index], { url, headers: { host } })
    },
  )
})

void test('RL-09 targets that are neither a path nor an absolute URL are refused', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const targets = [
    '*',
    'a.example:80',
    'relative/path',
    'ftp://a.example/',
    'http:///x',
    'http://u:p@a.example/',
    '/a#b',
  ]
  await inTurn([...targets, 'http://a.example/#b', '?a=1', 'http://'], async (target) => {
    const answer = await ask(t, port, get(target))
    t.ok([400, 404].includes(answer.status), `${target}: ${answer.status}`)
    if (answer.status === 400) isError(t, answer, 'SLUICE_BAD_REQUEST', [server.port], target)
  })
  const answer = await ask(t, port, 'OPTIONS */x HTTP/1.1\r\nHost: a\r\n\r\n')
  t.ok([400, 404].includes(answer.status), `OPTIONS */x: ${answer.status}`)
  t.equal(server.requests.length, 0)
})

void test('OPTIONS * asks about the server: it goes on as it is, whatever the rewriting, by the route of the root', async (t) => {
  const server = await backend(t)
  const rewritten = { path: '/*', pool: 'web', rewrite: { addPrefix: '/v1' } }
  const { port } = await startGateway(t, { pools: { web: { backends: [server.url] } }, routes: [rewritten] })
  t.equal((await ask(t, port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n')).status, 200)
  t.match(server.requests[0], { method: 'OPTIONS', url: '*' })
  const elsewhere = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/a/*', pool: 'web' }],
  })
  t.equal((await ask(t, elsewhere.port, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n')).status, 404)
})
