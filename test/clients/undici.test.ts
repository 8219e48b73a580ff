/**
 * undici works through the gateway as it does without it: its pools on HTTP/1.1, its fetch on HTTP/2.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import { test } from 'tap'
import { Agent, fetch, FormData, Pool, request } from 'undici'

import { backend, gatewayTo, sha256, type Gateway } from '../helpers/gateway.ts'
import { guarded, inTurn } from '../helpers/raw.ts'
import { CA, SERVER } from '../helpers/secure.ts'

const MIB = 1024 ** 2
const CONTENT = randomBytes(5 * MIB)

function countConnections({ app }: Gateway): () => number {
  let count = 0
  app.server.on('connection', () => count++)
  return () => count
}

/** Sends back what comes, as it comes. */
function echo(incoming: IncomingMessage, response: ServerResponse): void {
  incoming.on('data', (piece: Buffer) => response.write(piece))
  incoming.on('end', () => response.end())
}

void test('a pool without pipelining: 400 requests at once over 4 connections, no answer goes astray', async (t) => {
  const server = await backend(t, echo)
  const gateway = await gatewayTo(t, [server])
  const connections = countConnections(gateway)
  const pool = new Pool(`http://127.0.0.1:${gateway.port}`, { connections: 4, pipelining: 1 })
  t.teardown(() => pool.destroy())
  const ask = async (_: unknown, index: number): Promise<void> => {
    const body = `request ${index}`
    const answer = await pool.request({ path: `/${index}`, method: 'POST', body })
    if (answer.statusCode !== 200 || (await answer.body.text()) !== body) t.fail(`request ${index}`)
  }
  await guarded(Promise.all(Array.from({ length: 400 }, ask)), () => `${server.requests.length} requests arrived`)
  t.equal(new Set(server.requests.map(({ url }) => url)).size, 400)
  t.equal(connections(), 4)
})

void test('KP-04: a pool that pipelines 10 requests on its connection', async (t) => {
  const server = await backend(t, (incoming, response) => response.end(incoming.url))
  const gateway = await gatewayTo(t, [server])
  const connections = countConnections(gateway)
  const pool = new Pool(`http://127.0.0.1:${gateway.port}`, { connections: 1, pipelining: 10 })
  t.teardown(() => pool.destroy())
  const answers = Array.from({ length: 100 }, async (_, index) => {
    const { body } = await pool.request({ path: `/${index}`, method: 'GET' })
    return body.text()
  })
  t.same(
    await guarded(Promise.all(answers), () => `${server.requests.length} requests arrived`),
    Array.from({ length: 100 }, (_, index) => `/${index}`),
  )
  t.equal(connections(), 1)
})

void test('TR-04: trailers and interim answers reach it', async (t) => {
  const server = await backend(t, (_incoming, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' })
    response.writeHead(200, { trailer: 'X-Sum' })
    response.write('content')
    response.addTrailers({ 'X-Sum': 'abc' })
    response.end()
  })
  const { port } = await gatewayTo(t, [server])
  const interim: number[] = []
  const answer = await request(`http://127.0.0.1:${port}/`, {
    headers: { te: 'trailers', connection: 'TE' },
    onInfo: ({ statusCode }) => void interim.push(statusCode),
  })
  t.equal(await answer.body.text(), 'content')
  t.same(answer.trailers, { 'x-sum': 'abc' })
  t.same(interim, [103])
})

void test('fetch on HTTP/2: 100 requests at once on one connection, bodies whole', async (t) => {
  const server = await backend(t, echo)
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const connections = countConnections(gateway)
  const dispatcher = new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: CA } })
  t.teardown(() => dispatcher.destroy())
  const url = `https://127.0.0.1:${gateway.port}`
  const answers = Array.from({ length: 100 }, async (_, index) => {
    const body = CONTENT.subarray(index, index + 50_000)
    const answer = await fetch(`${url}/${index}`, { method: 'POST', body, dispatcher })
    return answer.status === 200 && Buffer.from(await answer.arrayBuffer()).equals(body)
  })
  const whole = await guarded(Promise.all(answers), () => `${server.requests.length} requests arrived`)
  t.ok(whole.every(Boolean))
  t.equal(connections(), 1)
  t.match(server.requests[0]?.headers['via'], /^2\.0 /, 'it was HTTP/2')
  const large = await fetch(`${url}/large`, { method: 'PUT', body: CONTENT, dispatcher })
  t.equal(sha256(Buffer.from(await large.arrayBuffer())), sha256(CONTENT))
})

void test('CA-01 CA-03: fetch on HTTP/2 aborts one request, and the others do not notice', async (t) => {
  const server = await backend(t, (incoming, response) => {
    if (incoming.url === '/answering') response.write('first')
    else if (incoming.url !== '/thinking') response.end('ok')
  })
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const connections = countConnections(gateway)
  const dispatcher = new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: CA } })
  t.teardown(() => dispatcher.destroy())
  const url = `https://127.0.0.1:${gateway.port}`
  const other = await fetch(`${url}/answering`, { dispatcher })
  await inTurn(['thinking', 'answering'], async (path, index) => {
    const controller = new AbortController()
    const asked = fetch(`${url}/${path}`, { signal: controller.signal, dispatcher })
    await server.request(index + 1)
    const answer = path === 'answering' ? await asked : undefined
    controller.abort()
    await t.rejects(answer?.text() ?? asked.then(String), { name: 'AbortError' }, path)
    await server.openAtMost(1)
  })
  t.equal(await (await fetch(`${url}/`, { dispatcher })).text(), 'ok')
  t.equal(server.open(), 2, 'the one that was not aborted, and the last one, kept alive')
  await other.body?.cancel()
  await server.openAtMost(1)
  t.equal(connections(), 1)
})

void test('fetch on HTTP/2: FormData and streams', async (t) => {
  const server = await backend(t, echo)
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER } })
  const dispatcher = new Agent({ allowH2: true, connect: { ca: CA } })
  t.teardown(() => dispatcher.destroy())
  const url = `https://127.0.0.1:${gateway.port}/`
  const form = new FormData()
  form.set('file', new File([CONTENT], 'content.bin'))
  const answer = await fetch(url, { method: 'POST', body: form, dispatcher })
  t.ok(Buffer.from(await answer.arrayBuffer()).includes(CONTENT))
  t.match(server.requests[0]?.headers['content-type'], /^multipart\/form-data; boundary=-+/)
  const stream = new Blob([CONTENT]).stream()
  const streamed = await fetch(url, { method: 'POST', body: stream, duplex: 'half', dispatcher })
  t.equal(sha256(Buffer.from(await streamed.arrayBuffer())), sha256(CONTENT))
  t.equal(server.requests[1]?.headers['transfer-encoding'], 'chunked')
})
