/**
 * 100 MB for somebody slow, each way, on HTTP/1.1 and HTTP/2: the gateway, a process of its own, holds no more of it than
 * of anything else. Slow is who takes nothing until nobody on the way can take any more.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as request1, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type ClientHttp2Session } from 'node:http2'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'

import { test, type Test } from 'tap'

import { backend, startGateway } from '../helpers/process.ts'
import { guarded, inTurn } from '../helpers/raw.ts'
import { CA } from '../helpers/secure.ts'

const MIB = 1024 ** 2
const PIECE = randomBytes(MIB)
const PIECES = 100
/** After so many nothing is taken until everything is full: how much is held then? */
const LOOK_EVERY = 50
const STALLED_MS = 100
/** Before anything is measured: everything has been used once, and the heap has its size. */
const WARM_UP = 10
const ALLOWED = 50 * MIB

/** No two pieces are the same. */
function piece(number: number): Buffer {
  const bytes = Buffer.from(PIECE)
  bytes.writeUInt32BE(number)
  return bytes
}

/** Writes pieces as fast as they are taken. */
class Source {
  readonly #stream: Writable
  readonly #count: number
  #written = 0

  constructor(stream: Writable, count: number) {
    this.#stream = stream
    this.#count = count
    stream.on('drain', () => this.#pour())
    this.#pour()
  }

  /** Waits until nothing more is taken. */
  async stall(): Promise<void> {
    const taken = (): number => this.#written * MIB - this.#stream.writableLength
    for (let before = -1; before !== taken();) {
      before = taken()
      // oxlint-disable-next-line no-await-in-loop -- that nothing happens has no event
      await pause(STALLED_MS)
    }
  }

  #pour(): void {
    let open = true
    while (open && this.#written < this.#count) open = this.#stream.write(piece(this.#written++))
    if (this.#written === this.#count) this.#stream.end()
  }
}

/** Takes as many bytes, and not one more than that from the system. */
async function take(stream: Readable, length: number): Promise<Buffer> {
  const taken: Buffer[] = []
  let missing = length
  while (missing > 0) {
    const bytes: unknown = stream.read(Math.min(missing, stream.readableLength))
    if (Buffer.isBuffer(bytes)) {
      taken.push(bytes)
      missing -= bytes.length
      // oxlint-disable-next-line no-await-in-loop -- until there is more
    } else if (stream.readableEnded || !(await more(stream))) break
  }
  return Buffer.concat(taken)
}

async function more(stream: Readable): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const event of ['readable', 'end', 'close']) stream.off(event, settle)
      resolve(!stream.readableEnded && !stream.destroyed)
    }
    for (const event of ['readable', 'end', 'close']) stream.on(event, settle)
  })
}

/** Takes piece by piece, and now and then none, until everything is full, to look at the gateway then. */
async function drain(source: Source, stream: Readable, count: number, look: () => Promise<void>): Promise<number> {
  let whole = 0
  await inTurn(Array.from({ length: count }), async (_, number) => {
    if (number % LOOK_EVERY === 0) {
      await source.stall()
      await look()
    }
    const taken = await guarded(take(stream, MIB), () => `piece ${number}`)
    if (taken.equals(piece(number))) whole++
  })
  if ((await take(stream, 1)).length === 0) return whole
  throw new Error('there is more than was sent')
}

/** What a client sends its body into, and what it reads the answer's from. */
interface Asked {
  readonly body: Writable
  readonly answer: Promise<Readable>
}

type Ask = (method: 'GET' | 'POST', path: string) => Asked

function http1(port: number): Ask {
  return (method, path) => {
    const body = request1({ port, host: '127.0.0.1', method, path, agent: false })
    body.flushHeaders()
    return { body, answer: once(body, 'response').then(([answer]: Readable[]) => present(answer)) }
  }
}

function http2(session: ClientHttp2Session): Ask {
  return (method, path) => {
    const stream = session.request({ ':method': method, ':path': path }, { endStream: method === 'GET' })
    return { body: stream, answer: once(stream, 'response').then(() => stream) }
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('nothing came')
  return value
}

interface Memory {
  readonly rss: number
  readonly arrayBuffers: number
}

async function memory(ask: Ask): Promise<Memory> {
  const { body, answer } = ask('GET', '/memory')
  body.end()
  const stream = await answer
  let text = ''
  for await (const bytes of stream.setEncoding('utf8')) text += String(bytes)
  const { rss, arrayBuffers } = Object(JSON.parse(text))
  return { rss: Number(rss), arrayBuffers: Number(arrayBuffers) }
}

type Arrival = readonly [IncomingMessage, ServerResponse]

interface Rig {
  readonly ask: Ask
  /** The backend's side of the next request. */
  readonly arrived: () => Promise<Arrival>
}

/** A gateway in a process of its own that tells how much memory it uses, and a backend that does as the test says. */
async function rig(t: Test, tls: boolean): Promise<Rig> {
  let arrive: ((pair: Arrival) => void) | undefined
  const url = await backend(t, (incoming, outgoing) => arrive?.([incoming, outgoing]))
  const listen = tls ? { tls: { cert: pathOf('server.pem'), key: pathOf('server.key') } } : {}
  const config = {
    listen,
    plugins: [join(import.meta.dirname, 'memory-plugin.ts')],
    pools: { web: { backends: [url] } },
  }
  // JSON is YAML, too.
  const { greeting } = await startGateway(t, JSON.stringify(config), { plain: true })
  const port = Number(/ on https?:\/\/\S+:(\d+);/.exec(greeting)?.[1])
  const arrived: Rig['arrived'] = async () => new Promise((resolve) => (arrive = resolve))
  if (!tls) return { ask: http1(port), arrived }
  const session = connect(`https://127.0.0.1:${port}`, { ca: CA })
  t.teardown(() => session.destroy())
  return { ask: http2(session), arrived }
}

function pathOf(name: string): string {
  return join(import.meta.dirname, '../helpers/certificates', name)
}

type Transfer = (rig: Rig, count: number, look: () => Promise<void>) => Promise<number>

/** The backend sends as fast as it can, the client is slow. */
const download: Transfer = async ({ ask, arrived }, count, look) => {
  const arrival = arrived()
  const { body, answer } = ask('GET', '/download')
  body.end()
  const [, outgoing] = await arrival
  const source = new Source(outgoing, count)
  return drain(source, await answer, count, look)
}

/** The client sends as fast as it can, the backend is slow. */
const upload: Transfer = async ({ ask, arrived }, count, look) => {
  const arrival = arrived()
  const { body, answer } = ask('POST', '/upload')
  const source = new Source(body, count)
  const [incoming, outgoing] = await arrival
  const whole = await drain(source, incoming, count, look)
  outgoing.end()
  await take(await answer, 1)
  return whole
}

async function staysSmall(t: Test, gateway: Rig, name: string, transfer: Transfer): Promise<void> {
  const most: Memory = { rss: 0, arrayBuffers: 0 }
  const look = async (): Promise<void> => {
    const { rss, arrayBuffers } = await memory(gateway.ask)
    Object.assign(most, { rss: Math.max(most.rss, rss), arrayBuffers: Math.max(most.arrayBuffers, arrayBuffers) })
  }
  t.equal(await transfer(gateway, WARM_UP, look), WARM_UP, `${name}: to begin with`)
  const before = await memory(gateway.ask)
  Object.assign(most, before)
  t.equal(await transfer(gateway, PIECES, look), PIECES, `${name}: every piece as it was sent`)
  const [rss, buffers] = [most.rss - before.rss, most.arrayBuffers - before.arrayBuffers]
  t.ok(rss < ALLOWED, `${name}: ${Math.round(rss / MIB)} MiB more`)
  t.ok(buffers < ALLOWED, `${name}: ${Math.round(buffers / MIB)} MiB more in buffers`)
}

for (const tls of [false, true]) {
  const name = tls ? 'HTTP/2' : 'HTTP/1.1'
  void test(`BD-14: 100 MB each way for somebody slow, on ${name}, and memory stays where it was`, async (t) => {
    const gateway = await rig(t, tls)
    await staysSmall(t, gateway, 'download', download)
    await staysSmall(t, gateway, 'upload', upload)
  })
}
