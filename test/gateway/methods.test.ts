/**
 * Every method that Node's parser knows is forwarded as it is; what it does not know is refused.
 */
import { METHODS } from 'node:http'

import { test } from 'tap'

import { backend, gatewayTo, isError, rawValues } from '../helpers/gateway.ts'
import { ask, askAll, get, inTurn, RawClient } from '../helpers/raw.ts'

const FORWARDED = METHODS.filter((method) => method !== 'CONNECT')

void test('BD-05 every method goes on as it came, with and without a body', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(FORWARDED, async (method) => {
    const bare = await ask(t, port, `${method} /bare HTTP/1.1\r\nHost: a\r\n\r\n`, method)
    t.equal(bare.status, 200, method)
    const body = `${method} /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`
    t.equal((await ask(t, port, body, method)).status, 200, `${method} with a body`)
  })
  t.same(
    server.requests.filter(({ url }) => url === '/bare').map(({ method }) => method),
    FORWARDED,
  )
  t.same(
    server.requests.filter(({ url }) => url === '/body').map(({ method, body }) => `${method} ${body().toString()}`),
    FORWARDED.map((method) => `${method} body`),
  )
})

void test('BD-06 a body of GET, DELETE, OPTIONS and HEAD is forwarded, chunked too, and its connection reused', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['GET', 'DELETE', 'OPTIONS', 'HEAD'], async (method) => {
    const chunked = `${method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`
    t.equal((await ask(t, port, chunked, method)).status, 200, method)
  })
  t.same(
    server.requests.map(({ method, body, headers }) => [method, body().toString(), headers['transfer-encoding']]),
    ['GET', 'DELETE', 'OPTIONS', 'HEAD'].map((method) => [method, 'abc', 'chunked']),
  )
  t.equal(server.connections(), 1)
})

void test('QUERY without a Content-Type is forwarded', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, 'QUERY /q HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nselect *')
  t.equal(answer.status, 200)
  const [request] = server.requests
  t.match(request, { method: 'QUERY', url: '/q' })
  t.equal(request?.body().toString(), 'select *')
  t.same(rawValues(request?.rawHeaders ?? [], 'content-type'), [], 'and none is made up')
})

void test('a POST without content says so to the backend too', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await ask(t, port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
  t.same(rawValues(server.requests[0]?.rawHeaders ?? [], 'content-length'), ['0'])
})

void test('RL-08 lower-case and unknown methods are refused, never changed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['get', 'Get', 'FOO', 'GETX', 'G', 'PRI', '"GET"', 'GET\x00'], async (method) => {
    const [answer, ...rest] = await askAll(t, port, `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`)
    t.ok(answer)
    if (answer !== undefined) isError(t, answer, 'SLUICE_BAD_REQUEST', [server.port], method)
    t.same(rest, [])
  })
  t.equal(server.requests.length, 0)
})

void test('CONNECT is refused, and nothing hangs', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['a.example:443', '/', '127.0.0.1:1'], async (target) => {
    const client = await RawClient.open(t, port)
    client.send(`CONNECT ${target} HTTP/1.1\r\nHost: a\r\n\r\nbytes of a tunnel`)
    await client.end()
    t.notMatch(client.inbox.text, /^HTTP\/1\.1 2/, target)
  })
  t.equal((await ask(t, port, get())).status, 200, 'and the gateway goes on')
  t.equal(server.requests.length, 1)
})

void test('RL-14 TRACE goes to the backend: the gateway echoes nothing itself', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const answer = await ask(t, port, 'TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret=1\r\nMax-Forwards: 3\r\n\r\n')
  t.equal(answer.body.toString(), 'ok')
  t.equal(server.requests[0]?.method, 'TRACE')
})
