/**
 * A client's body on its way to a backend: streamed, counted, paused when the backend cannot keep up. It is the one
 * that reads the client's stream, and it never destroys it: the client still has to get an answer.
 */
import type { Readable } from 'node:stream'

import type { BodySink, CallBody } from './connection.ts'

/** What may be wrong with a body, as a kind of failure. */
export type BodyFault = 'body-too-large' | 'bad-body'

export class RequestBody implements CallBody {
  readonly chunked: boolean
  readonly #stream: Readable
  readonly #limit: number
  readonly #onRefused: (kind: BodyFault, message: string) => void
  #sink: BodySink | undefined
  /** Bytes taken in so far. */
  bytes = 0

  constructor(
    stream: Readable,
    chunked: boolean,
    limit: number,
    onRefused: (kind: BodyFault, message: string) => void,
  ) {
    this.#stream = stream
    this.chunked = chunked
    this.#limit = limit
    this.#onRefused = onRefused
    // A hook's stream, such as a decompressor, fails on what it cannot read; without a listener the process would.
    stream.on('error', (error) => this.#onRefused('bad-body', error.message))
  }

  start(sink: BodySink): void {
    this.#sink = sink
    this.#stream.on('data', this.#onData)
    this.#stream.on('end', this.#onEnd)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  /** Hands on nothing more. What the client still sends is read and dropped by the server. */
  stop(): void {
    this.#stream.off('data', this.#onData)
    this.#stream.off('end', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.bytes += chunk.length
    if (this.bytes > this.#limit) {
      this.stop()
      this.#onRefused('body-too-large', `more than ${this.#limit} bytes`)
    } else this.#sink?.write(chunk)
  }

  readonly #onEnd = (): void => {
    this.#sink?.end()
  }
}
