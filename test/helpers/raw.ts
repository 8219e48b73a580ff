/**
 * Both ends of a connection byte by byte: a client that sends what no HTTP client would, a backend that answers what no
 * HTTP server would, and a reader of answers that hides nothing. Text stands for bytes as latin1.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

import type { Test } from 'tap'

export type Bytes = string | Buffer

/** Longer than anything here takes, short enough to say what hangs: a guard, no measure. */
const HANGS_AFTER_MS = 20_000

export function bytesOf(bytes: Bytes): Buffer {
  return typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
}

/** Does one thing after the other. */
export async function inTurn<T>(items: Iterable<T>, act: (item: T, index: number) => Promise<unknown>): Promise<void> {
  let index = 0
  // oxlint-disable-next-line no-await-in-loop -- one after the other is what it is for
  for (const item of items) await act(item, index++)
}

/** Waits until a number stays the same for a while: that nothing happens any more has no event. */
export async function settled(measure: () => number): Promise<number> {
  let before = -1
  while (before !== measure()) {
    before = measure()
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  return before
}

/** Writes as much as that, as fast as it is taken; resolves with the bytes taken when nothing more is for a while. */
export async function pour(socket: Socket, bytes: number): Promise<number> {
  const piece = Buffer.alloc(1024 ** 2, 'x')
  let written = 0
  const more = (): void => {
    while (written < bytes) {
      written += piece.length
      if (!socket.write(piece)) return
    }
  }
  socket.on('drain', more)
  more()
  return settled(() => written - socket.writableLength)
}

/** Rejects, with words of the caller's, what would otherwise wait for ever. */
export async function guarded<T>(promise: Promise<T>, what: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what()}`)), HANGS_AFTER_MS)
  })
  try {
    return await Promise.race([promise, hang])
  } finally {
    clearTimeout(timer)
  }
}

/** Where a server listens. */
export function portOf(server: Server): number {
  const address = server.address()
  if (typeof address === 'object' && address !== null) return address.port
  throw new Error('listens on no port')
}

export interface Answer {
  /** The head with its status line, as it came. */
  readonly head: string
  readonly version: string
  readonly status: number
  readonly reason: string
  /** Names and values in order. */
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  /** What came of the content, without its framing. */
  readonly body: Buffer
  /** The trailer section of a chunked answer. */
  readonly trailers: string
  /** Whether the end of the answer is beyond doubt. */
  readonly complete: boolean
  readonly chunked: boolean
}

/** All values of a field, whatever the case of its name. */
export function valuesOf(answer: Pick<Answer, 'fields'>, name: string): string[] {
  return answer.fields.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value)
}

/** The lines of a head behind the first one, as names and values. */
export function fieldsOf(head: string): Array<readonly [name: string, value: string]> {
  return head
    .split('\r\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()] as const
    })
}

/** Bytes that came in on a socket, and how it ended; wakes who waits for more. */
export class Inbox {
  readonly socket: Socket
  #pieces: Buffer[] = []
  #length = 0
  #waiting: Array<() => void> = []
  /** How the other side ended it, if it did. */
  ended: 'end' | 'reset' | undefined
  closed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#length += piece.length
      this.#wake()
    })
    socket.on('end', () => {
      this.ended ??= 'end'
      this.#wake()
    })
    socket.on('error', (error) => {
      if ('code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) this.ended = 'reset'
      this.#wake()
    })
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  get length(): number {
    return this.#length
  }

  get bytes(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)]
    return this.#pieces[0] ?? Buffer.alloc(0)
  }

  get text(): string {
    return this.bytes.toString('latin1')
  }

  /** Forgets the first bytes. */
  drop(length: number): void {
    this.#pieces = [this.bytes.subarray(length)]
    this.#length -= length
  }

  /** Waits until `ready` gives something. */
  async until<T>(ready: () => T | undefined): Promise<T> {
    const state = (): string =>
      `${this.#length} bytes, ended: ${this.ended}, closed: ${this.closed}: ${this.text.slice(0, 300)}`
    return guarded(this.#until(ready), state)
  }

  /** Waits until the other side has ended the connection. */
  async end(): Promise<'end' | 'reset'> {
    return this.until(() => this.ended ?? (this.closed ? 'end' : undefined))
  }

  async #until<T>(ready: () => T | undefined): Promise<T> {
    for (;;) {
      const result = ready()
      if (result !== undefined) return result
      // oxlint-disable-next-line no-await-in-loop -- until it has happened
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

/** Reads one answer from an inbox, and leaves what follows in it. */
class AnswerReader {
  readonly #inbox: Inbox
  readonly #method: string
  readonly #body: Buffer[] = []
  #head: string | undefined
  #status = 0
  #at = 0
  #framing: 'none' | 'chunked' | 'close' | number = 'close'
  #trailers = ''

  constructor(inbox: Inbox, method: string) {
    this.#inbox = inbox
    this.#method = method
  }

  /** The answer, when it is there as a whole or nothing more will come. */
  readonly read = (): Answer | undefined => {
    if (this.#head === undefined && !this.#readHead()) return this.#over ? this.#answer(false) : undefined
    if (this.#readBody()) return this.#answer(true)
    return this.#over ? this.#answer(this.#framing === 'close' && this.#inbox.ended === 'end') : undefined
  }

  get #over(): boolean {
    return this.#inbox.ended !== undefined || this.#inbox.closed
  }

  #readHead(): boolean {
    const { bytes } = this.#inbox
    const end = bytes.indexOf('\r\n\r\n')
    if (end === -1) return false
    const head = bytes.toString('latin1', 0, end)
    this.#head = head
    this.#status = Number(head.split(' ', 2)[1])
    this.#inbox.drop(end + 4)
    const fields = fieldsOf(head)
    const length = valuesOf({ fields }, 'content-length')[0]
    const { status } = { status: this.#status }
    if (this.#method === 'HEAD' || status < 200 || status === 204 || status === 304) this.#framing = 'none'
    else if (valuesOf({ fields }, 'transfer-encoding').length > 0) this.#framing = 'chunked'
    else this.#framing = length === undefined ? 'close' : Number(length)
    return true
  }

  #readBody(): boolean {
    const inbox = this.#inbox
    if (this.#framing === 'none') return true
    if (this.#framing === 'chunked') return this.#readChunks()
    if (typeof this.#framing === 'number') {
      if (inbox.length < this.#framing) return false
      this.#take(0, this.#framing)
      inbox.drop(this.#framing)
      return true
    }
    return false
  }

  #readChunks(): boolean {
    const { bytes } = this.#inbox
    for (;;) {
      const line = bytes.indexOf('\r\n', this.#at)
      if (line === -1) return false
      const size = Number.parseInt(bytes.toString('latin1', this.#at, line), 16)
      if (Number.isNaN(size)) throw new Error(`not a chunk: ${bytes.toString('latin1', this.#at, line).slice(0, 100)}`)
      if (size === 0) return this.#readTrailers(line)
      if (bytes.length < line + 2 + size + 2) return false
      this.#take(line + 2, line + 2 + size)
      this.#at = line + 2 + size + 2
    }
  }

  #readTrailers(line: number): boolean {
    const { bytes } = this.#inbox
    const end = bytes.indexOf('\r\n\r\n', line)
    if (end === -1) return false
    this.#trailers = bytes.toString('latin1', line + 2, end)
    this.#inbox.drop(end + 4)
    return true
  }

  #take(start: number, end: number): void {
    this.#body.push(Buffer.from(this.#inbox.bytes.subarray(start, end)))
  }

  #answer(complete: boolean): Answer {
    const head = this.#head ?? ''
    const framing = this.#framing
    if (!complete || framing === 'close') {
      this.#take(framing === 'chunked' ? this.#at : 0, this.#inbox.length)
      this.#inbox.drop(this.#inbox.length)
    }
    const [version = '', , ...reason] = (head.split('\r\n', 1)[0] ?? '').split(' ')
    return {
      head,
      version,
      status: this.#status,
      reason: reason.join(' '),
      fields: fieldsOf(head),
      body: Buffer.concat(this.#body),
      trailers: this.#trailers,
      complete,
      chunked: framing === 'chunked',
    }
  }
}

/** A client that sends any bytes. */
export class RawClient {
  readonly inbox: Inbox
  readonly socket: Socket
  /** The heads of interim answers, in order. */
  readonly interim: string[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    this.inbox = new Inbox(socket)
  }

  static async open(t: Test, port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    const client = new RawClient(socket)
    await once(socket, 'connect')
    return client
  }

  send(bytes: Bytes): void {
    this.socket.write(bytesOf(bytes))
  }

  /** The next answer that is not an interim one. */
  async answer(method = 'GET'): Promise<Answer> {
    for (;;) {
      const reader = new AnswerReader(this.inbox, method)
      // oxlint-disable-next-line no-await-in-loop -- interim answers come one after the other
      const answer = await this.inbox.until(reader.read)
      if (answer.status < 100 || answer.status > 199 || answer.status === 101) return answer
      this.interim.push(answer.head)
    }
  }

  /** How the gateway ends the connection. */
  async end(): Promise<'end' | 'reset'> {
    return this.inbox.end()
  }
}

/** Sends bytes on a new connection and reads one answer. */
export async function ask(t: Test, port: number, bytes: Bytes, method = 'GET'): Promise<Answer> {
  const client = await RawClient.open(t, port)
  client.send(bytes)
  const answer = await client.answer(method)
  client.socket.destroy()
  return answer
}

/** Sends bytes on a new connection and reads everything until the gateway closes it: all answers, in order. */
export async function askAll(t: Test, port: number, bytes: Bytes, finish = false): Promise<Answer[]> {
  const client = await RawClient.open(t, port)
  client.send(bytes)
  if (finish) client.socket.end()
  await client.end()
  const answers: Answer[] = []
  while (client.inbox.length > 0) {
    // oxlint-disable-next-line no-await-in-loop -- everything is there already
    answers.push(await client.answer())
  }
  client.socket.destroy()
  return answers
}

/** GET with these field lines besides Host. */
export function get(target = '/', lines: readonly string[] = []): string {
  return `GET ${target} HTTP/1.1\r\nHost: gateway.example\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
}

/** An answer with a Content-Length. */
export function ok(body: Bytes = 'ok', lines: readonly string[] = []): Buffer {
  const content = bytesOf(body)
  const fields = [...lines, `Content-Length: ${content.length}`].join('\r\n')
  return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`, 'latin1'), content])
}

/** One connection that a raw backend accepted. */
export class Accepted {
  readonly inbox: Inbox
  readonly socket: Socket
  /** The heads of the requests it got. */
  readonly heads: string[] = []

  constructor(socket: Socket) {
    this.socket = socket
    this.inbox = new Inbox(socket)
  }

  send(bytes: Bytes): void {
    if (this.socket.writable) this.socket.write(bytesOf(bytes))
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Waits until what was sent has left, then goes on. */
  async sent(bytes: Bytes): Promise<void> {
    await new Promise<void>((resolve) => void this.socket.write(bytesOf(bytes), () => resolve()))
  }
}

export interface RawBackend {
  readonly port: number
  readonly url: string
  readonly accepted: readonly Accepted[]
  /** The heads of all requests, in the order they came. */
  readonly heads: readonly string[]
  /** The n-th connection, from 0 on, as soon as there is one. */
  connection(n: number): Promise<Accepted>
}

export interface RawBackendOptions {
  /** Called with each request, when its head is there. */
  readonly onRequest?: (connection: Accepted, head: string) => void
  /** Called with each connection. */
  readonly onConnection?: (connection: Accepted) => void
  /** Reads nothing. */
  readonly deaf?: boolean
  /** How many connections the system may accept on its own. */
  readonly backlog?: number
}

export async function rawBackend(t: Test, options: RawBackendOptions): Promise<RawBackend> {
  const accepted: Accepted[] = []
  const heads: string[] = []
  const waiting: Array<() => void> = []
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, pauseOnConnect: options.deaf === true },
    (socket) => {
      const connection = new Accepted(socket)
      if (options.deaf === true) socket.pause()
      accepted.push(connection)
      for (const wake of waiting.splice(0)) wake()
      options.onConnection?.(connection)
      watch(connection, (head) => {
        heads.push(head)
        options.onRequest?.(connection, head)
      })
    },
  )
  await listening(t, server, accepted, options.backlog)
  const port = portOf(server)
  const connection = async (n: number): Promise<Accepted> => {
    for (;;) {
      const found = accepted[n]
      if (found !== undefined) return found
      // oxlint-disable-next-line no-await-in-loop -- until it has come
      await new Promise<void>((resolve) => void waiting.push(resolve))
    }
  }
  const named = async (n: number): Promise<Accepted> => guarded(connection(n), () => `connection ${n} to a backend`)
  return { port, url: `http://127.0.0.1:${port}`, accepted, heads, connection: named }
}

async function listening(t: Test, server: Server, accepted: readonly Accepted[], backlog = 511): Promise<void> {
  server.listen({ port: 0, host: '127.0.0.1', backlog })
  t.teardown(async () => {
    for (const { socket } of accepted) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  await once(server, 'listening')
}

/** Finds the heads of requests in what comes in; the bodies between them are skipped. */
function watch(connection: Accepted, onHead: (head: string) => void): void {
  let at = 0
  const look = (): void => {
    for (;;) {
      const { text } = connection.inbox
      const end = text.indexOf('\r\n\r\n', at)
      if (end === -1) return
      const head = text.slice(at, end)
      const next = behindBody(text, head, end + 4)
      if (connection.heads.at(-1) !== head || !begun.has(at)) {
        begun.add(at)
        connection.heads.push(head)
        onHead(head)
      }
      if (next === undefined) return
      at = next
    }
  }
  const begun = new Set<number>()
  connection.socket.on('data', look)
}

function behindBody(text: string, head: string, start: number): number | undefined {
  const fields = fieldsOf(head)
  const length = Number(valuesOf({ fields }, 'content-length')[0] ?? 0)
  if (valuesOf({ fields }, 'transfer-encoding').length === 0)
    return start + length <= text.length ? start + length : undefined
  const end = text.startsWith('0\r\n\r\n', start) ? start - 2 : text.indexOf('\r\n0\r\n\r\n', start)
  return end === -1 ? undefined : end + 7
}

/** A backend that answers every request with the same bytes, and then, if told so, ends the connection. */
export async function answering(
  t: Test,
  bytes: Bytes,
  then: 'stays' | 'ends' | 'resets' = 'stays',
): Promise<RawBackend> {
  return rawBackend(t, {
    onRequest: (connection) => {
      connection.send(bytes)
      if (then === 'ends') connection.socket.end()
      // The reset must not overtake what was sent.
      else if (then === 'resets') connection.socket.write('', () => connection.reset())
    },
  })
}
