/**
 * A backend that costs as little as one can: a bare socket server that answers each request with ready-made bytes, once
 * its body has come, and each WebSocket message with one of the same size.
 *
 *   backend.ts [NETWORK COUNT]    listens on COUNT addresses from NETWORK.0.1 on, NETWORK being such as 127.1
 *
 * Prints its port, which is the same on all of its addresses.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

import { MESSAGE_BYTES, SIZES, SOCKET_PATH } from './cases.ts'
import { addresses } from './addresses.ts'

const answers = new Map<string, Buffer>()
for (const [path, size] of Object.entries(SIZES)) {
  const body = Buffer.alloc(size, 'x')
  const json = size < 1000 ? Buffer.from(JSON.stringify({ id: 1, name: 'y'.repeat(size - 20) })) : body
  const head =
    'HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-cache\r\n' +
    'Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n' +
    `Content-Length: ${json.length}\r\n\r\n`
  answers.set(path, Buffer.concat([Buffer.from(head), json]))
}

/** Unmasked, as a server's are (RFC 6455, section 5.1). */
const MESSAGE = Buffer.concat([Buffer.from([0x81, MESSAGE_BYTES]), Buffer.alloc(MESSAGE_BYTES, 'm')])
/** Two bytes and the mask. */
const CLIENT_FRAME_BYTES = 6 + MESSAGE_BYTES
const CLOSE = 0x88

class Connection {
  readonly #socket: Socket
  #rest: Buffer | undefined
  #answer: Buffer | undefined
  #bodyLeft = 0
  #switched = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      const all = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
      const used = this.#switched ? this.#messages(all) : this.#requests(all)
      this.#rest = used < all.length ? all.subarray(used) : undefined
    })
  }

  /** @returns how much of it was needed */
  #requests(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && !this.#switched) {
      if (this.#answer === undefined) {
        const end = bytes.indexOf('\r\n\r\n', at)
        if (end === -1) return at
        this.#head(bytes.toString('latin1', at, end + 2))
        at = end + 4
      }
      const body = Math.min(this.#bodyLeft, bytes.length - at)
      this.#bodyLeft -= body
      at += body
      if (this.#bodyLeft > 0 || this.#answer === undefined) continue
      this.#socket.write(this.#answer)
      this.#answer = undefined
    }
    return at
  }

  #head(head: string): void {
    const path = head.slice(head.indexOf(' ') + 1, head.indexOf('/', head.indexOf('/') + 1) + 1)
    if (path === SOCKET_PATH) return this.#switch(head)
    this.#answer = answers.get(path)
    if (head.startsWith('POST')) this.#bodyLeft = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
    // What it does not understand is a fault of the benchmark, or of a proxy: either is to be seen.
    if (this.#answer === undefined || Number.isNaN(this.#bodyLeft)) this.#socket.destroy()
  }

  #switch(head: string): void {
    const key = /\r\nsec-websocket-key: *(\S+)/i.exec(head)?.[1] ?? ''
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    this.#switched = true
    this.#socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
  }

  #messages(bytes: Buffer): number {
    let at = 0
    for (; bytes.length - at >= CLIENT_FRAME_BYTES; at += CLIENT_FRAME_BYTES) {
      if (bytes[at] === CLOSE) break
      this.#socket.write(MESSAGE)
    }
    if (bytes[at] === CLOSE) this.#socket.end()
    return at
  }
}

const [network = '', count = '1'] = process.argv.slice(2)
const hosts = network === '' ? ['127.0.0.1'] : addresses(network, Number(count))
let port = 0
for (const host of hosts) {
  // All proxies at once may want to connect, with as many connections as there are.
  const server = createServer({ noDelay: true }, (socket) => void new Connection(socket))
  server.listen({ port, host, backlog: 4096 })
  // oxlint-disable-next-line no-await-in-loop -- the first one finds the port of the others
  await once(server, 'listening')
  const address = server.address()
  if (typeof address === 'object' && address !== null) port = address.port
}
console.log(port)
