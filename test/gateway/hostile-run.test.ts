/**
 * 20,000 requests of 200 clients at once: a third leave in every way and at every moment, a third meet backends that
 * fail in every way, a third are as they should be. Each ends as its kind has to, and nothing of them stays behind: no
 * place in flight, no socket, no handle, no memory.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'

import { buildGateway, type PoolConfig } from '../../src/index.ts'
import { bareBackend, Body, send, type BareBackend, type Incoming } from '../helpers/faulty-backend.ts'
import { Chance, seedOf } from '../helpers/generate.ts'
import { bytesOf, guarded, Inbox, inTurn, ok, portOf, type Bytes } from '../helpers/raw.ts'

const SEED = seedOf(20_252)
const REQUESTS = 20_000
const CLIENTS = 200
/** Until compiled code, caches and pools of buffers have the size that they will keep. */
const WARM_UP = 2000
/** Connections to each backend of a pool; so many may be idle when all is over. */
const CONNECTIONS = 64
const KEPT_AT_MOST = 4 * CONNECTIONS
/** Bytes: 100 for each request, less than anything that could be kept of one; compiled code alone takes 500,000. */
const MAY_GROW = 2_000_000

// --- who waits for what ---

/** Lets one side wait for what the other side, in the same process, tells of. */
class Signals {
  readonly #waiting = new Map<string, () => void>()

  /** To be called before what leads to it is done. */
  async expect(what: string): Promise<void> {
    const told = new Promise<void>((resolve) => void this.#waiting.set(what, resolve))
    return guarded(told, () => what)
  }

  /** Does nothing where nobody waits. */
  give(what: string): void {
    const wake = this.#waiting.get(what)
    this.#waiting.delete(what)
    wake?.()
  }

  get waiting(): readonly string[] {
    return [...this.#waiting.keys()]
  }
}

/** Counts, and lets wait until it has counted enough. */
class Tally {
  readonly counts = new Map<string, number>()
  #waiting: Array<() => void> = []

  add(what: string, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  async until(ready: () => boolean): Promise<void> {
    const wait = async (): Promise<void> => {
      // oxlint-disable-next-line no-await-in-loop -- until it is so
      while (!ready()) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
    return guarded(wait(), () => JSON.stringify(Object.fromEntries(this.counts)))
  }
}

const signals = new Signals()

// --- clients ---

/** How something ended for the client. `right`: 200 and the content that it asked for. */
type Ending = string

interface Received {
  readonly head: string
  readonly content: Buffer
  readonly whole: boolean
}

/** A client's connection. */
class Line {
  readonly socket: Socket
  readonly #inbox: Inbox

  constructor(socket: Socket) {
    this.socket = socket
    this.#inbox = new Inbox(socket)
  }

  send(bytes: Bytes): void {
    this.socket.write(bytesOf(bytes))
  }

  /** Reads an answer, or as much as comes of it. */
  async answer(method = 'GET'): Promise<Received> {
    const head = await this.#head()
    if (head === '') return { head, content: Buffer.alloc(0), whole: false }
    const body = method === 'HEAD' ? new Body('') : new Body(head)
    const ended = await this.#inbox.until(() => {
      const { bytes } = this.#inbox
      this.#inbox.drop(bytes.length - body.take(bytes).length)
      return body.whole || this.#over ? true : undefined
    })
    return { head, content: body.content, whole: ended && body.whole }
  }

  /** Waits until so much has come. */
  async received(least: number): Promise<void> {
    await this.#inbox.until(() => (this.#inbox.length >= least || this.#over ? true : undefined))
  }

  async closed(): Promise<void> {
    await this.#inbox.until(() => (this.#inbox.closed ? true : undefined))
  }

  get #over(): boolean {
    return this.#inbox.ended !== undefined || this.#inbox.closed
  }

  async #head(): Promise<string> {
    const end = await this.#inbox.until(() => {
      const found = this.#inbox.bytes.indexOf('\r\n\r\n')
      return found !== -1 || this.#over ? found : undefined
    })
    if (end === -1) return ''
    const head = this.#inbox.bytes.toString('latin1', 0, end)
    this.#inbox.drop(end + 4)
    return head
  }
}

/** One of those 200: keeps a connection for as long as it can. */
class Client {
  readonly #port: number
  readonly #sockets: Tally
  #kept: Line | undefined

  constructor(port: number, sockets: Tally) {
    this.#port = port
    this.#sockets = sockets
  }

  /** A connection that nobody else uses after. */
  async fresh(): Promise<Line> {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
    const line = new Line(socket)
    socket.on('close', () => this.#sockets.add('open', -1))
    this.#sockets.add('open')
    await once(socket, 'connect')
    return line
  }

  async kept(): Promise<Line> {
    return (this.#kept ??= await this.fresh())
  }

  leave(): void {
    this.#kept?.socket.destroy()
    this.#kept = undefined
  }
}

function endingOf({ head, content, whole }: Received, expected: Buffer): Ending {
  if (head === '') return 'closed'
  const status = head.split(' ', 2)[1]
  if (!whole) return `${status}, cut off`
  if (status === '200') return content.equals(expected) ? 'right' : 'wrong'
  const code = /"code":"(\w+)"/.exec(content.toString())?.[1]
  return `${status} ${code}`
}

// --- kinds of requests ---

/** One of many requests, with its number in its target and its content. */
interface Visit {
  readonly target: string
  readonly number: number
}

interface Kind {
  readonly pools: readonly string[]
  /** What the client does. */
  readonly visit: (client: Client, visit: Visit) => Promise<Ending>
  /** What a backend does when a request's head, some of its content, or all of it is there. */
  readonly onHead?: Behaviour
  readonly onContent?: Behaviour
  readonly onRequest?: Behaviour
  /** How it has to end for the client. */
  readonly ends: Ending
  /** How it has to end for the gateway; undefined where it never became a request. */
  readonly outcome: 'answered' | 'refused' | 'broken' | 'aborted' | undefined
  /** How much of the request the backend has when its connection goes, where it goes for certain. */
  readonly lost?: 'whole' | 'in part'
}

type Behaviour = (incoming: Incoming, number: number) => void

const SMALL = 300
const LARGE = 80_000

/** What number `number` is about. */
function contentOf(number: number, length = SMALL): Buffer {
  return Buffer.alloc(length, `${number} `)
}

function get({ target }: Visit, version = '1.1'): string {
  return `GET ${target} HTTP/${version}\r\nHost: a\r\n\r\n`
}

function inChunks(content: Buffer): Buffer {
  const half = Math.floor(content.length / 2)
  const chunks = [content.subarray(0, half), content.subarray(half)].flatMap((data) => [
    Buffer.from(`${data.length.toString(16)}\r\n`),
    data,
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')])
}

const CHUNKED_HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

/** A head that announces more than what follows. */
function beginningOf(number: number): Buffer {
  const part = contentOf(number, 100)
  return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n`), part])
}

/** Asks on the kept connection, which stays where the answer is whole. */
function asks(request: (visit: Visit) => Bytes, length = SMALL, method = 'GET'): Kind['visit'] {
  return async (client, visit) => {
    const line = await client.kept()
    line.send(request(visit))
    const received = await line.answer(method)
    if (!received.whole || /\r\nconnection: close/i.test(received.head)) client.leave()
    return endingOf(received, method === 'HEAD' ? Buffer.alloc(0) : contentOf(visit.number, length))
  }
}

function answers(bytes: (number: number) => Bytes): Behaviour {
  return (incoming, number) => {
    send(incoming, bytes(number))
    incoming.answered()
  }
}

const echo: Behaviour = (incoming) => {
  send(incoming, ok(incoming.body.content))
  incoming.answered()
}

function post({ target, number }: Visit, length: number): Buffer {
  return Buffer.concat([
    Buffer.from(`POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`),
    contentOf(number, length),
  ])
}

function postChunked({ target, number }: Visit, length: number): Buffer {
  const head = `POST ${target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
  return Buffer.concat([Buffer.from(head), inChunks(contentOf(number, length))])
}

const CLEAN = { pools: ['wide', 'narrow'], ends: 'right', outcome: 'answered' } as const

const CLEAN_KINDS: Readonly<Record<string, Kind>> = {
  get: { ...CLEAN, visit: asks(get), onRequest: answers((number) => ok(contentOf(number))) },
  'get-again': { ...CLEAN, visit: asks(get), onRequest: answers((number) => ok(contentOf(number))) },
  large: { ...CLEAN, visit: asks(get, LARGE), onRequest: answers((number) => ok(contentOf(number, LARGE))) },
  chunked: {
    ...CLEAN,
    visit: asks(get),
    onRequest: answers((number) => Buffer.concat([Buffer.from(CHUNKED_HEAD), inChunks(contentOf(number))])),
  },
  'until-closed': {
    ...CLEAN,
    visit: asks(get),
    onRequest: (incoming, number) => {
      send(incoming, `HTTP/1.1 200 OK\r\n\r\n${contentOf(number).toString()}`)
      incoming.answered()
      incoming.socket.end()
    },
  },
  head: {
    ...CLEAN,
    visit: asks(({ target }) => `HEAD ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, 0, 'HEAD'),
    onRequest: answers(() => 'HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n'),
  },
  post: { ...CLEAN, visit: asks((visit) => post(visit, SMALL)), onRequest: echo },
  'post-chunked': { ...CLEAN, visit: asks((visit) => postChunked(visit, SMALL)), onRequest: echo },
  'post-large': { ...CLEAN, visit: asks((visit) => post(visit, LARGE), LARGE), onRequest: echo },
  'http-1.0': {
    ...CLEAN,
    visit: asks((visit) => get(visit, '1.0')),
    onRequest: answers((number) => ok(contentOf(number))),
  },
}

// --- faults of backends ---

function resets({ socket }: Incoming): void {
  socket.resetAndDestroy()
}

function sends(bytes: (number: number) => Bytes): Behaviour {
  return (incoming, number) => send(incoming, bytes(number))
}

/** A head is no head before its end: it makes no difference whether the reset overtakes what comes before it. */
function sendsAndResets(bytes: Bytes): Behaviour {
  return ({ socket }) => void socket.write(bytesOf(bytes), () => socket.resetAndDestroy())
}

/** Sends half of what it announces, and waits. */
const uploadsHalf: Kind['visit'] = async (client, visit) => {
  const line = await client.fresh()
  line.send(post(visit, LARGE).subarray(0, LARGE / 2))
  const ending = endingOf(await line.answer(), Buffer.alloc(0))
  line.socket.destroy()
  return ending
}

function sendsAndEnds(bytes: (number: number) => Bytes): Behaviour {
  return (incoming, number) => {
    send(incoming, bytes(number))
    incoming.socket.end()
  }
}

/** Goes wrong in mid-answer when the client has got the first part: what comes too early could overtake that. */
function sendsAnd(then: (incoming: Incoming) => void, bytes: (number: number) => Bytes): Behaviour {
  return (incoming, number) => {
    void signals.expect(`part of ${number}`).then(() => then(incoming))
    send(incoming, bytes(number))
  }
}

/** Piece by piece, a few bytes a turn of the loop. */
function drips(bytes: (number: number) => Bytes): Behaviour {
  return (incoming, number) => {
    const all = bytesOf(bytes(number))
    const pieces = Array.from({ length: 20 }, (_, n) =>
      all.subarray(Math.floor((n * all.length) / 20), Math.floor(((n + 1) * all.length) / 20)),
    )
    void inTurn(pieces, async (piece) => {
      send(incoming, piece)
      await new Promise((resolve) => setImmediate(resolve))
    }).then(() => incoming.answered())
  }
}

/** A head that never ends. */
const trickles: Behaviour = (incoming) => {
  send(incoming, 'HTTP/1.1 200 OK\r\n')
  const timer = setInterval(() => send(incoming, 'X-A: b\r\n'), 20)
  incoming.socket.once('close', () => clearInterval(timer))
}

/** Gets the first part of an answer, and lets the backend go on. */
const asksInParts: Kind['visit'] = async (client, visit) => {
  const line = await client.fresh()
  line.send(get(visit))
  await line.received(1)
  signals.give(`part of ${visit.number}`)
  return endingOf(await line.answer(), contentOf(visit.number))
}

const FAILS = { pools: ['fails'], visit: asks(get), lost: 'whole' } as const
const CUT = { ...FAILS, ends: '200, cut off', outcome: 'broken' } as const
const FIVE_BYTES = `${CHUNKED_HEAD}5\r\nhello\r\n`

function failing(ends: Ending): Pick<Kind, 'ends' | 'outcome'> {
  return { ends, outcome: 'refused' }
}

const RESET = failing('502 SLUICE_RESET')
const TIMEOUT = failing('504 SLUICE_HEADERS_TIMEOUT')

const FAULTS: Readonly<Record<string, Kind>> = {
  refuses: { pools: ['refuses'], visit: asks(get), ...failing('502 SLUICE_CONNECT_FAILED') },
  'resets-at-once': { ...FAILS, onRequest: resets, ...RESET },
  'resets-in-head': { ...FAILS, onRequest: sendsAndResets('HTTP/1.1 200 OK\r\nX-A'), ...RESET },
  'resets-upload': { ...FAILS, visit: uploadsHalf, onHead: resets, ...RESET, lost: 'in part' },
  'closes-at-once': { ...FAILS, onRequest: sendsAndEnds(() => ''), ...RESET },
  'closes-in-head': { ...FAILS, onRequest: sendsAndEnds(() => 'HTTP/1.1 200 OK\r\n'), ...RESET },
  'resets-in-body': { ...CUT, visit: asksInParts, onRequest: sendsAnd(resets, beginningOf) },
  'resets-in-chunks': { ...CUT, visit: asksInParts, onRequest: sendsAnd(resets, () => FIVE_BYTES) },
  truncates: { ...CUT, onRequest: sendsAndEnds(beginningOf) },
  'truncates-chunks': { ...CUT, onRequest: sendsAndEnds(() => FIVE_BYTES) },
  'truncates-1.0': { ...CUT, visit: asks((visit) => get(visit, '1.0')), onRequest: sendsAndEnds(beginningOf) },
  garbage: {
    ...FAILS,
    onRequest: sends(() => '\x16\x03\x01\x02\x00garbage\r\n\r\n'),
    ...failing('502 SLUICE_BAD_RESPONSE'),
  },
  'garbage-in-chunks': {
    ...CUT,
    visit: asksInParts,
    onRequest: sendsAnd(
      (incoming) => send(incoming, 'xyz\r\n'),
      () => FIVE_BYTES,
    ),
  },
  hangs: { ...FAILS, pools: ['hangs'], ...TIMEOUT },
  trickles: { ...FAILS, pools: ['hangs'], onRequest: trickles, ...TIMEOUT },
  stalls: { ...CUT, pools: ['stalls'], onRequest: sends(beginningOf) },
  drips: { ...CLEAN, pools: ['drips'], visit: asks(get), onRequest: drips((number) => ok(contentOf(number))) },
}

// --- clients that leave ---

type Leave = (socket: Socket) => void

const LEAVING: Readonly<Record<string, Leave>> = {
  closes: (socket) => void socket.destroy(),
  resets: (socket) => void socket.resetAndDestroy(),
  'half-closes': (socket) => void socket.end(),
}

/** Sends something on a connection of its own, waits for a moment, and leaves. */
function leaves(leave: Leave, bytes: (visit: Visit) => Bytes, moment?: string, reads = true): Kind['visit'] {
  return async (client, visit) => {
    const line = await client.fresh()
    if (!reads) line.socket.pause()
    const come = moment === undefined ? undefined : signals.expect(`${moment} ${visit.number}`)
    line.send(bytes(visit))
    await come
    if (moment === 'downloading' && reads) await line.received(1)
    leave(line.socket)
    line.socket.resume()
    await line.closed()
    return endingOf(await line.answer(), Buffer.alloc(0))
  }
}

/** Tells that a moment has come, and does nothing more. */
function tells(moment: string): Behaviour {
  return (_incoming, number) => signals.give(`${moment} ${number}`)
}

const beginsLarge: Behaviour = (incoming, number) => {
  const part = contentOf(number, LARGE)
  const bytes = Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n'), part])
  incoming.socket.write(bytes, () => signals.give(`downloading ${number}`))
}

/** The moments at which a client may leave, with what it has sent till then. */
function leavingKinds(how: string, leave: Leave): Record<string, Kind> {
  // Who only ends its own side still hears what the gateway has to say.
  const hears = how === 'half-closes'
  const left = { pools: ['wide', 'narrow'], ends: 'closed', outcome: 'aborted' } as const
  const refused = hears ? '400 SLUICE_BAD_REQUEST' : 'closed'
  const upload = { ...left, ends: refused, onContent: tells('uploading'), lost: 'in part' } as const
  const download = { ...left, ends: '200, cut off', onRequest: beginsLarge, lost: 'whole' } as const
  const uploads = (whole: (visit: Visit, length: number) => Buffer): Kind['visit'] =>
    leaves(leave, (visit) => whole(visit, LARGE).subarray(0, LARGE / 2), 'uploading')
  const visits: ReadonlyArray<readonly [moment: string, kind: Kind]> = [
    [
      'in-head',
      { ...left, ends: refused, outcome: undefined, visit: leaves(leave, (visit) => get(visit).slice(0, -3)) },
    ],
    ['behind-head', { ...left, visit: leaves(leave, get, 'head') }],
    ['uploading', { ...upload, visit: uploads(post) }],
    ['uploading-chunks', { ...upload, visit: uploads(postChunked) }],
    ['waiting', { ...left, visit: leaves(leave, get, 'waiting'), onRequest: tells('waiting'), lost: 'whole' }],
    ['downloading', { ...download, visit: leaves(leave, get, 'downloading') }],
    [
      'not-reading',
      { ...download, ends: hears ? '200, cut off' : 'closed', visit: leaves(leave, get, 'downloading', false) },
    ],
  ]
  return Object.fromEntries(visits.map(([moment, kind]) => [`${how}-${moment}`, kind]))
}

const LEAVERS: Readonly<Record<string, Kind>> = Object.assign(
  {},
  ...Object.entries(LEAVING).map(([how, leave]) => leavingKinds(how, leave)),
)

const KINDS: Readonly<Record<string, Kind>> = { ...CLEAN_KINDS, ...FAULTS, ...LEAVERS }
const THIRDS = [CLEAN_KINDS, FAULTS, LEAVERS].map((kinds) => Object.keys(kinds))

// --- the whole of it ---

interface World {
  readonly app: FastifyInstance
  readonly port: number
  readonly backends: readonly BareBackend[]
  /** Open sockets of clients, on their side and on the gateway's. */
  readonly clients: Tally
  readonly accepted: Tally
  /** How exchanges ended for the gateway, by kind. */
  readonly outcomes: Tally
  /** Requests whose connection was gone before the backend had answered, by kind; `whole` ones beside. */
  readonly lost: Tally
}

function kindIn(target: string): string {
  return target.split('/')[2] ?? ''
}

/** What the request's kind prescribes for this stage. */
function behave(stage: 'onHead' | 'onContent' | 'onRequest') {
  return (incoming: Incoming): void => {
    const target = targetOf(incoming)
    KINDS[kindIn(target)]?.[stage]?.(incoming, Number(target.split('/')[3]))
  }
}

/** Two that are well, of which two pools share one, and one in which all faults live. */
async function startBackends(t: Test, lost: Tally): Promise<BareBackend[]> {
  const options = {
    onHead: behave('onHead'),
    onContent: behave('onContent'),
    onRequest: behave('onRequest'),
    onLost: (incoming: Incoming): void =>
      lost.add(`${kindIn(targetOf(incoming))}, ${incoming.body.whole ? 'whole' : 'in part'}`),
  }
  return Promise.all([bareBackend(t, options), bareBackend(t, options), bareBackend(t, options)])
}

function targetOf({ head }: Incoming): string {
  return head.split(' ', 2)[1] ?? ''
}

/** Faults that need time have a pool of their own, so that no other one can meet its timeout. */
function poolsOf([one, two, faulty]: readonly BareBackend[]): Record<string, PoolConfig> {
  const patient = {
    connections: { max: CONNECTIONS, pending: 1000, queue: '5m', idle: '500ms' },
    // A fault is met once, and not made up for; and nobody is shut off for having too many.
    retry: { attempts: 1 },
    breaker: false,
    health: { passive: false },
  } as const
  const backends = [faulty?.url ?? '']
  return {
    wide: { ...patient, backends: [one?.url ?? '', two?.url ?? ''] },
    narrow: { ...patient, connections: { ...patient.connections, max: 8 }, backends: [two?.url ?? ''] },
    fails: { ...patient, backends },
    // Where nothing goes wrong, a connection is kept, and one that dies later is tried once more.
    drips: { ...patient, backends },
    hangs: { ...patient, backends, timeouts: { headers: 150 } },
    stalls: { ...patient, backends, timeouts: { body: 150 } },
    // A port that nobody listens on; one that the system gave away before could be somebody else's by now.
    refuses: { ...patient, backends: ['http://127.0.0.1:1'] },
  }
}

async function build(t: Test): Promise<World> {
  const [clients, accepted, outcomes, lost] = [new Tally(), new Tally(), new Tally(), new Tally()]
  const backends = await startBackends(t, lost)
  const pools = poolsOf(backends)
  const app = await buildGateway({
    listen: { host: '127.0.0.1', port: 0 },
    admin: false,
    log: { level: 'silent' },
    pools,
    routes: Object.keys(pools).map((pool) => ({ path: `/${pool}/*`, pool })),
  })
  app.addHook('onRequest', (request, _reply, next) => {
    next()
    signals.give(`head ${request.url.split('/')[3]}`)
  })
  app.observers.push({ exchange: ({ path, outcome }) => outcomes.add(`${kindIn(path)}: ${outcome}`) })
  app.server.on('connection', (socket: Socket) => {
    accepted.add('open')
    socket.on('close', () => accepted.add('open', -1))
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
  })
  return { app, port: portOf(app.server), backends, clients, accepted, outcomes, lost }
}

/** A third of each, each of its kinds equally often, in an order by chance. */
function plan(count: number, seed: number): string[] {
  const kinds = Array.from({ length: count }, (_, n) => {
    const third = THIRDS[n % 3] ?? []
    return third[Math.floor(n / 3) % third.length] ?? ''
  })
  return new Chance(seed).shuffled(kinds)
}

/** What has to come out: for the clients, for the gateway, and at the backends. */
class Expected {
  readonly endings = new Tally()
  readonly outcomes = new Tally()
  readonly lost = new Tally()

  constructor(kinds: readonly string[]) {
    for (const name of kinds) {
      const { ends, outcome, lost } = KINDS[name] ?? {}
      this.endings.add(`${name}: ${ends}`)
      if (outcome !== undefined) this.outcomes.add(`${name}: ${outcome}`)
      if (lost !== undefined) this.lost.add(`${name}, ${lost}`)
    }
  }
}

function sorted({ counts }: Tally): ReadonlyArray<[string, number]> {
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Makes all these requests, and returns how they ended for the clients. */
async function run(world: World, kinds: readonly string[]): Promise<Tally> {
  const endings = new Tally()
  let next = 0
  const work = async (): Promise<void> => {
    const client = new Client(world.port, world.clients)
    for (let number = next++; number < kinds.length; number = next++) {
      const name = kinds[number] ?? ''
      const kind = KINDS[name]
      const pool = kind?.pools[number % kind.pools.length]
      const visit = { target: `/${pool}/${name}/${number}`, number }
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const ending = await kind?.visit(client, visit).catch((error: unknown) => String(error))
      endings.add(`${name}: ${ending}`)
    }
    client.leave()
  }
  await Promise.all(Array.from({ length: CLIENTS }, work))
  return endings
}

setFlagsFromString('--expose-gc')
// Else what the heap holds would depend on which code has not run for how long.
setFlagsFromString('--no-flush-bytecode')
const collect: unknown = runInNewContext('gc')

/** What is left when all that nobody holds is gone, and then what waited for that. */
async function heap(): Promise<number> {
  let before = Infinity
  let now = await collected()
  while (now < before - 10_000) {
    before = now
    // oxlint-disable-next-line no-await-in-loop -- until no more goes
    now = await collected()
  }
  return now
}

async function collected(): Promise<number> {
  if (typeof collect !== 'function') throw new Error('no garbage collector to call')
  Reflect.apply(collect, undefined, [])
  await delay(10)
  Reflect.apply(collect, undefined, [])
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** What keeps the process alive, by kind; without files, which the test runner reads as it goes. */
function handles(): Tally {
  const counts = new Tally()
  for (const kind of process.getActiveResourcesInfo()) if (kind !== 'FSReqCallback') counts.add(kind)
  return counts
}

/** By how much the heap has grown; waits a while, as what the gateway lets linger takes its memory along. */
async function grownHeap(before: number): Promise<number> {
  let grown = (await heap()) - before
  for (let tries = 0; tries < 50 && grown >= MAY_GROW; tries++) {
    // oxlint-disable-next-line no-await-in-loop -- nothing tells when memory is free
    grown = await delay(100).then(async () => (await heap()) - before)
  }
  return grown
}

function failuresOf({ app }: World, pools: readonly string[]): number[] {
  return pools.flatMap((name) => app.snapshot.pools.get(name)?.pool.members.map(({ failures }) => failures) ?? [])
}

/** Waits until all is over, and looks on the way whether what must be over first is. */
async function quiet(t: Test, world: World, name: string): Promise<void> {
  const { app, backends, clients, accepted } = world
  await clients.until(() => clients.counts.get('open') === 0)
  await accepted.until(() => accepted.counts.get('open') === 0)
  t.equal(await promisify(app.server.getConnections.bind(app.server))(), 0, `${name}: no client is connected`)
  await Promise.all(backends.map(async ({ until, busy }) => until(() => busy() === 0)))
  const members = [...app.snapshot.pools].flatMap(([pool, entry]) =>
    entry.pool.members.map(({ id, inFlight }) => `${pool}, ${id}: ${inFlight}`),
  )
  t.same(
    members.filter((each) => !each.endsWith(': 0')),
    [],
    `${name}: nothing is in flight at any of ${members.length} members`,
  )
  const kept = backends.reduce((sum, { open }) => sum + open(), 0)
  t.ok(kept <= KEPT_AT_MOST, `${name}: ${kept} connections to backends are kept`)
  await Promise.all(backends.map(async ({ until, open }) => until(() => open() === 0)))
  t.same(signals.waiting, [], `${name}: nobody waits for anything`)
}

void test('20,000 requests, of which two thirds go wrong', { timeout: 115_000 }, async (t) => {
  const world = await build(t)
  const warmUp = plan(WARM_UP, SEED)
  // In two rounds: what the start of a process leaves behind goes when there is something new.
  await inTurn([warmUp.slice(0, WARM_UP / 2), warmUp.slice(WARM_UP / 2)], async (round) => {
    await run(world, round)
    await quiet(t, world, 'warm-up')
  })
  const [before, handlesBefore] = [await heap(), handles()]
  const kinds = plan(REQUESTS, SEED + 1)
  const endings = await run(world, kinds)
  const all = new Expected([...warmUp, ...kinds])
  t.same(sorted(endings), sorted(new Expected(kinds).endings), 'each ended for its client as its kind has to')
  await world.outcomes.until(() => world.outcomes.total >= all.outcomes.total)
  t.same(sorted(world.outcomes), sorted(all.outcomes), 'and for the gateway')
  await quiet(t, world, 'in the end')
  const certain = [...world.lost.counts].filter(([what]) => KINDS[what.split(',')[0] ?? '']?.lost !== undefined)
  t.same(new Map(certain), all.lost.counts, 'and at the backends')
  t.same(failuresOf(world, ['wide', 'narrow']), [0, 0, 0], 'who leaves is not held against a backend')
  const grown = await grownHeap(before)
  t.ok(grown < MAY_GROW, `memory has grown by ${grown} bytes`)
  t.same(sorted(handles()), sorted(handlesBefore), 'the process holds what it held before')
})
