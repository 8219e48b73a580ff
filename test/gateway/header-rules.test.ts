/**
 * A route's rules for fields: what is removed, replaced and added, on the way to the backend and back.
 */
import { test } from 'tap'

import { startGateway } from '../helpers/gateway.ts'
import { answering, ask, fieldsOf, get, ok, valuesOf } from '../helpers/raw.ts'

void test('fields are set and removed on both sides, in any case and however often they stand there', async (t) => {
  const server = await answering(t, ok('ok', ['Server: secret', 'X-A: 1', 'x-a: 2', 'Set-Cookie: a', 'Set-Cookie: b']))
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [
      {
        path: '/*',
        pool: 'web',
        requestHeaders: { set: { 'X-Added': 'yes', authorization: 'Bearer ours' }, remove: ['X-Gone', 'COOKIE'] },
        responseHeaders: { set: { 'X-Frame-Options': 'DENY', 'x-A': '3' }, remove: ['server'] },
      },
    ],
  })
  const lines = ['x-gone: 1', 'X-GONE: 2', 'Cookie: a=1', 'Authorization: Basic theirs', 'X-Added: no', 'X-Stays: 1']
  const answer = await ask(t, port, get('/', lines))
  const sent = { fields: fieldsOf(server.heads[0] ?? '') }
  t.same(valuesOf(sent, 'x-gone'), [])
  t.same(valuesOf(sent, 'cookie'), [])
  t.same(valuesOf(sent, 'authorization'), ['Bearer ours'])
  t.same(valuesOf(sent, 'x-added'), ['yes'])
  t.same(valuesOf(sent, 'x-stays'), ['1'])
  t.same(valuesOf(answer, 'server'), [])
  t.same(valuesOf(answer, 'x-a'), ['3'])
  t.same(valuesOf(answer, 'x-frame-options'), ['DENY'])
  t.same(valuesOf(answer, 'set-cookie'), ['a', 'b'])
})

void test('what the gateway says of the client can be replaced and removed too, and is never there twice', async (t) => {
  const server = await answering(t, ok())
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [
      {
        path: '/*',
        pool: 'web',
        requestHeaders: { set: { 'X-Forwarded-Proto': 'https' }, remove: ['X-Forwarded-For', 'x-forwarded-host'] },
      },
    ],
  })
  await ask(t, port, get())
  const sent = { fields: fieldsOf(server.heads[0] ?? '') }
  t.same(valuesOf(sent, 'x-forwarded-proto'), ['https'])
  t.same(valuesOf(sent, 'x-forwarded-for'), [])
  t.same(valuesOf(sent, 'x-forwarded-host'), [])
})

void test('the request id of an answer is not a matter of rules', async (t) => {
  const server = await answering(t, ok())
  const { port } = await startGateway(t, {
    pools: { web: { backends: [server.url] } },
    routes: [{ path: '/*', pool: 'web', responseHeaders: { set: { 'X-Request-Id': 'fixed' } } }],
  })
  const ids = valuesOf(await ask(t, port, get()), 'x-request-id')
  t.equal(ids.length, 1)
  t.not(ids[0], 'fixed')
})
