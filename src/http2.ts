/**
 * HTTP/2 on the TLS listener: connections whose client chose it in the handshake (ALPN, RFC 7301) are handed to Node's
 * HTTP/2 server, which never listens itself; all others take the ordinary way. Requests of both reach the same routes.
 */
import { METHODS, type Server } from 'node:http'
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'

import type { FastifyInstance } from 'fastify'

import { tellUnreadable } from '../plugins/observers.ts'
import type { ListenSettings } from './config/settings.ts'
import { LONGEST_MS } from './config/units.ts'
import { REQUEST_ID } from './core/fields.ts'
import { bareError, ERRORS, EXPECTATION, HEAD_TOO_LARGE, JSON_TYPE } from './errors.ts'

/** Requests at once on one connection: what other servers allow (RFC 9113, section 6.5.2 asks for no less than 100). */
const MAX_STREAMS = 128
/** Header fields of a request. */
const MAX_FIELDS = 2000
const QUICK_LOOKS = 10
/** How often an answer is looked after whose request is not at its end. */
const LOOK_EVERY_MS = 10
const KNOWN: ReadonlySet<string> = new Set(METHODS)
/** How long a client whose connection is to end may take to end it. */
const LINGER_MS = 1000

/** @returns what makes a TLS server offer it */
export function offerHttp2(app: FastifyInstance, listen: ListenSettings): (server: Server) => void {
  const sessions = new Set<ServerHttp2Session>()
  const http2 = makeServer(app, listen)
  http2.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    closeWhenIdle(session, listen)
    if (app.lifecycle.closing) session.close()
  })
  app.addHook('preClose', (done) => {
    // No new requests; those under way end in their time (GOAWAY, RFC 9113, section 6.8).
    for (const session of sessions) session.close()
    done()
  })
  return (server) => {
    const ordinary = server.listeners('secureConnection')
    server.removeAllListeners('secureConnection')
    server.on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') {
        http2.emit('connection', socket)
        return
      }
      // As without TLS: what a client sent before it closed its side is answered. A session is over when one side is.
      socket.allowHalfOpen = true
      for (const listener of ordinary) Reflect.apply(listener, server, [socket])
    })
  }
}

function makeServer(app: FastifyInstance, listen: ListenSettings): Http2Server {
  const http2 = createServer({
    maxHeaderListPairs: MAX_FIELDS,
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: listen.maxHeaderSize, enablePush: false },
    // A backend that sends a field twice is passed on as it is, by HTTP/2 as by HTTP/1.
    strictSingleValueFields: false,
    // Requests that clients call off, as many as browsers do and no more (CVE-2023-44487).
    streamResetBurst: 200,
    streamResetRate: 33,
  })
  const serve = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    // What is answered has nothing to wait for but its client, which may neither end its request nor read.
    response.stream.setTimeout(listen.bodyTimeoutMs, () => {
      if (response.writableEnded) response.stream.close(constants.NGHTTP2_CANCEL)
    })
    response.stream.once('finish', () => callOff(request, response.stream))
    if (request.method === 'HEAD') tellClose(response)
    // The limit that clients are told of holds only once they have heard of it.
    if (sizeOf(request.rawHeaders) > listen.maxHeaderSize) refuse(app, response, 431, HEAD_TOO_LARGE)
    // HTTP/1's parser refuses them before Fastify would; its words are not ours.
    else if (!KNOWN.has(request.method)) refuse(app, response, 400, ERRORS.SLUICE_BAD_REQUEST.message)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made to look like HTTP/1's by Node (its "compatibility API")
    else app.routing(request as never, response as never)
  }
  http2.on('request', serve)
  http2.on('checkExpectation', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    // RFC 9110, section 10.1.1: in any case; Node knows it in lower case only.
    if (request.headers.expect?.toLowerCase() !== '100-continue') {
      return refuse(app, response, 417, EXPECTATION)
    }
    response.writeContinue()
    serve(request, response)
  })
  http2.on('connect', (_request: Http2ServerRequest, response: Http2ServerResponse) =>
    refuse(app, response, 400, ERRORS.SLUICE_BAD_REQUEST.message),
  )
  // A client that breaks the rules has lost its connection by now.
  http2.on('sessionError', (error) => app.log.debug({ reason: error.message }, 'HTTP/2 connection failed'))
  http2.setTimeout(0)
  return http2
}

/**
 * A HEAD that its client calls off before the answer has begun ends without the 'close' that all others end with: Node
 * asks whether the answer knew that it has no content (`onStreamCloseResponse` in its lib/internal/http2/compat.js).
 */
function tellClose(response: Http2ServerResponse): void {
  let told = false
  response.once('close', () => (told = true))
  response.stream.once('close', () => {
    if (!told) response.emit('close')
  })
}

/**
 * Nobody will read the rest of a request that is answered: its client may stop sending it (RFC 9113, section 8.1). Not
 * before the end of the answer is really sent, which nothing tells: a reset would overtake it.
 */
function callOff(request: Http2ServerRequest, stream: ServerHttp2Stream, looks = 0): void {
  if (request.complete || stream.endAfterHeaders || stream.closed || stream.destroyed) return
  const again = (): void => callOff(request, stream, looks + 1)
  if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR)
  // Most often it is sent in this turn of the event loop; else it waits for the client to open its window.
  else if (looks < QUICK_LOOKS) setImmediate(again)
  else setTimeout(again, LOOK_EVERY_MS).unref()
}

/** What counts as the size of a head (RFC 9113, section 6.5.2, without the 32 bytes a field). */
function sizeOf(rawHeaders: readonly string[]): number {
  let size = 0
  for (const text of rawHeaders) size += text.length
  return size
}

/** What never becomes a request of Fastify's gets an answer of the same form. */
function refuse(app: FastifyInstance, response: Http2ServerResponse, status: number, message: string): void {
  const { id, content } = bareError(status, 'SLUICE_BAD_REQUEST', message)
  const client = response.stream.session?.socket.remoteAddress
  tellUnreadable(app, { requestId: id, client, status, code: 'SLUICE_BAD_REQUEST', reason: message })
  response.writeHead(status, { 'content-type': JSON_TYPE, [REQUEST_ID]: id }).end(content)
}

/** Idle is a connection without requests, whatever else is sent on it: PING frames do not keep it open. */
function closeWhenIdle(session: ServerHttp2Session, { headersTimeoutMs, keepAliveMs }: ListenSettings): void {
  let streams = 0
  let timer = setTimeout(close, headersTimeoutMs || LONGEST_MS).unref()
  session.on('stream', (stream: ServerHttp2Stream) => {
    streams++
    clearTimeout(timer)
    stream.once('close', () => {
      streams--
      if (streams === 0 && !session.closed) timer = setTimeout(close, keepAliveMs).unref()
    })
  })
  session.once('close', () => clearTimeout(timer))

  function close(): void {
    session.close()
    // Whoever does not take the hint is cut.
    timer = setTimeout(() => session.destroy(), LINGER_MS).unref()
  }
}
