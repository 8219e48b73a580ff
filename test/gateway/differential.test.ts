/**
 * The gateway changes nothing but what is listed here. 500 generated requests and 500 generated answers, each straight
 * and through the gateway: whole, in pieces that are cut at every kind of place there is, and behind each other.
 */
import type { Socket } from 'node:net'

import { test, type Test } from 'tap'

import { bareBackend, send, type BareBackend, type Incoming } from '../helpers/faulty-backend.ts'
import { gatewayTo, type Gateway } from '../helpers/gateway.ts'
import {
  boundariesOf,
  bytesOfParts,
  Chance,
  generateRequest,
  generateResponse,
  seedOf,
  type GeneratedRequest,
  type GeneratedResponse,
  type Part,
} from '../helpers/generate.ts'
import { guarded, inTurn, RawClient, valuesOf, type Answer } from '../helpers/raw.ts'

const SEED = seedOf(20_251)
const COUNT = 500
/** Connections of clients that are busy at the same time: what is mixed up between them shows. */
const LANES = 8
/** So many of the shortest are sent byte by byte. */
const BYTE_BY_BYTE = 40

const NUMBERS = Array.from({ length: COUNT }, (_, number) => number)

// --- what is compared ---

/** A name, and what stands between the colon and the end of the line. */
type Line = readonly [name: string, value: string]

interface Seen {
  readonly fields: readonly Line[]
  readonly content: string
  readonly trailers: readonly Line[]
}

interface SeenRequest extends Seen {
  readonly emptyLines: number
  readonly method: string
  readonly target: string
  readonly version: string
  readonly extensions: readonly string[]
}

interface SeenResponse extends Seen {
  readonly interim: readonly string[]
  readonly version: string
  readonly status: number
  readonly reason: string
  readonly complete: boolean
}

/** Something that the gateway may change. */
interface Difference<S, C> {
  readonly what: string
  readonly why: string
  /** Set where the gateway is free to make it, or where hardly a message has it: it need not occur. */
  readonly free?: true
  /**
   * Makes of `direct`, in which those before it in the list are made already, what it should be through the gateway.
   * `via` is what came through it, for what the gateway chooses; `first` is what came straight.
   */
  readonly make: (direct: S, via: S, context: C, first: S) => S
}

function linesOf(lines: readonly string[]): Line[] {
  return lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1)]
  })
}

/** Without the white space around it that is no part of it (RFC 9110, section 5.6.3): less than `trim` takes away. */
function bare(value: string): string {
  return value.replace(/^[ \t]+/, '').replace(/[ \t]+$/, '')
}

function valuesIn(fields: readonly Line[], name: string): string[] {
  return fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => bare(value))
}

function without<S extends Seen>(seen: S, unwanted: (name: string) => boolean): S {
  return { ...seen, fields: seen.fields.filter(([name]) => !unwanted(name.toLowerCase())) }
}

/** With fields that the gateway writes; no value for none. */
function written<S extends Seen>(seen: S, name: string, ...values: readonly string[]): S {
  const rest = without(seen, (each) => each === name)
  return { ...rest, fields: [...rest.fields, ...values.map((value): Line => [name, value])] }
}

/** What the gateway writes itself stands where it likes, in its own spelling. */
function inOrder<S extends Seen>(seen: S, own: ReadonlySet<string>): S {
  const isOwn = ([name]: Line): boolean => own.has(name.toLowerCase())
  const ours = seen.fields.filter(isOwn).map(([name, value]): Line => [name.toLowerCase(), bare(value)])
  const others = seen.fields.filter((line) => !isOwn(line))
  return { ...seen, fields: [...others, ...ours.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))] }
}

/** Compares, and remembers which of the differences there were. */
class Comparison<S extends Seen, C> {
  readonly #differences: ReadonlyArray<Difference<S, C>>
  readonly #own: ReadonlySet<string>
  readonly #met = new Set<string>()
  readonly wrong: string[] = []

  constructor(differences: ReadonlyArray<Difference<S, C>>, own: ReadonlySet<string>) {
    this.#differences = differences
    this.#own = own
  }

  compare(name: string, direct: S | undefined, via: S | undefined, context: C): void {
    if (direct === undefined || via === undefined) return void this.wrong.push(`${name}: never came`)
    let expected = direct
    for (const { what, make } of this.#differences) {
      const made = make(expected, via, context, direct)
      if (shown(made) !== shown(expected)) this.#met.add(what)
      expected = made
    }
    const [wanted, found] = [inOrder(expected, this.#own), inOrder(via, this.#own)]
    if (wanted.content !== found.content) this.wrong.push(`${name}: ${contents(wanted.content, found.content)}`)
    else if (shown(wanted) !== shown(found))
      this.wrong.push(`${name}:\nwanted ${shown(wanted)}\nfound  ${shown(found)}`)
  }

  /** Those in the list that never occurred: nothing says that they are right. */
  get unmet(): string[] {
    return this.#differences.filter(({ what, free }) => free !== true && !this.#met.has(what)).map(({ what }) => what)
  }
}

function shown(seen: Seen): string {
  return JSON.stringify({ ...seen, content: seen.content.length })
}

function contents(wanted: string, found: string): string {
  let at = 0
  while (at < wanted.length && wanted[at] === found[at]) at++
  return `of ${wanted.length} bytes of content, ${found.length} came, and another one at ${at}`
}

// --- what may differ in requests ---

interface RequestContext {
  /** The backend's own name. */
  readonly backend: string
  /** The X-Request-Id that the client got. */
  readonly id: string
}

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
])

const CLAIMS: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'x-client-ip',
])

const OWN_IN_REQUESTS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-request-id',
  'traceparent',
  'via',
  'te',
  'connection',
])

/** What the gateway is called. */
const NAME = 'here.example:80'

const TRACE = /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/

const ABSOLUTE = /^https?:\/\/([^/?]*)(.*)$/i

/** The host that a request asks for; '' where it does not say. */
function hostOf({ target, fields }: SeenRequest): string {
  return ABSOLUTE.exec(target)?.[1] ?? valuesIn(fields, 'host')[0] ?? ''
}

function isHop(fields: readonly Line[]): (name: string) => boolean {
  const listed = new Set(valuesIn(fields, 'connection').flatMap((line) => line.toLowerCase().split(/[ \t]*,[ \t]*/)))
  return (name) => HOP_BY_HOP.has(name) || listed.has(name)
}

/** Whether a TE field asks for trailers, and is listed as it has to be. */
function asksForTrailers({ version, fields }: SeenRequest): boolean {
  const listed = valuesIn(fields, 'connection').some((line) => /(?:^|[ \t,])te(?:$|[ \t,])/i.test(line))
  return version === 'HTTP/1.1' && listed && valuesIn(fields, 'te').some((line) => line.includes('trailers'))
}

/** In this order: what one of them needs, none before it may have taken away. */
const IN_REQUESTS: ReadonlyArray<Difference<SeenRequest, RequestContext>> = [
  {
    what: 'white space around a value',
    why: 'no part of it (RFC 9112, section 5.1)',
    make: (direct) => ({
      ...direct,
      fields: direct.fields.map(([name, value]) => [name, ` ${bare(value)}`]),
      trailers: direct.trailers.map(([name, value]) => [name, ` ${bare(value)}`]),
    }),
  },
  {
    what: 'empty lines in front',
    why: 'a server skips them (RFC 9112, section 2.2)',
    make: (direct) => ({ ...direct, emptyLines: 0 }),
  },
  {
    what: 'the version',
    why: "every hop has its own, and the gateway's is 1.1 (RFC 9110, section 2.5)",
    make: (direct) => ({ ...direct, version: 'HTTP/1.1' }),
  },
  {
    what: 'fields of one hop',
    why: 'they and what Connection lists end here (RFC 9110, section 7.6.1)',
    make: (direct) => without(direct, isHop(direct.fields)),
  },
  {
    what: 'TE: trailers',
    why: 'the gateway asks for what its client reads (RFC 9110, section 10.1.4)',
    make: (direct, _via, _context, first) =>
      asksForTrailers(first) ? written(written(direct, 'te', 'trailers'), 'connection', 'TE') : direct,
  },
  {
    what: 'claims of a client about itself',
    why: 'only a trusted proxy is believed; some backends read _ as -',
    make: (direct) => without(direct, (name) => CLAIMS.has(name.replaceAll('_', '-'))),
  },
  {
    what: 'X-Forwarded-*',
    why: 'the gateway says who the client is and what it asked for',
    make(direct) {
      const host = hostOf(direct)
      const named = host === '' ? direct : written(direct, 'x-forwarded-host', host)
      return written(written(named, 'x-forwarded-for', '127.0.0.1'), 'x-forwarded-proto', 'http')
    },
  },
  {
    what: 'X-Request-Id',
    why: 'one of its own for a client that is not trusted; the client is told the same',
    make: (direct, _via, { id }) => written(direct, 'x-request-id', id),
  },
  {
    what: 'traceparent',
    why: 'the gateway begins a trace, with ids by chance',
    make: (direct, via) =>
      written(direct, 'traceparent', ...valuesIn(via.fields, 'traceparent').filter((value) => TRACE.test(value))),
  },
  {
    what: 'Host',
    why: "the authority of an absolute target goes before it (RFC 9112, section 3.2.2); for none, the backend's own",
    make: (direct, _via, { backend }) => written(direct, 'host', hostOf(direct) || backend),
  },
  {
    what: 'the absolute form',
    why: 'what is in it beside Host is the origin form (RFC 9112, section 3.2.1)',
    make(direct) {
      const rest = ABSOLUTE.exec(direct.target)?.[2] ?? direct.target
      return { ...direct, target: rest.startsWith('/') ? rest : `/${rest}` }
    },
  },
  {
    what: 'Expect',
    why: 'the gateway has answered it (RFC 9110, section 10.1.1)',
    make: (direct) => without(direct, (name) => name === 'expect'),
  },
  {
    what: 'several Cookie lines',
    why: 'one line in the place of the first (RFC 6265, section 5.4)',
    make(direct) {
      const all = ` ${valuesIn(direct.fields, 'cookie').join('; ')}`
      const first = direct.fields.findIndex(([name]) => name.toLowerCase() === 'cookie')
      const fields = direct.fields.map(([name, value], at): Line => [name, at === first ? all : value])
      return { ...direct, fields: fields.filter(([name], at) => at === first || name.toLowerCase() !== 'cookie') }
    },
  },
  {
    what: 'framing',
    why: 'chunks are a matter of one hop: others, without extensions; a length of 00 is written as 0',
    make(direct) {
      const coding = valuesIn(direct.fields, 'transfer-encoding').map((value) => value.toLowerCase())
      const length = valuesIn(direct.fields, 'content-length').map((value) => (Number(value) === 0 ? '0' : value))
      const plain = { ...direct, extensions: [] }
      return written(written(plain, 'transfer-encoding', ...coding), 'content-length', ...length)
    },
  },
  {
    what: 'Via',
    why: 'a gateway adds itself and the version that it was asked in (RFC 9110, section 7.6.3)',
    make: (direct, _via, _context, { version }) =>
      written(direct, 'via', ...valuesIn(direct.fields, 'via'), `${version.slice(5)} ${NAME}`),
  },
]

// --- what may differ in answers ---

interface ResponseContext {
  readonly request: GeneratedResponse['request']
  /** The X-Request-Id that the backend was told. */
  readonly id: string
}

const OWN_IN_RESPONSES: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'via',
  'x-request-id',
])

function hasContent({ status }: SeenResponse, { method }: GeneratedResponse['request']): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304
}

const IN_RESPONSES: ReadonlyArray<Difference<SeenResponse, ResponseContext>> = [
  {
    what: 'white space around a value',
    why: 'no part of it (RFC 9112, section 5.1)',
    make: (direct) => ({
      ...direct,
      fields: direct.fields.map(([name, value]) => [name, ` ${bare(value)}`]),
      trailers: direct.trailers.map(([name, value]) => [name, ` ${bare(value)}`]),
    }),
  },
  {
    what: 'the version',
    why: "every hop has its own, and the gateway's is 1.1 (RFC 9110, section 2.5)",
    make: (direct) => ({ ...direct, version: 'HTTP/1.1' }),
  },
  {
    what: 'interim answers to HTTP/1.0',
    why: 'it knows none (RFC 9110, section 15.2)',
    make: (direct, _via, { request }) => (request.version === '1.0' ? { ...direct, interim: [] } : direct),
  },
  {
    what: '100 Continue',
    why: 'about a request that the gateway sends as it comes: a client that expects one has it from the gateway',
    make: (direct) => ({ ...direct, interim: direct.interim.filter((each) => !each.startsWith('100')) }),
  },
  {
    what: 'fields of one hop',
    why: 'they and what Connection lists end here (RFC 9110, section 7.6.1)',
    make: (direct) => without(direct, isHop(direct.fields)),
  },
  {
    what: 'the announcement of trailers',
    why: 'goes on with them (RFC 9110, section 6.6.2)',
    free: true,
    make(direct, _via, { request }, first) {
      const followed =
        request.trailers && valuesIn(first.fields, 'transfer-encoding').length > 0 && hasContent(direct, request)
      return written(direct, 'trailer', ...(followed ? valuesIn(first.fields, 'trailer') : []))
    },
  },
  {
    what: 'Connection and Keep-Alive',
    why: 'the gateway speaks for its own connection; to HTTP/1.1 it keeps it open',
    make(direct, via, { request }) {
      const options = valuesIn(via.fields, 'connection')
      const right = request.version === '1.0' ? /^(?:close|keep-alive)$/ : /^keep-alive$/
      const kept =
        options.length === 1 && right.test(String(options)) ? written(direct, 'connection', ...options) : direct
      const times = valuesIn(via.fields, 'keep-alive').filter((value) => /^timeout=\d+$/.test(value))
      return written(kept, 'keep-alive', ...times)
    },
  },
  {
    what: 'Date',
    why: 'added where it is missing (RFC 9110, section 6.6.1)',
    make(direct, via) {
      const [date = ''] = valuesIn(via.fields, 'date')
      if (valuesIn(direct.fields, 'date').length > 0 || Number.isNaN(Date.parse(date))) return direct
      return { ...direct, fields: [...direct.fields, ['Date', ` ${date}`]] }
    },
  },
  {
    what: 'X-Request-Id',
    why: 'the one that the backend was told, and no other',
    make: (direct, _via, { id }) => written(direct, 'x-request-id', id),
  },
  {
    what: 'framing',
    why: 'chunks are a matter of one hop; HTTP/1.0 knows none; what has no content needs none (RFC 9112, section 6)',
    make(direct, _via, { request }) {
      const content = hasContent(direct, request)
      const sized = valuesIn(direct.fields, 'content-length').length > 0
      return written(
        direct,
        'transfer-encoding',
        ...(content && !sized && request.version === '1.1' ? ['chunked'] : []),
      )
    },
  },
  {
    what: 'trailers',
    why: 'only for clients that ask for them (RFC 9110, section 6.5.1)',
    make: (direct, _via, { request }) => (request.trailers ? direct : { ...direct, trailers: [] }),
  },
  {
    what: 'Via',
    why: 'a gateway may add itself (RFC 9110, section 7.6.3)',
    free: true,
    make: (direct, via) =>
      String(valuesIn(via.fields, 'via')) === `1.1 ${NAME}` ? written(direct, 'via', `1.1 ${NAME}`) : direct,
  },
]

// --- how it is sent ---

type Mode = 'whole' | 'in pieces' | 'behind each other'

/** Cuts messages, and remembers at which kinds of places. */
class Cutter {
  readonly #chance = new Chance(SEED)
  readonly #short: ReadonlySet<number>
  /** How many messages have such a place. */
  readonly #kinds = new Map<string, number>()
  readonly #cuts = new Map<string, number>()

  constructor(messages: ReadonlyArray<{ readonly number: number; readonly parts: readonly Part[] }>) {
    const sized = messages.map(({ number, parts }) => ({ number, size: bytesOfParts(parts).length }))
    const shortest = sized.toSorted((a, b) => a.size - b.size).slice(0, BYTE_BY_BYTE)
    this.#short = new Set(shortest.map(({ number }) => number))
    for (const { parts } of messages)
      for (const kind of new Set(boundariesOf(parts).map((each) => each.kind))) count(this.#kinds, kind)
  }

  /** Every byte on its own; or one cut where the fewest have been, up to two anywhere, and where hardly a message can be. */
  pieces(number: number, parts: readonly Part[]): Buffer[] {
    const bytes = bytesOfParts(parts)
    const boundaries = boundariesOf(parts)
    if (this.#short.has(number)) {
      for (const { kind } of boundaries) count(this.#cuts, kind)
      return Array.from(bytes, (byte) => Buffer.of(byte))
    }
    const leastCut = boundaries
      .toSorted((a, b) => countOf(this.#cuts, a.kind) - countOf(this.#cuts, b.kind))
      .slice(0, 1)
    const others = Array.from({ length: this.#chance.between(0, 2) }, () => this.#chance.one(boundaries))
    const rare = boundaries.filter(({ kind }) => countOf(this.#kinds, kind) < 10)
    const cuts = [...leastCut, ...others, ...rare].map(({ kind, first, last }) => {
      count(this.#cuts, kind)
      return this.#chance.between(first, last)
    })
    const ends = [...new Set(cuts), bytes.length].toSorted((a, b) => a - b)
    return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
  }

  get kinds(): ReadonlySet<string> {
    return new Set(this.#kinds.keys())
  }

  /** Those at which no message was cut. */
  get uncut(): string[] {
    return [...this.kinds].filter((kind) => !this.#cuts.has(kind))
  }
}

function countOf(counts: ReadonlyMap<string, number>, key: string): number {
  return counts.get(key) ?? 0
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, countOf(counts, key) + 1)
}

/** The sockets on the gateway's side, by the port of the client. */
function socketsOf(gateway: Gateway): Map<number, Socket> {
  const sockets = new Map<number, Socket>()
  gateway.app.server.on('connection', (socket: Socket) => void sockets.set(socket.remotePort ?? 0, socket))
  return sockets
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

/** Waits until the gateway has read all that was sent, so that the next piece is read on its own. */
async function isRead(client: RawClient, sockets: ReadonlyMap<number, Socket>): Promise<void> {
  const { socket } = client
  const other = (): Socket | undefined => sockets.get(socket.localPort ?? 0)
  const missing = (): boolean => {
    const { bytesRead, destroyed } = other() ?? { bytesRead: 0, destroyed: false }
    return !destroyed && !socket.destroyed && bytesRead < socket.bytesWritten
  }
  // oxlint-disable-next-line no-await-in-loop -- until it is so: a socket tells nobody what its parser reads
  while (missing()) await turn()
}

/** A client that opens a connection where it has none. */
class Lane {
  readonly #t: Test
  readonly #port: number
  #client: RawClient | undefined

  constructor(t: Test, port: number) {
    this.#t = t
    this.#port = port
  }

  async client(): Promise<RawClient> {
    return (this.#client ??= await RawClient.open(this.#t, this.#port))
  }

  leave(): void {
    this.#client?.socket.destroy()
    this.#client = undefined
  }
}

/** Shares out the items; each lane takes its own one after the other. */
async function inLanes<T>(t: Test, port: number, items: readonly T[], act: (lane: Lane, item: T) => Promise<void>) {
  const lanes = Array.from({ length: LANES }, async (_, n) => {
    const lane = new Lane(t, port)
    await inTurn(
      items.filter((_item, index) => index % LANES === n),
      async (item) => act(lane, item),
    )
    lane.leave()
  })
  await Promise.all(lanes)
}

// --- requests ---

/** What one way of sending brought to the backend, by number, and what else went wrong on it. */
interface RequestRun {
  readonly seen: Map<number, SeenRequest>
  readonly ids: Map<number, string>
  readonly wrong: string[]
}

function seenRequest(incoming: Incoming): SeenRequest {
  const [line = '', ...lines] = incoming.head.split('\r\n')
  const [method = '', target = '', version = ''] = line.split(' ')
  return {
    emptyLines: incoming.emptyLines,
    method,
    target,
    version,
    fields: linesOf(lines),
    extensions: incoming.body.extensions,
    content: incoming.body.content.toString('latin1'),
    trailers: linesOf(incoming.body.trailers),
  }
}

function numberOf(fields: readonly Line[]): number {
  return Number(valuesIn(fields, 'x-number')[0])
}

/** Keeps what it is sent, and answers with the number of the request. */
async function recorder(t: Test, run: RequestRun): Promise<BareBackend> {
  return bareBackend(t, {
    onRequest: (incoming) => {
      const seen = seenRequest(incoming)
      const number = numberOf(seen.fields)
      if (run.seen.has(number)) run.wrong.push(`request ${number} came twice`)
      run.seen.set(number, seen)
      const content = seen.method === 'HEAD' ? '' : String(number)
      const length = String(number).length
      send(incoming, `HTTP/1.1 200 OK\r\nX-Number: ${number}\r\nContent-Length: ${length}\r\n\r\n${content}`)
      incoming.answered()
    },
  })
}

function checkAnswer(run: RequestRun, { number, method, stays, switches }: GeneratedRequest, answer: Answer): void {
  const { status, body, complete } = answer
  const content = method === 'HEAD' ? '' : String(number)
  const right = status === 200 && complete && body.toString() === content && numberOf(answer.fields) === number
  if (!right)
    run.wrong.push(`request ${number}: answered ${status}, complete: ${complete}, ${answer.head} ${body.toString()}`)
  // Behind an upgrade that is not taken nothing can be read, unless nothing follows it: WS-09.
  if (stays && !switches && closes(answer)) run.wrong.push(`request ${number}: its connection is closed`)
  run.ids.set(number, String(valuesOf(answer, 'x-request-id')))
}

/** An answer that never comes is no use without the number of the request. */
async function answerTo(client: RawClient, method: string, number: number): Promise<Answer> {
  return client.answer(method).catch((error: unknown) => {
    throw new Error(`SLUICE_TEST_SEED=${SEED}: the answer to request ${number}`, { cause: error })
  })
}

type SendRequest = (client: RawClient, request: GeneratedRequest) => Promise<void>

const atOnce: SendRequest = async (client, { parts }) => client.send(bytesOfParts(parts))

/** Sends requests one after the other on one connection, for as long as it stays. */
async function oneByOne(lane: Lane, requests: readonly GeneratedRequest[], run: RequestRun, sendRequest: SendRequest) {
  await inTurn(requests, async (request) => {
    const client = await lane.client()
    await sendRequest(client, request)
    const answer = await answerTo(client, request.method, request.number)
    checkAnswer(run, request, answer)
    if (!request.stays || closes(answer)) await ended(lane)
  })
}

/** Sends as many as may follow each other at once, and reads the answers then. */
async function pipelined(lane: Lane, requests: readonly GeneratedRequest[], run: RequestRun) {
  const client = await lane.client()
  client.send(Buffer.concat(requests.map(({ parts }) => bytesOfParts(parts))))
  await inTurn(requests, async (request) => {
    const answer = await answerTo(client, request.method, request.number)
    checkAnswer(run, request, answer)
    if (request === requests.at(-1) && (!request.stays || closes(answer))) await ended(lane)
  })
}

function closes(answer: Answer): boolean {
  return !answer.complete || valuesOf(answer, 'connection').includes('close')
}

/** The gateway closes as it was asked to, and says nothing more. */
async function ended(lane: Lane): Promise<void> {
  const { inbox } = await lane.client()
  await inbox.end()
  if (inbox.length > 0) throw new Error(`bytes behind the last answer: ${inbox.text.slice(0, 200)}`)
  lane.leave()
}

/** Up to four in a row, of which the last may be one behind which the connection is closed. */
function rows(requests: readonly GeneratedRequest[]): GeneratedRequest[][] {
  const found: GeneratedRequest[][] = [[]]
  for (const request of requests) {
    const row = found.at(-1) ?? []
    row.push(request)
    if (row.length === 4 || !request.stays || request.switches) found.push([])
  }
  return found.filter(({ length }) => length > 0)
}

async function straight(t: Test, requests: readonly GeneratedRequest[]): Promise<RequestRun> {
  const run: RequestRun = { seen: new Map(), ids: new Map(), wrong: [] }
  const { port } = await recorder(t, run)
  await inLanes(t, port, requests, async (lane, request) => {
    const client = await lane.client()
    client.send(bytesOfParts(request.parts))
    checkAnswer(run, request, await answerTo(client, request.method, request.number))
  })
  return run
}

async function through(t: Test, requests: readonly GeneratedRequest[], mode: Mode, cutter: Cutter) {
  const run: RequestRun = { seen: new Map(), ids: new Map(), wrong: [] }
  const server = await recorder(t, run)
  const gateway = await gatewayTo(t, [server], {}, { listen: { via: NAME } })
  const sockets = socketsOf(gateway)
  const inPieces: SendRequest = async (client, { number, parts }) => {
    await inTurn(cutter.pieces(number, parts), async (piece) => {
      client.send(piece)
      await guarded(isRead(client, sockets), () => `a piece of request ${number}`)
    })
  }
  await inLanes(t, gateway.port, rows(requests), async (lane, row) => {
    if (mode === 'behind each other') await pipelined(lane, row, run)
    else await oneByOne(lane, row, run, mode === 'whole' ? atOnce : inPieces)
  })
  return { run, backend: `127.0.0.1:${server.port}` }
}

void test('500 requests, straight and through the gateway', async (t) => {
  const requests = NUMBERS.map((number) => generateRequest(SEED, number))
  const cutter = new Cutter(requests)
  const direct = await straight(t, requests)
  const comparison = new Comparison(IN_REQUESTS, OWN_IN_REQUESTS)
  const wrong = [...direct.wrong]
  const own = requests.filter(({ number, content }) => direct.seen.get(number)?.content !== content)
  wrong.push(...own.map(({ number }) => `request ${number}: not even straight`))
  await inTurn(['whole', 'in pieces', 'behind each other'] as const, async (mode) => {
    const { run, backend } = await through(t, requests, mode, cutter)
    wrong.push(...run.wrong.map((each) => `${mode}: ${each}`))
    for (const number of NUMBERS) {
      const context = { backend, id: run.ids.get(number) ?? '' }
      comparison.compare(`request ${number}, ${mode}`, direct.seen.get(number), run.seen.get(number), context)
    }
  })
  isSame(t, [...wrong, ...comparison.wrong])
  t.same(comparison.unmet, [], 'every difference that is allowed occurred')
  isCutEverywhere(t, cutter, ['name of trailer', 'target'])
})

function isSame(t: Test, wrong: readonly string[]): void {
  t.equal(wrong.length, 0, `SLUICE_TEST_SEED=${SEED}: ${wrong.slice(0, 3).join('\n')}`)
}

/** Those that must be among them, so that nobody takes a list that is empty for one that is done. */
function isCutEverywhere(t: Test, cutter: Cutter, parts: readonly string[]): void {
  const most = ['version', 'name of field', 'value of field', 'size', 'extension', 'data', ...parts].map(
    (each) => `in ${each}`,
  )
  const ends = ['field', 'head', 'size', 'data', 'last size', 'trailer', 'trailers'].map(
    (of) => `CR of ${of} | LF of ${of}`,
  )
  t.same(
    [...most, ...ends].filter((kind) => !cutter.kinds.has(kind)),
    [],
    `${cutter.kinds.size} kinds of places`,
  )
  t.same(cutter.uncut, [], 'every kind of place was cut')
}

// --- answers ---

interface ResponseRun {
  readonly seen: Map<number, SeenResponse>
  /** The request ids that the backend was told. */
  readonly ids: Map<number, string>
}

function seenResponse(answer: Answer, interim: readonly string[]): SeenResponse {
  const [, ...lines] = answer.head.split('\r\n')
  return {
    // A reason means nothing (RFC 9112, section 4): only the status and the fields of these are looked at.
    interim: interim.map((head) => {
      const [line = '', ...rest] = head.split('\r\n')
      return [line.split(' ')[1], ...linesOf(rest).map(([name, value]) => `${name}: ${bare(value)}`)].join('\n')
    }),
    version: answer.version,
    status: answer.status,
    reason: answer.reason,
    fields: linesOf(lines),
    content: answer.body.toString('latin1'),
    trailers: linesOf(answer.trailers === '' ? [] : answer.trailers.split('\r\n')),
    complete: answer.complete,
  }
}

type Pieces = (response: GeneratedResponse) => readonly Buffer[]

/** Answers each request with the answer of its number, in pieces. */
async function answerer(t: Test, responses: readonly GeneratedResponse[], run: ResponseRun, pieces: Pieces) {
  return bareBackend(t, {
    onRequest: (incoming) => {
      const { fields } = seenRequest(incoming)
      const response = responses[numberOf(fields)]
      if (response === undefined) throw new Error(`a request without a number: ${incoming.head}`)
      run.ids.set(response.number, valuesIn(fields, 'x-request-id').join())
      void answerIn(incoming, response, pieces(response))
    },
  })
}

async function answerIn(incoming: Incoming, response: GeneratedResponse, pieces: readonly Buffer[]): Promise<void> {
  await inTurn(pieces, async (piece, index) => {
    // Two turns of the loop: in the first it arrives, in the second it is read.
    if (index > 0) await turn().then(turn)
    send(incoming, piece)
  })
  if (response.ends) incoming.socket.end()
  else incoming.answered()
}

async function askFor(lane: Lane, response: GeneratedResponse, run: ResponseRun): Promise<Answer> {
  const client = await lane.client()
  const before = client.interim.length
  client.send(response.request.text)
  const answer = await answerTo(client, response.request.method, response.number)
  run.seen.set(response.number, seenResponse(answer, client.interim.slice(before)))
  return answer
}

async function answersStraight(t: Test, responses: readonly GeneratedResponse[]): Promise<ResponseRun> {
  const run: ResponseRun = { seen: new Map(), ids: new Map() }
  const { port } = await answerer(t, responses, run, ({ parts }) => [bytesOfParts(parts)])
  await inLanes(t, port, responses, async (lane, response) => {
    await askFor(lane, response, run)
    if (response.ends) lane.leave()
  })
  return run
}

async function answersThrough(t: Test, responses: readonly GeneratedResponse[], pieces: Pieces): Promise<ResponseRun> {
  const run: ResponseRun = { seen: new Map(), ids: new Map() }
  const server = await answerer(t, responses, run, pieces)
  // Each answer counts, whatever its status.
  const untouched = { retry: { attempts: 1 }, breaker: false, health: { passive: false } } as const
  const { port } = await gatewayTo(t, [server], untouched, { listen: { via: NAME } })
  await inLanes(t, port, responses, async (lane, response) => {
    const answer = await askFor(lane, response, run)
    // To HTTP/1.1 it never says so: that is among what is compared.
    if (closes(answer)) await ended(lane)
  })
  return run
}

void test('500 answers, straight and through the gateway', async (t) => {
  const responses = NUMBERS.map((number) => generateResponse(SEED, number))
  const cutter = new Cutter(responses)
  const direct = await answersStraight(t, responses)
  const comparison = new Comparison(IN_RESPONSES, OWN_IN_RESPONSES)
  const own = responses.filter(({ number, content }) => direct.seen.get(number)?.content !== content)
  const modes: Readonly<Record<string, Pieces>> = {
    whole: ({ parts }) => [bytesOfParts(parts)],
    'in pieces': ({ number, parts }) => cutter.pieces(number, parts),
  }
  await inTurn(Object.entries(modes), async ([mode, pieces]) => {
    const run = await answersThrough(t, responses, pieces)
    for (const { number, request } of responses) {
      const context = { request, id: run.ids.get(number) ?? '' }
      comparison.compare(`answer ${number}, ${mode}`, direct.seen.get(number), run.seen.get(number), context)
    }
  })
  isSame(t, [...own.map(({ number }) => `answer ${number}: not even straight`), ...comparison.wrong])
  t.same(comparison.unmet, [], 'every difference that is allowed occurred')
  isCutEverywhere(t, cutter, ['status', 'reason', 'interim line', 'value of trailer'])
})
