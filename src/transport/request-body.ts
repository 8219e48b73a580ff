/**
 * A client's body on its way to a backend: streamed, counted, paused when the backend cannot keep up, and its beginning
 * kept where it may have to be sent again. It is the one that reads the client's stream, and it never destroys it: the
 * client still has to get an answer.
 */
import type { Readable } from 'node:stream'

import type { BodySink, CallBody } from './connection.ts'

/** What may be wrong with a body, as a kind of failure. */
export type BodyFault = 'body-too-large' | 'bad-body'

export interface BodyOptions {
  readonly chunked: boolean
  /** Bytes at most; Infinity for no limit. */
  readonly limit: number
  /** Bytes up to which it is kept, so that it can be sent again; 0 for not at all. */
  readonly keep: number
  /** The field lines behind it, asked for when it has ended. */
  readonly trailers: () => string
  /** Asked when the stream has ended: whether that was the end of the body, too. */
  readonly isWhole: () => boolean
  readonly onRefused: (kind: BodyFault, message: string) => void
}

export class RequestBody implements CallBody {
  readonly chunked: boolean
  readonly #stream: Readable
  readonly #options: BodyOptions
  #sink: BodySink | undefined
  /** What has come so far; undefined once it is more than is kept. */
  #kept: Buffer[] | undefined = []
  #ended = false
  #paused = false
  /** Bytes taken in so far. */
  bytes = 0

  constructor(stream: Readable, options: BodyOptions) {
    this.#stream = stream
    this.#options = options
    this.chunked = options.chunked
    // A hook's stream, such as a decompressor, fails on what it cannot read; without a listener the process would.
    stream.on('error', (error) => options.onRefused('bad-body', error.message))
  }

  /** Whether all of it can still be sent from its first byte on. */
  get replayable(): boolean {
    return this.#kept !== undefined
  }

  start(sink: BodySink): void {
    this.#sink = sink
    this.#paused = false
    for (const chunk of this.#kept ?? []) sink.write(chunk)
    if (this.#ended) return sink.end(this.#options.trailers())
    this.#stream.on('data', this.#onData)
    this.#stream.on('end', this.#onEnd)
    if (this.#paused) this.#stream.pause()
    else this.#stream.resume()
  }

  pause(): void {
    this.#paused = true
    this.#stream.pause()
  }

  resume(): void {
    this.#paused = false
    this.#stream.resume()
  }

  /** Hands on nothing more for now, and loses nothing: another attempt may want it. */
  hold(): void {
    this.#detach()
    this.#stream.pause()
  }

  /** Hands on nothing more. What the client still sends is read and dropped, so that it gets to read its answer. */
  stop(): void {
    this.#detach()
    this.#kept = undefined
    this.#stream.resume()
  }

  #detach(): void {
    this.#stream.off('data', this.#onData)
    this.#stream.off('end', this.#onEnd)
  }

  readonly #onData = (chunk: Buffer): void => {
    const { limit, keep, onRefused } = this.#options
    this.bytes += chunk.length
    if (this.bytes > limit) {
      this.stop()
      onRefused('body-too-large', `more than ${limit} bytes`)
      return
    }
    if (this.bytes > keep) this.#kept = undefined
    else this.#kept?.push(chunk)
    this.#sink?.write(chunk)
  }

  readonly #onEnd = (): void => {
    if (!this.#options.isWhole()) return
    this.#ended = true
    this.#sink?.end(this.#options.trailers())
  }
}
