/**
 * Which pool gets a request: by path, host and method, the most specific route first; and what becomes of its path.
 */
import { test } from 'tap'

import { backend, isError, startGateway } from '../helpers/gateway.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

void test('path, host and method; what does not fit falls through', async (t) => {
  const names = ['exact', 'prefix', 'posts', 'shop', 'any', 'rest'] as const
  const servers = await Promise.all(names.map(async (name) => backend(t, (_request, response) => response.end(name))))
  const pools = Object.fromEntries(names.map((name, index) => [name, { backends: [servers[index]?.url ?? ''] }]))
  const { port } = await startGateway(t, {
    pools,
    routes: [
      { path: '/a', pool: 'exact' },
      { path: '/a/*', pool: 'prefix' },
      { path: '/a/*', methods: ['post', 'PUT'], pool: 'posts' },
      { path: '/a/*', host: 'shop.example', pool: 'shop' },
      { path: '/*', host: '*.any.example', pool: 'any' },
      { path: '/b/:id/c', pool: 'rest' },
    ],
  })
  const cases = [
    ['GET', 'x.example', '/a', 'exact'],
    ['GET', 'x.example', '/a?q', 'exact'],
    ['GET', 'x.example', '/a/', 'prefix'],
    ['GET', 'x.example', '/a/b/c', 'prefix'],
    ['POST', 'x.example', '/a/b', 'posts'],
    ['PUT', 'x.example', '/a/b', 'posts'],
    ['DELETE', 'x.example', '/a/b', 'prefix'],
    ['GET', 'shop.example', '/a/b', 'shop'],
    ['GET', 'SHOP.example:8080', '/a/b', 'shop'],
    ['GET', 'shop.example', '/a', 'exact'],
    ['GET', 'x.any.example', '/anything', 'any'],
    ['GET', 'any.example', '/anything', undefined],
    ['GET', 'x.example', '/b/1/c', 'rest'],
    ['GET', 'x.example', '/b/1/d', undefined],
    ['GET', 'x.example', '/A', undefined],
  ] as const
  await inTurn(cases, async ([method, host, target, expected]) => {
    const answer = await ask(t, port, `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    const name = `${method} ${host}${target}`
    if (expected === undefined) isError(t, answer, 'SLUICE_NO_ROUTE', [], name)
    else t.equal(answer.body.toString(), expected, name)
  })
})

void test('rewrite: a prefix is stripped, another added, and the rest is untouched', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [
      { path: '/old/*', pool: 'web', rewrite: { stripPrefix: '/old', addPrefix: '/v1' } },
      { path: '/strip/*', pool: 'web', rewrite: { stripPrefix: '/strip' } },
      { path: '/exact', pool: 'web', rewrite: { stripPrefix: '/exact' } },
      { path: '/*', pool: 'web', rewrite: { addPrefix: '/base/' } },
    ],
  })
  const cases = {
    '/old/a%2Fb//c;x?q=/old/&%zz': '/v1/a%2Fb//c;x?q=/old/&%zz',
    '/old/': '/v1/',
    '/strip/x': '/x',
    '/strip/': '/',
    '/strip//evil.example/': '//evil.example/',
    '/exact?q': '/?q',
    '/': '/base/',
    '/x': '/base/x',
  }
  await inTurn(Object.entries(cases), async ([target, url], index) => {
    t.equal((await ask(t, port, get(target))).status, 200, target)
    t.equal(server.requests[index]?.url, url, target)
  })
  isError(t, await ask(t, port, get('/%6fld/x')), 'SLUICE_BAD_REQUEST', [], 'a prefix in another spelling')
})
