/**
 * The options of the two HTTP servers: limits and times of clients' connections, the form of their log, and answers to
 * what never becomes a request.
 */
import { randomBytes } from 'node:crypto'
import { ServerResponse, type IncomingMessage, type Server } from 'node:http'
import { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Server as TlsServer, type TlsOptions } from 'node:tls'

import {
  LogController,
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RawServerDefault,
} from 'fastify'

import { tellUnreadable, type Unreadable } from '../plugins/observers.ts'
import { BROWSER_FIELDS } from './admin/cross-site.ts'
import { CALL_BYTES } from './admin/calls.ts'
import type { ListenSettings, ListenTlsSettings, Settings } from './config/settings.ts'
import { LONGEST_MS } from './config/units.ts'
import { REQUEST_ID } from './core/fields.ts'
import {
  bareError,
  ERRORS,
  EXPECTATION,
  HEAD_TOO_LARGE,
  JSON_TYPE,
  sendError,
  SluiceError,
  type ErrorCode,
} from './errors.ts'
import { errorInLog } from './log/error.ts'
import { logStream } from './log/stream.ts'
import { endSlowly, lingerOnClose, type Peers } from './transport/peer.ts'
import { routable } from './transport/target.ts'
import { closeBehindIgnored, takesUpgrade } from './upgrades.ts'

type Options = FastifyHttpOptions<RawServerDefault>

// How often Node looks for clients that are late with their head: the precision of `headersTimeout`.
const CHECK_EVERY_MS = 1000
/** Connections refused within this time are one line in the log. */
const REPORT_AFTER_MS = 1000

export function gatewayOptions(settings: Settings, peers: Peers): Options {
  const { listen, log } = settings
  return {
    logger: { level: log.level, stream: logStream(), serializers: { err: errorInLog } },
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestIds(peers),
    requestIdHeader: false,
    trustProxy: (address: string) => peers.trusts(address),
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    rewriteUrl: ({ url = '' }) => routable(url),
    // A route of ours takes any path; a limit on its length is the head's.
    routerOptions: { maxParamLength: listen.maxHeaderSize },
    frameworkErrors(error: NodeJS.ErrnoException, request: FastifyRequest, reply: FastifyReply) {
      const { id: requestId, ip: client, server } = request
      tellUnreadable(server, { requestId, client, status: 400, code: 'SLUICE_BAD_REQUEST', reason: error.code })
      sendError(new SluiceError('SLUICE_BAD_REQUEST'), request, reply)
    },
    clientErrorHandler(this: FastifyInstance, error: NodeJS.ErrnoException, socket: Socket) {
      answerClientError(this, error, socket)
    },
    keepAliveTimeout: listen.keepAliveMs,
    // A long upload is not a slow one; `bodyTimeout` watches the pauses.
    requestTimeout: 0,
    ...serverOptions(listen),
  }
}

/** Under the name that makes Fastify listen with TLS, or without. Its types want to know which; nothing else does. */
function serverOptions(listen: ListenSettings): Pick<Options, 'http'> {
  const http = {
    maxHeaderSize: listen.maxHeaderSize,
    headersTimeout: listen.headersTimeoutMs,
    // Here, too: Node's own default would be less than what `headersTimeout` may be.
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_EVERY_MS,
    insecureHTTPParser: false,
    shouldUpgradeCallback: takesUpgrade,
  }
  if (listen.tls === undefined) return { http }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { https: { ...http, ...tls(listen, listen.tls) } } as Pick<Options, 'http'>
}

function tls({ headersTimeoutMs }: ListenSettings, { cert, key, minVersion }: ListenTlsSettings): TlsOptions {
  return {
    cert,
    key,
    minVersion,
    // A client that does not finish its handshake is one that does not send its request.
    handshakeTimeout: headersTimeoutMs || LONGEST_MS,
    ALPNProtocols: ['h2', 'http/1.1'],
  }
}

/** For the connections that come next; those there are keep theirs. @throws when it is none, or not the key's */
export function renewCertificate(app: FastifyInstance, { cert, key, minVersion }: ListenTlsSettings): void {
  for (const server of [app.server, ...otherServers(app)]) {
    if (server instanceof TlsServer) server.setSecureContext({ cert, key, minVersion })
  }
}

/** Completes the servers of the gateway. */
export function outfitServers(app: FastifyInstance, maxConnections: number, outfit: (server: Server) => void): void {
  eachServer(app, (server) => {
    server.maxConnections = maxConnections || Infinity
    server.prependListener('request', closeBehindIgnored)
    trackConnections(app, server)
    answerOddities(app, server)
    outfit(server)
  })
}

/**
 * Does it to every server of an application. Fastify makes one for each address of `localhost`; it tells nobody about
 * the others, and sees to the errors of the first one only.
 */
function eachServer(app: FastifyInstance, complete: (server: Server) => void): void {
  complete(app.server)
  app.addHook('onListen', (done) => {
    for (const server of otherServers(app)) {
      complete(server)
      server.on('clientError', (error, socket) => {
        if (socket instanceof Socket) answerClientError(app, error, socket)
      })
    }
    done()
  })
}

function otherServers(app: FastifyInstance): Server[] {
  const symbol = Object.getOwnPropertySymbols(app).find(({ description }) => description === 'fastify.serverBindings')
  const servers: unknown = symbol === undefined ? [] : Reflect.get(app, symbol)
  return Array.isArray(servers)
    ? servers.filter((server): server is Server => server instanceof NetServer && server !== app.server)
    : []
}

/** How many connections the admin listener keeps: more than operators need, fewer than the gateway would miss. */
const ADMIN_CONNECTIONS = 256

export function adminOptions(): Options {
  return {
    logger: false,
    bodyLimit: CALL_BYTES,
    // Places are few, so nobody holds one for long without a call.
    keepAliveTimeout: 15_000,
    requestTimeout: 30_000,
    http: { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: CHECK_EVERY_MS },
    forceCloseConnections: true,
    // The id of a backend in a path: 128 characters, of which each may take nine when encoded.
    routerOptions: { maxParamLength: 2048 },
    frameworkErrors: (_error: Error, request: FastifyRequest, reply: FastifyReply) => {
      reply.headers(BROWSER_FIELDS)
      sendError(new SluiceError('SLUICE_BAD_REQUEST'), request, reply)
    },
    clientErrorHandler(this: FastifyInstance, error: NodeJS.ErrnoException, socket: Socket) {
      answerClientError(this, error, socket)
    },
  }
}

/** Limits the connections of the admin listener. */
export function outfitAdmin(app: FastifyInstance, log: FastifyBaseLogger): void {
  eachServer(app, (server) => {
    server.maxConnections = ADMIN_CONNECTIONS
    reportRefused(server, log, `${ADMIN_CONNECTIONS} of the admin listener are`)
    // Whoever is refused now shall find room the next time.
    server.on('drop', () => server.closeIdleConnections())
  })
}

const CLIENT_ID = /^[A-Za-z0-9._-]{1,128}$/

/** A trusted sender's own id is kept; others get one that is unique to this process and this request. */
function requestIds(peers: Peers): (raw: IncomingMessage) => string {
  const prefix = randomBytes(6).toString('hex')
  let count = 0
  return (raw) => {
    const given = raw.headers[REQUEST_ID]
    if (typeof given === 'string' && peers.of(raw).trusted && CLIENT_ID.test(given)) return given
    count++
    return `${prefix}-${count.toString(36)}`
  }
}

/** The answers behind which a client that sent what is no request will be told so. */
const waitedFor = new WeakMap<Socket, ServerResponse>()

/**
 * What Node's parser refuses gets an answer too, where one can still be read, and the connection is closed. Answers to
 * requests before it come first, whole: it stands behind them.
 */
function answerClientError(app: FastifyInstance, error: NodeJS.ErrnoException, socket: Socket): void {
  const answer = answerUnderWay(socket)
  if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
  else if (answer === undefined) refuse(app, error, socket)
  else if (!answer.req.complete) {
    // The body of the very request that is being answered is at fault.
    if (answer.headersSent) socket.destroy()
    else refuseBody(error, socket, answer)
  } else if (answer !== waitedFor.get(socket)) {
    // Node reports what comes behind the fault as further faults: one wait is enough for each answer.
    waitedFor.set(socket, answer)
    answer.once('finish', () => answerClientError(app, error, socket))
  }
}

/** The response that has the connection now. Node keeps it there; that is nowhere said, but has been so for ever. */
function answerUnderWay(socket: Socket): ServerResponse | undefined {
  const message: unknown = Reflect.get(socket, '_httpMessage')
  return message instanceof ServerResponse ? message : undefined
}

/**
 * One request, with one answer, one line and one count: who reads the body is to refuse it. Where nobody does, as while a
 * hook takes its time, the client is told so, and the request ends with its connection.
 */
function refuseBody(error: NodeJS.ErrnoException, socket: Socket, answer: ServerResponse): void {
  const { req } = answer
  lingerOnClose(socket)
  // A client that closes its side in the middle of a body has left.
  if (error.code !== 'HPE_INVALID_EOF_STATE' && req.listenerCount('error') > 0) req.emit('error', error)
  if (!answer.headersSent) writeRefusal(error, socket)
}

function refuse(app: FastifyInstance, error: NodeJS.ErrnoException, socket: Socket): void {
  // A connection that was opened in advance, as browsers do, and on which nobody ever asked for anything.
  const isUnused = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0
  const told = writeRefusal(error, socket)
  if (isUnused) return
  tellUnreadable(app, { ...told, client: socket.remoteAddress, reason: error.code })
}

/** @returns what the client is told */
function writeRefusal(
  { code: reason }: NodeJS.ErrnoException,
  socket: Socket,
): Pick<Unreadable, 'requestId' | 'status' | 'code'> {
  const tooLarge = reason === 'HPE_HEADER_OVERFLOW'
  const code: ErrorCode = reason === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'SLUICE_CLIENT_TIMEOUT' : 'SLUICE_BAD_REQUEST'
  const status = tooLarge ? 431 : ERRORS[code].status
  const { id, error, content } = bareError(status, code, tooLarge ? HEAD_TOO_LARGE : ERRORS[code].message)
  const answer =
    `HTTP/1.1 ${status} ${error}\r\nContent-Type: ${JSON_TYPE}\r\nX-Request-Id: ${id}\r\n` +
    `Content-Length: ${Buffer.byteLength(content)}\r\nConnection: close\r\n\r\n${content}`
  // A client that keeps its side open would keep the socket for ever; one that is closed at once could lose the answer.
  endSlowly(socket, answer)
  return { requestId: id, status, code }
}

/** How the gateway calls itself in Via. A random name, so that another gateway behind this one is not taken for it. */
export function pseudonym(via: string | boolean): string {
  if (typeof via === 'string') return via
  return via ? `sluice-${randomBytes(4).toString('hex')}` : ''
}

/** Notes every connection, so that those that outlast the grace can be cut. */
function trackConnections(app: FastifyInstance, server: Server): void {
  const { open } = app.lifecycle
  // Nobody can read an answer before the handshake has ended, and Node leaves the closing to us.
  server.prependListener('tlsClientError', (error: Error, socket: Duplex) => {
    app.log.debug({ reason: error.message }, 'TLS handshake failed')
    socket.destroy()
  })
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    // Node remembers it from now on; of a client that has left, the system knows it no more.
    void socket.remoteAddress
    socket.once('close', () => open.delete(socket))
  })
  reportRefused(server, app.log, 'listen.maxConnections are')
}

/** @param all how many are open, and the verb */
function reportRefused(server: Server, log: FastifyBaseLogger, all: string): void {
  let refused = 0
  server.on('drop', () => {
    if (refused++ > 0) return
    setTimeout(() => {
      log.warn(`${refused} connections were refused: ${all} open`)
      refused = 0
    }, REPORT_AFTER_MS).unref()
  })
}

/** What Node would answer in its own words, or not at all: Expect with something else than 100-continue, and CONNECT. */
function answerOddities(app: FastifyInstance, server: Server): void {
  server.on('checkExpectation', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const { id, content } = bareError(417, 'SLUICE_BAD_REQUEST', EXPECTATION)
    const client = socket.remoteAddress
    tellUnreadable(app, { requestId: id, client, status: 417, code: 'SLUICE_BAD_REQUEST', reason: EXPECTATION })
    response.writeHead(417, { 'content-type': JSON_TYPE, [REQUEST_ID]: id, connection: 'close' }).end(content)
  })
  server.on('connect', (_request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => socket.destroy())
    refuse(app, Object.assign(new Error('CONNECT'), { code: 'CONNECT' }), socket)
  })
}
