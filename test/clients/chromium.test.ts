/**
 * A page in a real browser works through the gateway as it does without it, on HTTP/2 over TLS and on HTTP/1.1.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import type { Browser } from 'playwright-core'
import { test, type Test } from 'tap'
import { WebSocketServer } from 'ws'

import { CHROMIUM_MISSING, openTab, startChromium } from '../helpers/chromium.ts'
import { backend, startGateway, type Backend, type Recorded } from '../helpers/gateway.ts'
import { guarded, portOf } from '../helpers/raw.ts'
import { SERVER } from '../helpers/secure.ts'

const FILES: Readonly<Record<string, readonly [type: string, content: Buffer]>> = {
  '/': ['text/html', file('page.html')],
  '/page.js': ['text/javascript', file('page.js')],
  '/style.css': ['text/css', Buffer.from('h1 { color: rgb(1, 2, 3) }')],
  '/icon.svg': ['image/svg+xml', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')],
}

function file(name: string): Buffer {
  return readFileSync(join(import.meta.dirname, name))
}

/** What the page talks to. */
class Site {
  /** What is told to go on when the page has seen the last piece. */
  #next: (() => void) | undefined
  #upload: Recorded | undefined
  #waiting: Array<() => void> = []
  /** The Last-Event-ID that each connection for events came with. */
  readonly lastIds: Array<string | undefined> = []
  /** Settles when the answer without end has been left. */
  readonly left: Promise<void>
  #leave: () => void = () => undefined

  constructor() {
    this.left = new Promise((resolve) => {
      this.#leave = resolve
    })
  }

  readonly answer = (request: IncomingMessage, response: ServerResponse, recorded: Recorded): void => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://site')
    const known = FILES[pathname]
    if (known !== undefined) sendFile(response, ...known)
    else if (pathname === '/events') this.#events(request, response)
    else if (pathname === '/pieces') this.#pieces(response)
    else if (pathname === '/seen') request.on('end', () => this.#seen(response))
    else if (pathname === '/digest') request.on('end', () => response.end(recorded.sha256()))
    else if (pathname === '/length') this.#length(request, response, recorded)
    else if (pathname === '/arrived') this.#arrived(Number(searchParams.get('bytes')), response)
    else if (pathname === '/tagged') sendTagged(request, response)
    else if (pathname === '/endless') {
      response.once('close', this.#leave)
      response.write('first')
    } else if (pathname === '/form') {
      response.setHeader('set-cookie', ['a=1; Path=/', 'b=2; Path=/'])
      request.on('end', () => response.writeHead(303, { location: '/echo?done' }).end())
    } else response.end(`${request.headers.cookie ?? ''}${request.url}`)
  }

  /** Three events a connection, each when the one before has been seen; then the connection ends. */
  #events(request: IncomingMessage, response: ServerResponse): void {
    const last = request.headers['last-event-id']
    this.lastIds.push(last === undefined ? undefined : String(last))
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write('retry: 1\n\n')
    let number = Number(last ?? 0)
    const end = number + 3
    const send = (): void => {
      number++
      response.write(`event: tick\nid: ${number}\ndata: number ${number}\n\n`)
    }
    this.#next = () => (number === end ? response.end() : send())
    send()
  }

  #pieces(response: ServerResponse): void {
    let pieces = 1
    this.#next = () => (pieces++ === 5 ? response.end() : response.write(Buffer.alloc(10_000)))
    response.write(Buffer.alloc(10_000))
  }

  #seen(response: ServerResponse): void {
    response.writeHead(204).end()
    this.#next?.()
  }

  #length(request: IncomingMessage, response: ServerResponse, recorded: Recorded): void {
    this.#upload = recorded
    request.on('data', () => {
      for (const wake of this.#waiting.splice(0)) wake()
    })
    request.on('end', () => response.end(String(recorded.bytes())))
  }

  /** Answers when the upload has come that far. */
  #arrived(bytes: number, response: ServerResponse): void {
    if ((this.#upload?.bytes() ?? 0) >= bytes) response.end()
    else this.#waiting.push(() => this.#arrived(bytes, response))
  }
}

function sendFile(response: ServerResponse, type: string, content: Buffer): void {
  response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'content-encoding': 'gzip' })
  response.end(gzipSync(content))
}

function sendTagged(request: IncomingMessage, response: ServerResponse): void {
  const unchanged = request.headers['if-none-match'] === '"tag"'
  response.writeHead(unchanged ? 304 : 200, { etag: '"tag"', 'cache-control': 'max-age=60' })
  response.end(unchanged ? undefined : 'content')
}

/** Says back what it hears; the word "close it" closes it. */
async function startSockets(t: Test): Promise<string> {
  const server = createServer()
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'v2.test' })
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer, isBinary) => {
      if (data.toString() === 'close it') socket.close(4321, 'bye ☃')
      else socket.send(data, { binary: isBinary })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const each of sockets.clients) each.terminate()
    server.close()
  })
  return `http://127.0.0.1:${portOf(server)}`
}

interface Visit {
  readonly site: Site
  readonly server: Backend
  readonly complaints: readonly string[]
  /** Calls one of the functions in page.js, and gives what came of it. */
  readonly probe: (call: string) => Promise<unknown>
  readonly page: Awaited<ReturnType<typeof openTab>>['page']
}

async function visit(t: Test, browser: Browser, tls: boolean): Promise<Visit> {
  const site = new Site()
  const server = await backend(t, site.answer)
  const gateway = await startGateway(t, {
    ...(tls ? { listen: { tls: SERVER } } : {}),
    pools: { site: { backends: [server.url] }, sockets: { backends: [await startSockets(t)] } },
    routes: [
      { path: '/*', pool: 'site' },
      { path: '/socket', pool: 'sockets' },
    ],
  })
  const tab = await openTab(t, browser, `${tls ? 'https' : 'http'}://127.0.0.1:${gateway.port}/`)
  const probe = async (call: string): Promise<unknown> =>
    guarded(tab.page.evaluate(`probe.${call}`), () => `${call}; ${tab.complaints.join('; ')}`)
  return { site, server, ...tab, probe }
}

void test('a page in Chromium', { skip: CHROMIUM_MISSING }, async (t) => {
  const browser = await startChromium(t)
  await t.test('on HTTP/2', async (tt) => {
    const visited = await visit(tt, browser, true)
    await works(tt, visited)
    tt.equal(await visited.probe('uploadStream(5)'), '5000', 'a request that streams')
    tt.same(await visited.probe('protocols()'), ['h2'], 'all of it')
    tt.match(visited.server.requests[0]?.headers['via'], /^2\.0 /)
    await leaves(tt, visited)
    tt.same(visited.complaints, [])
  })
  await t.test('on HTTP/1.1', async (tt) => {
    const visited = await visit(tt, browser, false)
    await works(tt, visited)
    tt.same(await visited.probe('protocols()'), ['http/1.1'], 'all of it')
    await leaves(tt, visited)
    tt.same(visited.complaints, [])
  })
})

/** Everything that does not depend on the protocol. */
async function works(t: Test, { site, page, probe }: Visit): Promise<void> {
  t.equal(await page.title(), 'A page behind a gateway')
  const color: unknown = await page.evaluate("getComputedStyle(document.querySelector('h1')).color")
  t.equal(color, 'rgb(1, 2, 3)', 'its style')

  const ticks = Array.from({ length: 5 }, (_, index) => [String(index + 1), `number ${index + 1}`])
  t.same(await probe('events(5)'), ticks, 'events, each before the next one exists')
  t.same(site.lastIds, [undefined, '3'], 'a connection that ended is taken up where it ended')

  const heard = { heard: ['naïve ☃', true], protocol: 'v2.test', code: 4321, reason: 'bye ☃', wasClean: true }
  t.same(await probe('socket(true)'), heard, 'WS-05: WebSocket, closed by the page')
  t.same(await probe('socket(false)'), heard, 'WS-05: WebSocket, closed by the backend')

  const lengths = Array.from({ length: 5 }, () => 10_000)
  t.same(await probe('download(5)'), { lengths, done: true }, 'an answer that streams')
  const { status, arrived, sent } = Object(await probe('upload(5_000_000)'))
  t.same([status, arrived], [200, sent], 'a blob of 5 MB')
  t.equal(await probe('many(100)'), 100, '100 requests at once')
}

/** Asks again for what it knows, leaves an answer, then itself, by a form whose answer sends the visitor elsewhere. */
async function leaves(t: Test, { site, server, page, probe }: Visit): Promise<void> {
  const content = [200, 'content']
  t.same(await probe('revalidate()'), [content, content], 'what has not changed')
  const [first, second] = server.requests.filter(({ url }) => url === '/tagged')
  const tags = [first, second].map((request) => request?.headers['if-none-match'])
  t.same(tags, [undefined, '"tag"'], 'is not sent again')

  t.equal(await probe('leave()'), 'AbortError', 'CA-03: an answer that is left in its middle')
  await guarded(site.left, () => 'the end of what was left')

  await page.setInputFiles('input[type=file]', { name: 'a.bin', mimeType: 'a/b', buffer: Buffer.alloc(100_000, 'x') })
  await page.click('button')
  await page.waitForURL('**/echo?done')
  t.equal(await page.textContent('body'), 'a=1; b=2/echo?done', 'a form, a redirect and two cookies')
  const form = server.requests.find(({ url }) => url === '/form')
  t.ok(form?.body().includes(Buffer.alloc(100_000, 'x')) && form.body().includes('naïve ☃'), 'the form')
}
