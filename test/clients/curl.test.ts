/**
 * curl works through the gateway as it does without it: on HTTP/1.1, in the clear and over TLS, and on HTTP/2.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { test, type Test } from 'tap'

import { curl, CURL_MISSING, RunningCurl } from '../helpers/curl.ts'
import { backend, gatewayTo, sha256, type Backend, type Handler } from '../helpers/gateway.ts'
import { inTurn } from '../helpers/raw.ts'
import { outsideFolder } from '../helpers/process.ts'
import { SERVER } from '../helpers/secure.ts'

const CA_FILE = join(import.meta.dirname, '../helpers/certificates/ca.pem')
const MIB = 1024 ** 2
const CONTENT = randomBytes(4 * MIB)
const OPTIONS = { skip: CURL_MISSING }

/** One way for curl to reach a backend through a gateway. */
interface Wire {
  readonly name: string
  readonly version: string
  readonly http2: boolean
  /** What curl has to be told. */
  readonly args: readonly string[]
  readonly url: string
  readonly server: Backend
}

const WIRES = [
  { name: 'HTTP/1.1', version: '1.1', tls: false, args: ['--http1.1'] },
  { name: 'HTTP/1.1 over TLS', version: '1.1', tls: true, args: ['--http1.1', '--cacert', CA_FILE] },
  { name: 'HTTP/2', version: '2', tls: true, args: ['--http2', '--cacert', CA_FILE] },
] as const

/** Does the same on every wire, each time with a backend and a gateway of its own. */
async function onEveryWire(t: Test, handler: Handler | undefined, act: (wire: Wire) => Promise<void>): Promise<void> {
  await inTurn(WIRES, async ({ tls, ...wire }) => {
    const server = await backend(t, handler)
    const { port } = await gatewayTo(t, [server], {}, tls ? { listen: { tls: SERVER } } : {})
    const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
    await act({ ...wire, http2: wire.version === '2', url, server })
  })
}

/** Sends the content, framed as the path says. */
function download({ url, socket }: IncomingMessage, response: ServerResponse): void {
  if (url === '/close') {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    socket.end(CONTENT)
    return
  }
  if (url === '/length') response.setHeader('content-length', CONTENT.length)
  response.write(CONTENT.subarray(0, MIB))
  response.end(CONTENT.subarray(MIB))
}

void test('BD-12: downloads arrive byte for byte, however the backend framed them', OPTIONS, async (t) => {
  await onEveryWire(t, download, async ({ name, version, args, url }) => {
    const targets = ['length', 'chunked', 'close'].map((framing) => `${url}/${framing}`)
    const answer = await curl(t, [...args, ...targets])
    t.match(answer, { code: 0, complaint: '' }, name)
    t.same(
      answer.transfers,
      targets.map((_, index) => ({ status: 200, version, connects: index === 0 ? 1 : 0, redirects: 0 })),
      `${name}: on one connection`,
    )
    t.ok(answer.body.equals(Buffer.concat([CONTENT, CONTENT, CONTENT])), `${name}: the content`)
  })
})

void test('HH-18: an upload with a length, for which curl asks leave first, and one at once', OPTIONS, async (t) => {
  const file = join(outsideFolder(t), 'content')
  writeFileSync(file, CONTENT)
  await onEveryWire(t, undefined, async ({ name, args, url, server }) => {
    // It would wait that long for an interim answer: longer than the test lasts.
    const patient = ['--expect100-timeout', '600', '-H', 'Expect: 100-continue']
    const asked = await curl(t, [...args, ...patient, '-T', file, `${url}/asked`])
    t.match(asked, { code: 0, status: 200, heads: /^HTTP\/[\d.]+ 100/ }, name)
    const straight = await curl(t, [...args, '-H', 'Expect:', '-T', file, `${url}/straight`])
    t.match(straight, { code: 0, status: 200 }, name)
    t.notMatch(straight.heads, /^HTTP\/[\d.]+ 100/, name)
    for (const { method, headers, sha256: digest, complete } of server.requests) {
      const seen = [method, headers['content-length'], headers.expect, digest(), complete()]
      t.same(seen, ['PUT', String(CONTENT.length), undefined, sha256(CONTENT), true], name)
    }
    t.equal(server.requests.length, 2)
  })
})

/** Sends back what comes, as it comes. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  request.on('data', (piece: Buffer) => response.write(piece))
  request.on('end', () => response.end())
}

void test('an upload from a pipe passes piece by piece, and so does its answer', OPTIONS, async (t) => {
  const pieces = Array.from({ length: 3 }, () => randomBytes(10_000))
  await onEveryWire(t, echo, async ({ name, args, url, server }) => {
    // A dot: its input, but without waiting for that while there is output.
    const running = new RunningCurl(t, [...args, '-N', '-X', 'POST', '-T', '.', `${url}/pipe`])
    await inTurn(pieces, async (piece, index) => {
      running.input(piece)
      await running.output(piece.length * (index + 1))
    })
    running.endInput()
    const answer = await running.ended
    t.match(answer, { code: 0, status: 200 }, name)
    t.ok(answer.body.equals(Buffer.concat(pieces)), name)
    t.match(server.requests, [{ method: 'POST', headers: { 'transfer-encoding': 'chunked' } }], name)
  })
})

void test('an upload in chunks of 4 MB comes back byte for byte', OPTIONS, async (t) => {
  await onEveryWire(t, echo, async ({ name, args, url, server }) => {
    const coding = name === 'HTTP/2' ? [] : ['-H', 'Transfer-Encoding: chunked']
    const answer = await curl(t, [...args, ...coding, '--data-binary', '@-', url], CONTENT)
    t.match(answer, { code: 0, status: 200, complaint: '' }, name)
    t.ok(answer.body.equals(CONTENT), name)
    t.equal(server.requests[0]?.sha256(), sha256(CONTENT), name)
  })
})

void test('forms: fields, and a file among parts', OPTIONS, async (t) => {
  const file = join(outsideFolder(t), 'picture.png')
  writeFileSync(file, CONTENT)
  await onEveryWire(t, undefined, async ({ name, args, url, server }) => {
    const fields = await curl(t, [...args, '--data-urlencode', 'a=1 & 2', '-d', 'b=3', url])
    t.match(fields, { code: 0, status: 200 }, name)
    const parts = await curl(t, [...args, '-F', 'title=x', '-F', `file=@${file}`, url])
    t.match(parts, { code: 0, status: 200 }, name)
    const [first, second] = server.requests
    t.equal(first?.body().toString(), 'a=1+%26+2&b=3', name)
    t.equal(first?.headers['content-type'], 'application/x-www-form-urlencoded', name)
    t.match(second?.headers['content-type'] ?? '', /^multipart\/form-data; boundary=-+/, name)
    t.ok(second?.body().includes(CONTENT), `${name}: the file is in it`)
    t.equal(second?.headers['content-length'], String(second?.bytes()), name)
  })
})

void test('BD-16: --compressed: what the backend packed, curl unpacks', OPTIONS, async (t) => {
  const text = 'the same again and again, '.repeat(50_000)
  const packed = gzipSync(text)
  const server = (_request: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('content-encoding', 'gzip').end(packed)
  }
  await onEveryWire(t, server, async ({ name, args, url, server: { requests } }) => {
    const unpacked = await curl(t, [...args, '--compressed', url])
    t.match(unpacked, { code: 0, status: 200 }, name)
    t.equal(unpacked.body.toString(), text, name)
    t.match(requests[0]?.headers['accept-encoding'], /^deflate, gzip/, name)
    const asItCame = await curl(t, [...args, url])
    t.ok(asItCame.body.equals(packed), name)
    t.equal(requests[1]?.headers['accept-encoding'], undefined, name)
  })
})

/** Sends the content from where it is asked to; only half of it when it is asked for all of it, and then nothing more. */
function halfThenRest({ headers }: IncomingMessage, response: ServerResponse): void {
  const from = /^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1]
  response.setHeader('etag', '"content"')
  if (from === undefined) {
    response.writeHead(200, { 'content-length': CONTENT.length, 'accept-ranges': 'bytes' })
    response.write(CONTENT.subarray(0, CONTENT.length / 2))
    return
  }
  const rest = CONTENT.subarray(Number(from))
  const range = `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}`
  response.writeHead(206, { 'content-length': rest.length, 'content-range': range }).end(rest)
}

void test('CA-03 BD-19: a download that was interrupted is resumed where it ended', OPTIONS, async (t) => {
  await onEveryWire(t, halfThenRest, async ({ name, args, url, server }) => {
    const file = join(outsideFolder(t), 'content')
    const interrupted = new RunningCurl(t, [...args, '-N', url])
    await interrupted.output(CONTENT.length / 2)
    await interrupted.interrupt()
    writeFileSync(file, interrupted.bytes)
    await server.openAtMost(0)
    const resumed = await curl(t, [...args, '-C', '-', '-o', file, url])
    t.match(resumed, { code: 0, status: 206, heads: /^content-range: bytes 2097152-4194303\/4194304\r$/im }, name)
    t.ok(readFileSync(file).equals(CONTENT), `${name}: the file is whole`)
  })
})

/** Breaks off in the middle of its answer. */
function breaksOff(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/length') response.setHeader('content-length', MIB)
  response.write(CONTENT.subarray(0, 1000), () => request.socket.resetAndDestroy())
}

void test('BF-18: curl knows of a download that the backend broke off that it is not whole', OPTIONS, async (t) => {
  await onEveryWire(t, breaksOff, async ({ name, http2, args, url }) => {
    await inTurn(['length', 'chunked'], async (framing) => {
      const { code, status } = await curl(t, [...args, `${url}/${framing}`])
      // "Partial file", and "Stream error in the HTTP/2 framing layer".
      t.same([code, status], [http2 ? 92 : 18, 200], `${name}, ${framing}`)
    })
  })
})

void test('-I: a head with its length and nothing behind it, and the connection lives on', OPTIONS, async (t) => {
  await onEveryWire(t, download, async ({ name, args, url, server }) => {
    const answer = await curl(t, [...args, '-I', `${url}/length`, `${url}/length`])
    t.match(answer, { code: 0, complaint: '', transfers: [{ connects: 1 }, { connects: 0 }] }, name)
    t.equal(answer.heads.match(/^content-length: 4194304\r$/gim)?.length, 2, name)
    t.equal(answer.body.toString('latin1'), answer.heads, `${name}: all that came`)
    t.match(server.requests, [{ method: 'HEAD' }, { method: 'HEAD' }], name)
  })
})

function setsCookies(_request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('set-cookie', ['a=1; Path=/; HttpOnly', 'b="2"; Path=/; Max-Age=60']).end()
}

void test('cookies: every one that is set is kept, and comes back with the next request', OPTIONS, async (t) => {
  await onEveryWire(t, setsCookies, async ({ name, args, url, server: { requests } }) => {
    const answer = await curl(t, [...args, '-c', 'jar', url, url])
    t.equal(answer.code, 0, name)
    t.match(answer.heads, /^set-cookie: a=1; Path=\/; HttpOnly\r\nset-cookie: b="2"; Path=\/; Max-Age=60\r$/im, name)
    t.same(
      requests.map(({ headers }) => headers.cookie?.split('; ').toSorted((a, b) => a.localeCompare(b))),
      [undefined, ['a=1', 'b="2"']],
      name,
    )
  })
})

/** Moves what is at a path such as /301; at the others it answers with the method. */
function redirects(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  const to = /^\/(30\d)$/.exec(request.url ?? '')?.[1]
  if (to === undefined) request.on('end', () => response.end(request.method))
  else response.writeHead(Number(to), { location: to === '307' ? '../there?x=%2F' : '//other.example/' }).end()
}

void test('redirects pass as they are, and a client that follows them arrives', OPTIONS, async (t) => {
  await onEveryWire(t, redirects, async ({ name, args, url, server: { requests } }) => {
    const stays = await curl(t, [...args, `${url}/301`])
    t.match(stays, { status: 301, heads: /^location: \/\/other\.example\/\r$/im }, name)
    const follows = await curl(t, [...args, '-L', '-d', 'form', `${url}/307`])
    t.match(follows, { status: 200, transfers: [{ redirects: 1 }] }, name)
    t.equal(follows.body.toString(), 'POST', name)
    t.equal(requests.at(-1)?.url, '/there?x=%2F', name)
    t.equal(requests.at(-1)?.body().toString(), 'form', `${name}: the body is sent again`)
  })
})

function answersWithTrailers(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { trailer: 'X-Sum' })
  response.write('content')
  response.addTrailers({ 'X-Sum': 'abc' })
  response.end()
}

void test('TR-04: trailers reach a client that says it reads them, and no other', OPTIONS, async (t) => {
  await onEveryWire(t, answersWithTrailers, async ({ name, http2, args, url }) => {
    const te = http2 ? ['-H', 'TE: trailers'] : ['-H', 'TE: trailers', '-H', 'Connection: TE']
    const reads = await curl(t, [...args, ...te, url])
    t.match(reads, { code: 0, status: 200, heads: /\r\n\r\nx-sum: abc\r\n/i }, name)
    t.equal(reads.body.toString(), 'content', name)
    const does = await curl(t, [...args, url])
    t.match(does, { code: 0, status: 200 }, name)
    t.notMatch(does.heads, /x-sum/i, name)
    t.equal(does.body.toString(), 'content', name)
  })
})

void test('HTTP/1.0: no chunks, and the end of the connection is the end of the content', OPTIONS, async (t) => {
  const server = await backend(t, (request, response) => {
    request.on('end', () => download(request, response))
  })
  const { port } = await gatewayTo(t, [server])
  const answer = await curl(t, ['--http1.0', `http://127.0.0.1:${port}/chunked`])
  t.match(answer, { code: 0, status: 200, complaint: '' })
  t.notMatch(answer.heads, /^transfer-encoding:/im)
  t.ok(answer.body.equals(CONTENT))
  const upload = await curl(t, ['--http1.0', '--data-binary', '@-', `http://127.0.0.1:${port}/length`], CONTENT)
  t.match(upload, { code: 0, status: 200, heads: /^content-length: 4194304\r$/im })
  t.ok(upload.body.equals(CONTENT))
  t.equal(server.requests[1]?.sha256(), sha256(CONTENT))
})

void test('--http2 in the clear: the offer to switch is not taken, and all works on HTTP/1.1', OPTIONS, async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const answer = await curl(t, ['--http2', `http://127.0.0.1:${port}/`])
  t.match(answer, { code: 0, status: 200, version: '1.1' })
  t.match(server.requests[0]?.headers, { upgrade: undefined, 'http2-settings': undefined, connection: undefined })
})

void test('a slow client: 1 MB a second, both ways at once', OPTIONS, async (t) => {
  const some = CONTENT.subarray(0, 0.75 * MIB)
  const servers: Array<Promise<void>> = []
  await onEveryWire(t, echo, async ({ name, args, url, server }) => {
    const slow = async (): Promise<void> => {
      const answer = await curl(t, [...args, '--limit-rate', '1M', '--data-binary', '@-', url], some)
      t.match(answer, { code: 0, status: 200, complaint: '' }, name)
      t.ok(answer.body.equals(some), name)
      t.equal(server.requests[0]?.sha256(), sha256(some), name)
    }
    servers.push(slow())
  })
  await Promise.all(servers)
})

/** Wants no body, and says so at once. */
function refuses(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(413, { connection: 'close' }).end('enough')
  request.resume()
}

void test('BF-28: a backend that has heard enough of an upload is heard', OPTIONS, async (t) => {
  const file = join(outsideFolder(t), 'content')
  writeFileSync(file, Buffer.concat([CONTENT, CONTENT, CONTENT, CONTENT]))
  await onEveryWire(t, refuses, async ({ name, args, url, http2 }) => {
    await inTurn([[], ['-H', 'Expect:']], async (unasked) => {
      const answer = await curl(t, [...args, ...unasked, '-T', file, url])
      t.equal(answer.status, 413, name)
      t.equal(answer.body.toString(), 'enough', name)
      // Over HTTP/2 curl may end its upload short of the length that it announced, when it has its answer before the
      // stream is called off, and complains when it is told so.
      t.ok(answer.code === 0 || (http2 && answer.code === 92), `${name}: ${answer.code} ${answer.complaint}`)
    })
  })
})

void test('20 downloads at once: on HTTP/2 over one connection', OPTIONS, async (t) => {
  await onEveryWire(t, undefined, async ({ name, http2, args, url, server }) => {
    const targets = Array.from({ length: 20 }, (_, index) => `${url}/${index}`)
    const answer = await curl(t, [...args, '--parallel', '--parallel-max', '20', ...targets])
    t.equal(answer.code, 0, name)
    t.equal(answer.transfers.length, 20, name)
    t.ok(
      answer.transfers.every(({ status }) => status === 200),
      name,
    )
    const connects = answer.transfers.reduce((sum, each) => sum + each.connects, 0)
    if (http2) t.equal(connects, 1, name)
    const asked = server.requests.map((request) => `${url}${request.url}`)
    t.same(new Set(asked), new Set(targets), name)
    t.equal(asked.length, 20, name)
  })
})
