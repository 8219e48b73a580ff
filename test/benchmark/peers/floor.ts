/**
 * The floor: what a proxy on Node costs when it does nothing but forward. node:http towards clients, bare sockets towards
 * backends, read into buffers that are used again. No features and no care: it is here to be measured.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'

import { listen, makeServer, servers } from './application.ts'

const BUFFER_BYTES = 64 * 1024
/** What is this short goes out as text, in one piece with its head. */
const SHORT = 4096

/** Where it is asked what many backends cost: answers are short then, and one is read at a time. */
const MANY = servers.some(({ host }) => host !== '127.0.0.1')
const SHARED = Buffer.allocUnsafeSlow(BUFFER_BYTES)

const idle: Backend[][] = servers.map(() => [])
let turn = 0

class Backend {
  readonly #idle: Backend[]
  readonly #socket: Socket
  /** While one is being sent, the other is read into. */
  #buffer = MANY ? SHARED : Buffer.allocUnsafeSlow(BUFFER_BYTES)
  #other = MANY ? SHARED : Buffer.allocUnsafeSlow(BUFFER_BYTES)
  #res: ServerResponse | undefined
  #left = 0

  constructor(server: { readonly host: string; readonly port: number }, among: Backend[]) {
    this.#idle = among
    const buffer = (): Buffer => {
      ;[this.#buffer, this.#other] = [this.#other, this.#buffer]
      return this.#buffer
    }
    const callback = (length: number): boolean => this.#read(this.#buffer, length)
    this.#socket = connect({ ...server, noDelay: true, onread: { buffer, callback } })
    this.#socket.on('error', () => this.#res?.destroy())
  }

  forward(req: IncomingMessage, res: ServerResponse): void {
    this.#res = res
    let head = `${req.method} ${req.url} HTTP/1.1\r\n`
    const fields = req.rawHeaders
    for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`
    this.#socket.write(`${head}\r\n`, 'latin1')
    if (req.method === 'POST') req.pipe(this.#socket, { end: false })
  }

  #read(bytes: Buffer, length: number): boolean {
    const res = this.#res
    if (res === undefined) return true
    let start = 0
    if (this.#left === 0) {
      // Those of the benchmark send a head in one piece.
      start = bytes.indexOf('\r\n\r\n') + 4
      this.#writeHead(res, bytes.toString('latin1', 0, start - 4).split('\r\n'))
    }
    this.#left -= length - start
    if (this.#left > 0) return this.#write(res, bytes.subarray(start, length))
    this.#res = undefined
    if (length - start < SHORT) {
      this.#idle.push(this)
      res.end(bytes.toString('latin1', start, length), 'latin1')
    } else res.end(bytes.subarray(start, length), () => this.#idle.push(this))
    return true
  }

  #writeHead(res: ServerResponse, lines: readonly string[]): void {
    const fields: string[] = []
    for (let i = 1; i < lines.length; i++) {
      const line = lines[i] ?? ''
      const colon = line.indexOf(':')
      const name = line.slice(0, colon)
      if (name === 'Connection' || name === 'Keep-Alive') continue
      fields.push(name, line.slice(colon + 2))
      if (name === 'Content-Length') this.#left = Number(line.slice(colon + 2))
    }
    res.writeHead(Number(lines[0]?.slice(9, 12)), fields)
  }

  /** @returns false when both buffers are being sent */
  #write(res: ServerResponse, bytes: Buffer): boolean {
    if (res.writableLength === 0) {
      res.write(bytes)
      return true
    }
    res.write(bytes, () => this.#socket.resume())
    return false
  }
}

listen(
  makeServer((req, res) => {
    const index = MANY ? Math.floor(Math.random() * servers.length) : turn++ % servers.length
    const [server, among] = [servers[index], idle[index]]
    if (server === undefined || among === undefined) throw new Error('it has no backend')
    const backend = among.pop() ?? new Backend(server, among)
    backend.forward(req, res)
  }),
)
