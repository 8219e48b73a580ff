/**
 * HTTP/2 as no client should speak it. First the checks of h2spec (its groups generic, hpack and http2), each with its
 * number there, the last one in RFC 7540's sections: what must be understood, and which error answers what must not be.
 * All of them can be said in frames; those that watch how much flows stand behind the table. As in h2spec, an error of a
 * stream may be answered by an error of the connection, and that by closing it without a word: Node often does. Then
 * floods, and what else would cost more here than there.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, totals, type Gateway } from '../helpers/gateway.ts'
import {
  ACK,
  block,
  CODES,
  CONTINUATION,
  DATA,
  data,
  ENABLE_PUSH,
  END_HEADERS,
  END_STREAM,
  frame,
  FrameClient,
  get,
  GOAWAY,
  HEADERS,
  headers,
  INITIAL_WINDOW_SIZE,
  MAX_FRAME_SIZE,
  NO_TABLE,
  PADDED,
  PING,
  ping,
  post,
  PRIORITY,
  PUSH_PROMISE,
  requestFields,
  reset,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WIDE,
  WINDOW_UPDATE,
  windowUpdate,
  WITH_PRIORITY,
  type Code,
  type Fields,
  type Frame,
} from '../helpers/http2-frames.ts'
import { guarded, inTurn, settled } from '../helpers/raw.ts'
import { SERVER } from '../helpers/secure.ts'

const TLS = { listen: { tls: SERVER } }

/** Answers with five bytes; to /wait never. */
async function startHttp2(t: Test): Promise<Gateway> {
  const server = await backend(t, (request, response) => {
    if (request.url !== '/wait') request.on('end', () => response.end('hello'))
  })
  return gatewayTo(t, [server], { connections: { max: 500 } }, TLS)
}

/** Frames that are sent, and streams whose answers are awaited between them. */
type Steps = ReadonlyArray<Buffer | number>

type Expected =
  | { readonly kind: 'answer'; readonly stream: number }
  | { readonly kind: 'lives' }
  | { readonly kind: 'error'; readonly scope: 'stream' | 'connection'; readonly codes: readonly Code[] }

type Check = readonly [id: string, what: string, steps: Steps, expected: Expected]

const LIVES: Expected = { kind: 'lives' }
const answer = (stream = 1): Expected => ({ kind: 'answer', stream })
const stream = (...codes: readonly Code[]): Expected => ({ kind: 'error', scope: 'stream', codes })
const connection = (...codes: readonly Code[]): Expected => ({ kind: 'error', scope: 'connection', codes })

const GET = requestFields('GET', '/')
const BLOCK = block(GET)
const POST = requestFields('POST', '/')
const WAIT = requestFields('GET', '/wait')
const [FIRST, SECOND] = [BLOCK.subarray(0, 10), BLOCK.subarray(10)]

const bytes = (...values: readonly number[]): Buffer => Buffer.from(values)
const joined = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts)
/** A GET whose header block has these bytes behind its fields. */
const getWith = (...more: readonly number[]): Buffer => headers(1, joined(BLOCK, bytes(...more)))
const continuation = (id: number, content: Buffer, flags = END_HEADERS): Buffer =>
  frame(CONTINUATION, flags, id, content)
const priority = (id: number, dependency = 0, weight = 15): Buffer =>
  frame(PRIORITY, 0, id, joined(uint32(dependency), bytes(weight)))
/** A HEADERS frame with these bytes before the block, and behind it. */
const enclosed = (id: number, flags: number, before: Buffer, after = 0): Buffer =>
  frame(HEADERS, END_HEADERS | END_STREAM | flags, id, joined(before, BLOCK, Buffer.alloc(after)))
const goaway = (id: number, code: number): Buffer => frame(GOAWAY, 0, id, uint32(0, code))
const broken = (fields: Fields): Buffer => headers(1, fields)
const without = (name: string): Fields => GET.filter(([each]) => each !== name)
const UNKNOWN_TYPE = frame(0x16, 0, 0, 'whatever')
/** Exclusive, in the highest bit. */
const EXCLUSIVE = 0x8000_0000
const LARGEST_FRAME = 16_384
/** The field "a large one" fills a frame and more. */
const LARGE: Fields = Array.from({ length: 4 }, (_, n) => [`x-large-${n}`, 'x'.repeat(4000)] as const)

const GENERIC: readonly Check[] = [
  ['generic/1/1', 'the preface', [], LIVES],
  ['generic/2/1', 'PRIORITY on an idle stream', [priority(1)], LIVES],
  ['generic/2/2', 'WINDOW_UPDATE on a half-closed stream', [get(1), windowUpdate(1, 100)], answer()],
  ['generic/2/3', 'PRIORITY on a half-closed stream', [get(1), priority(1)], answer()],
  ['generic/2/4', 'RST_STREAM on a half-closed stream', [get(1, '/wait'), reset(1)], LIVES],
  ['generic/2/5', 'PRIORITY on a closed stream', [get(1), 1, priority(1)], LIVES],
  ['generic/3.1/1', 'DATA', [post(1), data(1, 'test', END_STREAM)], answer()],
  ['generic/3.1/2', 'several DATA', [post(1), data(1, 'test'), data(1, 'test', END_STREAM)], answer()],
  ['generic/3.1/3', 'DATA with padding', [post(1), data(1, '\x06test\0\0\0\0\0\0', END_STREAM | PADDED)], answer()],
  ['generic/3.2/1', 'HEADERS', [get(1)], answer()],
  ['generic/3.2/2', 'HEADERS with padding', [enclosed(1, PADDED, bytes(6), 6)], answer()],
  ['generic/3.2/3', 'HEADERS with priority', [enclosed(1, WITH_PRIORITY, joined(uint32(0), bytes(255)))], answer()],
  ['generic/3.3/1', 'PRIORITY, weight 1', [priority(1, 0, 0)], LIVES],
  ['generic/3.3/2', 'PRIORITY, weight 256', [priority(1, 0, 255)], LIVES],
  ['generic/3.3/3', 'PRIORITY, dependent', [priority(1, 3)], LIVES],
  ['generic/3.3/4', 'PRIORITY, exclusive', [priority(1, EXCLUSIVE + 3)], LIVES],
  ['generic/3.3/5', 'PRIORITY on an idle stream, HEADERS on a lower one', [priority(3), get(1)], answer()],
  ['generic/3.4/1', 'RST_STREAM', [get(1, '/wait'), reset(1)], LIVES],
  ['generic/3.5/1', 'SETTINGS', [settings([3, 100])], LIVES],
  ['generic/3.7/1', 'PING', [ping()], LIVES],
  ['generic/3.8/1', 'GOAWAY', [goaway(0, 0)], connection('NO_ERROR')],
  ['generic/3.9/1', 'WINDOW_UPDATE of the connection', [windowUpdate(0, 1)], LIVES],
  ['generic/3.9/2', 'WINDOW_UPDATE of a stream', [get(1), windowUpdate(1, 1)], answer()],
  ['generic/3.10/1', 'CONTINUATION', [headers(1, FIRST, END_STREAM), continuation(1, SECOND)], answer()],
  [
    'generic/3.10/2',
    'several CONTINUATION',
    [headers(1, FIRST, END_STREAM), continuation(1, SECOND.subarray(0, 5), 0), continuation(1, SECOND.subarray(5))],
    answer(),
  ],
  ['generic/4/1', 'GET', [get(1)], answer()],
  ['generic/4/2', 'HEAD', [headers(1, requestFields('HEAD', '/'))], answer()],
  ['generic/4/3', 'POST', [post(1), data(1, 'test', END_STREAM)], answer()],
  ['generic/4/4', 'POST with trailers', [post(1), data(1, 'test'), headers(1, [['x-test', 'ok']])], answer()],
  ['generic/5/1', 'a field from the static table', [getWith(0x90)], answer()],
  ['generic/5/2', 'added to the table, name from it', [getWith(0x7a, 1, 0x61)], answer()],
  ['generic/5/3', 'the same, Huffman', [getWith(0x7a, 0x81, 0x1f)], answer()],
  ['generic/5/4', 'added to the table, new name', [getWith(0x40, 1, 0x61, 1, 0x61)], answer()],
  ['generic/5/5', 'the same, Huffman', [getWith(0x40, 0x81, 0x1f, 0x81, 0x1f)], answer()],
  ['generic/5/6', 'not added, name from the table', [getWith(0x0f, 0x2b, 1, 0x61)], answer()],
  ['generic/5/7', 'the same, Huffman', [getWith(0x0f, 0x2b, 0x81, 0x1f)], answer()],
  ['generic/5/8', 'not added, new name', [getWith(0, 1, 0x61, 1, 0x61)], answer()],
  ['generic/5/9', 'the same, Huffman', [getWith(0, 0x81, 0x1f, 0x81, 0x1f)], answer()],
  ['generic/5/10', 'never added, name from the table', [getWith(0x1f, 0x2b, 1, 0x61)], answer()],
  ['generic/5/11', 'the same, Huffman', [getWith(0x1f, 0x2b, 0x81, 0x1f)], answer()],
  ['generic/5/12', 'never added, new name', [getWith(0x10, 1, 0x61, 1, 0x61)], answer()],
  ['generic/5/13', 'the same, Huffman', [getWith(0x10, 0x81, 0x1f, 0x81, 0x1f)], answer()],
  ['generic/5/14', "a change of the table's size", [headers(1, joined(bytes(0x3f, 0xe1, 0x1f), BLOCK))], answer()],
  ['generic/5/15', 'several', [headers(1, joined(bytes(0x20, 0x3f, 0xe1, 0x1f), BLOCK))], answer()],
]

const HPACK: readonly Check[] = [
  ['hpack/2.3.3/1', 'a field beyond the table', [getWith(0xc6)], connection('COMPRESSION_ERROR')],
  ['hpack/2.3.3/2', 'a name beyond the table', [getWith(0x7f, 0x07, 1, 0x61)], connection('COMPRESSION_ERROR')],
  ['hpack/4.2/1', "a change of the table's size at the end", [getWith(0x20)], connection('COMPRESSION_ERROR')],
  [
    'hpack/5.2/1',
    'Huffman, padding too long',
    [getWith(0, 1, 0x61, 0x82, 0x1f, 0xff)],
    connection('COMPRESSION_ERROR'),
  ],
  ['hpack/5.2/2', 'Huffman, padding of zeros', [getWith(0, 1, 0x61, 0x81, 0x18)], connection('COMPRESSION_ERROR')],
  ['hpack/5.2/3', 'Huffman, EOS', [getWith(0, 1, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff)], connection('COMPRESSION_ERROR')],
  ['hpack/6.1/1', 'a field with the number 0', [getWith(0x80)], connection('COMPRESSION_ERROR')],
  [
    'hpack/6.3/1',
    'a table larger than was allowed',
    [headers(1, joined(bytes(0x3f, 0xe2, 0x1f), BLOCK))],
    connection('COMPRESSION_ERROR'),
  ],
]

const STREAMS: readonly Check[] = [
  ['http2/3.5/1', 'the preface', [], LIVES],
  ['http2/4.1/1', 'a frame of unknown type', [UNKNOWN_TYPE], LIVES],
  ['http2/4.1/2', 'unknown flags', [frame(PING, 0x16, 0, '\0'.repeat(8))], LIVES],
  ['http2/4.1/3', 'the reserved bit', [frame(PING, 0, EXCLUSIVE, '\0'.repeat(8))], LIVES],
  ['http2/4.2/1', 'DATA of the largest size', [post(1), data(1, Buffer.alloc(LARGEST_FRAME), END_STREAM)], answer()],
  [
    'http2/4.2/2',
    'DATA that is too large',
    [headers(1, POST, END_HEADERS), data(1, Buffer.alloc(LARGEST_FRAME + 1), END_STREAM)],
    stream('FRAME_SIZE_ERROR'),
  ],
  [
    'http2/4.2/3',
    'HEADERS that is too large',
    [headers(1, [...GET, ...LARGE, ...LARGE])],
    connection('FRAME_SIZE_ERROR'),
  ],
  [
    'http2/4.3/1',
    'a header block that ends early',
    [headers(1, bytes(0, 0x7f, 0x61))],
    connection('COMPRESSION_ERROR'),
  ],
  [
    'http2/4.3/2',
    'PRIORITY in a header block',
    [headers(1, FIRST, END_STREAM), priority(1), continuation(1, SECOND)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/4.3/3',
    'HEADERS of another stream in a header block',
    [headers(1, FIRST, END_STREAM), get(3), continuation(1, SECOND)],
    connection('PROTOCOL_ERROR'),
  ],
  ['http2/5.1/1', 'idle: DATA', [data(1, 'test', END_STREAM)], connection('PROTOCOL_ERROR')],
  ['http2/5.1/2', 'idle: RST_STREAM', [reset(1)], connection('PROTOCOL_ERROR')],
  ['http2/5.1/3', 'idle: WINDOW_UPDATE', [windowUpdate(1, 100)], connection('PROTOCOL_ERROR')],
  ['http2/5.1/4', 'idle: CONTINUATION', [continuation(1, BLOCK)], connection('PROTOCOL_ERROR')],
  ['http2/5.1/5', 'half-closed: DATA', [get(1), data(1, 'test', END_STREAM)], stream('STREAM_CLOSED')],
  ['http2/5.1/6', 'half-closed: HEADERS', [get(1), get(1)], stream('STREAM_CLOSED')],
  [
    'http2/5.1/7',
    'half-closed: CONTINUATION',
    [get(1), continuation(1, BLOCK)],
    stream('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  ],
  ['http2/5.1/8', 'reset: DATA', [post(1), reset(1), data(1, 'test', END_STREAM)], stream('STREAM_CLOSED')],
  ['http2/5.1/9', 'reset: HEADERS', [post(1), reset(1), get(1)], stream('STREAM_CLOSED')],
  [
    'http2/5.1/10',
    'reset: CONTINUATION',
    [post(1), reset(1), continuation(1, BLOCK)],
    stream('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  ],
  ['http2/5.1/11', 'ended: DATA', [get(1), 1, data(1, 'test', END_STREAM)], connection('STREAM_CLOSED')],
  ['http2/5.1/12', 'ended: HEADERS', [get(1), 1, get(1)], connection('STREAM_CLOSED')],
  [
    'http2/5.1/13',
    'ended: CONTINUATION',
    [get(1), 1, continuation(1, BLOCK)],
    connection('STREAM_CLOSED', 'PROTOCOL_ERROR'),
  ],
  ['http2/5.1.1/1', 'an even number', [get(2)], connection('PROTOCOL_ERROR')],
  ['http2/5.1.1/2', 'a lower number', [get(5), get(3)], connection('PROTOCOL_ERROR')],
  [
    'http2/5.1.2/1',
    'more streams than allowed',
    Array.from({ length: 129 }, (_, n) => headers(2 * n + 1, WAIT)),
    stream('PROTOCOL_ERROR', 'REFUSED_STREAM'),
  ],
  [
    'http2/5.3.1/1',
    'HEADERS that depends on itself',
    [enclosed(1, WITH_PRIORITY, joined(uint32(1), bytes(255)))],
    stream('PROTOCOL_ERROR'),
  ],
  ['http2/5.3.1/2', 'PRIORITY that depends on itself', [priority(2, 2)], stream('PROTOCOL_ERROR')],
  [
    'http2/5.4.1/1',
    'an error closes the connection',
    [frame(PING, 0, 3, '\0'.repeat(8))],
    connection('PROTOCOL_ERROR'),
  ],
  ['http2/5.4.1/2', 'an error is told by GOAWAY', [frame(PING, 0, 3, '\0'.repeat(8))], connection('PROTOCOL_ERROR')],
  ['http2/5.5/1', 'an extension', [UNKNOWN_TYPE], LIVES],
  [
    'http2/5.5/2',
    'an extension in a header block',
    [headers(1, FIRST, END_STREAM), UNKNOWN_TYPE, continuation(1, SECOND)],
    connection('PROTOCOL_ERROR'),
  ],
]

const FRAMES: readonly Check[] = [
  ['http2/6.1/1', 'DATA on the connection', [data(0, 'test')], connection('PROTOCOL_ERROR')],
  ['http2/6.1/2', 'DATA on a closed stream', [get(1), data(1, 'test')], stream('STREAM_CLOSED')],
  [
    'http2/6.1/3',
    'DATA, more padding than content',
    [post(1), data(1, '\x06test', END_STREAM | PADDED)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.2/1',
    'HEADERS, then PRIORITY before the block ends',
    [headers(1, FIRST, END_STREAM), priority(1)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.2/2',
    'HEADERS, then HEADERS of another stream before the block ends',
    [headers(1, FIRST, END_STREAM), get(3)],
    connection('PROTOCOL_ERROR'),
  ],
  ['http2/6.2/3', 'HEADERS on the connection', [get(0)], connection('PROTOCOL_ERROR')],
  [
    'http2/6.2/4',
    'HEADERS, more padding than content',
    [enclosed(1, PADDED, bytes(255))],
    connection('PROTOCOL_ERROR'),
  ],
  ['http2/6.3/1', 'PRIORITY on the connection', [priority(0)], connection('PROTOCOL_ERROR')],
  ['http2/6.3/2', 'PRIORITY of four bytes', [frame(PRIORITY, 0, 1, '\0\0\0\0')], stream('FRAME_SIZE_ERROR')],
  ['http2/6.4/1', 'RST_STREAM on the connection', [reset(0)], connection('PROTOCOL_ERROR')],
  ['http2/6.4/2', 'RST_STREAM on an idle stream', [reset(1)], connection('PROTOCOL_ERROR')],
  [
    'http2/6.4/3',
    'RST_STREAM of three bytes',
    [get(1), frame(RST_STREAM, 0, 1, '\0\0\0')],
    connection('FRAME_SIZE_ERROR'),
  ],
  ['http2/6.5/1', 'SETTINGS, ACK with content', [frame(SETTINGS, ACK, 0, '\0')], connection('FRAME_SIZE_ERROR')],
  ['http2/6.5/2', 'SETTINGS on a stream', [frame(SETTINGS, 0, 1, '\0\x03\0\0\0\x64')], connection('PROTOCOL_ERROR')],
  ['http2/6.5/3', 'SETTINGS of three bytes', [frame(SETTINGS, 0, 0, '\0\x03\0')], connection('FRAME_SIZE_ERROR')],
  ['http2/6.5.2/1', 'ENABLE_PUSH of 2', [settings([ENABLE_PUSH, 2])], connection('PROTOCOL_ERROR')],
  [
    'http2/6.5.2/2',
    'INITIAL_WINDOW_SIZE beyond the largest',
    [settings([INITIAL_WINDOW_SIZE, EXCLUSIVE])],
    connection('FLOW_CONTROL_ERROR'),
  ],
  ['http2/6.5.2/3', 'MAX_FRAME_SIZE too small', [settings([MAX_FRAME_SIZE, 16_383])], connection('PROTOCOL_ERROR')],
  ['http2/6.5.2/4', 'MAX_FRAME_SIZE too large', [settings([MAX_FRAME_SIZE, 16_777_216])], connection('PROTOCOL_ERROR')],
  ['http2/6.5.2/5', 'an unknown setting', [settings([0xff, 1])], LIVES],
  ['http2/6.7/1', 'PING', [ping()], LIVES],
  ['http2/6.7/2', 'PING, ACK', [frame(PING, ACK, 0, 'invalid.')], LIVES],
  ['http2/6.7/3', 'PING on a stream', [frame(PING, 0, 1, '\0'.repeat(8))], connection('PROTOCOL_ERROR')],
  ['http2/6.7/4', 'PING of six bytes', [frame(PING, 0, 0, '\0'.repeat(6))], connection('FRAME_SIZE_ERROR')],
  ['http2/6.8/1', 'GOAWAY on a stream', [goaway(1, 0)], connection('PROTOCOL_ERROR')],
  ['http2/6.9/1', 'WINDOW_UPDATE by 0 of the connection', [windowUpdate(0, 0)], connection('PROTOCOL_ERROR')],
  ['http2/6.9/2', 'WINDOW_UPDATE by 0 of a stream', [get(1), windowUpdate(1, 0)], stream('PROTOCOL_ERROR')],
  [
    'http2/6.9/3',
    'WINDOW_UPDATE of three bytes',
    [frame(WINDOW_UPDATE, 0, 0, '\0\0\x01')],
    connection('FRAME_SIZE_ERROR'),
  ],
  [
    'http2/6.9.1/2',
    'WINDOW_UPDATE of the connection beyond the largest',
    [windowUpdate(0, 0x7fff_ffff), windowUpdate(0, 0x7fff_ffff)],
    connection('FLOW_CONTROL_ERROR'),
  ],
  [
    'http2/6.9.1/3',
    'WINDOW_UPDATE of a stream beyond the largest',
    [get(1), windowUpdate(1, 0x7fff_ffff), windowUpdate(1, 0x7fff_ffff)],
    stream('FLOW_CONTROL_ERROR'),
  ],
  [
    'http2/6.9.2/3',
    'INITIAL_WINDOW_SIZE beyond the largest',
    [settings([INITIAL_WINDOW_SIZE, EXCLUSIVE])],
    connection('FLOW_CONTROL_ERROR'),
  ],
  [
    'http2/6.10/1',
    'several CONTINUATION',
    [headers(1, FIRST, END_STREAM), continuation(1, SECOND.subarray(0, 9), 0), continuation(1, SECOND.subarray(9))],
    answer(),
  ],
  [
    'http2/6.10/2',
    'CONTINUATION, then another frame before the block ends',
    [headers(1, FIRST, END_STREAM), continuation(1, SECOND, 0), data(1, 'test', END_STREAM)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.10/3',
    'CONTINUATION on the connection',
    [headers(1, FIRST, END_STREAM), continuation(0, SECOND)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.10/4',
    'CONTINUATION behind the end of HEADERS',
    [get(1), continuation(1, BLOCK)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.10/5',
    'CONTINUATION behind the end of CONTINUATION',
    [headers(1, FIRST, END_STREAM), continuation(1, SECOND), continuation(1, BLOCK)],
    connection('PROTOCOL_ERROR'),
  ],
  [
    'http2/6.10/6',
    'CONTINUATION behind DATA',
    [headers(1, FIRST, END_STREAM), data(1, 'test'), continuation(1, SECOND)],
    connection('PROTOCOL_ERROR'),
  ],
  ['http2/7/1', 'GOAWAY with an unknown code', [goaway(0, 0xff)], connection(...CODES)],
  ['http2/7/2', 'RST_STREAM with an unknown code', [get(1, '/wait'), frame(RST_STREAM, 0, 1, uint32(0xff))], LIVES],
]

const MALFORMED = stream('PROTOCOL_ERROR')

const MESSAGES: readonly Check[] = [
  [
    'http2/8.1/1',
    'a second HEADERS that does not end the stream',
    [post(1), headers(1, [['x-test', 'ok']], END_HEADERS), data(1, 'test', END_STREAM)],
    MALFORMED,
  ],
  ['http2/8.1.2/1', 'upper case in a name', [broken([...GET, ['X-TEST', 'ok']])], MALFORMED],
  ['http2/8.1.2.1/1', 'an unknown pseudo-field', [broken([[':test', 'ok'], ...GET])], MALFORMED],
  ['http2/8.1.2.1/2', 'a pseudo-field of answers', [broken([[':status', '200'], ...GET])], MALFORMED],
  [
    'http2/8.1.2.1/3',
    'a pseudo-field as trailer',
    [post(1), data(1, 'test'), headers(1, [[':method', 'GET']])],
    MALFORMED,
  ],
  [
    'http2/8.1.2.1/4',
    'a pseudo-field behind another field',
    [broken([...without(':path'), ['x-test', 'ok'], [':path', '/']])],
    MALFORMED,
  ],
  ['http2/8.1.2.2/1', 'Connection', [broken([...GET, ['connection', 'keep-alive']])], MALFORMED],
  [
    'http2/8.1.2.2/2',
    'TE with something else than trailers',
    [broken([...GET, ['te', 'trailers, deflate']])],
    MALFORMED,
  ],
  ['http2/8.1.2.3/1', 'an empty :path', [broken([...without(':path'), [':path', '']])], MALFORMED],
  ['http2/8.1.2.3/2', 'no :method', [broken(without(':method'))], MALFORMED],
  ['http2/8.1.2.3/3', 'no :scheme', [broken(without(':scheme'))], MALFORMED],
  ['http2/8.1.2.3/4', 'no :path', [broken(without(':path'))], MALFORMED],
  ['http2/8.1.2.3/5', 'two :method', [broken([[':method', 'GET'], ...GET])], MALFORMED],
  ['http2/8.1.2.3/6', 'two :scheme', [broken([[':scheme', 'https'], ...GET])], MALFORMED],
  ['http2/8.1.2.3/7', 'two :path', [broken([[':path', '/'], ...GET])], MALFORMED],
  [
    'http2/8.1.2.6/1',
    'H2-03: Content-Length that is not the length of the DATA',
    [post(1, '/', [['content-length', '1']]), data(1, 'test', END_STREAM)],
    MALFORMED,
  ],
  [
    'http2/8.1.2.6/2',
    'H2-03: Content-Length that is not the length of several DATA',
    [post(1, '/', [['content-length', '1']]), data(1, 'test'), data(1, 'test', END_STREAM)],
    MALFORMED,
  ],
  [
    'http2/8.2/1',
    'PUSH_PROMISE',
    [frame(PUSH_PROMISE, END_HEADERS, 1, joined(uint32(2), BLOCK))],
    connection('PROTOCOL_ERROR'),
  ],
]

const CHECKS: readonly Check[] = [...GENERIC, ...HPACK, ...STREAMS, ...FRAMES, ...MESSAGES]

const FORGOTTEN = 'nghttp2 forgets a stream that is closed, and ignores what comes on it: it harms nobody'
const NO_PRIORITIES = 'RFC 9113, section 5.3 did away with priorities; nghttp2 no longer looks at them'

/** What Node's HTTP/2, which is nghttp2, does instead, and why that is good enough. */
const OTHERWISE: Readonly<Record<string, readonly [outcome: string, why: string]>> = {
  'http2/5.1/8': ['lives', FORGOTTEN],
  'http2/5.1/9': ['lives', FORGOTTEN],
  'http2/5.1/11': ['lives', FORGOTTEN],
  'http2/5.1/12': ['lives', FORGOTTEN],
  'http2/5.1.1/2': [
    'lives',
    'nghttp2 takes a lower number for a stream that is closed, and ignores it: it is not served',
  ],
  'http2/5.3.1/2': ['lives', NO_PRIORITIES],
  'http2/6.3/1': ['lives', NO_PRIORITIES],
  'http2/6.7/2': ['closed', 'Node lets nobody answer a PING that it has not sent'],
}

/** What became of a check, in the words of its frames. */
async function outcome(client: FrameClient, [, , steps, expected]: Check): Promise<string> {
  try {
    await inTurn(steps, async (step) => {
      if (typeof step === 'number') await client.answer(step)
      else client.send(step)
    })
    if (expected.kind === 'answer') return `answered ${(await client.answer(expected.stream)).status}`
  } catch {
    // The connection has ended, which is said below.
  }
  // What is wrong is said before the second PING is answered: an answer to the first may overtake it.
  if (!(await client.ping()) || !(await client.ping()))
    return client.goaway === undefined ? 'closed' : `GOAWAY ${client.goaway}`
  const cut = client.frames.find(({ type }) => type === RST_STREAM)
  return cut === undefined ? 'lives' : `RST_STREAM ${client.on(cut.stream).reset}`
}

function wanted(expected: Expected): readonly string[] {
  if (expected.kind === 'answer') return ['answered 200']
  if (expected.kind === 'lives') return ['lives']
  const ends = ['closed', ...expected.codes.map((code) => `GOAWAY ${code}`)]
  return expected.scope === 'connection' ? ends : [...ends, ...expected.codes.map((code) => `RST_STREAM ${code}`)]
}

void test('H2-01: the checks of h2spec', async (t) => {
  const gateway = await startHttp2(t)
  await inTurn(CHECKS, async (check) => {
    const [id, what, , expected] = check
    const client = await FrameClient.open(t, gateway.port)
    const found = await outcome(client, check)
    client.socket.destroy()
    const otherwise = OTHERWISE[id]
    if (otherwise === undefined) t.ok(wanted(expected).includes(found), `${id} ${what}: ${found}`)
    else t.equal(found, otherwise[0], `${id} ${what}, otherwise: ${otherwise[1]}`)
  })
})

void test('H2-01: h2spec http2/3.5/2, a preface that is none', async (t) => {
  const gateway = await startHttp2(t)
  const client = await FrameClient.open(t, gateway.port, { preface: 'INVALID CONNECTION PREFACE\r\n\r\n' })
  t.not(await client.end(), 'NO_ERROR')
  t.ok(client.closed)
})

void test('H2-01: h2spec http2/6.5.3/2, SETTINGS are acknowledged', async (t) => {
  const gateway = await startHttp2(t)
  const client = await FrameClient.open(t, gateway.port)
  await client.frame(({ type, flags }) => type === SETTINGS && flags === ACK)
})

const window = (size: number): Buffer => settings(NO_TABLE, [INITIAL_WINDOW_SIZE, size])

/** Waits for the first DATA frame that holds anything. @returns its size */
async function firstPiece(client: FrameClient, behind = 0): Promise<number> {
  const piece = await client.until(() => client.frames.filter(isPiece)[behind])
  return piece.payload.length
}

function isPiece({ type, payload }: Frame): boolean {
  return type === DATA && payload.length > 0
}

void test('H2-01: h2spec http2/6.5.3/1, 6.9.1/1 and 6.9.2, windows as they were set last', async (t) => {
  const gateway = await startHttp2(t)
  const several = await FrameClient.open(t, gateway.port, {
    first: settings(NO_TABLE, [INITIAL_WINDOW_SIZE, 100], [INITIAL_WINDOW_SIZE, 1]),
  })
  several.send(get(1))
  t.equal(await firstPiece(several), 1, '6.5.3/1: the last of several values')
  const narrow = await FrameClient.open(t, gateway.port, { first: window(1) })
  narrow.send(get(1))
  t.equal(await firstPiece(narrow), 1, '6.9.1/1: a window of one byte')
  const later = await FrameClient.open(t, gateway.port, { first: window(0) })
  later.send(get(1))
  await later.until(() => later.on(1).status || undefined)
  later.send(window(1))
  t.equal(await firstPiece(later), 1, '6.9.2/1: widened behind the request')
  const negative = await FrameClient.open(t, gateway.port, { first: window(3) })
  negative.send(get(1))
  t.equal(await firstPiece(negative), 3)
  negative.send(window(2), windowUpdate(1, 2))
  t.equal(await firstPiece(negative, 1), 1, '6.9.2/2: a window of less than nothing')
})

// --- floods ---

/** What a flood may add to what the process holds; the flood itself is sent from here, too. */
const BOUNDED = 150 * 1024 ** 2

interface Flood {
  /** What comes before. */
  readonly first?: Buffer
  /** What is sent in the n-th round. */
  readonly round: (n: number) => Buffer
  /** Reads nothing of what comes back. */
  readonly deaf?: boolean
  /** Acknowledges no SETTINGS. */
  readonly silent?: boolean
}

/** Sends until the connection ends or it has been enough, while another client is served. */
async function flood(t: Test, gateway: Gateway, what: string, options: Flood, rounds: number): Promise<FrameClient> {
  const client = await FrameClient.open(t, gateway.port, { silent: options.silent === true })
  const other = await FrameClient.open(t, gateway.port)
  if (options.deaf === true) client.socket.pause()
  const before = process.memoryUsage().rss
  if (options.first !== undefined) client.send(options.first)
  for (let round = 0; round < rounds && !client.closed; round++) {
    // Who reads nothing may not even hear of the end.
    if (options.deaf === true) client.send(options.round(round))
    // oxlint-disable-next-line no-await-in-loop -- as fast as it is taken
    else await client.sent(options.round(round))
    // oxlint-disable-next-line no-await-in-loop
    if (round % 50 === 5 && !(await isServed(other, round))) t.fail(`${what}: another client is not served`)
  }
  const grown = process.memoryUsage().rss - before
  t.ok(grown < BOUNDED, `${what}: ${Math.round(grown / 1024 ** 2)} MB more`)
  t.ok(await isServed(other, rounds), `${what}: another client is served`)
  other.socket.destroy()
  client.socket.resume()
  return client
}

async function isServed(client: FrameClient, round: number): Promise<boolean> {
  client.send(get(odd(round)))
  return (await client.answer(odd(round))).status === 200
}

/** Waits until no request is under way any more. */
async function isQuiet(t: Test, gateway: Gateway, what: string): Promise<void> {
  const quiet = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- nothing tells when all of them have been heard of
    while (totals(gateway).inFlight > 0) await new Promise(setImmediate)
  }
  await guarded(quiet(), () => `${what}: ${JSON.stringify(totals(gateway))}`)
  t.equal(totals(gateway).failures, 0, `${what}: no backend is blamed`)
}

const odd = (n: number): number => 2 * n + 1

/** A hundred in a round, each for another stream. */
const hundred =
  (make: (stream: number) => Buffer) =>
  (round: number): Buffer =>
    joined(...Array.from({ length: 100 }, (_, n) => make(odd(100 * round + n))))

/** The same a thousand times, in every round. */
const thousand = (one: Buffer): (() => Buffer) => {
  const all = joined(...Array.from({ length: 1000 }, () => one))
  return () => all
}

const SET = settings([INITIAL_WINDOW_SIZE, 65_535])

const ENDED: ReadonlyArray<readonly [what: string, flood: Flood]> = [
  ['rapid reset', { round: hundred((id) => joined(get(id, '/wait'), reset(id))) }],
  ['rapid reset, SETTINGS not acknowledged', { round: hundred((id) => joined(get(id), reset(id))), silent: true }],
  ['uploads that are reset', { round: hundred((id) => joined(post(id), data(id, 'half'), reset(id, 'NO_ERROR'))) }],
  ['requests that we have to reset', { round: hundred((id) => get(id, '/', [['te', 'gzip']])) }],
  ['streams beyond the limit', { round: hundred((id) => get(id, '/wait')) }],
  ['streams beyond the limit, SETTINGS not acknowledged', { round: hundred((id) => get(id, '/wait')), silent: true }],
  ['CONTINUATION', { first: headers(1, BLOCK, END_STREAM), round: thousand(continuation(1, block([['x', 'y']]), 0)) }],
  [
    'empty CONTINUATION',
    { first: headers(1, BLOCK, END_STREAM), round: thousand(continuation(1, Buffer.alloc(0), 0)) },
  ],
  ['SETTINGS, nothing read', { round: thousand(SET), deaf: true }],
  ['PING, nothing read', { round: thousand(ping()), deaf: true }],
  ['empty DATA', { first: post(1), round: thousand(data(1)) }],
  ['PRIORITY', { round: hundred((id) => priority(id)) }],
  ['frames of unknown type', { round: thousand(frame(0x77, 0, 0, 'x'.repeat(100))) }],
]

void test('H2-04: floods that end the connection', async (t) => {
  await inTurn(ENDED, async ([what, options]) => {
    const gateway = await startHttp2(t)
    const client = await flood(t, gateway, what, options, options.deaf === true ? 200 : 5000)
    await client.end()
    t.ok(client.closed, what)
    await isQuiet(t, gateway, what)
  })
})

const BORNE: ReadonlyArray<readonly [what: string, flood: Flood]> = [
  ['PING', { round: thousand(ping('........')) }],
  ['SETTINGS', { round: thousand(SET) }],
  ['WINDOW_UPDATE of the connection', { round: thousand(windowUpdate(0, 1)) }],
  ['WINDOW_UPDATE of a stream', { first: get(1, '/wait'), round: thousand(windowUpdate(1, 1)) }],
  [
    'DATA of nothing but padding',
    { first: post(1, '/wait'), round: thousand(data(1, `\xff${'\0'.repeat(255)}`, PADDED)) },
  ],
]

void test('H2-04: floods that are borne, or end the connection', async (t) => {
  await inTurn(BORNE, async ([what, options]) => {
    const gateway = await startHttp2(t)
    const client = await flood(t, gateway, what, options, 30)
    if (!client.closed) {
      client.send(get(3))
      t.equal((await client.answer(3)).status, 200, `${what}: it goes on`)
      client.socket.destroy()
    }
    await isQuiet(t, gateway, what)
  })
})

// --- what is small on the wire and large in memory ---

/** A field of 4,000 bytes for the table, and how often it is meant: one byte each. */
function bomb(times: number): Buffer {
  const large = joined(bytes(0x40, 1, 0x78, 0x7f, 0xa1, 0x1e), Buffer.alloc(4000, 'y'))
  return joined(BLOCK, large, Buffer.alloc(times, 0xbe))
}

void test('fields that one byte each stands for reach no backend, whether SETTINGS are acknowledged or not', async (t) => {
  await inTurn([false, true], async (silent) => {
    const server = await backend(t)
    const gateway = await gatewayTo(t, [server], {}, TLS)
    const client = await FrameClient.open(t, gateway.port, { silent })
    await inTurn([10, 100, 1900, 10_000], async (times, index) => {
      const id = odd(index)
      client.send(headers(id, bomb(times)))
      const { status, reset: code } = await client.answer(id)
      t.ok(status === 431 || code === 'ENHANCE_YOUR_CALM', `${times} times, silent ${silent}: ${status}, ${code}`)
    })
    t.equal(server.requests.length, 0)
    client.send(get(9))
    t.equal((await client.answer(9)).status, 200)
  })
})

void test('answers that a client asks for without reading anything stop the backends', async (t) => {
  let written = 0
  const server = await backend(t, (request, response) => {
    if (request.url === '/') return void response.end('ok')
    const piece = Buffer.alloc(256 * 1024)
    const more = (): void => {
      while (written < 400 * 1024 ** 2 && response.write(piece)) written += piece.length
    }
    response.on('drain', more)
    return more()
  })
  const gateway = await gatewayTo(t, [server], {}, TLS)
  const client = await FrameClient.open(t, gateway.port, { first: WIDE })
  client.socket.pause()
  for (let n = 0; n < 20; n++) client.send(get(odd(n), '/much'))
  await server.request(19)
  await settled(() => written)
  // The system's buffers of twenty connections on loopback are in it.
  t.ok(written < 200 * 1024 ** 2, `${written} bytes taken`)
  const other = await FrameClient.open(t, gateway.port)
  other.send(get(1))
  t.equal((await other.answer(1)).status, 200)
  client.socket.destroy()
  await server.openAtMost(1)
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('200 connections that ask for nothing are let go, and the next client is served', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], {}, { listen: { tls: SERVER, headersTimeout: 500 } })
  const clients: FrameClient[] = []
  await inTurn(Array.from({ length: 10 }), async () => {
    clients.push(...(await Promise.all(Array.from({ length: 20 }, async () => FrameClient.open(t, gateway.port)))))
  })
  await Promise.all(clients.map(async (client) => client.end()))
  const next = await FrameClient.open(t, gateway.port)
  next.send(get(1))
  t.equal((await next.answer(1)).status, 200)
})
