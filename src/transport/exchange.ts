/**
 * An exchange: one client's request and its answer, with all attempts in it. It holds what the attempts share, and
 * writes the answer to the client. Which backend, and whether another attempt is made, is decided elsewhere.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { RequestInfo } from '../core/algorithms/algorithm.ts'
import type { Backend } from '../core/backend.ts'
import { SluiceError, type ErrorCode } from '../errors.ts'
import type { Attempt } from './attempt.ts'
import { AttemptError } from './failure.ts'
import type { Forwarding } from './forwarding.ts'
import type { Peer, Peers } from './peer.ts'
import { buildRequestHead } from './request-head.ts'
import { RequestBody } from './request-body.ts'
import { withoutFields, type ResponseHead } from './response-head.ts'
import { leavesPrefix, rewritePath, type Target } from './target.ts'

/** How an exchange ended: see `Exchange.outcome`. */
export type Outcome = 'answered' | 'refused' | 'broken' | 'aborted'

/** What reply.from calls back with when the answer must take the way through Fastify's onSend hooks. */
export type FromCallback = (error: null, answer: { statusCode: number; headers: object; body: Readable }) => void

/** What an exchange needs to know of the gateway it runs in. */
export interface ExchangeContext {
  readonly peers: Peers
  /** Whether answers should tell clients to close their connections, because the gateway is about to stop. */
  readonly closing: () => boolean
}

const REQUEST_ID: ReadonlySet<string> = new Set(['x-request-id'])
/** A name or an address, and a port up to 65535. */
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::(?:[0-5]?\d{1,4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]))?$/i

/** Whether the head of a request announces a body, be it an empty one. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined
}

export class Exchange implements RequestInfo {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly raw: IncomingMessage
  readonly res: ServerResponse
  readonly forwarding: Forwarding
  readonly path: string
  readonly peer: Peer
  readonly startedAt = performance.now()
  /** The backends that were tried and failed. */
  tried: Set<Backend> | undefined
  readonly body: RequestBody | undefined
  readonly #context: ExchangeContext
  readonly #target: Target
  /** The attempt under way, or the last one. */
  attempt: Attempt | undefined
  /** How many attempts were made. */
  attempts = 0
  /** Whether the answer must take the way through Fastify, because hooks of the application want to see it. */
  readonly throughHooks: boolean
  /** Where the answer goes then. */
  callback: FromCallback | undefined
  /** Why it failed, if it did. */
  error: { readonly code: ErrorCode; readonly reason: string } | undefined
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
  ) {
    this.request = request
    this.reply = reply
    this.raw = request.raw
    this.res = reply.raw
    this.forwarding = forwarding
    this.path = target.path
    this.peer = context.peers.of(request.raw.socket)
    this.#context = context
    this.#target = target
    this.throughHooks = throughHooks
    if (leavesPrefix(target.path, forwarding.prefix)) throw new SluiceError('SLUICE_BAD_REQUEST')
    this.body = this.#openBody()
  }

  // --- what an algorithm may know ---

  get method(): string {
    return this.raw.method ?? ''
  }

  get query(): string {
    return this.#target.query
  }

  get ip(): string {
    return (this.#ip ??= this.#context.peers.clientOf(this.peer, this.header('x-forwarded-for')))
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

  /** The request head for a backend. @throws {SluiceError} when the request may not be forwarded */
  headFor(backend: Backend): string {
    const { forwarding } = this
    const { rewrite } = forwarding
    const path = rewrite === undefined ? this.path : rewritePath(this.path, rewrite)
    if (path === undefined) throw new SluiceError('SLUICE_BAD_REQUEST')
    const input = {
      raw: this.raw,
      peer: this.peer,
      id: this.request.id,
      host: this.host,
      target: path + this.#target.query,
      body: this.body,
    }
    return buildRequestHead(input, backend.url.host, forwarding)
  }

  #openBody(): RequestBody | undefined {
    const { 'content-length': length, 'transfer-encoding': coding } = this.raw.headers
    if (coding !== undefined) {
      // Node lets only what ends in `chunked` through; anything before it is a coding we do not know.
      const known = coding.toLowerCase() === 'chunked' && length === undefined
      // HTTP/1.0 knows no codings: whoever came before us may have read this request differently (RFC 9112, section 6.1).
      if (!known || this.raw.httpVersionMinor === 0) throw new SluiceError('SLUICE_BAD_REQUEST')
    } else if (length === undefined || Number(length) === 0) return undefined
    else if (Number(length) > this.forwarding.maxBodySize) throw new SluiceError('SLUICE_BODY_TOO_LARGE')
    // A preParsing hook of the application may have put another stream in the raw one's place.
    const stream = this.request.body instanceof Readable ? this.request.body : this.raw
    return new RequestBody(
      stream,
      coding !== undefined || stream !== this.raw,
      this.forwarding.maxBodySize,
      (kind, message) => this.attempt?.refuseBody(kind, message),
    )
  }

  // --- the answer ---

  get begun(): boolean {
    return this.#begun
  }

  get flushed(): boolean {
    return this.#stream === undefined && this.res.writableLength === 0
  }

  /** Writes an answer that is there as a whole. */
  answer(head: ResponseHead, content: string): void {
    if (this.callback !== undefined) {
      this.begin(head, false)
      this.write(Buffer.from(content, 'latin1'))
      return this.end()
    }
    this.#writeHead(head)
    this.res.end(content, 'latin1')
  }

  /** Begins an answer; `alone` when its content is still to come, maybe much later: then the head goes out by itself. */
  begin(head: ResponseHead, alone: boolean): void {
    const { callback } = this
    if (callback === undefined) {
      this.#writeHead(head)
      if (alone) this.res.flushHeaders()
      return
    }
    // Fastify sends no others.
    if (head.status > 599) throw new AttemptError('bad-response', `a status of ${head.status}`)
    this.#begun = true
    this.#stream = new AnswerStream(this)
    this.res.statusMessage = head.reason
    callback(null, { statusCode: head.status, headers: asObject(this.#fields(head)), body: this.#stream })
  }

  /** @returns false when the client cannot keep up; the attempt is told when it can */
  write(chunk: Buffer): boolean {
    if (this.#stream !== undefined) return this.#stream.push(chunk)
    if (this.res.write(chunk)) return true
    this.res.once('drain', () => this.attempt?.resume())
    return false
  }

  end(): void {
    if (this.#stream !== undefined) this.#stream.push(null)
    else this.res.end()
  }

  /** Breaks the answer off in a way that no client can take for its end. */
  cut(): void {
    this.outcome = 'broken'
    this.#stream?.destroy(new Error('the backend broke off'))
    // An HTTP/1.0 client without a Content-Length takes a closed connection for the end; a reset it cannot.
    if (this.raw.httpVersionMinor === 0) this.raw.socket.resetAndDestroy()
    else this.res.destroy()
  }

  /** @throws when hooks of the application set header fields that cannot be sent; then nothing has begun */
  #writeHead(head: ResponseHead): void {
    try {
      this.res.writeHead(head.status, head.reason, this.#fields(head))
    } catch (error) {
      for (const name of Object.keys(this.reply.getHeaders())) this.reply.removeHeader(name)
      this.res.statusMessage = ''
      throw error
    }
    this.#begun = true
    this.reply.hijack()
  }

  #fields(head: ResponseHead): string[] {
    const rules = this.forwarding.responseHeaders
    let { fields } = head
    if (rules !== undefined) {
      fields = withoutFields(fields, rules.drop)
      for (const [name, value] of rules.set) fields.push(name, value)
    }
    fields = withoutRequestId(this.#withReplyHeaders(fields))
    fields.push('X-Request-Id', this.request.id)
    // An HTTP/1 connection whose request was not read to its end cannot carry another one.
    if (!this.raw.complete || this.#context.closing()) fields.push('Connection', 'close')
    return fields
  }

  /** What hooks of the application set on the reply goes before what the backend sent. */
  #withReplyHeaders(fields: string[]): string[] {
    const own = this.reply.getHeaders()
    const names = Object.keys(own)
    // The request id is added anyway.
    const none = names.length === 0 || (names.length === 1 && names[0] === 'x-request-id')
    if (none || this.callback !== undefined) return fields
    const merged = withoutFields(fields, new Set(names))
    for (const name of names) {
      const value = own[name]
      for (const one of Array.isArray(value) ? value : [value]) merged.push(name, String(one))
    }
    return merged
  }
}

/** Looks before it copies: hardly a backend sends one. */
function withoutRequestId(fields: string[]): string[] {
  for (let i = 0; i < fields.length; i += 2) {
    // 12 is its length.
    if (fields[i]?.length === 12 && fields[i]?.toLowerCase() === 'x-request-id')
      return withoutFields(fields, REQUEST_ID)
  }
  return fields
}

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

function asObject(fields: readonly string[]): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = {}
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = (fields[i] ?? '').toLowerCase()
    const value = fields[i + 1] ?? ''
    const before = Object.hasOwn(object, name) ? object[name] : undefined
    if (before === undefined) object[name] = value
    else if (Array.isArray(before)) before.push(value)
    else object[name] = [before, value]
  }
  return object
}
