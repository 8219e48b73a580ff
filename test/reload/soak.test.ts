/**
 * Change after change while as much goes on as can: nobody notices, and nothing of it stays behind.
 */
import { spawn } from 'node:child_process'
import { createHook } from 'node:async_hooks'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { test, type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'

import type { Member } from '../../src/core/member.ts'
import type { Config, PoolConfig, RouteConfig } from '../../src/index.ts'
import { sha256 } from '../helpers/gateway.ts'
import { guarded, inTurn, portOf } from '../helpers/raw.ts'
import { membersOf, startChangeable, until, type Changeable } from '../helpers/changing.ts'

const MIB = 1024 ** 2
const CHANGES = 50
/** Answers between two changes. */
const BETWEEN = 250
const CLIENTS = 24
const SOCKETS = 100
const STREAMS = 20

/** 100 MB of which no two blocks of 4 MB are the same. */
const CONTENT = Buffer.concat(Array.from({ length: 25 }, () => randomBytes(4 * MIB)))
const DIGEST = sha256(CONTENT)

// --- the backends ---

interface Site {
  readonly url: string
  readonly server: Server
  /** Requests answered. */
  readonly answered: () => number
  readonly open: () => number
}

async function site(t: Test, handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Site> {
  let answered = 0
  let open = 0
  const server = createServer((request, response) => {
    response.on('finish', () => answered++)
    handle(request, response)
  })
  server.keepAliveTimeout = 60_000
  server.on('connection', (socket) => {
    open++
    socket.on('close', () => open--)
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${portOf(server)}`, server, answered: () => answered, open: () => open }
}

/** Answers what the client expects, sometimes at once and sometimes a little later. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const text = `${request.url} ${String(request.headers['x-unique'])}`
  const send = (): void => void response.end(text)
  if ((request.url ?? '').endsWith('7')) setTimeout(send, 3)
  else setImmediate(send)
}

/** Sends large content at the speed of who reads it, and answers what it gets with its digest. */
function bulk(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'GET') return void response.end(CONTENT)
  const hash = createHash('sha256')
  request.on('data', (chunk: Buffer) => void hash.update(chunk))
  request.on('end', () => response.end(hash.digest('hex')))
}

/** WebSockets that are echoed, and event streams that `tell` sends events to. */
async function quiet(t: Test): Promise<Site & { readonly tell: (event: string) => void }> {
  const streams = new Set<ServerResponse>()
  const server = await site(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    streams.add(response)
  })
  const sockets = new WebSocketServer({ server: server.server })
  sockets.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
    sockets.close()
  })
  return { ...server, tell: (event) => streams.forEach((stream) => stream.write(`data: ${event}\n\n`)) }
}

// --- the configurations ---

const ALGORITHMS = [
  'least-connections',
  'round-robin',
  'power-of-two',
  'peak-ewma',
  { type: 'consistent-hash', key: { header: 'x-unique' } },
] as const

function pick<T>(list: readonly T[], n: number): T {
  const one = list[n % list.length]
  if (one === undefined) throw new Error('nothing to pick from')
  return one
}

/** The n-th of a pool's settings, each of which differs from the one before in several things. */
function busyPool(urls: readonly string[], n: number): PoolConfig {
  const active = { path: '/health/1', interval: pick(['300ms', '400ms', '1h'], n), timeout: '300ms', fall: 1000 }
  return {
    algorithm: pick(ALGORITHMS, n),
    // Sometimes all at once: those of an even and those of an odd place.
    backends: urls
      .filter((_, at) => (n % 10 >= 8 ? at % 2 === n % 2 : at !== n % urls.length))
      .map((url, at) => ({ url, weight: 1 + ((n + at) % 3) })),
    health: {
      strategy: pick(['graded', 'any', 'all'], n),
      passive: n % 4 !== 3 && { minimum: 5 + (n % 3), window: 20 + n },
      warmup: pick(['0s', '20ms'], n),
      ...(n % 3 === 0 ? {} : { active }),
    },
    breaker: n % 2 === 0 && { minimum: 5 + n, window: pick(['10s', '20s'], n) },
    retry: { attempts: 1 + (n % 3), bufferBody: pick(['1KiB', '64KiB'], n) },
    timeouts: { headers: `${10 + n}s`, body: `${10 + n}s`, connect: `${1 + (n % 2)}s` },
    connections: { max: pick([4, 128, 9], n), pending: 1000, queue: '10s', idle: pick(['4s', '1s'], n) },
  }
}

interface Sites {
  readonly busy: readonly Site[]
  readonly bulk: readonly Site[]
  readonly quiet: Site
}

function configOf(sites: Sites, n: number): Config {
  const urls = sites.busy.map(({ url }) => url)
  const route = (name: string): RouteConfig => ({
    path: `/${name}/*`,
    pool: name,
    rewrite: { stripPrefix: `/${name}` },
    ...(n % 2 === 0 ? {} : { responseHeaders: { set: { 'x-round': String(n) } } }),
  })
  const [first, ...others] = sites.bulk.map(({ url }) => url)
  return {
    reload: { drain: '10s', keep: n % 3 },
    pools: {
      a: busyPool(urls, n),
      b: busyPool(urls, n + 3),
      quiet: { backends: [sites.quiet.url] },
      // Those who send much stay; what else may be said of their pool changes.
      bulk: { ...busyPool([], n), backends: [first ?? '', ...(n % 2 === 0 ? [] : others)], breaker: false },
      ...(n % 5 === 0 ? { extra: { backends: urls.slice(0, 1) } } : {}),
    },
    routes: [
      route('a'),
      route('b'),
      { path: '/quiet/*', pool: 'quiet' },
      { path: '/bulk/*', pool: 'bulk' },
      ...(n % 5 === 0 ? [{ path: '/extra/*', pool: 'extra' }] : []),
    ],
  }
}

function badConfigs(good: Config): Config[] {
  return [
    { ...good, pools: { ...good.pools, a: { backends: [] } } },
    { ...good, pools: { ...good.pools, a: { backends: ['http://127.0.0.1:9'], algorithm: 'no-such' } } },
    { ...good, routes: [{ path: '/a/*', pool: 'nobody' }] },
    { ...good, listen: { host: '127.0.0.1', port: 1 } },
    { ...good, pools: {} },
  ]
}

// --- the clients ---

interface Counted {
  readonly answered: number
  readonly wrong: number
  readonly broken: number
  readonly example: string
}

/** A process that asks as fast as it can. @returns what it has counted, when it has asked often enough */
async function load(t: Test, port: number, requests: number): Promise<Counted> {
  const file = join(import.meta.dirname, '../gateway/load-client.ts')
  const args = [file, String(port), String(CLIENTS), String(requests), '/a,/b']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  await once(child, 'exit')
  return JSON.parse(text)
}

async function dial(t: Test, port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/quiet/socket`)
  t.teardown(() => socket.terminate())
  await guarded(once(socket, 'open'), () => 'a handshake')
  socket.on('error', () => undefined)
  return socket
}

async function echoes(socket: WebSocket, text: string): Promise<boolean> {
  if (socket.readyState !== WebSocket.OPEN) return false
  const came = once(socket, 'message')
  socket.send(text)
  const [data]: unknown[] = await guarded(came, () => `the echo of ${text}`)
  return String(data) === text
}

interface Stream {
  text: string
  ended: boolean
}

async function subscribe(t: Test, port: number): Promise<Stream> {
  const stream: Stream = { text: '', ended: false }
  const request = httpRequest({ port, path: '/quiet/stream', agent: false })
  t.teardown(() => request.destroy())
  request.on('error', () => undefined).end()
  const [response]: IncomingMessage[] = await guarded(once(request, 'response'), () => 'a stream')
  response?.setEncoding('utf8').on('data', (piece: string) => (stream.text += piece))
  response?.on('close', () => (stream.ended = true)).on('error', () => undefined)
  return stream
}

/** Sends or gets the content. @returns the digest that came of it */
async function transfer(port: number, method: 'GET' | 'PUT', pace: () => Promise<void>): Promise<string> {
  const request = httpRequest({ port, path: '/bulk/content', method, agent: false })
  const came = once(request, 'response')
  if (method === 'PUT') {
    for (let at = 0; at < CONTENT.length; at += 4 * MIB) {
      // oxlint-disable-next-line no-await-in-loop -- a piece with every change
      await pace()
      request.write(CONTENT.subarray(at, at + 4 * MIB))
    }
  }
  request.end()
  const [response]: IncomingMessage[] = await came
  if (response === undefined) return ''
  const hash = createHash('sha256')
  let [bytes, next] = [0, 0]
  let text = ''
  for await (const chunk of response) {
    if (!(chunk instanceof Buffer)) continue
    bytes += chunk.length
    hash.update(chunk)
    if (method === 'PUT') text += chunk.toString()
    if (bytes < next) continue
    next += 4 * MIB
    await pace()
  }
  return method === 'PUT' ? text : hash.digest('hex')
}

/** Lets what waits for it go on, a step with every change. */
class Steps {
  #over = false
  #waiting: Array<() => void> = []

  readonly next = async (): Promise<void> => {
    if (!this.#over) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
  }

  step(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  finish(): void {
    this.#over = true
    this.step()
  }
}

function ports(t: Changeable, pool: string): string[] {
  return membersOf(t.app, pool).map(({ url }) => url.origin)
}

void test('RD-02: fifty changes under load, and nobody loses anything', async (t) => {
  const sites = {
    busy: await Promise.all(Array.from({ length: 6 }, async () => site(t, answer))),
    bulk: await Promise.all(Array.from({ length: 2 }, async () => site(t, bulk))),
    quiet: await quiet(t),
  }
  const gateway = await startChangeable(t, configOf(sites, 0))
  const { port, app } = gateway
  const steps = new Steps()
  const sockets = await Promise.all(Array.from({ length: SOCKETS }, async () => dial(t, port)))
  const streams = await Promise.all(Array.from({ length: STREAMS }, async () => subscribe(t, port)))
  const transfers = Promise.all((['GET', 'GET', 'PUT'] as const).map(async (way) => transfer(port, way, steps.next)))
  const loaded = load(t, port, (CHANGES + 5) * BETWEEN)
  const answered = (): number => sites.busy.reduce((sum, each) => sum + each.answered(), 0)
  const seen = new Set<Member>()
  const quietMember = membersOf(app, 'quiet')[0]
  let worst = 0
  await inTurn(Array.from({ length: CHANGES }), async (_, n) => {
    await until(
      () => answered() >= (n + 1) * BETWEEN,
      () => `${answered()} answers before change ${n}`,
    )
    const config = configOf(sites, n + 1)
    if (n % 10 === 9) {
      const { hash } = app.configuration.inForce
      await inTurn(badConfigs(config), async (bad) => t.equal(await gateway.put(bad), 422))
      t.equal(app.configuration.inForce.hash, hash)
    }
    t.equal(await gateway.put(config), 200, `change ${n}`)
    steps.step()
    for (const pool of ['a', 'b', 'bulk']) for (const member of membersOf(app, pool)) seen.add(member)
    for (const member of seen) worst = Math.min(worst, member.inFlight, member.waiting)
    t.equal(membersOf(app, 'quiet')[0], quietMember)
    t.equal(quietMember?.inFlight, SOCKETS + STREAMS)
    t.same(ports(gateway, 'a').toSorted(), urlsOf(config, 'a'))
    sites.quiet.tell(String(n))
    t.ok(await echoes(pick(sockets, n), `round ${n}`))
  })
  steps.finish()
  t.match(await loaded, { answered: (CHANGES + 5) * BETWEEN, wrong: 0, broken: 0, example: '' })
  t.same(await guarded(transfers, () => 'transfers'), [DIGEST, DIGEST, DIGEST])
  t.same(
    await Promise.all(sockets.map(async (socket, n) => echoes(socket, `the end of ${n}`))),
    sockets.map(() => true),
  )
  sites.quiet.tell('the end')
  await until(
    () => streams.every(({ text }) => text.endsWith('data: the end\n\n')),
    () => 'the last event',
  )
  const events = Array.from({ length: CHANGES }, (_, n) => `data: ${n}\n\n`).join('')
  t.same(new Set(streams.map(({ text }) => text)), new Set([`: hello\n\n${events}data: the end\n\n`]))
  t.notOk(streams.some(({ ended }) => ended))
  await until(
    () => [...seen].every(({ inFlight, waiting }) => inFlight === 0 && waiting === 0),
    () => 'nothing in flight',
  )
  t.equal(worst, 0, 'no count was ever below')
  t.same([quietMember?.inFlight, quietMember?.waiting], [SOCKETS + STREAMS, 0])
  t.same(
    [...seen].filter(({ failures }) => failures > 0).map(({ id }) => id),
    [],
  )
  const gone = sites.busy.filter(({ url }) => ![...ports(gateway, 'a'), ...ports(gateway, 'b')].includes(url))
  await until(
    () => gone.every((each) => each.open() === 0),
    () => 'no connection to who is gone',
  )
  for (const socket of sockets) socket.close()
  await until(
    () => quietMember?.inFlight === STREAMS,
    () => `${quietMember?.inFlight} in flight`,
  )
})

function urlsOf(config: Config, pool: string): string[] {
  return (config.pools[pool]?.backends ?? [])
    .map((each) => (typeof each === 'string' ? each : each.url))
    .toSorted((one, other) => one.localeCompare(other))
}

/** Collects garbage, and says what is left. */
function collected(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') for (let i = 0; i < 3; i++) collect()
  return process.memoryUsage().heapUsed
}

/** Counts the timers there are, those that keep no process alive included. */
function countTimers(t: Test): () => number {
  const timers = new Set<number>()
  const hook = createHook({
    init: (id, type) => void (type === 'Timeout' && timers.add(id)),
    destroy: (id) => void timers.delete(id),
  }).enable()
  t.teardown(() => hook.disable())
  return () => timers.size
}

const ROUNDS = 1000
/** What of a change may stay behind: less than what it makes of one backend. */
const BYTES_A_CHANGE = 800

void test('RD-02: after a thousand changes there is nothing more than before', async (t) => {
  const busy = await Promise.all(Array.from({ length: 4 }, async () => site(t, answer)))
  const sites = { busy, bulk: busy, quiet: pick(busy, 0) }
  const timers = countTimers(t)
  const gateway = await startChangeable(t, configOf(sites, 0))
  const { app } = gateway
  const refused: number[] = []
  const change = async (n: number): Promise<void> => {
    // Asserting a thousand times would leave a thousand results behind.
    if ((await gateway.put({ ...configOf(sites, n), reload: { drain: '1ms' } })) !== 200) refused.push(n)
    // A connection to everyone, so that there is something to leave behind.
    if (n % 10 !== 0) return
    await Promise.all(
      ['/a/1', '/b/1'].map(async (path) => (await fetch(`http://127.0.0.1:${gateway.port}${path}`)).text()),
    )
  }
  const changes = async (count: number): Promise<{ heap: number; timers: number; open: number }> => {
    await inTurn(Array.from({ length: count }), async (_, n) => change(n))
    // The last one has no checks, and after a while no idle connection.
    t.equal(await gateway.put({ reload: { drain: '1ms' }, pools: { a: { backends: [pick(busy, 0).url] } } }), 200)
    await until(
      () => busy.slice(1).every((each) => each.open() === 0),
      () => `open: ${busy.map((each) => each.open()).join()}`,
    )
    return { heap: collected(), timers: timers(), open: busy.reduce((sum, each) => sum + each.open(), 0) }
  }
  const before = await changes(ROUNDS / 2)
  let last = before
  const left: number[] = []
  await inTurn(Array.from({ length: 2 }), async () => {
    const now = await changes(ROUNDS / 2)
    left.push(Math.round(((now.heap - last.heap) * 2) / ROUNDS))
    last = now
  })
  t.comment(`bytes a change: ${left.join(', ')}`)
  // What leaks does so all the time; what is compiled and cached comes once.
  t.ok(Math.min(...left) < BYTES_A_CHANGE, `${left.join(', ')} bytes a change stay behind`)
  // Those of the test's own client and server come and go.
  await until(
    () => timers() <= before.timers + 5,
    () => `${before.timers} timers became ${timers()}`,
  )
  t.ok(last.open <= before.open + 1, `${before.open} connections became ${last.open}`)
  t.equal(app.events.latest.length, 1000)
  t.same(refused, [])
  t.ok(app.configuration.before.length <= 10)
})
