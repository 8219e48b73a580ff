/**
 * Where the log goes: standard output, readable for people on a terminal, else JSON, one object a line, gathered into
 * few writes that never block the event loop. What is gathered is written at the latest when the process ends; what a
 * disk or a reader is too slow for is lost, counted, and told of.
 */
import fs from 'node:fs'

import type { DestinationStream } from 'pino'
import pretty from 'pino-pretty'

import { escapeControls, showControls } from './text.ts'

// A line a request: written one by one, that is a system call a request and a quarter of its processor time. As text they
// would be a thousand small strings that outlive a collection of garbage; as bytes they are none.
const PAGE_BYTES = 131_072
// As many as a character of UTF-16 can become.
const MOST_BYTES_EACH = 3
// How long a line may lie here when few others come.
const FLUSH_AFTER_MS = 50
// What is kept while nobody reads; beyond it lines are lost rather than memory.
const MAX_BYTES = 16 * 1024 ** 2
// When it could not be written.
const RETRY_AFTER_MS = 100
// At the end, a reader that has not kept up gets a second, but not for ever.
const LAST_RETRY_AFTER_MS = 10
const LAST_RETRIES = 100
const LINE_END = 0x0a

export interface LogDestination extends DestinationStream {
  /** Lines that were never written. */
  readonly lost: number
  /** The same as `write`, for a line that has no control characters in it. */
  writeClean(line: string): void
  /** Settles when all is written, or has to wait for the disk or the reader. */
  drain(): Promise<void>
  /** @param listener told how many lines were lost, once there is room again; @returns ends it */
  onLost(listener: (lines: number) => void): () => void
}

/**
 * Ours, and not pino's own destination: that one measures all it has gathered again with every line, which was half of
 * what a line cost; and at the end of the process it tries for ever to write what a full disk does not take.
 */
export class LogStream implements LogDestination {
  lost = 0
  readonly #fd: number
  readonly #listeners = new Set<(lines: number) => void>()
  /** What is gathered: so many bytes of it. */
  #page: Buffer = Buffer.allocUnsafeSlow(PAGE_BYTES)
  #filled = 0
  #spare: Buffer | undefined
  #timer: NodeJS.Timeout | undefined
  /** What waits to be written, the first of it on its way. */
  readonly #waiting: Array<{ readonly piece: Buffer; readonly page: Buffer | undefined }> = []
  #waitingBytes = 0
  #writing = false
  #draining: Array<() => void> = []
  #untold = 0
  #failing = false

  constructor(fd: number) {
    this.#fd = fd
    // Also when the event loop has nothing left to do but to write this.
    process.on('beforeExit', () => this.#flush())
    process.on('exit', () => this.#writeTheRest())
  }

  write(line: string): void {
    this.writeClean(escapeControls(line))
  }

  writeClean(line: string): void {
    if (!this.#fits(line)) {
      this.#turnPage()
      if (!this.#writing) this.#writeNext()
    }
    if (this.#fits(line)) this.#filled += this.#page.write(line, this.#filled)
    else this.#enqueue(Buffer.from(line), undefined)
    this.#flushLater()
  }

  #fits(line: string): boolean {
    return this.#filled + line.length * MOST_BYTES_EACH <= PAGE_BYTES
  }

  onLost(listener: (lines: number) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  drain(): Promise<void> {
    this.#turnPage()
    if (!this.#writing) this.#writeNext()
    return this.#writing ? new Promise((resolve) => void this.#draining.push(resolve)) : Promise.resolve()
  }

  /** What is gathered goes on its way; while something else is, it can as well grow. */
  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#writing) this.#flushLater()
    else {
      this.#turnPage()
      this.#writeNext()
    }
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_AFTER_MS).unref()
  }

  /** The full page waits to be written; the next one is empty. */
  #turnPage(): void {
    if (this.#filled === 0) return
    const page = this.#page
    const piece = page.subarray(0, this.#filled)
    this.#page = this.#spare ?? Buffer.allocUnsafeSlow(PAGE_BYTES)
    this.#spare = undefined
    this.#filled = 0
    this.#enqueue(piece, page)
  }

  #enqueue(piece: Buffer, page: Buffer | undefined): void {
    if (this.#waitingBytes + piece.length > MAX_BYTES) {
      this.#lose(piece)
      this.#spare ??= page
    } else {
      this.#waiting.push({ piece, page })
      this.#waitingBytes += piece.length
    }
  }

  /** Only of what waits: whatever has been gathered since is not worth a write of its own. */
  #writeNext(): void {
    const [first] = this.#waiting
    this.#writing = first !== undefined
    if (first !== undefined) fs.write(this.#fd, first.piece, (error, bytes) => this.#onWritten(error, bytes))
    else {
      if (this.#untold > 0) this.#tellOfLosses()
      this.#drained()
    }
  }

  #drained(): void {
    for (const resolve of this.#draining.splice(0)) resolve()
  }

  #onWritten(error: NodeJS.ErrnoException | null, bytes: number): void {
    if (error === null) {
      this.#failing = false
      this.#take(bytes)
      return this.#writeNext()
    }
    // A pipe that does not block, and is full, says so.
    if (!isPassing(error)) this.#complain(error)
    this.#drained()
    setTimeout(() => this.#writeNext(), RETRY_AFTER_MS).unref()
  }

  /** So many bytes of the first piece are written. */
  #take(bytes: number): void {
    const [first] = this.#waiting
    if (first === undefined) return
    this.#waitingBytes -= bytes
    const { piece, page } = first
    if (bytes < piece.length) this.#waiting[0] = { piece: piece.subarray(bytes), page }
    else {
      this.#waiting.shift()
      this.#spare ??= page
    }
  }

  /** At the end of the process, when nothing happens any more that is not done at once. */
  #writeTheRest(): void {
    this.#turnPage()
    let retries = LAST_RETRIES
    for (let [first] = this.#waiting; first !== undefined && retries > 0; [first] = this.#waiting) {
      try {
        this.#take(fs.writeSync(this.#fd, first.piece))
      } catch (error) {
        if (!isPassing(error)) return this.#complain(error)
        retries--
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_RETRY_AFTER_MS)
      }
    }
  }

  #lose(piece: Buffer): void {
    let lines = 0
    for (let at = piece.indexOf(LINE_END); at !== -1; at = piece.indexOf(LINE_END, at + 1)) lines++
    this.lost += lines
    this.#untold += lines
  }

  #tellOfLosses(): void {
    const lines = this.#untold
    this.#untold = 0
    for (const listener of this.#listeners) listener(lines)
  }

  /** Once until it can be written again: there is nowhere else to say it. */
  #complain(error: unknown): void {
    if (this.#failing) return
    this.#failing = true
    console.error(`the log cannot be written: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EAGAIN' || error.code === 'EBUSY')
}

/** For people: what would move their cursor or pass for another line is shown as what it is. */
class Terminal implements LogDestination {
  readonly lost = 0
  readonly #pretty = pretty({ sync: true, ignore: 'pid,hostname' })

  write(line: string): void {
    this.#pretty.write(showControls(line))
  }

  writeClean(line: string): void {
    this.#pretty.write(line)
  }

  async drain(): Promise<void> {}

  onLost(): () => void {
    return () => undefined
  }
}

let shared: LogDestination | undefined

/** The same for all gateways of a process: two writers to one descriptor could mix their lines. */
export function logStream(): LogDestination {
  shared ??= process.stdout.isTTY ? new Terminal() : new LogStream(1)
  return shared
}
