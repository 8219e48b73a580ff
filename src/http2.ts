/**
 * HTTP/2 on the TLS listener: connections whose client chose it in the handshake (ALPN, RFC 7301) are handed to Node's
 * HTTP/2 server, which never listens itself; all others take the ordinary way. Requests of both reach the same routes.
 */
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'

import type { FastifyInstance } from 'fastify'

import type { ListenSettings } from './config/settings.ts'

/** Requests at once on one connection: what other servers allow (RFC 9113, section 6.5.2 asks for no less than 100). */
const MAX_STREAMS = 128
/** Header fields of a request; the bytes are bounded by `maxHeaderSize`. */
const MAX_FIELDS = 2000
/** Milliseconds that a client which the end of its connection was announced to has for its last requests to come. */
const LONGEST_MS = 2 ** 31 - 1

export function offerHttp2(app: FastifyInstance, listen: ListenSettings): void {
  const sessions = new Set<ServerHttp2Session>()
  const http2 = makeServer(app, listen)
  http2.on('session', (session: ServerHttp2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    closeWhenIdle(session, listen)
    if (app.lifecycle.closing) session.close()
  })
  const ordinary = app.server.listeners('secureConnection')
  app.server.removeAllListeners('secureConnection')
  app.server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') http2.emit('connection', socket)
    else for (const listener of ordinary) Reflect.apply(listener, app.server, [socket])
  })
  app.addHook('preClose', (done) => {
    // No new requests; those under way end in their time (GOAWAY, RFC 9113, section 6.8).
    for (const session of sessions) session.close()
    done()
  })
}

function makeServer(app: FastifyInstance, listen: ListenSettings): Http2Server {
  const http2 = createServer({
    maxHeaderListPairs: MAX_FIELDS,
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: listen.maxHeaderSize, enablePush: false },
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made to look like HTTP/1's by Node (its "compatibility API")
  http2.on('request', (request, response) => app.routing(request as never, response as never))
  // A client that breaks the rules has lost its connection by now.
  http2.on('sessionError', (error) => app.log.debug({ reason: error.message }, 'HTTP/2 connection failed'))
  http2.setTimeout(0)
  return http2
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

const LINGER_MS = 1000
