/**
 * nginx works with the gateway as it does without it: in front of it, as its client, and behind it, as its backend.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'

import { test, type Test } from 'tap'
import { request } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'

import type { Config } from '../../src/index.ts'
import { backend, gatewayTo, sha256, type Gateway, type Recorded } from '../helpers/gateway.ts'
import { NGINX_MISSING, startNginx } from '../helpers/nginx.ts'
import { outsideFolder } from '../helpers/process.ts'
import { guarded, inTurn, portOf } from '../helpers/raw.ts'

const MIB = 1024 ** 2
const CONTENT = randomBytes(4 * MIB)
const OPTIONS = { skip: NGINX_MISSING }

// --- in front ---

/** The two usual ways to put nginx in front: as it comes, with HTTP/1.0, and as its documentation advises. */
const PATHS = ['/old/', '/kept/'] as const

async function inFront(t: Test, gateway: Gateway): Promise<string> {
  const common = `
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Request-Id from-nginx;`
  // The last bracket is the helper's: it ends the upstream block instead of the server's.
  const { url } = await startNginx(
    t,
    `location /old/ {
       ${common}
       proxy_pass http://127.0.0.1:${gateway.port};
     }
     location /kept/ {
       ${common}
       proxy_http_version 1.1;
       proxy_set_header Upgrade $http_upgrade;
       proxy_set_header Connection $connection_upgrade;
       proxy_request_buffering off;
       proxy_pass http://sluice;
     }
   }
   map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
   upstream sluice {
     server 127.0.0.1:${gateway.port};
     keepalive 4;`,
  )
  return url
}

function countConnections({ app }: Gateway): () => number {
  let count = 0
  app.server.on('connection', () => count++)
  return () => count
}

/** Sends back what came. Not before it has come: an answer stops nginx in the middle of a request. */
function echo(incoming: IncomingMessage, response: ServerResponse, recorded: Recorded): void {
  incoming.on('end', () => response.end(recorded.body()))
}

/** The content, with its length and in pieces of which nobody knows how many there are. */
function* bothFramings(): Generator<Buffer | Readable> {
  yield CONTENT
  yield Readable.from(inPieces(CONTENT))
}

function* inPieces(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000)
}

void test('nginx in front: bodies of both framings come back byte for byte', OPTIONS, async (t) => {
  const server = await backend(t, echo)
  const url = await inFront(t, await gatewayTo(t, [server]))
  await inTurn(PATHS, async (path) => {
    await inTurn(bothFramings(), async (body) => {
      const answer = await request(`${url}${path}`, { method: 'PUT', body })
      t.equal(answer.statusCode, 200, path)
      t.equal(sha256(Buffer.from(await answer.body.arrayBuffer())), sha256(CONTENT), path)
    })
  })
  t.equal(server.requests.length, 4)
  for (const recorded of server.requests) t.same([recorded.bytes(), recorded.complete()], [CONTENT.length, true])
})

void test(
  'KP-02: nginx in front: with keepalive one connection for all, without it one for each',
  OPTIONS,
  async (t) => {
    const server = await backend(t)
    const gateway = await gatewayTo(t, [server])
    const connections = countConnections(gateway)
    const url = await inFront(t, gateway)
    const ask = async (path: string): Promise<void> =>
      inTurn(Array.from({ length: 20 }), async () => {
        const answer = await request(`${url}${path}`)
        t.equal(await answer.body.text(), 'ok', path)
      })
    await ask('/kept/')
    t.equal(connections(), 1)
    await ask('/old/')
    t.equal(connections(), 21)
    t.equal(server.connections(), 1, 'to the backend it is one in any case')
  },
)

void test('nginx in front: a backend can switch its buffering off: events arrive one by one', OPTIONS, async (t) => {
  let answer: ServerResponse | undefined
  const server = await backend(t, (_incoming, response) => {
    answer = response
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' }).write('data: 0\n\n')
  })
  const url = await inFront(t, await gatewayTo(t, [server]))
  await inTurn(PATHS, async (path) => {
    const { body } = await request(`${url}${path}`)
    const events = body[Symbol.asyncIterator]()
    await inTurn([0, 1, 2], async (number) => {
      const event = await guarded(events.next(), () => `event ${number} on ${path}`)
      t.equal(String(event.value), `data: ${number}\n\n`, path)
      if (number < 2) answer?.write(`data: ${number + 1}\n\n`)
    })
    answer?.end()
    t.equal((await events.next()).done, true, path)
  })
})

void test('nginx in front: WebSocket through both', OPTIONS, async (t) => {
  const http = createServer()
  const wss = new WebSocketServer({ server: http })
  const accepted = once(wss, 'connection')
  wss.on('connection', (socket) => socket.on('message', (data: Buffer) => socket.send(data)))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => http.close())
  const url = await inFront(t, await gatewayTo(t, [`http://127.0.0.1:${portOf(http)}`]))
  const socket = new WebSocket(`${url.replace('http', 'ws')}/kept/socket`)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  const heard = once(socket, 'message')
  socket.send(CONTENT)
  const [data]: unknown[] = await guarded(heard, () => 'the echo')
  t.ok(Buffer.isBuffer(data) && data.equals(CONTENT))
  const [server]: WebSocket[] = await accepted
  const ends = [socket, server].map(async (each) => each && once(each, 'close'))
  socket.close(4321, 'bye')
  const closes = await guarded(Promise.all(ends), () => 'the close')
  t.same(
    closes.map((close) => [close?.[0], String(close?.[1])]),
    [
      [4321, 'bye'],
      [4321, 'bye'],
    ],
  )
})

void test('FW-04: nginx in front: what it says of the client is believed when it is trusted', OPTIONS, async (t) => {
  const server = await backend(t)
  const headers = { 'x-forwarded-for': '203.0.113.7', host: 'shop.example' }
  const seenWith = async (listen: Config['listen']): Promise<Record<string, unknown>> => {
    const url = await inFront(t, await gatewayTo(t, [server], {}, listen === undefined ? {} : { listen }))
    const answer = await request(`${url}/kept/`, { headers })
    await answer.body.dump()
    return { ...server.requests.at(-1)?.headers, answered: answer.headers['x-request-id'] }
  }
  t.match(await seenWith({ trustedProxies: ['127.0.0.0/8'] }), {
    host: 'shop.example',
    'x-forwarded-for': '203.0.113.7, 127.0.0.1, 127.0.0.1',
    'x-forwarded-proto': 'https',
    'x-request-id': 'from-nginx',
    answered: 'from-nginx',
  })
  const stranger = await seenWith(undefined)
  t.match(stranger, { host: 'shop.example', 'x-forwarded-for': /^127\.0\.0\.1$/, 'x-forwarded-proto': /^http$/ })
  t.not(stranger['x-request-id'], 'from-nginx')
})

// --- behind ---

/** A gateway in front of an nginx with this in its server block. */
async function behind(t: Test, block: string): Promise<string> {
  const nginx = await startNginx(t, block)
  return `http://127.0.0.1:${(await gatewayTo(t, [nginx])).port}`
}

void test('BD-18 BD-19: nginx behind: files, parts of files, and files that have not changed', OPTIONS, async (t) => {
  const root = outsideFolder(t)
  writeFileSync(join(root, 'content.bin'), CONTENT)
  const url = `${await behind(t, `root ${root};`)}/content.bin`
  const whole = await request(url)
  t.ok(Buffer.from(await whole.body.arrayBuffer()).equals(CONTENT))
  const { etag, 'last-modified': modified } = whole.headers
  t.match(whole.headers, { 'accept-ranges': 'bytes', 'content-length': String(CONTENT.length), etag: /^"/ })

  const part = await request(url, { headers: { range: 'bytes=1000000-1000009' } })
  t.match(part, { statusCode: 206, headers: { 'content-range': `bytes 1000000-1000009/${CONTENT.length}` } })
  t.ok(Buffer.from(await part.body.arrayBuffer()).equals(CONTENT.subarray(1_000_000, 1_000_010)))

  const parts = await request(url, { headers: { range: 'bytes=0-9,-10' } })
  t.match(parts, { statusCode: 206, headers: { 'content-type': /^multipart\/byteranges; boundary=/ } })
  const multipart = Buffer.from(await parts.body.arrayBuffer())
  t.equal(multipart.length, Number(parts.headers['content-length']))
  t.ok(multipart.includes(CONTENT.subarray(0, 10)) && multipart.includes(CONTENT.subarray(-10)))

  const beyond = await request(url, { headers: { range: 'bytes=9999999-' } })
  t.match(beyond, { statusCode: 416, headers: { 'content-range': `bytes */${CONTENT.length}` } })
  await beyond.body.dump()

  const same = [{ 'if-none-match': String(etag) }, { 'if-modified-since': String(modified) }]
  await inTurn(same, async (headers) => {
    const unchanged = await request(url, { headers })
    t.match(unchanged, { statusCode: 304, headers: { etag } })
    t.equal(await unchanged.body.text(), '')
  })
  const changed = await request(url, { headers: { range: 'bytes=0-9', 'if-range': '"other"' } })
  t.equal(changed.statusCode, 200)
  t.equal((await changed.body.arrayBuffer()).byteLength, CONTENT.length)
  const head = await request(url, { method: 'HEAD' })
  t.match(head, { statusCode: 200, headers: { 'content-length': String(CONTENT.length), etag } })
})

void test('BD-16: nginx behind: it packs what it sends, although it sees that a proxy asks', OPTIONS, async (t) => {
  const root = outsideFolder(t)
  const text = 'the same again and again, '.repeat(50_000)
  writeFileSync(join(root, 'text.html'), text)
  const url = await behind(t, `root ${root}; gzip on; gzip_proxied any;`)
  const packed = await fetch(`${url}/text.html`, { headers: { 'accept-encoding': 'gzip' } })
  t.equal(packed.headers.get('content-encoding'), 'gzip')
  t.equal(await packed.text(), text)
  const plain = await fetch(`${url}/text.html`, { headers: { 'accept-encoding': 'identity' } })
  t.equal(plain.headers.get('content-encoding'), null)
  t.equal(await plain.text(), text)
})

void test('nginx behind: a page that it makes as it sends it, with 2,000 entries', OPTIONS, async (t) => {
  const root = outsideFolder(t)
  mkdirSync(join(root, 'folder'))
  const names = Array.from({ length: 2000 }, (_, index) => `a file with a longer name, number ${10_000 + index}.txt`)
  for (const name of names) writeFileSync(join(root, 'folder', name), '')
  const url = await behind(t, `root ${root}; autoindex on; autoindex_format json; absolute_redirect off;`)
  const answer = await fetch(`${url}/folder/`)
  t.match(
    await answer.json(),
    names.map((name) => ({ name })),
  )
  const moved = await fetch(`${url}/folder`, { redirect: 'manual' })
  t.equal(moved.status, 301)
  t.equal(moved.headers.get('location'), '/folder/')
})

void test('RT-05: nginx behind: it closes idle connections just when they are used again', OPTIONS, async (t) => {
  const url = await behind(t, "keepalive_timeout 5ms; location / { return 200 'ok'; }")
  const statuses: number[] = []
  await inTurn(Array.from({ length: 100 }), async (_, index) => {
    const answer = await request(url)
    await answer.body.dump()
    statuses.push(answer.statusCode)
    // Around the very moment: only so there is something to see.
    await pause(4 + (index % 3))
  })
  t.same(new Set(statuses), new Set([200]))
})

void test('KP-11: nginx behind: it ends every connection after three requests', OPTIONS, async (t) => {
  const url = await behind(t, "keepalive_requests 3; location / { return 200 'ok'; }")
  const ask = async (_: unknown, index: number): Promise<number> => {
    const method = index % 2 === 0 ? 'GET' : 'POST'
    const { statusCode, body } = await request(url, { method, body: method === 'POST' ? 'body' : null })
    await body.dump()
    return statusCode
  }
  const rounds: number[] = []
  await inTurn(Array.from({ length: 10 }), async () => {
    rounds.push(...(await Promise.all(Array.from({ length: 20 }, ask))))
  })
  t.same(new Set(rounds), new Set([200]))
})

void test('BF-28: nginx behind: an upload that is too large for it is refused in its own words', OPTIONS, async (t) => {
  const url = await behind(t, 'client_max_body_size 1m; location / { proxy_pass http://127.0.0.1:1; }')
  await inTurn(bothFramings(), async (body) => {
    const answer = await request(url, { method: 'POST', body })
    t.equal(answer.statusCode, 413)
    t.match(await answer.body.text(), /<center>nginx/)
  })
})

void test('nginx behind: what it stored, chunked or not, it hands out again', OPTIONS, async (t) => {
  const root = outsideFolder(t)
  const url = await behind(t, `root ${root}; dav_methods PUT DELETE;`)
  await inTurn(bothFramings(), async (body, index) => {
    const stored = await request(`${url}/${index}`, { method: 'PUT', body })
    t.equal(stored.statusCode, 201)
    await stored.body.dump()
    t.ok(readFileSync(join(root, String(index))).equals(CONTENT))
    const answer = await request(`${url}/${index}`)
    t.ok(Buffer.from(await answer.body.arrayBuffer()).equals(CONTENT))
    const removed = await request(`${url}/${index}`, { method: 'DELETE' })
    t.equal(removed.statusCode, 204)
    await removed.body.dump()
  })
})
