/**
 * No spelling of dot segments leads a request out of the prefix of its route, whatever the backend makes of it.
 */
import { test } from 'tap'

import { backend, isError, startGateway } from '../helpers/gateway.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

const LEAVING = [
  '/api/../admin',
  '/api/..',
  '/api/x/../../admin',
  '/api/./../admin',
  '/api/%2e%2e/admin',
  '/api/%2E%2e/admin',
  '/api/.%2e/admin',
  '/api/..;/admin',
  '/api/..;x=1/admin',
  '/api/x/..;/..;/admin',
  '/api/..\\admin',
  '/api\\..\\..\\admin',
  '/api/..%5cadmin',
  '/api/%5c../../admin',
  '/api/..%2fadmin',
  '/api%2f..%2f..%2fadmin',
  '/api/x%2f..%2f..%2fadmin',
  '/api//../admin',
  '/api///..//../admin',
  '/api//x/../../../admin',
  '/api/../../../etc/passwd',
]

const STAYING = ['/api/a/../b', '/api/./b', '/api/a/%2e%2e/b', '/api/a/b/../../c', '/api/a/..;/b', '/api/a/.']

void test('dot segments that leave the prefix of the route are refused', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/api/*', pool: 'web' }],
  })
  await inTurn(LEAVING, async (target) => {
    const answer = await ask(t, port, get(target))
    isError(t, answer, answer.status === 404 ? 'SLUICE_NO_ROUTE' : 'SLUICE_BAD_REQUEST', [server.port], target)
  })
  t.same(
    server.requests.map(({ url }) => url),
    [],
  )
  await inTurn(STAYING, async (target) => {
    t.equal((await ask(t, port, get(target))).status, 200, target)
  })
  t.same(
    server.requests.map(({ url }) => url),
    STAYING,
  )
})

void test('nor do they when a prefix is stripped and another added', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/api/*', pool: 'web', rewrite: { stripPrefix: '/api', addPrefix: '/v1' } }],
  })
  await inTurn(LEAVING, async (target) => {
    t.ok([400, 404].includes((await ask(t, port, get(target))).status), target)
  })
  t.equal(server.requests.length, 0)
})

void test('above the root there is nothing, with a route for everything too', async (t) => {
  const server = await backend(t)
  const { port } = await startGateway(t, { pools: { web: { backends: [server.url] } } })
  await inTurn(['/..', '/../x', '/a/../../x', '/%2e%2e/x', '/..;/x', '//../../x'], async (target) => {
    isError(t, await ask(t, port, get(target)), 'SLUICE_BAD_REQUEST', [], target)
  })
  t.equal(server.requests.length, 0)
})
