/** Requests of HTTP/1.1, over TCP or TLS. */
import type { Socket } from 'node:net'

import { FIELDS, HOST, newPath, SocketClient, type Job } from './client.ts'

const HEADERS = FIELDS.map(([name, value]) => `${name}: ${value}`).join('\r\n')

export class Http1Client extends SocketClient {
  readonly #method: string
  readonly #rest: string
  readonly #body: Buffer | undefined
  #head = ''
  #left = 0

  constructor(job: Job) {
    super(job)
    this.#method = job.bodyBytes > 0 ? 'POST' : 'GET'
    const body =
      job.bodyBytes > 0 ? `Content-Type: application/octet-stream\r\nContent-Length: ${job.bodyBytes}\r\n` : ''
    this.#rest = ` HTTP/1.1\r\nHost: ${HOST}\r\n${HEADERS}\r\n${body}\r\n`
    this.#body = job.bodyBytes > 0 ? Buffer.alloc(job.bodyBytes, 'b') : undefined
  }

  protected override send(socket: Socket): void {
    if (this.#body !== undefined) socket.cork()
    socket.write(`${this.#method} ${newPath(this.job.path)}${this.#rest}`, 'latin1')
    if (this.#body === undefined) return
    socket.write(this.#body)
    socket.uncork()
  }

  protected override read(bytes: Buffer): boolean {
    if (this.#left > 0) this.#left -= bytes.length
    else {
      const end = bytes.indexOf('\r\n\r\n')
      this.#head += bytes.toString('latin1', 0, end === -1 ? bytes.length : end + 2)
      if (end === -1) return false
      const length = /\r\ncontent-length: (\d+)/i.exec(this.#head)?.[1]
      if (!this.#head.startsWith('HTTP/1.1 200') || length === undefined) {
        throw new Error(`answered ${this.#head.slice(0, 200).replaceAll('\r\n', ' | ')}`)
      }
      this.#head = ''
      this.#left = Number(length) - (bytes.length - end - 4)
    }
    return this.#left === 0
  }
}
