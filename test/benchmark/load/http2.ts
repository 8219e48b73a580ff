/** Requests of HTTP/2: eight streams share a connection, as a browser's do. */
import { connect, constants, type ClientHttp2Session } from 'node:http2'

import { CA, FIELDS, HOST, newPath, type Client, type Job } from './client.ts'
import type { Begin, Course } from './course.ts'

export const STREAMS = 8

const COMMON = Object.fromEntries(FIELDS.map(([name, value]) => [name.toLowerCase(), value]))

export class Http2Client implements Client {
  readonly #job: Job
  readonly #session: ClientHttp2Session
  #failed: (error: Error) => void = () => undefined

  constructor(job: Job) {
    this.#job = job
    this.#session = connect(`https://127.0.0.1:${job.port}`, { ca: CA, servername: 'localhost' })
    this.#session.on('error', (error: Error) => this.#failed(error))
    this.#session.on('goaway', () => this.#failed(new Error('the proxy ended a connection')))
  }

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#failed = reject
      this.#session.once('connect', () => this.#exchange(resolve))
    })
  }

  run(course: Course): void {
    this.#failed = (error) => course.fail(error)
    const begin: Begin = (since) => {
      this.#exchange(() => {
        course.answered(since)
        course.ready(begin)
      })
    }
    for (let stream = 0; stream < STREAMS; stream++) course.ready(begin)
  }

  get kept(): boolean {
    return !this.#session.closed
  }

  close(): void {
    this.#failed = () => undefined
    this.#session.destroy()
  }

  #exchange(done: () => void): void {
    const { HTTP2_HEADER_PATH, HTTP2_HEADER_AUTHORITY, HTTP2_HEADER_STATUS } = constants
    const stream = this.#session.request({
      ...COMMON,
      [HTTP2_HEADER_PATH]: newPath(this.#job.path),
      [HTTP2_HEADER_AUTHORITY]: HOST,
    })
    stream.on('response', (fields) => {
      const status = Number(fields[HTTP2_HEADER_STATUS])
      if (status !== 200) this.#failed(new Error(`answered ${status}`))
    })
    stream.on('error', (error: Error) => this.#failed(error))
    stream.on('end', done)
    stream.resume()
  }
}
