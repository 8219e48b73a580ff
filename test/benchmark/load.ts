/**
 * The load: a fixed number of requests over a fixed number of connections, each sending its next request when it has
 * the whole answer. Bare sockets, so that it costs little. Takes jobs from and reports to its parent by messages.
 */
import { connect, type Socket } from 'node:net'

import type { Job, Result } from './load-client.ts'

const HEADERS = [
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'Accept-Language: en-US,en;q=0.5',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Cookie: session=0123456789abcdef0123456789abcdef; theme=dark',
  'Referer: http://shop.example.com/catalogue/page/7',
  'Cache-Control: no-cache',
  'Sec-Fetch-Dest: document',
  'Sec-Fetch-Mode: navigate',
].join('\r\n')

let serial = 0

/** One connection: sends, reads a whole answer, sends again. */
class Client {
  readonly #socket: Socket
  readonly #job: Job
  readonly #next: () => boolean
  readonly #latencies: number[]
  readonly #done: () => void
  #head = ''
  #left = 0
  #sentAt = 0

  constructor(job: Job, next: () => boolean, latencies: number[], done: () => void) {
    this.#job = job
    this.#next = next
    this.#latencies = latencies
    this.#done = done
    this.#socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('connect', () => this.#send())
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error) => {
      throw error
    })
  }

  #send(): void {
    if (!this.#next()) {
      this.#socket.destroy()
      this.#done()
      return
    }
    this.#sentAt = performance.now()
    const path = `${this.#job.path}${(serial++).toString(36)}`
    this.#socket.write(`GET ${path}?q=${serial} HTTP/1.1\r\nHost: shop.example.com\r\n${HEADERS}\r\n\r\n`, 'latin1')
  }

  #read(chunk: Buffer): void {
    if (this.#left > 0) this.#left -= chunk.length
    else {
      this.#head += chunk.toString('latin1')
      const end = this.#head.indexOf('\r\n\r\n')
      if (end === -1) return
      const length = /\r\ncontent-length: (\d+)/i.exec(this.#head.slice(0, end + 2))?.[1]
      if (!this.#head.startsWith('HTTP/1.1 200') || length === undefined) throw new Error(this.#head.slice(0, 200))
      this.#left = Number(length) - (this.#head.length - end - 4)
      this.#head = ''
    }
    if (this.#left > 0) return
    this.#latencies.push(performance.now() - this.#sentAt)
    this.#send()
  }
}

function run(job: Job): Promise<Result> {
  return new Promise((resolve) => {
    let left = job.requests
    let open = job.connections
    const latencies: number[] = []
    const startedAt = performance.now()
    const next = () => left-- > 0
    const done = () => {
      if (--open > 0) return
      const sorted = latencies.toSorted((a, b) => a - b)
      const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? NaN
      resolve({ seconds: (performance.now() - startedAt) / 1000, p50: at(0.5), p99: at(0.99) })
    }
    for (let i = 0; i < job.connections; i++) void new Client(job, next, latencies, done)
  })
}

process.on('message', (job: Job) => {
  void run(job).then((result) => process.send?.(result))
})
