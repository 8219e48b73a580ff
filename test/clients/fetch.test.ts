/**
 * Node's fetch works through the gateway as it does without it.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'

import { test } from 'tap'

import { backend, gatewayTo, sha256, totals } from '../helpers/gateway.ts'
import { guarded, inTurn } from '../helpers/raw.ts'

const MIB = 1024 ** 2

/** A body to which one adds piece by piece. */
class Pieces {
  readonly stream: ReadableStream<Uint8Array>
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined

  constructor() {
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller
      },
    })
  }

  add(piece: Buffer): void {
    this.#controller?.enqueue(new Uint8Array(piece))
  }

  end(): void {
    this.#controller?.close()
  }

  fail(): void {
    this.#controller?.error(new Error('the source of the body failed'))
  }
}

/** Sends back what comes, as it comes. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200).flushHeaders()
  request.on('data', (piece: Buffer) => response.write(piece))
  request.on('end', () => response.end())
}

/** Reads until that many bytes have come. */
async function read(reader: ReadableStreamDefaultReader<Uint8Array>, length: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let missing = length
  while (missing > 0) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other is how they come
    const { value, done } = await guarded(reader.read(), () => `${missing} more bytes`)
    if (done) break
    pieces.push(value)
    missing -= value.length
  }
  return Buffer.concat(pieces)
}

void test('streams both ways: each piece comes back before the next one exists', async (t) => {
  const server = await backend(t, echo)
  const { port } = await gatewayTo(t, [server])
  const pieces = new Pieces()
  // Not even the head is sent before there is a first piece.
  pieces.add(Buffer.from('first'))
  const answer = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: pieces.stream, duplex: 'half' })
  t.equal(answer.status, 200)
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = answer.body?.getReader()
  t.ok(reader)
  if (reader === undefined) return
  t.equal((await read(reader, 5)).toString(), 'first')
  await inTurn([1, 1000, MIB], async (length) => {
    const piece = randomBytes(length)
    pieces.add(piece)
    t.ok((await read(reader, length)).equals(piece), `${length} bytes`)
  })
  pieces.end()
  t.equal((await reader.read()).done, true)
  t.equal(server.requests[0]?.headers['transfer-encoding'], 'chunked')
  t.equal(server.requests[0]?.complete(), true)
})

void test('large bodies of known length arrive byte for byte', async (t) => {
  const content = randomBytes(5 * MIB)
  const server = await backend(t, echo)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['POST', 'PUT', 'PATCH', 'DELETE'], async (method, index) => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method, body: content })
    t.ok(Buffer.from(await answer.arrayBuffer()).equals(content), method)
    t.match(server.requests[index], { method, headers: { 'content-length': String(content.length) } })
  })
})

void test('CA-01 CA-03 CA-04: AbortController: the backend is told, and not blamed', async (t) => {
  const server = await backend(t, (request, response) => {
    request.resume()
    if (request.url === '/answering') response.write('first')
  })
  const gateway = await gatewayTo(t, [server])
  const url = `http://127.0.0.1:${gateway.port}`
  const pieces = new Pieces()
  const cases = [
    ['/thinking', {}],
    ['/answering', {}],
    ['/uploading', { method: 'POST', body: pieces.stream, duplex: 'half' }],
  ] as const
  await inTurn(cases, async ([path, init], index) => {
    const controller = new AbortController()
    const asked = fetch(`${url}${path}`, { ...init, signal: controller.signal })
    if (path === '/uploading') pieces.add(Buffer.from('half'))
    const request = await server.request(index)
    const answer = path === '/answering' ? await asked : undefined
    controller.abort()
    await t.rejects(answer?.text() ?? asked.then(String), { name: 'AbortError' }, path)
    await server.openAtMost(0)
    if (path === '/uploading') t.equal(request.complete(), false, 'no complete request')
  })
  await gateway.line(() => gateway.lines.length === cases.length)
  t.same(
    gateway.lines.map(({ outcome, status }) => [outcome, status]),
    cases.map(() => ['aborted', 499]),
  )
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('CA-03 CA-04: a body that fails and an answer that is not wanted end at the backend, too', async (t) => {
  const server = await backend(t, (request, response) => {
    request.resume()
    if (request.method === 'GET') response.write('first')
  })
  const { port } = await gatewayTo(t, [server])
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  await answer.body?.cancel()
  await server.openAtMost(0)
  const pieces = new Pieces()
  const asked = fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: pieces.stream, duplex: 'half' })
  pieces.add(Buffer.from('half'))
  const request = await server.request(1)
  pieces.fail()
  await t.rejects(asked)
  await server.openAtMost(0)
  t.equal(request.complete(), false)
})

void test('FormData: fields and a file, whose boundary is kept', async (t) => {
  const content = randomBytes(MIB)
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const form = new FormData()
  form.set('title', 'naïve ☃')
  form.set('file', new File([content], 'a "name".bin', { type: 'application/x-test' }))
  t.equal((await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: form })).status, 200)
  const [request] = server.requests
  const seen = new Response(new Uint8Array(request?.body() ?? []), {
    headers: { 'content-type': request?.headers['content-type'] ?? '' },
  })
  const parsed = await seen.formData()
  t.equal(parsed.get('title'), 'naïve ☃')
  const file = parsed.get('file')
  t.ok(file instanceof File)
  if (file instanceof File) {
    t.match(file, { name: 'a "name".bin', type: 'application/x-test' })
    t.equal(sha256(Buffer.from(await file.arrayBuffer())), sha256(content))
  }
})

void test('redirects: handed over when asked for, followed otherwise, the body sent again', async (t) => {
  const server = await backend(t, (request, response) => {
    request.on('end', () => {
      if (request.url === '/here') response.writeHead(307, { location: '/there' }).end('moved')
      else response.end('arrived')
    })
  })
  const { port } = await gatewayTo(t, [server])
  const ask = async (redirect: 'manual' | 'follow'): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/here`, { method: 'POST', body: 'form', redirect })
  const manual = await ask('manual')
  t.match(manual, { status: 307, redirected: false })
  t.equal(manual.headers.get('location'), '/there')
  t.equal(await manual.text(), 'moved')
  const follow = await ask('follow')
  t.match(follow, { status: 200, redirected: true, url: `http://127.0.0.1:${port}/there` })
  t.equal(await follow.text(), 'arrived')
  t.same(
    server.requests.map(({ url, body }) => [url, body().toString()]),
    [
      ['/here', 'form'],
      ['/here', 'form'],
      ['/there', 'form'],
    ],
  )
})

void test('a connection serves one request after the other, as the backend itself would', async (t) => {
  const server = await backend(t)
  const direct = await backend(t)
  const { app, port } = await gatewayTo(t, [server])
  let connections = 0
  app.server.on('connection', () => connections++)
  // After HEAD it closes its connection, whoever it asks.
  const methods = ['GET', 'POST', 'OPTIONS', 'DELETE'] as const
  await inTurn([port, direct.port], async (each) => {
    await inTurn(Array.from({ length: 100 }), async (_, index) => {
      const method = methods[index % methods.length] ?? 'GET'
      const body = method === 'POST' ? `body ${index}` : null
      const answer = await fetch(`http://127.0.0.1:${each}/${index}`, { method, body })
      t.equal(await answer.text(), 'ok', `${method} ${index}`)
    })
  })
  // It opens a second one before it has noticed that the first is free again.
  t.equal(connections, direct.connections(), 'from the client')
  t.equal(server.connections(), 1, 'to the backend')
})

void test('what the backend packed is unpacked, and what has no content has none', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url === '/packed') response.setHeader('content-encoding', 'gzip').end(gzipSync('{"a":1}'))
    else response.writeHead(Number(request.url?.slice(1))).end()
  })
  const { port } = await gatewayTo(t, [server])
  t.same(await (await fetch(`http://127.0.0.1:${port}/packed`)).json(), { a: 1 })
  await inTurn([204, 304, 404, 500], async (status) => {
    const answer = await fetch(`http://127.0.0.1:${port}/${status}`)
    t.same([answer.status, await answer.text()], [status, ''])
  })
})
