/**
 * Who is at the other end of a client's connection: its address, and whether what it says of others is believed. Both
 * are the same for all requests of a connection, so they are worked out once for each.
 */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

import { sessionOf } from './wire.ts'

export interface Peer {
  /** The address without the IPv4-in-IPv6 prefix; '' when the connection is already gone. */
  readonly ip: string
  /** Whether its Forwarded and X-Forwarded-* fields and its request id are believed. */
  readonly trusted: boolean
  /** How many of its requests wait for the answers before theirs. */
  waiting: number
}

export class Peers {
  readonly #trusted = new BlockList()
  readonly #any: boolean
  readonly #known = new WeakMap<object, Peer>()

  /** @param trustedProxies addresses and CIDRs, already checked */
  constructor(trustedProxies: readonly string[]) {
    this.#any = trustedProxies.length > 0
    for (const entry of trustedProxies) {
      const [address = '', prefix] = entry.split('/')
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
      if (prefix === undefined) this.#trusted.addAddress(address, family)
      else this.#trusted.addSubnet(address, Number(prefix), family)
    }
  }

  of(raw: IncomingMessage): Peer {
    // Requests of HTTP/2 share a session; each has a socket of its own to look at.
    const connection = sessionOf(raw) ?? raw.socket
    let peer = this.#known.get(connection)
    if (peer === undefined) {
      const ip = plain(raw.socket.remoteAddress ?? '')
      peer = { ip, trusted: this.trusts(ip), waiting: 0 }
      this.#known.set(connection, peer)
    }
    return peer
  }

  /**
   * The client's address: the peer's, or, behind trusted proxies, the first entry of X-Forwarded-For from the right
   * that is not a trusted proxy itself: everything further left may be invented.
   */
  clientOf(peer: Peer, forwardedFor: string | undefined): string {
    if (!peer.trusted || forwardedFor === undefined) return peer.ip
    const chain = forwardedFor.split(',')
    let client = peer.ip
    for (let i = chain.length - 1; i >= 0; i--) {
      const entry = plain(chain[i]?.trim() ?? '')
      if (isIP(entry) === 0) return client
      client = entry
      if (!this.trusts(entry)) return client
    }
    return client
  }

  /** Whether what comes from this address is believed. */
  trusts(ip: string): boolean {
    if (!this.#any) return false
    const family = isIP(ip)
    return family !== 0 && this.#trusted.check(ip, family === 6 ? 'ipv6' : 'ipv4')
  }
}

function plain(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/**
 * Whether the other end has reset the connection, also while nothing is read from it: Node does not look then, but the
 * system no longer knows a peer (ENOTCONN). Asked of the handle itself, because `remoteAddress` remembers.
 */
export function isGone(socket: Socket): boolean {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null) return true
  const ask: unknown = Reflect.get(handle, 'getpeername')
  return typeof ask === 'function' && Reflect.apply(ask, handle, [{}]) !== 0
}

/** Ends a connection in a way that nobody can take for the end of a message. */
export function reset(socket: Socket): void {
  // TLS cannot be reset; the connection below it can.
  const below = connectionOf(socket)
  if (!below.destroyed) below.resetAndDestroy()
  socket.destroy()
}

/** The connection that TLS is spoken on, or the socket itself. Node keeps it there, and has for ever. */
export function connectionOf(socket: Socket): Socket {
  const below: unknown = socket instanceof TLSSocket ? Reflect.get(socket, '_parent') : socket
  return below instanceof Socket ? below : socket
}

/** How long a refused client has to read why. */
const REFUSED_MS = 1000
/** How long a client that was answered before it had sent everything may go on sending. */
const EARLY_MS = 2000

/**
 * Closes in two steps (RFC 9112, section 9.6): closed at once, what the client still sends would be answered with a reset,
 * which takes away the answer that it may not have read yet.
 */
export function endSlowly(socket: Socket, last = '', withinMs = REFUSED_MS): void {
  socket.end(last)
  const timer = setTimeout(() => socket.destroy(), withinMs).unref()
  socket.once('close', () => clearTimeout(timer))
}

/** Has Node's server close a connection like that. */
export function lingerOnClose(socket: Socket): void {
  socket.destroySoon = () => {
    endSlowly(socket, '', EARLY_MS)
    socket.once('end', () => socket.destroy())
  }
}
