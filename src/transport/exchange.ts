/**
 * An exchange: one client's request and its answer, with all attempts in it. It holds what the attempts share, and
 * writes the answer to the client. Which backend, and whether another attempt is made, is decided elsewhere.
 */
import { validateHeaderName, validateHeaderValue, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { TracingSettings } from '../config/settings.ts'
import type { RequestInfo } from '../core/algorithms/algorithm.ts'
import type { Backend } from '../core/backend.ts'
import { EXPLAIN, REQUEST_ID } from '../core/fields.ts'
import { SluiceError, type ErrorCode } from '../errors.ts'
import type { Attempt } from './attempt.ts'
import { PROBE_AFTER_MS } from './connection.ts'
import { AttemptError, type FailureKind } from './failure.ts'
import type { Forwarding } from './forwarding.ts'
import { lingerOnClose, reset, type Peer, type Peers } from './peer.ts'
import { buildRequestHead, clientOf, wantsTrailers } from './request-head.ts'
import { RequestBody } from './request-body.ts'
import { fieldsOf, withoutFields, type ResponseHead } from './response-head.ts'
import { leavesPrefix, rewritePath, SERVER_WIDE, type Target } from './target.ts'
import { traceOf, type Trace } from './trace.ts'
import { requestTrailers, responseTrailers } from './trailers.ts'
import { asObject, hasBody, isHttp2, wireOf, type Wire } from './wire.ts'

/** How an exchange ended: see `Exchange.outcome`. */
export type Outcome = 'answered' | 'refused' | 'broken' | 'aborted'

/** What reply.from calls back with when the answer must take the way through Fastify's onSend hooks. */
export type FromCallback = (error: null, answer: { statusCode: number; headers: object; body: Readable }) => void

/** What an exchange needs to know of the gateway it runs in. */
export interface ExchangeContext {
  readonly peers: Peers
  /** Whether answers should tell clients to close their connections, because the gateway is about to stop. */
  readonly closing: () => boolean
  /** How this gateway calls itself in Via; '' for not at all. */
  readonly via: string
  /** What is done about traces, as of now. */
  readonly tracing: () => TracingSettings
  /** Whether Node reads requests by the letter, as it does unless an application wants it otherwise. */
  readonly strict: boolean
}

/** What was noted when the request came, before any hook of the application. */
export interface Arrival {
  readonly startedAt: number
  readonly peer: Peer | null
}

/** How an attempt ended, for whoever wants to know why there was more than one. */
export interface Try {
  readonly backend: string
  /** The status of the answer, or what went wrong; undefined when neither had happened before its client left. */
  readonly outcome: number | FailureKind | undefined
  readonly ms: number
}

/** Sent again without doing harm, should the first have been read after all (RFC 9110, section 9.2.2; RFC 4918; 9.2.1). */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
  'PROPFIND',
  'REPORT',
  'SEARCH',
  'QUERY',
])
/**
 * Requests that a client may send ahead of its answers. Few clients send any; a request is a hundred times as large here
 * as on the wire, so that without a bound a small stream of them would fill the memory.
 */
const MAX_PIPELINED = 100
/** How long a client whose tunnel has ended may take to close its side. */
const LINGER_MS = 1000

/** Fields of an answer that only we write. */
const OURS: ReadonlySet<string> = new Set([REQUEST_ID, EXPLAIN])
const PLAIN = /^[ -~]*$/
/** A name or an address, and a port up to 65535. */
export const HOST =
  /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::(?:[0-5]?\d{1,4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]))?$/i

export class Exchange implements RequestInfo {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly raw: IncomingMessage
  readonly res: ServerResponse
  readonly forwarding: Forwarding
  readonly path: string
  readonly peer: Peer
  /** The trace it is part of; undefined where none is passed on. */
  readonly trace: Trace | undefined
  /** When its request came, on the clock of `performance.now()`. */
  readonly startedAt: number
  /** The backends that were tried and failed. */
  tried: Set<Backend> | undefined
  /** The attempts that failed and were followed by another one. */
  tries: Try[] | undefined
  /** The same, where they will be told of as spans. */
  replaced: Attempt[] | undefined
  /** Ends the wait for another attempt, when there is one. */
  stopWaiting: (() => void) | undefined
  /** Whether it holds a place in the pool's budget of retries. */
  retrying = false
  /** The protocol that the client wants to switch to, in lower case; '' for none. */
  readonly upgrade: string
  readonly idempotent: boolean
  /** What the client sends: a body, or after a switch of protocols everything. */
  body: RequestBody | undefined
  readonly #context: ExchangeContext
  readonly #target: Target
  /** The attempt under way, or the last one. */
  attempt: Attempt | undefined
  /** How many attempts were made. */
  attempts = 0
  /** What backends sent of the answer's content. */
  bytesOut = 0
  /** Called when the client's response has closed. */
  onClose: ((exchange: Exchange) => void) | undefined
  /** Whether the answer must take the way through Fastify, because hooks of the application want to see it. */
  readonly throughHooks: boolean
  /** Where the answer goes then. */
  callback: FromCallback | undefined
  /** Why it failed, if it did. */
  error: { readonly code?: ErrorCode | undefined; readonly failure?: FailureKind; readonly reason: string } | undefined
  /** What a client that may know is told of how its backend was chosen: the value of a field. */
  explanation: (() => string) | undefined
  readonly #wire: Wire
  /** The client's connection, once protocols are switched. */
  #tunnel: Socket | undefined
  #stream: AnswerStream | undefined
  #begun = false
  #ip: string | undefined
  /**
   * 'answered' by a backend, 'refused' with an answer of our own, 'broken' off because the backend failed in the middle
   * of its answer, 'aborted' because the client left; undefined while it lasts.
   */
  outcome: Outcome | undefined

  /** @throws {SluiceError} when the request may not be forwarded */
  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    target: Target,
    forwarding: Forwarding,
    context: ExchangeContext,
    throughHooks: boolean,
    arrival: Arrival,
  ) {
    this.request = request
    this.reply = reply
    this.startedAt = arrival.startedAt
    this.raw = request.raw
    this.res = reply.raw
    this.forwarding = forwarding
    this.path = target.path
    this.peer = arrival.peer ?? context.peers.of(request.raw)
    this.#context = context
    this.#target = target
    this.#wire = wireOf(this.raw)
    this.upgrade = upgradeOf(this.raw)
    this.idempotent = IDEMPOTENT.has(this.raw.method ?? '')
    this.throughHooks = throughHooks
    // An application makes ids in its own way, and this one becomes a line of both heads.
    if (!PLAIN.test(request.id)) throw new SluiceError('SLUICE_BAD_REQUEST')
    if (leavesPrefix(target.path, forwarding.prefix)) throw new SluiceError('SLUICE_BAD_REQUEST')
    const { via } = this.raw.headers
    if (via !== undefined && context.via !== '' && namesIn(via, context.via)) throw new SluiceError('SLUICE_LOOP')
    this.body = this.#openBody()
    if (this.body === undefined && context.strict) this.#wire.forgoBody(this.raw)
    this.trace = traceOf(this.raw, this.peer.trusted, context.tracing())
  }

  // --- what an algorithm may know ---

  get method(): string {
    return this.raw.method ?? ''
  }

  get query(): string {
    return this.#target.query
  }

  get ip(): string {
    return (this.#ip ??= clientOf(this.raw, this.peer, this.#context.peers))
  }

  header(name: string): string | undefined {
    const value = this.raw.headers[name]
    return Array.isArray(value) ? value[0] : value
  }

  // --- the request ---

  /** The host the client asked for. @throws {SluiceError} when it is not one */
  get host(): string {
    const host = this.#target.authority ?? this.raw.headers.host ?? ''
    if (host !== '' && !HOST.test(host)) throw new SluiceError('SLUICE_BAD_REQUEST')
    return host
  }

  /**
   * The request head for a backend.
   *
   * @param backendHost its name and port, as they stand in its URL
   * @param spanId of the attempt; '' without a trace
   * @throws {SluiceError} when the request may not be forwarded
   */
  headFor(backendHost: string, spanId: string): string {
    const { forwarding } = this
    const { rewrite } = forwarding
    const asIs = rewrite === undefined || this.path === SERVER_WIDE
    const path = asIs ? this.path : rewritePath(this.path, rewrite)
    if (path === undefined) throw new SluiceError('SLUICE_BAD_REQUEST')
    const input = {
      raw: this.raw,
      peer: this.peer,
      id: this.request.id,
      host: this.host,
      target: path + this.#target.query,
      body: this.body,
      upgrade: this.upgrade,
      via: this.#context.via,
      trace: this.trace,
      spanId,
      strict: this.#context.strict && this.#wire.closes,
    }
    return buildRequestHead(input, backendHost, forwarding)
  }

  /** Whether it may be sent once more although a backend may have seen it. */
  get repeatable(): boolean {
    return this.idempotent && (this.body === undefined || this.body.replayable)
  }

  #openBody(): RequestBody | undefined {
    const { raw, forwarding } = this
    const { 'content-length': length, 'transfer-encoding': coding } = raw.headers
    if (coding !== undefined) {
      // Node lets only what ends in `chunked` through; anything before it is a coding we do not know.
      const known = coding.toLowerCase() === 'chunked' && length === undefined
      // HTTP/1.0 knows no codings: whoever came before us may have read this request differently (RFC 9112, section 6.1).
      if (!known || raw.httpVersionMinor === 0 || isHttp2(raw)) throw new SluiceError('SLUICE_BAD_REQUEST')
    } else if (length === undefined ? !hasBody(raw) : Number(length) === 0) return undefined
    else if (Number(length) > forwarding.maxBodySize) throw new SluiceError('SLUICE_BODY_TOO_LARGE')
    // A preParsing hook of the application may have put another stream in the raw one's place.
    const stream = this.request.body instanceof Readable ? this.request.body : raw
    return new RequestBody(stream, {
      chunked: length === undefined || stream !== raw,
      limit: forwarding.maxBodySize,
      keep: this.idempotent ? forwarding.retry.bufferBody : 0,
      trailers: () => (raw.rawTrailers.length === 0 ? '' : requestTrailers(raw, this.peer.trusted, forwarding)),
      // HTTP/2 lets a client call off its request without an error, which looks like its end.
      isWhole: () => !this.gone,
      onRefused: (kind, message) => this.attempt?.refuseBody(kind, message),
    })
  }

  /** Calls `then` when the answers to all requests before it on its connection are written. */
  awaitTurn(then: () => void): void {
    const { peer, raw, res } = this
    if (++peer.waiting > MAX_PIPELINED) raw.socket.destroy()
    res.once('socket', () => {
      peer.waiting--
      then()
    })
  }

  /** Before another attempt: notes how this one ended. */
  remember(attempt: Attempt): void {
    this.tries = [...(this.tries ?? []), attempt.record]
    if (this.trace?.sampled) this.replaced = [...(this.replaced ?? []), attempt]
    this.error = undefined
  }

  /** How each attempt that was made ended, or stands. */
  get allTries(): readonly Try[] {
    const { tries = [], attempt } = this
    const all = attempt === undefined ? tries : [...tries, attempt.record]
    // When no backend is left for another attempt, the last one has been remembered all the same.
    return all.slice(0, this.attempts)
  }

  // --- the answer ---

  /** Whether nobody is there any more to get one. */
  get gone(): boolean {
    return this.#wire.gone(this.res)
  }

  /** The same, also while nothing is read from the client. */
  get abandoned(): boolean {
    return this.#wire.abandoned(this.raw)
  }

  /** Whether its client left before all of the answer had been sent, also where the backend had long been done. */
  get undelivered(): boolean {
    // The head of a tunnel goes past the response.
    if (this.#tunnel !== undefined) return false
    return this.outcome === 'answered'
      ? !this.res.writableFinished
      : this.outcome === 'refused' && !this.res.headersSent
  }

  get begun(): boolean {
    return this.#begun
  }

  /** Passes an interim answer on. We ask for no 100 ourselves: the client has had its own from us. */
  inform(head: ResponseHead): void {
    if (head.status === 100 || this.#begun) return
    const rules = this.forwarding.responseHeaders
    const fields = fieldsOf(head.lines)
    const kept = rules === undefined ? fields : withoutFields(fields, rules.drop)
    this.#wire.inform(this.raw, this.res, head.status, kept)
  }

  /** Writes an answer that is there as a whole. */
  answer(head: ResponseHead, content: string): void {
    if (this.callback !== undefined) {
      this.begin(head, false)
      this.write(Buffer.from(content, 'latin1'))
      return this.end('')
    }
    this.#writeHead(head)
    this.bytesOut += content.length
    this.res.end(content, 'latin1')
    this.#wire.expire(this.res, this.forwarding.limits.clientMs)
  }

  /** Begins an answer; `alone` when its content is still to come, maybe much later: then the head goes out by itself. */
  begin(head: ResponseHead, alone: boolean): void {
    const { callback } = this
    if (callback === undefined) {
      this.#writeHead(head)
      if (alone) this.#wire.flushHead(this.res)
      return
    }
    // Fastify sends no others.
    if (head.status > 599) throw new AttemptError('bad-response', `a status of ${head.status}`)
    this.#begun = true
    this.#stream = new AnswerStream(this)
    if (this.#wire.closes) this.res.statusMessage = head.reason
    callback(null, { statusCode: head.status, headers: asObject(this.#fields(head)), body: this.#stream })
  }

  /** Whether it can be told when the system has taken a chunk, so that its memory can be used again. */
  get recycles(): boolean {
    return this.callback === undefined && (this.#tunnel !== undefined || this.#wire.tellsWhenWritten(this.res))
  }

  /**
   * @param release called when the system has taken the chunk; only where it `recycles`
   * @returns false when the client cannot keep up; the attempt is told when it can
   */
  write(chunk: Buffer, release?: () => void): boolean {
    this.bytesOut += chunk.length
    if (this.#stream !== undefined) return this.#stream.push(chunk)
    const out = this.#tunnel ?? this.res
    if (release === undefined ? out.write(chunk) : out.write(chunk, release)) return true
    out.once('drain', () => this.attempt?.resume())
    return false
  }

  /**
   * @param trailers the raw trailer section
   * @param last what is still to be written
   * @param release as for write
   */
  end(trailers: string, last?: Buffer, release?: () => void): void {
    if (last !== undefined) this.bytesOut += last.length
    if (this.#stream !== undefined) {
      if (last !== undefined) this.#stream.push(last)
      this.#stream.push(null)
    } else if (this.#tunnel !== undefined) endTunnel(this.#tunnel, this.forwarding.limits.clientMs)
    else {
      const passed = trailers !== '' && wantsTrailers(this.raw)
      this.#wire.end(this.res, passed ? responseTrailers(trailers, this.forwarding) : undefined, last, release)
      this.#wire.expire(this.res, this.forwarding.limits.clientMs)
    }
  }

  /** Breaks the answer off in a way that no client can take for its end. */
  cut(): void {
    this.outcome = 'broken'
    this.#stream?.destroy(new Error('the backend broke off'))
    if (this.#tunnel === undefined) this.#wire.cut(this.raw, this.res)
    else reset(this.#tunnel)
  }

  /**
   * The backend has switched protocols: so does the client.
   *
   * @returns what the client sends from here on
   * @throws when hooks of the application set header fields that cannot be sent; then nothing has begun
   */
  openTunnel(head: ResponseHead): RequestBody {
    const { socket } = this.raw
    let lines = `HTTP/1.1 101 ${head.reason}\r\nConnection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`
    const fields = this.#fields(head)
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const [name = '', value = ''] = [fields[i], fields[i + 1]]
      // Those of the backend are clean; those of hooks may hold what a client made up.
      validateHeaderName(name)
      validateHeaderValue(name, value)
      lines += `${name}: ${value}\r\n`
    }
    this.#begun = true
    this.outcome = 'answered'
    this.#tunnel = socket
    this.res.statusCode = head.status
    this.reply.hijack()
    // Put there to see the client leave before this.
    socket.removeAllListeners('readable')
    socket.setNoDelay(true)
    // Silence is legal for long: only the system can tell a quiet client from one that is gone.
    socket.setKeepAlive(true, PROBE_AFTER_MS)
    socket.write(`${lines}\r\n`, 'latin1')
    this.body = new RequestBody(socket, {
      chunked: false,
      limit: Infinity,
      keep: 0,
      trailers: () => '',
      isWhole: () => true,
      // Its 'close' says the rest.
      onRefused: () => undefined,
    })
    return this.body
  }

  /** @throws when hooks of the application set header fields that cannot be sent; then nothing has begun */
  #writeHead(head: ResponseHead): void {
    try {
      const more = `X-Request-Id: ${this.request.id}\r\n`
      const isWritten = this.#passesAsIs(head) && this.#wire.writeLines(this.raw, this.res, head, more)
      if (!isWritten) this.#wire.writeHead(this.res, head.status, head.reason, this.#fields(head))
    } catch (error) {
      // HTTP/2 has no reason phrase to forget.
      if (this.#wire.closes) this.res.statusMessage = ''
      throw error
    }
    this.#begun = true
    this.reply.hijack()
  }

  /** Whether nothing about its fields is to change: by far the most answers. */
  #passesAsIs(head: ResponseHead): boolean {
    return (
      this.#context.strict &&
      this.forwarding.responseHeaders === undefined &&
      this.explanation === undefined &&
      head.trailer === '' &&
      !this.#closes &&
      !hasHeaders(this.reply)
    )
  }

  /** An HTTP/1 connection whose request was not read to its end cannot carry another one. */
  get #closes(): boolean {
    return !this.raw.complete || this.upgrade !== '' || this.#context.closing()
  }

  #fields(head: ResponseHead): string[] {
    const rules = this.forwarding.responseHeaders
    let fields = fieldsOf(head.lines)
    if (rules !== undefined) {
      fields = withoutFields(fields, rules.drop)
      for (const [name, value] of rules.set) if (!OURS.has(name.toLowerCase())) fields.push(name, value)
    }
    fields = this.#withReplyHeaders(fields)
    fields.push('X-Request-Id', this.request.id)
    if (this.explanation !== undefined) fields.push('X-Sluice-Explain', this.explanation())
    // Hooks of the application may make another body of it, which none will follow.
    const followed = head.trailer !== '' && head.framing === 'chunked' && this.callback === undefined
    if (followed && wantsTrailers(this.raw)) fields.push('Trailer', head.trailer)
    const { complete, socket } = this.raw
    if (this.#closes && this.#wire.closes && head.status !== 101) {
      fields.push('Connection', 'close')
      if (!complete) lingerOnClose(socket)
    }
    return fields
  }

  /** What hooks of the application set on the reply goes before what the backend sent. */
  #withReplyHeaders(fields: string[]): string[] {
    if (this.callback !== undefined || !hasHeaders(this.reply)) return fields
    const own = this.reply.getHeaders()
    const names = Object.keys(own).filter((name) => !OURS.has(name))
    const merged = withoutFields(fields, new Set(names))
    for (const name of names) {
      const value = own[name]
      for (const one of Array.isArray(value) ? value : [value]) merged.push(name, String(one))
    }
    return merged
  }
}

/**
 * Whether hooks of the application have set header fields. Fastify keeps them where only its own code looks without making
 * copies; should it keep them elsewhere one day, the copies are looked at.
 */
function hasHeaders(reply: FastifyReply): boolean {
  HEADERS ??= Object.getOwnPropertySymbols(reply).find((symbol) => symbol.description === 'fastify.reply.headers')
  const kept: unknown = HEADERS === undefined ? undefined : Reflect.get(reply, HEADERS)
  const own = typeof kept === 'object' && kept !== null ? kept : reply.getHeaders()
  // The request's id is there always, and written anyway.
  for (const name in own) if (!OURS.has(name)) return true
  return reply.raw.getHeaderNames().length > 0
}

let HEADERS: symbol | undefined

/** The answer as a stream, for applications whose onSend hooks want to see or change it. */
class AnswerStream extends Readable {
  readonly #exchange: Exchange

  constructor(exchange: Exchange) {
    super()
    this.#exchange = exchange
    // It may break off while a hook still holds it; the client's connection is cut off all the same.
    this.on('error', () => undefined)
  }

  override _read(): void {
    this.#exchange.attempt?.resume()
  }
}

/** Whether `name` stands among the recipients of a Via field (RFC 9110, section 7.6.3). */
function namesIn(via: string, name: string): boolean {
  const lower = name.toLowerCase()
  return via
    .toLowerCase()
    .split(',')
    .some((entry) => entry.trim().split(/[ \t]+/)[1] === lower)
}

/** Set by Node for those that came as upgrades: the listener has seen to it that only what may be tunnelled did. */
function upgradeOf(raw: IncomingMessage): string {
  const { upgrade } = raw.headers
  return upgrade !== undefined && Reflect.get(raw, 'upgrade') === true ? upgrade.toLowerCase() : ''
}

/** Sends what is still to be sent, for as long as the client takes it in, and waits a moment for it to close its side. */
function endTunnel(socket: Socket, stalledMs: number): void {
  if (stalledMs !== Infinity) socket.setTimeout(stalledMs, () => socket.destroy())
  socket.end(() => socket.setTimeout(LINGER_MS, () => socket.destroy()))
}
