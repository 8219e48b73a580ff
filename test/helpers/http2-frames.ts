/**
 * An HTTP/2 client over TLS that sends any frames, also those that no client should: RFC 9113 by hand. Header blocks are
 * written as literals without Huffman coding (RFC 7541); of those that come only the status is read.
 */
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'

import type { Test } from 'tap'

import { bytesOf, guarded, type Bytes } from './raw.ts'
import { CA } from './secure.ts'

export const DATA = 0
export const HEADERS = 1
export const PRIORITY = 2
export const RST_STREAM = 3
export const SETTINGS = 4
export const PUSH_PROMISE = 5
export const PING = 6
export const GOAWAY = 7
export const WINDOW_UPDATE = 8
export const CONTINUATION = 9

export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4
export const PADDED = 8
export const WITH_PRIORITY = 0x20

/** Error codes in their order (RFC 9113, section 7). */
export const CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
] as const
export type Code = (typeof CODES)[number]

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** `stream` with its highest bit, which is reserved, as given. */
export function frame(type: number, flags: number, stream: number, payload: Bytes = ''): Buffer {
  const content = bytesOf(payload)
  const head = Buffer.alloc(9)
  head.writeUIntBE(content.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, content])
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index))
  return bytes
}

/** Settings by their numbers (RFC 9113, section 6.5.2). */
export function settings(...pairs: ReadonlyArray<readonly [id: number, value: number]>): Buffer {
  const bytes = pairs.map(([id, value]) => {
    const one = Buffer.alloc(6)
    one.writeUInt16BE(id)
    one.writeUInt32BE(value, 2)
    return one
  })
  return frame(SETTINGS, 0, 0, Buffer.concat(bytes))
}

/** No memory for fields: each answer is to be understood without those before it. */
export const NO_TABLE = [1, 0] as const
export const ENABLE_PUSH = 2
export const INITIAL_WINDOW_SIZE = 4
export const MAX_FRAME_SIZE = 5

/** Of a window. */
export const LARGEST = 2 ** 31 - 1
export const INITIAL = 65_535

export function windowUpdate(stream: number, by: number): Buffer {
  return frame(WINDOW_UPDATE, 0, stream, uint32(by))
}

/** What a client says first that takes in whatever comes, without ever saying so again. */
export const WIDE = Buffer.concat([
  settings(NO_TABLE, [INITIAL_WINDOW_SIZE, LARGEST]),
  windowUpdate(0, LARGEST - INITIAL),
])

export function reset(stream: number, code: Code = 'CANCEL'): Buffer {
  return frame(RST_STREAM, 0, stream, uint32(CODES.indexOf(code)))
}

export function ping(mark = 'a ping..'): Buffer {
  return frame(PING, 0, 0, mark)
}

export function data(stream: number, content: Bytes = '', flags = 0): Buffer {
  return frame(DATA, flags, stream, content)
}

export type Fields = ReadonlyArray<readonly [name: string, value: Bytes]>

/** A header block of literals that nobody is to remember (RFC 7541, section 6.2.2). */
export function block(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(bytesOf(name)), text(bytesOf(value))]))
}

function text(bytes: Buffer): Buffer {
  return Buffer.concat([integer(bytes.length), bytes])
}

/** With a prefix of seven bits (RFC 7541, section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value])
  const bytes = [127]
  let rest = value - 127
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128)
  bytes.push(rest)
  return Buffer.from(bytes)
}

/** What every request must have, and what else is given; a pseudo-field that is given takes the place of ours. */
export function requestFields(method: string, path: string, more: Fields = []): Fields {
  const pseudo: Fields = [
    [':method', method],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'gateway.example'],
  ]
  return [...pseudo, ...more]
}

export function headers(stream: number, fields: Fields | Buffer, flags = END_HEADERS | END_STREAM): Buffer {
  return frame(HEADERS, flags, stream, Buffer.isBuffer(fields) ? fields : block(fields))
}

export function get(stream: number, path = '/', more: Fields = []): Buffer {
  return headers(stream, requestFields('GET', path, more))
}

/** A POST whose body is still to come. */
export function post(stream: number, path = '/', more: Fields = []): Buffer {
  return headers(stream, requestFields('POST', path, more), END_HEADERS)
}

/** What was said about one stream, as far as it has come. */
export interface StreamAnswer {
  /** Of the final answer; 0 while there is none. */
  readonly status: number
  readonly interim: readonly number[]
  readonly body: Buffer
  /** Of the body. */
  readonly length: number
  readonly ended: boolean
  readonly reset: string | undefined
}

export interface FrameClientOptions {
  /** In place of the right one. */
  readonly preface?: Bytes
  /** Frames behind the preface; SETTINGS otherwise. */
  readonly first?: Bytes
  /** Whether the gateway's SETTINGS are acknowledged; they are otherwise. */
  readonly silent?: boolean
}

export class FrameClient {
  readonly socket: TLSSocket
  readonly frames: Frame[] = []
  closed = false
  #rest: Buffer = Buffer.alloc(0)
  #waiting: Array<() => void> = []
  #pings = 0
  readonly #silent: boolean

  private constructor(socket: TLSSocket, silent: boolean) {
    this.socket = socket
    this.#silent = silent
    socket.on('data', (piece: Buffer) => this.#take(piece))
    socket.on('error', () => undefined)
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  static async open(t: Test, port: number, options: FrameClientOptions = {}): Promise<FrameClient> {
    const at = { port, host: '127.0.0.1', noDelay: true }
    const socket = connect({ ...at, servername: 'localhost', ca: CA, ALPNProtocols: ['h2'] })
    t.teardown(() => socket.destroy())
    const client = new FrameClient(socket, options.silent === true)
    await once(socket, 'secureConnect')
    client.send(options.preface ?? PREFACE, options.first ?? settings(NO_TABLE))
    return client
  }

  send(...bytes: readonly Bytes[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(bytes.map(bytesOf)))
  }

  /** The same, and waits until the system has taken it, or the connection has ended. */
  async sent(bytes: Buffer): Promise<void> {
    const taken = new Promise<void>((resolve) => void this.socket.write(bytes, () => resolve()))
    await guarded(taken, () => `an HTTP/2 connection that is written to: ${this.story.slice(0, 300)}`)
    // Lets its end be heard of.
    await new Promise(setImmediate)
  }

  /** Waits until `ready` gives something, or throws when the connection ends before. */
  async until<T>(ready: () => T | undefined): Promise<T> {
    const found = await this.#either(ready)
    if (found === undefined) throw new Error(`the connection ended: ${this.story}`)
    return found
  }

  /** The first frame that fits, now or later. */
  async frame(fits: (frame: Frame) => boolean): Promise<Frame> {
    return this.until(() => this.frames.find(fits))
  }

  /** The answer on a stream, when it is whole or was reset. */
  async answer(stream: number): Promise<StreamAnswer> {
    return this.until(() => {
      const answer = this.on(stream)
      return answer.ended || answer.reset !== undefined ? answer : undefined
    })
  }

  /** Sends a PING, and waits until it is answered. @returns whether it was, before the connection ended */
  async ping(): Promise<boolean> {
    const mark = String(this.#pings++).padStart(8, '0')
    this.send(ping(mark))
    const answered = ({ type, flags, payload }: Frame): boolean =>
      type === PING && (flags & ACK) !== 0 && payload.toString('latin1') === mark
    return (await this.#either(() => this.frames.find(answered))) !== undefined
  }

  /** Waits for the end of the connection. @returns the code of the GOAWAY before it; undefined for none */
  async end(): Promise<string | undefined> {
    await this.#either(() => undefined)
    return this.goaway
  }

  /** The code of the last GOAWAY. */
  get goaway(): string | undefined {
    const last = this.frames.findLast(({ type }) => type === GOAWAY)
    return last === undefined ? undefined : codeAt(last.payload, 4)
  }

  /** What has come on a stream. */
  on(stream: number): StreamAnswer {
    const frames = this.frames.filter((each) => each.stream === stream)
    const statuses = frames.filter(({ type }) => type === HEADERS).map(({ payload }) => statusOf(payload))
    const cut = frames.find(({ type }) => type === RST_STREAM)
    return {
      status: statuses.find((status) => status >= 200) ?? 0,
      interim: statuses.filter((status) => status > 0 && status < 200),
      get body() {
        return Buffer.concat(frames.filter(({ type }) => type === DATA).map(({ payload }) => payload))
      },
      length: frames.reduce((sum, { type, payload }) => (type === DATA ? sum + payload.length : sum), 0),
      ended: frames.some(({ type, flags }) => type <= HEADERS && (flags & END_STREAM) !== 0),
      reset: cut === undefined ? undefined : codeAt(cut.payload, 0),
    }
  }

  /** All that came, in words. */
  get story(): string {
    return this.frames
      .map(({ type, flags, stream, payload }) => `${NAMES[type]}/${flags}/${stream}/${payload.length}`)
      .join(' ')
  }

  async #either<T>(ready: () => T | undefined): Promise<T | undefined> {
    return guarded(this.#wait(ready), () => `an HTTP/2 connection: ${this.story}`)
  }

  async #wait<T>(ready: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const result = ready()
      if (result !== undefined || this.closed) return result
      // oxlint-disable-next-line no-await-in-loop -- until it has come
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
  }

  #take(piece: Buffer): void {
    let rest = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3)
      if (rest.length < 9 + length) break
      const [type, flags, stream] = [rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5)]
      this.frames.push({ type, flags, stream, payload: rest.subarray(9, 9 + length) })
      if (type === SETTINGS && (flags & ACK) === 0 && !this.#silent) this.send(frame(SETTINGS, ACK, 0))
      rest = rest.subarray(9 + length)
    }
    this.#rest = rest
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

const NAMES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
]

function codeAt(payload: Buffer, offset: number): string {
  const code = payload.readUInt32BE(offset)
  return CODES[code] ?? String(code)
}

/** :status at the numbers of the static table (RFC 7541, appendix A). */
const INDEXED = [200, 204, 206, 304, 400, 404, 500]
const FIRST_INDEXED = 8

/** The status in a header block that begins with it, as all answers' do; 0 for trailers. */
function statusOf(payload: Buffer): number {
  let at = 0
  // A change of the table's size may go before it (RFC 7541, section 6.3).
  while (((payload[at] ?? 0) & 0xe0) === 0x20) at += ((payload[at] ?? 0) & 0x1f) === 0x1f ? 2 : 1
  const first = payload[at] ?? 0
  if (first >= 0x80) return INDEXED[first - 0x80 - FIRST_INDEXED] ?? 0
  const name = first >= 0x40 ? first & 0x3f : first & 0x0f
  if (name < FIRST_INDEXED || name >= FIRST_INDEXED + INDEXED.length) return 0
  const length = payload[at + 1] ?? 0
  const value = payload.subarray(at + 2, at + 2 + (length & 0x7f))
  return Number(length < 0x80 ? value.toString('latin1') : digits(value))
}

/** Digits in Huffman's code (RFC 7541, appendix B): 0, 1 and 2 in five bits, the others in six; the rest are ones. */
function digits(bytes: Buffer): string {
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  let decoded = ''
  while (bits.length >= 5 && !/^1+$/.test(bits)) {
    const short = Number.parseInt(bits.slice(0, 5), 2)
    const digit = short < 3 ? short : Number.parseInt(bits.slice(0, 6), 2) - 0x19 + 3
    decoded += digit
    bits = bits.slice(short < 3 ? 5 : 6)
  }
  return decoded
}
