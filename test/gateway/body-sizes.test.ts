/**
 * Bodies of every size around the limits in the code arrive byte for byte, both ways, however they are framed.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

import { test } from 'tap'

import { backend, gatewayTo, sha256, type Recorded } from '../helpers/gateway.ts'
import { ask, askAll, bytesOf, get, inTurn, RawClient, valuesOf } from '../helpers/raw.ts'

const KIB = 1024
const SIZES = [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, KIB ** 2, 5_000_000]
const BYTES = randomBytes(5_000_000)

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, value) => value))

/** Answers with as many bytes as the path says, framed as the path says. */
function download(request: IncomingMessage, response: ServerResponse): void {
  const [, framing = '', size = ''] = (request.url ?? '').split('/')
  const body = BYTES.subarray(0, Number(size))
  if (framing === 'length') response.setHeader('content-length', body.length)
  if (framing === 'close') {
    request.socket.end(Buffer.concat([bytesOf('HTTP/1.1 200 OK\r\nX: y\r\n\r\n'), body]))
    return
  }
  if (framing === 'chunked') response.write(body.subarray(0, Math.floor(body.length / 2)))
  response.end(framing === 'chunked' ? body.subarray(Math.floor(body.length / 2)) : body)
}

/** Answers with what came. */
function echo(request: IncomingMessage, response: ServerResponse, recorded: Recorded): void {
  request.on('end', () => response.end(recorded.body()))
}

void test('BD-12 answers of all sizes and framings', async (t) => {
  const server = await backend(t, download)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['length', 'chunked', 'close'], async (framing) => {
    await inTurn(SIZES, async (size) => {
      const answer = await ask(t, port, get(`/${framing}/${size}`))
      const name = `${framing} ${size}`
      t.match(answer, { status: 200, complete: true, chunked: framing !== 'length' }, name)
      t.equal(answer.body.length, size, name)
      t.ok(answer.body.equals(BYTES.subarray(0, size)), name)
      if (framing === 'length') t.same(valuesOf(answer, 'content-length'), [String(size)], name)
    })
  })
})

void test('the same for HTTP/1.0 clients, who know no chunks', async (t) => {
  const server = await backend(t, download)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['length', 'chunked', 'close'], async (framing) => {
    await inTurn([0, 1, 65_537, KIB ** 2], async (size) => {
      const answers = await askAll(t, port, `GET /${framing}/${size} HTTP/1.0\r\nHost: a\r\n\r\n`)
      t.match(answers, [{ status: 200, complete: true, chunked: false }], `${framing} ${size}`)
      t.ok(answers[0]?.body.equals(BYTES.subarray(0, size)), `${framing} ${size}`)
    })
  })
})

void test('request bodies of all sizes, with a length and chunked', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn(SIZES, async (size) => {
    const body = BYTES.subarray(0, size)
    client.send(`PUT /length HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    client.send(body)
    t.equal((await client.answer()).status, 200, `length ${size}`)
    client.send('PUT /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    for (let at = 0; at < size; at += 50_000) {
      const piece = body.subarray(at, at + 50_000)
      client.send(`${piece.length.toString(16)}\r\n`)
      client.send(piece)
      client.send('\r\n')
    }
    client.send('0\r\n\r\n')
    t.equal((await client.answer()).status, 200, `chunked ${size}`)
    const digest = sha256(body)
    const last = server.requests.slice(-2)
    t.same(
      last.map((request) => [request.bytes(), request.sha256(), request.complete()]),
      [
        [size, digest, true],
        [size, digest, true],
      ],
      String(size),
    )
    t.equal(last[0]?.headers['content-length'], String(size))
    t.equal(last[1]?.headers['transfer-encoding'], 'chunked')
  })
})

void test('BD-03 every byte value, both ways', async (t) => {
  const server = await backend(t, echo)
  const { port } = await gatewayTo(t, [server])
  const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 256\r\n\r\n`
  const answer = await ask(t, port, Buffer.concat([bytesOf(head), EVERY_BYTE]))
  t.ok(server.requests[0]?.body().equals(EVERY_BYTE))
  t.ok(answer.body.equals(EVERY_BYTE))
})

void test('BD-12 1 MB in chunks of 7 bytes, both ways', async (t) => {
  const body = BYTES.subarray(0, 1_000_000)
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += 7) {
    const piece = body.subarray(at, at + 7)
    chunks.push(bytesOf(`${piece.length}\r\n`), piece, bytesOf('\r\n'))
  }
  const wire = Buffer.concat([...chunks, bytesOf('0\r\n\r\n')])
  const server = await backend(t, (request, response, recorded) => {
    request.on('end', () => {
      t.ok(recorded.body().equals(body))
      request.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      request.socket.write(wire)
      response.detachSocket(request.socket)
    })
  })
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
  client.send(wire)
  const answer = await client.answer()
  t.match(answer, { status: 200, complete: true })
  t.ok(answer.body.equals(body))
})

void test('FR-41 legal extensions, upper-case sizes, leading zeros and 500 chunks of a byte are accepted', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const wire = `${'1\r\nx\r\n'.repeat(500)}0000A;name=value;quoted="a b"\r\n0123456789\r\n0\r\n\r\n`
  t.equal((await ask(t, port, head + wire)).status, 200)
  t.equal(server.requests[0]?.body().toString(), `${'x'.repeat(500)}0123456789`)
})

void test('TR-01 TR-03 trailers of a request leave its body whole, or are refused where they are malformed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\n'
  t.equal((await ask(t, port, `${head}X-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n`)).status, 200)
  t.equal(server.requests[0]?.body().toString(), 'hi')
  t.equal(server.requests[0]?.headers['x-forwarded-for'], '127.0.0.1')
  await inTurn(['no colon\r\n', 'a: \0\r\n', ': x\r\n', 'a b: x\r\n'], async (trailer) => {
    const [first, ...rest] = await askAll(t, port, `${head}${trailer}\r\n`)
    t.equal(first?.status, 400, JSON.stringify(trailer))
    t.same(rest, [])
  })
  t.equal(server.requests.filter((request) => request.complete()).length, 1)
})
