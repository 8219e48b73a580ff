/**
 * TLS for tests over real sockets: the certificates of `certificates/`, and both ends of a TLS connection in front of
 * plain ones, so that clients and backends that know nothing of TLS can be used with it.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from 'node:tls'
import type { ConnectionOptions, TlsOptions } from 'node:tls'

import type { Test } from 'tap'

import { portOf } from './raw.ts'

/** What is in a file of `certificates/`. */
export function pem(name: string): string {
  return readFileSync(join(import.meta.dirname, 'certificates', name), 'utf8')
}

export const CA = pem('ca.pem')
/** For localhost, 127.0.0.1, ::1 and backend.test; `CA` vouches for it. */
export const SERVER = { cert: pem('server.pem'), key: pem('server.key') }
/** What shows a client of `CA`. */
export const CLIENT = { cert: pem('client.pem'), key: pem('client.key') }
/** For the same names as `SERVER`, but nobody vouches for it. */
export const OTHER = { cert: pem('other.pem'), key: pem('other.key') }

export interface Front {
  readonly port: number
  readonly url: string
  /** The connections whose handshake has ended well, in the order they came. */
  readonly secured: readonly TLSSocket[]
  /** Whether each of them resumed the session of one before it. */
  readonly resumed: readonly boolean[]
  /** How many connections came, whatever became of them. */
  readonly accepted: () => number
  /** How many bytes of content, not of TLS, were read from them. */
  readonly bytes: () => number
}

/** A TLS server that hands what it reads to a plain one on this port, and back. */
export async function tlsFront(t: Test, to: number, options: TlsOptions = {}): Promise<Front> {
  const secured: TLSSocket[] = []
  const resumed: boolean[] = []
  const bare = new Map<number | undefined, Socket>()
  let accepted = 0
  let bytes = 0
  const server = createTlsServer({ ...SERVER, allowHalfOpen: true, noDelay: true, ...options }, (socket) => {
    secured.push(socket)
    resumed.push(socket.isSessionReused())
    socket.on('data', (piece: Buffer) => (bytes += piece.length))
    const plain = connectTcp({ port: to, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    // TLS knows no reset.
    const below = bare.get(socket.remotePort)
    plain.on('error', () => below?.resetAndDestroy())
    couple(t, socket, plain)
  })
  server.on('connection', (socket: Socket) => {
    accepted++
    bare.set(socket.remotePort, socket)
    t.teardown(() => socket.destroy())
    socket.on('error', ignore)
  })
  // A client that does not like our certificate says so; the tests see it at the client.
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  const port = await listening(t, server)
  return { port, url: `https://127.0.0.1:${port}`, secured, resumed, accepted: () => accepted, bytes: () => bytes }
}

/** A plain server that hands what it reads to a TLS one on this port, and back: how plain clients speak TLS. */
export async function tlsTail(t: Test, to: number, options: ConnectionOptions = {}): Promise<number> {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const at = { port: to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }
    couple(t, socket, connectTls({ ...at, servername: 'localhost', ca: CA, ...options }))
  })
  return listening(t, server)
}

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return portOf(server)
}

/** What comes from one goes to the other; so do ends and resets. */
function couple(t: Test, one: Socket, other: Socket): void {
  tie(t, one, other)
  tie(t, other, one)
}

function tie(t: Test, from: Socket, to: Socket): void {
  let failed = false
  from.pipe(to)
  from.on('error', () => (failed = true))
  from.on('close', () => {
    if (failed || !from.readableEnded) reset(to)
  })
  t.teardown(() => from.destroy())
}

function reset(socket: Socket): void {
  if (socket instanceof TLSSocket || socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

function ignore(): void {}
