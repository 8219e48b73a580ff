/**
 * A backend over bare sockets that reads every request to its end, whatever its framing, and then does with the
 * connection whatever a test wants done: an answer, half of one, nothing, a reset. It keeps nothing of what is over, so
 * that it can serve for long.
 */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

import type { Test } from 'tap'

import { bytesOf, guarded, portOf, type Bytes } from './raw.ts'

/** A request on its way in. */
export interface Incoming {
  readonly socket: Socket
  /** How many empty lines came before it. */
  readonly emptyLines: number
  /** From the request line to the last field, without the empty line. */
  readonly head: string
  readonly body: Body
  /** Says that it is over and the connection free for another. */
  answered(this: void): void
}

export interface BareBackendOptions {
  /** Called when the head of a request is there. */
  readonly onHead?: (incoming: Incoming) => void
  /** Called when more of its content is there. */
  readonly onContent?: (incoming: Incoming) => void
  /** Called when all of it is there. */
  readonly onRequest?: (incoming: Incoming) => void
  /** Called when its connection has closed before it was answered. */
  readonly onLost?: (incoming: Incoming) => void
}

export interface BareBackend {
  readonly port: number
  readonly url: string
  /** How many connections are open. */
  readonly open: () => number
  /** How many of those have a request that was begun and not yet answered. */
  readonly busy: () => number
  /** Waits until it is so; looks whenever a connection comes, goes, or has become free. */
  readonly until: (ready: () => boolean) => Promise<void>
}

export async function bareBackend(t: Test, options: BareBackendOptions): Promise<BareBackend> {
  const connections = new Map<Socket, RequestReader>()
  const waiting: Array<() => void> = []
  const changed = (): void => {
    for (const wake of waiting.splice(0)) wake()
  }
  const server = createServer({ allowHalfOpen: false, noDelay: true }, (socket) => {
    const reader = new RequestReader(socket, options, changed)
    connections.set(socket, reader)
    socket.on('data', (piece: Buffer) => reader.read(piece))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      connections.delete(socket)
      reader.lose()
      changed()
    })
  })
  await started(t, server, connections)
  const port = portOf(server)
  const open = (): number => connections.size
  const busy = (): number => [...connections.values()].filter((reader) => reader.busy).length
  const until = async (ready: () => boolean): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until it is so
    while (!ready()) await new Promise<void>((resolve) => void waiting.push(resolve))
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    open,
    busy,
    until: async (ready) => guarded(until(ready), () => `a backend with ${open()} connections open, ${busy()} busy`),
  }
}

async function started(t: Test, server: Server, connections: ReadonlyMap<Socket, RequestReader>): Promise<void> {
  server.listen(0, '127.0.0.1')
  t.teardown(async () => {
    for (const socket of connections.keys()) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  await once(server, 'listening')
}

/** Writes what is still wanted. */
export function send({ socket }: Incoming, bytes: Bytes): void {
  if (socket.writable) socket.write(bytesOf(bytes))
}

const NOTHING = Buffer.alloc(0)

/** Reads requests one after the other; what is behind one waits until that is answered. */
class RequestReader {
  readonly #socket: Socket
  readonly #options: BareBackendOptions
  readonly #onFree: () => void
  #bytes: Buffer = NOTHING
  #incoming: Incoming | undefined

  constructor(socket: Socket, options: BareBackendOptions, onFree: () => void) {
    this.#socket = socket
    this.#options = options
    this.#onFree = onFree
  }

  get busy(): boolean {
    return this.#incoming !== undefined
  }

  read(piece: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? piece : Buffer.concat([this.#bytes, piece])
    this.#advance()
  }

  readonly #next = (): void => {
    this.#incoming = undefined
    this.#onFree()
    this.#advance()
  }

  lose(): void {
    if (this.#incoming !== undefined) this.#options.onLost?.(this.#incoming)
    this.#incoming = undefined
  }

  #advance(): void {
    const { onHead, onContent, onRequest } = this.#options
    const before = this.#incoming
    if (before?.body.whole === true) return
    const incoming = before ?? this.#begin()
    if (incoming === undefined) return
    this.#incoming = incoming
    this.#bytes = incoming.body.take(this.#bytes)
    if (before === undefined) onHead?.(incoming)
    if (incoming.body.length > 0) onContent?.(incoming)
    if (incoming.body.whole) onRequest?.(incoming)
  }

  #begin(): Incoming | undefined {
    let emptyLines = 0
    while (this.#bytes.toString('latin1', 0, 2) === '\r\n') {
      this.#bytes = this.#bytes.subarray(2)
      emptyLines++
    }
    const end = this.#bytes.indexOf('\r\n\r\n')
    if (end === -1) return undefined
    const head = this.#bytes.toString('latin1', 0, end)
    this.#bytes = this.#bytes.subarray(end + 4)
    return { socket: this.#socket, emptyLines, head, body: new Body(head), answered: this.#next }
  }
}

/** What follows a head that says how long it is; nothing where it says nothing. */
export class Body {
  /** Of its chunks, those with their semicolon. */
  readonly extensions: string[] = []
  /** The lines behind it. */
  readonly trailers: string[] = []
  /** How much has come. */
  length = 0
  whole = false
  readonly #pieces: Buffer[] = []
  readonly #chunked: boolean
  #missing: number

  constructor(head: string) {
    this.#chunked = /\r\ntransfer-encoding[ \t]*:/i.test(head)
    this.#missing = Number(/\r\ncontent-length:[ \t]*(\d+)/i.exec(head)?.[1] ?? 0)
  }

  get content(): Buffer {
    return Buffer.concat(this.#pieces)
  }

  /** Takes what belongs to it and returns the rest. */
  take(bytes: Buffer): Buffer {
    return this.#chunked ? this.#takeChunks(bytes) : this.#takeLength(bytes)
  }

  #takeLength(bytes: Buffer): Buffer {
    const piece = bytes.subarray(0, this.#missing)
    this.#add(piece)
    this.#missing -= piece.length
    this.whole = this.#missing === 0
    return bytes.subarray(piece.length)
  }

  /** What is no chunk is left where it is: then the end never comes. */
  #takeChunks(bytes: Buffer): Buffer {
    let rest = bytes
    for (;;) {
      const line = rest.indexOf('\r\n')
      if (line === -1) return rest
      const [, digits = '', extension = ''] = /^([\da-f]+)(;.*)?$/i.exec(rest.toString('latin1', 0, line)) ?? []
      const size = Number.parseInt(digits, 16)
      if (Number.isNaN(size)) return rest
      if (size === 0) return this.#takeTrailers(rest, line, extension)
      const end = line + 2 + size
      if (rest.toString('latin1', end, end + 2) !== '\r\n') return rest
      if (extension !== '') this.extensions.push(extension)
      this.#add(rest.subarray(line + 2, end))
      rest = rest.subarray(end + 2)
    }
  }

  #takeTrailers(bytes: Buffer, line: number, extension: string): Buffer {
    const end = bytes.indexOf('\r\n\r\n', line)
    if (end === -1) return bytes
    if (extension !== '') this.extensions.push(extension)
    if (end > line) this.trailers.push(...bytes.toString('latin1', line + 2, end).split('\r\n'))
    this.whole = true
    return bytes.subarray(end + 4)
  }

  #add(piece: Buffer): void {
    if (piece.length > 0) this.#pieces.push(piece)
    this.length += piece.length
  }
}
