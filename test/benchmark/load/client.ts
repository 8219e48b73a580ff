/**
 * A client: sends its next request when it has the whole answer to the one before. What a request and an answer are, its
 * protocol knows.
 */
import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import type { Case } from '../cases.ts'
import { CA_FILE } from '../certificates.ts'
import type { Course } from './course.ts'

/** What is asked, by how many clients, of whom. */
export interface Job extends Pick<
  Case,
  'protocol' | 'tls' | 'path' | 'bodyBytes' | 'connections' | 'requests' | 'perSecond'
> {
  readonly port: number
  readonly deadlineMs: number
}

export interface Client {
  /** Connects and makes one exchange, which shows that all is well, and has the proxy ready for more. */
  open(): Promise<void>
  /** Makes requests until there are enough. */
  run(course: Course): void
  /** Whether the proxy still keeps the connection. */
  readonly kept: boolean
  close(): void
}

let serial = 0

/** A path that never was. */
export function newPath(path: string): string {
  serial++
  return `${path}${serial.toString(36)}?q=${serial}`
}

export const HOST = 'shop.example.com'

/** What a browser sends besides, as it is written in HTTP/1.1. */
export const FIELDS: readonly (readonly [name: string, value: string])[] = [
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'],
  ['Accept-Language', 'en-US,en;q=0.5'],
  ['Accept-Encoding', 'gzip, deflate, br, zstd'],
  ['Cookie', 'session=0123456789abcdef0123456789abcdef; theme=dark'],
  ['Referer', 'http://shop.example.com/catalogue/page/7'],
  ['Cache-Control', 'no-cache'],
  ['Sec-Fetch-Dest', 'document'],
  ['Sec-Fetch-Mode', 'navigate'],
]

export const CA = readFileSync(CA_FILE)

/**
 * One buffer for all connections: what was read is dealt with before the next one reads. Over TLS, Node allocates.
 */
const READ = Buffer.allocUnsafe(256 * 1024)

/** A connection over which one exchange follows the other. */
export abstract class SocketClient implements Client {
  protected readonly job: Job
  readonly #socket: Socket
  #course: Course | undefined
  #opened: () => void = () => undefined
  #failed: (error: Error) => void = () => undefined
  readonly #begin = (since: number): void => {
    this.#since = since
    this.send(this.#socket)
  }
  #since = 0
  #closed = false

  constructor(job: Job) {
    this.job = job
    this.#socket = job.tls ? this.#secure() : this.#plain()
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the proxy closed a connection')))
  }

  /** Sends a request. */
  protected abstract send(socket: Socket): void
  /** Takes what came. @returns whether the answer is complete */
  protected abstract read(bytes: Buffer): boolean

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#opened = resolve
      this.#failed = reject
      this.#socket.once(this.job.tls ? 'secureConnect' : 'connect', () => this.send(this.#socket))
    })
  }

  run(course: Course): void {
    this.#course = course
    course.ready(this.#begin)
  }

  get kept(): boolean {
    return !this.#socket.destroyed
  }

  close(): void {
    this.#closed = true
    this.#socket.destroy()
  }

  #plain(): Socket {
    const callback = (length: number): boolean => {
      this.#take(READ.subarray(0, length))
      return true
    }
    return connectTcp({ port: this.job.port, host: '127.0.0.1', noDelay: true, onread: { buffer: READ, callback } })
  }

  #secure(): Socket {
    const socket = connectTls({ port: this.job.port, host: '127.0.0.1', servername: 'localhost', ca: CA })
    socket.setNoDelay(true)
    return socket.on('data', (bytes: Buffer) => this.#take(bytes))
  }

  #take(bytes: Buffer): void {
    try {
      if (!this.read(bytes)) return
    } catch (error) {
      return this.#fail(error instanceof Error ? error : new Error(String(error)))
    }
    if (this.#course === undefined) return this.#opened()
    this.#course.answered(this.#since)
    this.#course.ready(this.#begin)
  }

  #fail(error: Error): void {
    if (this.#closed) return
    if (this.#course === undefined) this.#failed(error)
    else this.#course.fail(error)
  }
}
