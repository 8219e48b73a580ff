/**
 * The parser of response heads: total, strict, and clear about where an answer ends.
 */
import { array, assert, constantFrom, oneof, property, string } from 'fast-check'
import { test } from 'tap'

import {
  fieldsOf,
  isHopByHop,
  linesOf,
  listedFields,
  parseResponseHead,
  withoutFields,
  type ResponseHead,
} from '../../src/transport/response-head.ts'
import { inTurn } from '../helpers/raw.ts'

function head(lines: string, method = 'GET'): ResponseHead {
  const parsed = parseResponseHead(`${lines}\r\n`, method)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}

void test('status line and fields', async (t) => {
  t.match(head('HTTP/1.1 200 OK\r\nA: b\r\na:\tc d \r\nContent-Length: 5'), {
    status: 200,
    reason: 'OK',
    lines: 'A: b\r\na: c d\r\nContent-Length: 5\r\n',
    dated: false,
    framing: 'length',
    length: 5,
    reusable: true,
    keepAliveMs: undefined,
  })
  t.match(head('HTTP/1.1 299'), { status: 299, reason: '', lines: '', framing: 'close', reusable: false })
})

void test('where the body ends', async (t) => {
  const chunked = 'Transfer-Encoding: Chunked'
  const cases: Array<readonly [lines: string, method: string, framing: string]> = [
    ['HTTP/1.1 200 OK', 'GET', 'close'],
    ['HTTP/1.1 200 OK', 'HEAD', 'none'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 0', 'GET', 'length'],
    [`HTTP/1.1 200 OK\r\n${chunked}`, 'GET', 'chunked'],
    [`HTTP/1.1 200 OK\r\n${chunked}`, 'HEAD', 'none'],
    ['HTTP/1.1 204 OK\r\nContent-Length: 5', 'GET', 'none'],
    ['HTTP/1.1 304 OK\r\nContent-Length: 5', 'GET', 'none'],
    ['HTTP/1.1 100 OK', 'GET', 'none'],
  ]
  await inTurn(cases, async ([lines, method, framing]) => t.equal(head(lines, method).framing, framing, lines))
})

void test('whether the connection can be used again, and how long', async (t) => {
  const length = '\r\nContent-Length: 1'
  const cases: Array<readonly [lines: string, reusable: boolean]> = [
    [`HTTP/1.1 200 OK${length}`, true],
    [`HTTP/1.0 200 OK${length}`, false],
    [`HTTP/1.0 200 OK${length}\r\nConnection: Keep-Alive`, true],
    [`HTTP/1.1 200 OK${length}\r\nConnection: close`, false],
    [`HTTP/1.1 200 OK${length}\r\nConnection: a, CLOSE , b`, false],
    [`HTTP/1.1 200 OK${length}\r\nConnection: keep-alive\r\nConnection: close`, false],
    [`HTTP/1.1 200 OK${length}\r\nConnection: disclose`, true],
    ['HTTP/1.1 200 OK\r\nConnection: keep-alive', false],
    ['HTTP/1.1 204 OK\r\nContent-Length: 5', false],
  ]
  await inTurn(cases, async ([lines, reusable]) => t.equal(head(lines).reusable, reusable, lines))
  t.equal(head('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100').keepAliveMs, 5000)
  t.equal(head('HTTP/1.1 200 OK\r\nKeep-Alive: max=100, Timeout="7"').keepAliveMs, 7000)
  t.equal(head('HTTP/1.1 200 OK\r\nKeep-Alive: notimeout=5').keepAliveMs, undefined)
})

void test('hop-by-hop fields are left out, with those that Connection lists', async (t) => {
  const { lines } = head(
    'HTTP/1.1 200 OK\r\nConnection: X-A, content-length\r\nx-a: 1\r\nTE: x\r\nUpgrade: y\r\nB: 2\r\nContent-Length: 0',
  )
  t.same(fieldsOf(lines), ['B', '2', 'Content-Length', '0'])
  t.ok(isHopByHop('Proxy-Authorization'))
  t.notOk(isHopByHop('Authorization'))
  t.same([...listedFields(' A ,b,, host, Content-Length')], ['a', 'b', ''])
  t.same(withoutFields(['A', '1', 'b', '2', 'a', '3'], new Set(['a'])), ['b', '2'])
})

const parts = oneof(
  constantFrom(
    'HTTP/1.1 ',
    'HTTP/1.0 ',
    '200',
    ' OK',
    '\r\n',
    '\r',
    '\n',
    ':',
    ' ',
    '\t',
    'Content-Length: 5',
    'Transfer-Encoding: chunked',
    'Connection: close',
    'X: y',
    ',',
    '0',
  ),
  string({ unit: 'binary', maxLength: 4 }),
)

void test('property: nothing throws, and what is accepted holds nothing that could end a line early', async () => {
  assert(
    property(array(parts, { maxLength: 15 }), constantFrom('GET', 'HEAD'), (list, method) => {
      const parsed = parseResponseHead(`HTTP/1.1 200 OK\r\n${list.join('')}\r\n`, method)
      if (typeof parsed === 'string') return parsed.length > 0
      // oxlint-disable-next-line no-control-regex
      const fields = fieldsOf(parsed.lines)
      if (linesOf(fields) !== parsed.lines) return false
      // oxlint-disable-next-line no-control-regex
      return [parsed.reason, ...fields].every((text) => !/[\0\r\n]/.test(text))
    }),
    { numRuns: 5000 },
  )
  assert(
    property(string({ unit: 'binary' }), (text) => {
      parseResponseHead(text, 'GET')
    }),
  )
})
