/**
 * Requests that ask for another protocol on their connection (RFC 9110, section 7.8): which of them may have it, and how
 * they get to the routes. They take the same way as all others, hooks included; the exchange opens the tunnel when a
 * backend agrees.
 */
import { ServerResponse, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'

import type { FastifyInstance } from 'fastify'

import { connectionOf, endSlowly } from './transport/peer.ts'
import { hasBody } from './transport/wire.ts'

/** One protocol, with or without a version. */
const PROTOCOL = /^[!#$%&'*+\-.^_`|~\w]+(?:\/[!#$%&'*+\-.^_`|~\w]+)?$/
/**
 * What is no tunnel for an application but another way to speak HTTP, past everything that a gateway enforces (h2c), or
 * belongs to this connection alone (TLS, RFC 2817).
 */
const NEVER = /^(?:h2c?|https?|tls)(?:\/|$)/i

/** By server: which paths are whose. */
const takers = new WeakMap<Server, Array<(path: string) => boolean>>()

/** @param ours whether the application wants the upgrades of a path; others are left to other listeners */
export function takeUpgrades(app: FastifyInstance, ours: (path: string) => boolean): void {
  const { server } = app
  app.addHook('onReady', (done) => {
    listen(app, takers.get(server) ?? [])
    done()
  })
  const present = takers.get(server)
  if (present === undefined) takers.set(server, [ours])
  else present.push(ours)
}

const listening = new WeakSet<Server>()
/** Requests behind which nothing can be read on their connection. */
const last = new WeakSet<IncomingMessage>()

function listen(app: FastifyInstance, paths: ReadonlyArray<(path: string) => boolean>): void {
  const { server } = app
  if (listening.has(server)) return
  listening.add(server)
  const isOurs = ({ url = '' }: IncomingMessage) => {
    const path = url.split('?', 1)[0] ?? ''
    return paths.some((ours) => ours(path))
  }
  const before: unknown = Reflect.get(server, 'shouldUpgradeCallback')
  const others = (raw: IncomingMessage): boolean =>
    server.listenerCount('upgrade') > 1 && typeof before === 'function' && Reflect.apply(before, server, [raw]) === true
  Reflect.set(server, 'shouldUpgradeCallback', (raw: IncomingMessage) =>
    isOurs(raw) ? takesUpgrade(raw) : others(raw),
  )
  server.prependListener('request', closeBehindIgnored)
  server.on('upgrade', (raw: IncomingMessage, socket: Socket, early: Buffer) => {
    // Fastify's other servers, one for each address of a name, ask nobody and hand everything to this one.
    if (isOurs(raw) && mayUpgrade(raw)) route(app, raw, socket, early)
    else if (isOurs(raw) || server.listenerCount('upgrade') === 1) socket.destroy()
  })
}

/** What is not taken as an upgrade is an ordinary request (RFC 9110, section 7.8: a server may ignore the field). */
export function takesUpgrade(raw: IncomingMessage): boolean {
  const taken = mayUpgrade(raw)
  if (!taken && (hasBody(raw) || isFollowed(raw.socket))) last.add(raw)
  return taken
}

/** For the 'request' event of a server that asks `takesUpgrade`. */
export function closeBehindIgnored(raw: IncomingMessage, response: ServerResponse): void {
  if (raw.headers.upgrade !== undefined && last.has(raw)) response.shouldKeepAlive = false
}

/**
 * Whether anything came in one read with the head that is parsed now. Behind an upgrade that it was told to ignore, Node
 * drops the rest of that read and takes up again with the next one, in the middle of whatever that is.
 */
function isFollowed(socket: Socket): boolean {
  const parser: unknown = Reflect.get(socket, 'parser')
  const get: unknown =
    typeof parser === 'object' && parser !== null ? Reflect.get(parser, 'getCurrentBuffer') : undefined
  const read: unknown = typeof get === 'function' ? Reflect.apply(get, parser, []) : undefined
  return !(read instanceof Buffer) || read.indexOf('\r\n\r\n') !== read.length - 4
}

function mayUpgrade(raw: IncomingMessage): boolean {
  const { upgrade = '' } = raw.headers
  const http11 = raw.httpVersionMajor === 1 && raw.httpVersionMinor === 1
  // Behind an answer that is still being written, a tunnel would have to wait: nobody does that.
  return http11 && PROTOCOL.test(upgrade) && !NEVER.test(upgrade) && !expectsBody(raw) && isFirst(raw.socket)
}

/** Clients that have nothing to send with a POST say so: that is no body. */
function expectsBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0
}

/** Node keeps the response that has a connection there. */
function isFirst(socket: Socket): boolean {
  return (Reflect.get(socket, '_httpMessage') ?? null) === null
}

/** Node hands over the bare connection: what its server does for other requests is done here. */
function route(app: FastifyInstance, raw: IncomingMessage, socket: Socket, early: Buffer): void {
  const { open } = app.lifecycle
  // The gateway's listener has noted it already, below TLS; that of an application around has not.
  const connection = connectionOf(socket)
  open.add(connection)
  const response = new ServerResponse(raw)
  response.shouldKeepAlive = false
  socket.on('error', () => socket.destroy())
  socket.on('drain', () => response.emit('drain'))
  socket.once('close', () => open.delete(connection))
  response.once('finish', () => {
    endSlowly(socket)
    // Bytes that nobody has read would turn our end into a reset, which takes the answer back.
    socket.removeAllListeners('readable')
    socket.resume()
  })
  // What the client sends before it is asked to belongs into the tunnel, or to nobody: never to another request.
  if (early.length > 0) socket.unshift(early)
  noticeEnd(socket)
  response.assignSocket(socket)
  app.routing(raw, response)
}

/** Nobody reads from the client while a backend thinks about its request: its leaving would go unseen. */
function noticeEnd(socket: Socket): void {
  socket.on('readable', () => {
    // With nothing to read, reading finds the end.
    if (socket.readableLength === 0) socket.read()
  })
  socket.once('end', () => {
    if (socket.listenerCount('readable') > 0) socket.destroy()
  })
}
