/**
 * What differs between the versions of HTTP in how an answer is written to a client. Everything else about an exchange
 * is the same for both.
 */
import { ServerResponse, type IncomingMessage } from 'node:http'
import { constants, Http2ServerRequest, Http2ServerResponse } from 'node:http2'

import { FORBIDDEN_IN_HTTP2 } from '../errors.ts'
import { AttemptError } from './failure.ts'
import { isGone, reset } from './peer.ts'
import type { ResponseHead } from './response-head.ts'

export type Trailers = Array<[name: string, value: string]>

export interface Wire {
  /** Whether a connection ends with an answer that says so, or whose request was not read to its end. */
  readonly closes: boolean
  /** Whether the callback of a write comes when nothing needs what was written any more. */
  tellsWhenWritten(res: ServerResponse): boolean
  /** Of a request that has no body: it need not tell anybody that there is nothing. */
  forgoBody(raw: IncomingMessage): void
  writeHead(res: ServerResponse, status: number, reason: string, fields: string[]): void
  /**
   * Writes a head as it came, where that can be done.
   *
   * @param more lines of our own
   * @returns whether it was written
   */
  writeLines(raw: IncomingMessage, res: ServerResponse, head: ResponseHead, more: string): boolean
  /** Sends the head by itself, ahead of content that may come much later. */
  flushHead(res: ServerResponse): void
  /** Passes an interim answer on, to a client that can read it. */
  inform(raw: IncomingMessage, res: ServerResponse, status: number, fields: string[]): void
  /**
   * Ends the answer, with fields behind it where there are any.
   *
   * @param last what is still to be written
   * @param release called when nothing needs that any more, where it `tellsWhenWritten`
   */
  end(res: ServerResponse, trailers: Trailers | undefined, last?: Buffer, release?: () => void): void
  /** Sees to it that an answer that is written, but not taken in by the client for so long, is cut off. */
  expire(res: ServerResponse, afterMs: number): void
  /** Breaks the answer off in a way that no client can take for its end. */
  cut(raw: IncomingMessage, res: ServerResponse): void
  /** Whether the client has left. */
  gone(res: ServerResponse): boolean
  /** Whether the system says that the client's end is no more, also while nothing is read from it. */
  abandoned(raw: IncomingMessage): boolean
}

const HTTP1: Wire = {
  closes: true,
  // Whoever has put a function in their place, to see what is sent, may keep it.
  tellsWhenWritten: (res) => Reflect.get(res, 'write') === WRITE && Reflect.get(res, 'end') === END,
  forgoBody(raw) {
    // An application's hook may wait for its 'close'.
    // oxlint-disable-next-line no-underscore-dangle -- Node's name
    if (canForgo(raw) && raw.eventNames().length === 0) raw._dumpAndCloseReadable()
  },
  writeHead: (res, status, reason, fields) => void res.writeHead(status, reason, fields),
  writeLines(raw, res, head, more) {
    // What else writeHead decides: all for HTTP/1.0, and that a client which still waits with its body loses its connection.
    if (raw.httpVersionMinor !== 1 || raw.headers.expect !== undefined || !canStore(res)) return false
    storeHead(res, head, more)
    return true
  },
  // Not flushHeaders(): that would take the bytes of field values for UTF-8.
  flushHead: (res) => void res.write('', 'latin1'),
  inform(raw, res, status, fields) {
    // RFC 9110, section 15.2: never to HTTP/1.0.
    if (raw.httpVersionMinor > 0) res.writeInformation(status, fields)
  },
  end(res, trailers, last, release) {
    if (trailers !== undefined) res.addTrailers(trailers)
    res.end(last, release)
  },
  expire(res, afterMs) {
    const { socket } = res
    if (socket === null || res.writableLength === 0 || afterMs === Infinity) return
    // Node's server closes a socket whose time is up, and knows when the system has taken some of what it was given.
    socket.setTimeout(afterMs)
    // When it is sent, the server sets the time for a kept connection, unless another answer waits for its turn.
    res.once('finish', () => {
      if (socket.timeout === afterMs) socket.setTimeout(0)
    })
  },
  cut(raw, res) {
    // An HTTP/1.0 client without a Content-Length takes a closed connection for the end; a reset it cannot.
    if (raw.httpVersionMinor === 0) reset(raw.socket)
    else res.destroy()
  },
  gone: (res) => res.destroyed,
  abandoned: (raw) => isGone(raw.socket),
}

const HTTP2: Wire = {
  closes: false,
  // It keeps what it was given for longer.
  tellsWhenWritten: () => false,
  forgoBody: () => undefined,
  writeHead(res, status, _reason, fields) {
    if (status > 599) throw new AttemptError('bad-response', `a status of ${status}`)
    // No reason phrases here (RFC 9113, section 8.3.2).
    http2(res).writeHead(status, asObject(fields, FORBIDDEN_IN_HTTP2))
  },
  writeLines: () => false,
  flushHead: () => undefined,
  inform(_raw, res, status, fields) {
    const { stream } = http2(res)
    if (!stream.destroyed && !stream.headersSent)
      stream.additionalHeaders({ ...asObject(fields, FORBIDDEN_IN_HTTP2), ':status': status })
  },
  end(res, trailers, last) {
    if (trailers !== undefined) http2(res).addTrailers(asObject(trailers.flat(), FORBIDDEN_IN_HTTP2))
    res.end(last)
  },
  // The listener does that for all answers of HTTP/2.
  expire: () => undefined,
  cut: (_raw, res) => http2(res).stream.close(constants.NGHTTP2_INTERNAL_ERROR),
  gone: (res) => http2(res).stream.destroyed || http2(res).stream.closed,
  // One connection for many: it is always read.
  abandoned: () => false,
}

/**
 * What Node's server does where it has `optimizeEmptyRequests` to all requests that announce no body. Documented nowhere;
 * the option is, but it would leave the routes of plugins waiting that read whatever comes.
 */
interface Forgoing extends IncomingMessage {
  _dumpAndCloseReadable(): void
}

function canForgo(raw: IncomingMessage): raw is Forgoing {
  return '_dumpAndCloseReadable' in raw
}

/** What Node's own writeHead ends in. Documented nowhere, though the same for as long as there has been one. */
interface Storing extends ServerResponse {
  _hasBody: boolean
  _storeHeader(head: string): void
}

/** Not where someone has put a function in writeHead's place to see what it is given. */
function canStore(res: ServerResponse): res is Storing {
  return Reflect.get(res, 'writeHead') === WRITE_HEAD && '_storeHeader' in res && '_hasBody' in res
}

const WRITE_HEAD = nodesOwn('writeHead', '_storeHeader(')
const WRITE = nodesOwn('write', 'write_(')
const END = nodesOwn('end', 'write_(')

/**
 * A method of Node's; undefined where another has been put in its place before this was loaded, as those do that watch
 * an application from outside.
 *
 * @param calls what only Node's calls
 */
function nodesOwn(name: string, calls: string): unknown {
  const method: unknown = Reflect.get(ServerResponse.prototype, name)
  return typeof method === 'function' && Function.prototype.toString.call(method).includes(calls) ? method : undefined
}

/**
 * Node's writeHead looks at each field anew, which takes as long as reading the whole head here did. It is told instead
 * what it would have found; whether the connection is kept, and whether content is sent in chunks, it decides itself.
 */
function storeHead(res: Storing, { status, reason, lines, dated, framing }: ResponseHead, more: string): void {
  res.statusCode = status
  res.statusMessage = reason
  if (dated) res.sendDate = false
  const { _hasBody: bodied } = res
  /* oxlint-disable no-underscore-dangle -- Node's names */
  // Else it would add a length, or chunks, to the length that is among the lines.
  if (framing === 'length' || framing === 'none') res._hasBody = false
  res._storeHeader(`HTTP/1.1 ${status} ${reason}\r\n${lines}${more}`)
  if (framing === 'length') res._hasBody = bodied
  /* oxlint-enable no-underscore-dangle */
}

export function wireOf(raw: IncomingMessage): Wire {
  return isHttp2(raw) ? HTTP2 : HTTP1
}

/** Whether it came by HTTP/2. */
export function isHttp2(raw: IncomingMessage): boolean {
  return http2Request(raw) !== undefined
}

/** The HTTP/2 session that a request came by; undefined for HTTP/1. */
export function sessionOf(raw: IncomingMessage): object | undefined {
  return http2Request(raw)?.stream.session
}

/** Whether the head of a request announces a body, be it an empty one. */
export function hasBody(raw: IncomingMessage): boolean {
  const { headers } = raw
  if (headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined) return true
  // HTTP/2 says in its framing whether anything follows the head.
  return http2Request(raw)?.stream.endAfterHeaders === false
}

/** A version alone does not tell: Node's parser lets HTTP/1 requests call themselves 2.0. */
function http2Request(raw: IncomingMessage): Http2ServerRequest | undefined {
  const request: unknown = raw
  return raw.httpVersionMajor === 2 && request instanceof Http2ServerRequest ? request : undefined
}

function http2(res: unknown): Http2ServerResponse {
  if (res instanceof Http2ServerResponse) return res
  throw new TypeError('not an HTTP/2 response')
}

const NONE: ReadonlySet<string> = new Set()

/** Fields as an object: lower-case names, and a list where a name comes more than once. */
export function asObject(
  fields: readonly string[],
  without: ReadonlySet<string> = NONE,
): Record<string, string | string[]> {
  // A field may be called __proto__.
  const object: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = (fields[i] ?? '').toLowerCase()
    const value = fields[i + 1] ?? ''
    if (without.has(name)) continue
    const before = object[name]
    if (before === undefined) object[name] = value
    else if (Array.isArray(before)) before.push(value)
    else object[name] = [before, value]
  }
  return object
}
