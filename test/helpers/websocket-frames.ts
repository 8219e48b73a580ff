/**
 * WebSocket by the byte (RFC 6455): frames as no library would send them, and hundreds of conversations in the categories
 * of the Autobahn test suite, each as the bytes that a client writes.
 */
import { createHash } from 'node:crypto'
import { constants, deflateRawSync } from 'node:zlib'

export const CONTINUATION = 0
export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

const RSV1 = 4

export interface FrameOptions {
  /** Whether it is the last one of its message. */
  readonly fin?: boolean
  /** The three reserved bits, as a number from 0 to 7. */
  readonly reserved?: number
  /** Clients must mask, servers must not. */
  readonly masked?: boolean
  /** How many bytes tell the length; the shortest form unless said otherwise. */
  readonly lengthBytes?: 0 | 2 | 8
}

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d])

/** One frame, as a client sends it. */
export function frame(opcode: number, payload: Buffer | string = '', options: FrameOptions = {}): Buffer {
  const { fin = true, reserved = 0, masked = true } = options
  const content = Buffer.from(payload)
  const { lengthBytes = shortestLength(content.length) } = options
  const head = Buffer.alloc(2 + lengthBytes)
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? content.length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(content.length, 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(content.length), 2)
  return Buffer.concat(masked ? [head, MASK, mask(content)] : [head, content])
}

function shortestLength(length: number): 0 | 2 | 8 {
  if (length < 126) return 0
  return length < 65_536 ? 2 : 8
}

function mask(content: Buffer): Buffer {
  return Buffer.from(content.map((byte, index) => byte ^ (MASK[index % 4] ?? 0)))
}

export function closeFrame(code?: number, reason: Buffer | string = ''): Buffer {
  if (code === undefined) return frame(CLOSE, reason)
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return frame(CLOSE, Buffer.concat([head, Buffer.from(reason)]))
}

const KEY = 'c2x1aWNlIGlzIGEgZ2F0ZQ=='

/** The head of a handshake; `lines` stand besides what every handshake has. */
export function handshake(target = '/', lines: readonly string[] = []): string {
  const fields = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${KEY}`]
  return `GET ${target} HTTP/1.1\r\nHost: gateway.example\r\n${[...fields, ...lines].join('\r\n')}\r\n\r\n`
}

/** What a server answers to that key. */
export const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

/** A conversation: what a client writes, one piece after the other. Whatever the server makes of it, it ends. */
export interface Conversation {
  readonly name: string
  /** What the client offers in Sec-WebSocket-Extensions; '' for nothing. */
  readonly extensions: string
  readonly pieces: readonly Buffer[]
}

/** All conversations; their names begin with the number of Autobahn's category. */
export function conversations(): Conversation[] {
  return [
    ...sizes(),
    ...pings(),
    ...reservedBits(),
    ...opcodes(),
    ...fragmentation(),
    ...unicode(),
    ...closing(),
    ...large(),
    ...compression(),
  ]
}

const GOODBYE = closeFrame(1000)

function conversation(name: string, frames: readonly Buffer[], extensions = ''): Conversation {
  return { name, extensions, pieces: [...frames, GOODBYE] }
}

/** The same, written in pieces of `size` bytes. */
function chopped(name: string, frames: readonly Buffer[], size = 1): Conversation {
  return {
    name: `${name}, in pieces of ${size}`,
    extensions: '',
    pieces: chop(Buffer.concat([...frames, GOODBYE]), size),
  }
}

function chop(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
}

/** A message in fragments of `size` bytes; an empty one is one empty frame. */
function fragments(opcode: number, payload: Buffer, size: number): Buffer[] {
  const parts = payload.length === 0 ? [payload] : chop(payload, size)
  return parts.map((part, index) =>
    frame(index === 0 ? opcode : CONTINUATION, part, { fin: index === parts.length - 1 }),
  )
}

function filler(length: number, opcode = TEXT): Buffer {
  // Text stays text; anything is binary.
  return Buffer.from(Array.from({ length }, (_, index) => (opcode === TEXT ? 0x20 + (index % 95) : (index * 7) % 256)))
}

function sizes(): Conversation[] {
  const found: Conversation[] = []
  for (const opcode of [TEXT, BINARY]) {
    const kind = opcode === TEXT ? '1.1 text' : '1.2 binary'
    for (const size of [0, 1, 125, 126, 127, 128, 65_535, 65_536])
      found.push(conversation(`${kind} of ${size}`, [frame(opcode, filler(size, opcode))]))
    found.push(chopped(`${kind} of 65536`, [frame(opcode, filler(65_536, opcode))], 997))
    // Longer forms of the length than are needed.
    for (const lengthBytes of [2, 8] as const)
      found.push(conversation(`${kind} with ${lengthBytes} bytes of length`, [frame(opcode, 'x', { lengthBytes })]))
  }
  found.push(conversation('1.3 an unmasked frame', [frame(TEXT, 'x', { masked: false })]))
  return found
}

function pings(): Conversation[] {
  const ten = Array.from({ length: 10 }, (_, index) => frame(PING, `ping ${index}`))
  return [
    conversation('2.1 an empty ping', [frame(PING)]),
    conversation('2.2 a ping with text', [frame(PING, 'Hello')]),
    conversation('2.3 a ping with bytes', [frame(PING, Buffer.from([0, 255, 254, 253, 0, 126]))]),
    conversation('2.4 a ping of 125', [frame(PING, filler(125, BINARY))]),
    conversation('2.5 a ping that is too long', [frame(PING, filler(126, BINARY))]),
    chopped('2.6 a ping of 125', [frame(PING, filler(125, BINARY))]),
    conversation('2.7 an empty pong', [frame(PONG)]),
    conversation('2.8 a pong with text', [frame(PONG, 'unasked')]),
    conversation('2.9 a pong, then a ping', [frame(PONG, 'unasked'), frame(PING, 'asked')]),
    conversation('2.10 ten pings', ten),
    chopped('2.11 ten pings', ten),
  ]
}

function reservedBits(): Conversation[] {
  const found: Conversation[] = []
  for (const reserved of [1, 2, 3, 4, 5, 6, 7]) {
    for (const opcode of [TEXT, BINARY, PING, CLOSE]) {
      const bad = frame(opcode, 'reserved', { reserved })
      found.push(conversation(`3 bits ${reserved} with opcode ${opcode}`, [bad]))
    }
    const among = [frame(TEXT, 'before'), frame(TEXT, 'bad', { reserved }), frame(PING, 'behind')]
    found.push(conversation(`3 bits ${reserved} between others`, among))
    found.push(chopped(`3 bits ${reserved} between others`, among))
  }
  return found
}

function opcodes(): Conversation[] {
  const found: Conversation[] = []
  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    const among = [frame(TEXT, 'before'), frame(opcode, 'unknown'), frame(PING, 'behind')]
    found.push(conversation(`4 opcode ${opcode}`, [frame(opcode)]))
    found.push(conversation(`4 opcode ${opcode} with content`, [frame(opcode, 'unknown')]))
    found.push(conversation(`4 opcode ${opcode} between others`, among))
    found.push(chopped(`4 opcode ${opcode} between others`, among))
  }
  return found
}

function fragmentation(): Conversation[] {
  const [first, middle, last] = [
    frame(TEXT, 'one ', { fin: false }),
    frame(CONTINUATION, 'two ', { fin: false }),
    frame(CONTINUATION, 'three'),
  ]
  const whole = frame(TEXT, 'whole')
  const cases: Record<string, Buffer[]> = {
    'a ping in fragments': [frame(PING, 'a', { fin: false }), frame(CONTINUATION, 'b')],
    'a pong in fragments': [frame(PONG, 'a', { fin: false }), frame(CONTINUATION, 'b')],
    'a text in two': [first, last],
    'a text in three': [first, middle, last],
    'a ping between': [first, frame(PING, 'between'), last],
    'a pong between': [first, frame(PONG, 'between'), last],
    'pings everywhere': [frame(PING, '1'), first, frame(PING, '2'), middle, frame(PING, '3'), last, frame(PING, '4')],
    'a continuation of nothing': [last, whole],
    'an open continuation of nothing': [middle, whole],
    'a continuation behind the end': [first, last, last],
    'a new text between': [first, whole, last],
    'a new binary between': [first, frame(BINARY, 'new'), last],
    'empty fragments': [frame(TEXT, '', { fin: false }), frame(CONTINUATION, '', { fin: false }), frame(CONTINUATION)],
    'an empty first fragment': [frame(TEXT, '', { fin: false }), last],
    'an empty last fragment': [first, frame(CONTINUATION)],
    'a close between': [first, closeFrame(1000, 'enough'), last],
    'binary in three': fragments(BINARY, filler(300, BINARY), 100),
  }
  return Object.entries(cases).flatMap(([name, frames]) => [
    conversation(`5 ${name}`, frames),
    chopped(`5 ${name}`, frames),
  ])
}

/** Where decoders go wrong, in hexadecimal. */
const EDGES = [
  // The first and the last of each length, also of lengths that are no longer allowed.
  '00 c280 e0a080 f0908080 f888808080 fc8480808080',
  '7f dfbf f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf ed9fbf ee8080 efbfbd f4908080',
  // Continuations of nothing, beginnings of nothing.
  '80 bf 80bf 80bf80 80bf80bf80bf c020 e020 f020 f820 fc20 c0 e080 f08080 f8808080 fc80808080',
  'df efbf f7bfbf fbbfbfbf fdbfbfbfbf c0e080f08080 fe ff fefeffff',
  // Longer than needed.
  'c0af e080af f08080af f8808080af fc80808080af c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf',
  'c080 e08080 f0808080 f880808080 fc8080808080',
  // Halves of UTF-16's pairs, alone and in pairs.
  'eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf eda080edb080 edafbfedbfbf',
]

/** Byte sequences that are UTF-8, nearly UTF-8, or nothing of the kind. */
function sequences(): Buffer[] {
  const greek = Buffer.from('κόσμε')
  const planes = Array.from({ length: 17 }, (_, plane) => plane * 0x1_0000)
  const nonCharacters = planes.flatMap((plane) => [plane + 0xff_fe, plane + 0xff_ff])
  return [
    Buffer.from('Hello-µ@ßöäüàá-UTF-8!!'),
    ...Array.from(greek, (_, index) => greek.subarray(0, index + 1)),
    ...EDGES.flatMap((line) => line.split(' ')).map((digits) => Buffer.from(digits, 'hex')),
    ...nonCharacters.map((point) => Buffer.from(String.fromCodePoint(point))),
  ]
}

function unicode(): Conversation[] {
  return sequences().flatMap((bytes) => {
    const name = `6 ${bytes.toString('hex')}`
    const framed = Buffer.concat([Buffer.from('before '), bytes, Buffer.from(' behind')])
    return [
      conversation(`${name} alone`, [frame(TEXT, bytes)]),
      conversation(`${name} in fragments of one`, fragments(TEXT, framed, 1)),
      chopped(`${name} between others`, [frame(TEXT, 'before'), frame(TEXT, framed), frame(PING, 'behind')], 3),
    ]
  })
}

function closing(): Conversation[] {
  const codes = [0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
  const more = [1015, 1016, 1100, 2000, 2999, 3000, 3999, 4000, 4321, 4999, 5000, 65_535]
  const forms: Record<string, Buffer[]> = {
    'without a code': [frame(CLOSE)],
    'with half a code': [frame(CLOSE, 'x')],
    'with a reason': [closeFrame(1000, 'bye')],
    'with the longest reason': [closeFrame(1000, filler(123))],
    'with a reason that is too long': [closeFrame(1000, filler(124))],
    'with a reason that is no UTF-8': [closeFrame(1000, Buffer.from('cebae1bdb9eda080', 'hex'))],
    'with a reason cut in a character': [closeFrame(1000, Buffer.from('κ').subarray(0, 1))],
    twice: [closeFrame(1000), closeFrame(1001)],
    'and then a text': [closeFrame(1000), frame(TEXT, 'too late')],
    'and then a ping': [closeFrame(1000), frame(PING, 'too late')],
    'behind a text': [frame(TEXT, 'before'), closeFrame(1000)],
    'behind half a text': [frame(TEXT, 'before', { fin: false }), closeFrame(1000)],
    'behind much': [frame(BINARY, filler(262_144, BINARY)), closeFrame(1000), frame(PING)],
  }
  return [
    ...Object.entries(forms).flatMap(([name, frames]) => [
      conversation(`7 close ${name}`, frames),
      chopped(`7 close ${name}`, frames, name === 'behind much' ? 4096 : 1),
    ]),
    ...[...codes, ...more].flatMap((code) => [
      conversation(`7 close with ${code}`, [closeFrame(code)]),
      conversation(`7 close with ${code} and a reason`, [frame(TEXT, 'before'), closeFrame(code, 'because')]),
    ]),
  ]
}

function large(): Conversation[] {
  const found: Conversation[] = []
  for (const opcode of [TEXT, BINARY]) {
    for (const size of [65_536, 262_144, 1_048_576])
      found.push(conversation(`9 ${size} with opcode ${opcode}`, [frame(opcode, filler(size, opcode))]))
    const content = filler(262_144, opcode)
    for (const size of [64, 256, 1024, 4096, 16_384, 65_536])
      found.push(conversation(`9 fragments of ${size}, opcode ${opcode}`, fragments(opcode, content, size)))
    for (const size of [1024, 4096, 65_535])
      found.push(chopped(`9 262144 with opcode ${opcode}`, [frame(opcode, content)], size))
    const many = Array.from({ length: 500 }, (_, index) => frame(opcode, filler(index, opcode)))
    found.push(conversation(`9 many messages with opcode ${opcode}`, many))
  }
  return found
}

/** A message as permessage-deflate sends it (RFC 7692, section 7.2.1), with what went before it for a dictionary. */
function deflated(payload: Buffer, dictionary?: Buffer): Buffer {
  const options = { finishFlush: constants.Z_SYNC_FLUSH, ...(dictionary === undefined ? {} : { dictionary }) }
  return deflateRawSync(payload, options).subarray(0, -4)
}

function compression(): Conversation[] {
  const offers = [
    'permessage-deflate',
    'permessage-deflate; client_no_context_takeover',
    'permessage-deflate; server_no_context_takeover',
    'permessage-deflate; client_no_context_takeover; server_no_context_takeover',
    'permessage-deflate; server_max_window_bits=10',
    'permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate',
  ]
  return offers.flatMap((offer, index) =>
    Object.entries(compressed(offer)).map(([name, frames]) => conversation(`12 ${index} ${name}`, frames, offer)),
  )
}

function compressed(offer: string): Record<string, Buffer[]> {
  const found: Record<string, Buffer[]> = {
    'in fragments': compressedFragments(filler(4096), 100),
    'beside what is not compressed': [frame(TEXT, 'plain'), ...repeated(64), frame(TEXT, 'plain')],
    'no valid deflate': [frame(TEXT, Buffer.from('ffffffff', 'hex'), { reserved: RSV1 })],
    'the bit on a continuation': compressedFragments(filler(400), 100, RSV1),
  }
  if (!offer.includes('client_no_context')) found['with context'] = inContext()
  for (const size of [0, 16, 64, 256, 1024, 4096, 32_768, 131_072]) found[`messages of ${size}`] = repeated(size)
  return found
}

function repeated(size: number): Buffer[] {
  return Array.from({ length: 4 }, () => frame(TEXT, deflated(filler(size)), { reserved: RSV1 }))
}

function compressedFragments(payload: Buffer, size: number, reservedLater = 0): Buffer[] {
  const parts = chop(deflated(payload), size)
  return parts.map((part, index) =>
    frame(index === 0 ? TEXT : CONTINUATION, part, {
      fin: index === parts.length - 1,
      reserved: index === 0 ? RSV1 : reservedLater,
    }),
  )
}

/** The second message refers to the first. */
function inContext(): Buffer[] {
  const content = filler(2000)
  const messages = [deflated(content), deflated(content, content)]
  return messages.map((message) => frame(TEXT, message, { reserved: RSV1 }))
}
