/**
 * The decoder of chunked bodies: total, strict, and indifferent to where its input is cut.
 */
import { array, assert, constantFrom, nat, oneof, property, string, tuple, uint8Array } from 'fast-check'
import { test } from 'tap'

import { ChunkedDecoder } from '../../src/transport/chunked.ts'
import { bytesOf, inTurn, type Bytes } from '../helpers/raw.ts'

interface Decoded {
  readonly content: string
  readonly trailers: string | undefined
  readonly problem: string | undefined
  /** How many bytes were read. */
  readonly read: number
}

function decode(pieces: readonly Bytes[]): Decoded {
  const decoder = new ChunkedDecoder()
  let content = ''
  let read = 0
  const onContent = (data: Buffer, start: number, end: number): void => {
    content += data.toString('latin1', start, end)
  }
  for (const piece of pieces) {
    if (decoder.done || decoder.problem !== undefined) break
    const data = bytesOf(piece)
    read += decoder.feed(data, 0, data.length, { onContent })
  }
  const { done, problem } = decoder
  return { content, trailers: done ? decoder.trailers : undefined, problem, read }
}

void test('what is chunked is decoded', async (t) => {
  const cases: Array<readonly [wire: string, content: string, trailers: string]> = [
    ['0\r\n\r\n', '', ''],
    ['5\r\nhello\r\n0\r\n\r\n', 'hello', ''],
    ['A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789', ''],
    ['00005\r\nhello\r\n000\r\n\r\n', 'hello', ''],
    ['5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', 'hello', ''],
    ['2\r\n\r\n\r\n0\r\n\r\n', '\r\n', ''],
    ['0\r\nA: 1\r\nB: 2\r\n\r\n', '', '\r\nA: 1\r\nB: 2'],
  ]
  await inTurn(cases, async ([wire, content, trailers]) => {
    t.same(decode([wire, 'surplus']), { content, trailers, problem: undefined, read: wire.length }, wire)
  })
})

void test('what is not is refused', async (t) => {
  const wires = [
    '\r\n',
    'g\r\n',
    ' 5\r\n',
    '5 \r\n',
    '+5',
    '-5',
    '0x5',
    '5\n',
    '5\rx',
    '5\r\nhellox',
    '5\r\nhello\n',
    '5\r\nhello\rx',
    '5;\x00',
    '5;\n',
  ]
  await inTurn(
    [...wires, 'ffffffffffff\r\n', '0'.repeat(5000), '0\r\nA: b\n', '0\r\n\rx', '0\r\nA\rb'],
    async (wire) => {
      t.type(decode([wire]).problem, 'string', JSON.stringify(wire.slice(0, 20)))
    },
  )
  t.type(decode([`5;${'x'.repeat(10_000)}`]).problem, 'string', 'an endless extension')
  t.type(decode([`0\r\n${'a: b\r\n'.repeat(10_000)}`]).problem, 'string', 'endless trailers')
})

const chunks = array(tuple(uint8Array({ minLength: 1, maxLength: 40 }), constantFrom('', ';a', ';a="b c"'), nat(3)), {
  maxLength: 6,
})

void test('property: any body in any chunks comes out as it was', async () => {
  assert(
    property(chunks, constantFrom('', 'X: y\r\n'), (list, trailer) => {
      const wire = list.map(([data, extension, zeros]) =>
        Buffer.concat([
          bytesOf(`${'0'.repeat(zeros)}${data.length.toString(16)}${extension}\r\n`),
          data,
          bytesOf('\r\n'),
        ]),
      )
      const body = Buffer.concat(list.map(([data]) => data)).toString('latin1')
      const { content, problem, trailers } = decode([Buffer.concat([...wire, bytesOf(`0\r\n${trailer}\r\n`)])])
      return content === body && problem === undefined && trailers === (trailer === '' ? '' : '\r\nX: y')
    }),
  )
})

const wire = array(
  oneof(
    constantFrom('0\r\n', '\r\n', '3\r\nabc\r\n', '1\r\nx\r\n', ';e', 'A: b\r\n', '\r', '\n', '5\r\nhello\r\n', ' '),
    string({ unit: 'binary', maxLength: 3 }),
  ),
  { maxLength: 12 },
).map((parts) => bytesOf(parts.join('')))

void test('property: nothing throws, and where the input is cut makes no difference', async () => {
  assert(
    property(wire, nat(), nat(), (bytes, one, two) => {
      const [first = 0, second = 0] = [one % (bytes.length + 1), two % (bytes.length + 1)].toSorted((a, b) => a - b)
      const whole = JSON.stringify(decode([bytes]))
      const cut = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]
      const single = [...bytes].map((byte) => Buffer.from([byte]))
      return whole === JSON.stringify(decode(cut)) && whole === JSON.stringify(decode(single))
    }),
    { numRuns: 3000 },
  )
})
