/**
 * Our reading of answers against that of Node's own client, over real sockets: whatever ours accepts, Node in its strict
 * mode accepts too, and sees the same status, fields and content.
 */
import { get as httpGet } from 'node:http'

import { test } from 'tap'

import { ChunkedDecoder } from '../../src/transport/chunked.ts'
import { Connections } from '../../src/transport/connections.ts'
import type { AttemptError } from '../../src/transport/failure.ts'
import {
  fieldsOf,
  isHopByHop,
  listedFields,
  parseResponseHead,
  withoutFields,
  type ResponseHead,
} from '../../src/transport/response-head.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { BareGet } from '../helpers/call.ts'
import { bytesOf, guarded, inTurn, rawBackend } from '../helpers/raw.ts'

interface Seen {
  readonly status: number
  readonly reason: string
  readonly fields: readonly string[]
  readonly content: string
}

/** What our transport makes of the answer; undefined when it refuses. */
class Reader extends BareGet {
  readonly #done: (seen: Seen | undefined) => void
  #head: ResponseHead | undefined
  #content = ''

  constructor(path: string, done: (seen: Seen | undefined) => void) {
    super(path)
    this.#done = done
  }

  override onUpgrade(): never {
    throw new Error('nobody asked for it')
  }

  override onHead(head: ResponseHead): void {
    this.#head = head
  }

  override onData(chunk: Buffer): boolean {
    this.#content += chunk.toString('latin1')
    return true
  }

  override onEnd(_trailers: string, last?: Buffer): void {
    if (last !== undefined) this.onData(last)
    if (this.#head !== undefined) this.onWhole(this.#head, this.#content)
  }

  override onWhole({ status, reason, lines }: ResponseHead, content: string): void {
    this.#done({ status, reason, fields: fieldsOf(lines), content })
  }

  override onFailure(_error: AttemptError): void {
    this.#done(undefined)
  }
}

/** What Node makes of it. */
async function oracle(port: number, path: string): Promise<Seen | undefined> {
  return new Promise((resolve) => {
    const request = httpGet({ port, path, agent: false, insecureHTTPParser: false, maxHeaderSize: 128 * 1024 })
    const refuse = (): void => resolve(undefined)
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      refuse()
    })
    request.on('response', (response) => {
      let content = ''
      response.on('data', (chunk: Buffer) => {
        content += chunk.toString('latin1')
      })
      response.on('error', refuse)
      response.on('end', () => {
        const { statusCode: status = 0, statusMessage: reason = '', rawHeaders: fields } = response
        resolve(response.complete ? { status, reason, fields, content } : undefined)
      })
    })
    request.on('error', refuse)
    request.on('close', refuse)
  })
}

/** The fields that go on, of all that came. */
function forwarded({ status, fields }: Seen): string[] {
  const connection = fields.filter((_, index) => index % 2 === 1 && fields[index - 1]?.toLowerCase() === 'connection')
  const listed = listedFields(connection.join(','))
  const kept = withoutFields([...fields], listed)
  return kept.filter((_, index) => {
    const name = (kept[index - (index % 2)] ?? '').toLowerCase()
    return !isHopByHop(name) && !(status === 204 && name === 'content-length')
  })
}

/** An answer that we accept, up to its end. */
function withoutSurplus(text: string): Buffer {
  const wire = bytesOf(text)
  for (let start = 0; ;) {
    const end = wire.indexOf('\r\n\r\n', start) + 4
    const head = parseResponseHead(wire.toString('latin1', start, end - 2), 'GET')
    if (typeof head === 'string') throw new Error(head)
    const { status, framing, length } = head
    if (framing === 'close') return wire
    if (framing === 'length') return wire.subarray(0, end + length)
    if (framing === 'chunked')
      return wire.subarray(0, new ChunkedDecoder().feed(wire, end, wire.length, { onContent: () => {} }))
    if (status >= 200) return wire.subarray(0, end)
    start = end
  }
}

const STATUSES = ['200 OK', '404 Not Found', '204 No Content', '304 Not Modified', '500 ', '299', '999 Odd']
const FIELDS = [
  'X-A: b',
  'x-a:\tc ',
  'Set-Cookie: a=1',
  'Connection: close',
  'Connection: x-a',
  'X: \xe4\xff',
  'Keep-Alive: timeout=5',
  'Empty:',
]
const FRAMINGS = [
  ['Content-Length: 5', 'hello'],
  ['Content-Length: 0', ''],
  ['Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n'],
  ['Transfer-Encoding: chunked', '2;a=b\r\nhe\r\n003\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n'],
  ['X-Close: y', 'until the end'],
] as const
const SPLICES = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ':',
  '\0',
  ',',
  '0',
  '5',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'HTTP/1.1 ',
  '+',
  ';',
  '\x7f',
  '\x85',
  '\xa0',
  '_',
  '"',
]

const random = seededRandom(20_240)

function below(limit: number): number {
  return Math.floor(random() * limit)
}

function pick<T>(list: readonly [T, ...T[]] | readonly T[]): T {
  const item = list[below(list.length)]
  if (item === undefined) throw new Error('an empty list')
  return item
}

function generate(): string {
  const [framing, body] = pick(FRAMINGS)
  const fields = Array.from({ length: below(4) }, () => pick(FIELDS))
  fields.splice(below(fields.length + 1), 0, framing)
  const interim = below(10) === 0 ? 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' : ''
  return `${interim}HTTP/1.${below(8) === 0 ? 0 : 1} ${pick(STATUSES)}\r\n${fields.join('\r\n')}\r\n\r\n${body}`
}

function mutate(text: string): string {
  const at = below(text.length + 1)
  const kind = below(4)
  if (kind === 0) return text.slice(0, at) + text.slice(at + 1 + below(3))
  if (kind === 1) return text.slice(0, at) + pick(SPLICES) + text.slice(at)
  if (kind === 2) return text.slice(0, at) + pick(SPLICES) + text.slice(at + 1)
  const end = at + below(20)
  return text.slice(0, end) + text.slice(at, end) + text.slice(end)
}

const CASES = Array.from({ length: 900 }, (_, index) => {
  let text = generate()
  for (let n = index % 3; n > 0; n--) text = mutate(text)
  return text
})

void test('whatever we accept, Node accepts and reads the same', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      const [, bare, index] = /^GET \/(bare)?(\d+)/.exec(head) ?? []
      const wire = CASES[Number(index)] ?? ''
      connection.socket.end(bare === undefined ? bytesOf(wire) : withoutSurplus(wire))
    },
  })
  const connections = new Connections(new URL(server.url), {
    max: 10,
    pending: 10,
    queueMs: 1000,
    idleMs: 1,
    connectMs: 5000,
    tlsMs: 5000,
    secure: undefined,
  })
  t.teardown(() => connections.destroy())
  let accepted = 0
  await inTurn(CASES, async (wire, index) => {
    const path = `/${index}`
    const what = JSON.stringify(wire)
    const ours = await guarded(
      new Promise<Seen | undefined>((resolve) => connections.send(new Reader(path, resolve))),
      () => what,
    )
    if (ours === undefined) return
    accepted++
    // What follows a whole answer is not refused but dropped, with its connection: Node is not asked about that.
    const theirs = await guarded(oracle(server.port, `/bare${index}`), () => what)
    if (theirs === undefined) t.fail(`Node refuses ${what}`)
    else {
      const expected = { ...theirs, fields: forwarded(theirs) }
      if (JSON.stringify({ ...ours, fields: forwarded(ours) }) !== JSON.stringify(expected))
        t.same(ours, expected, what)
    }
  })
  t.ok(accepted > CASES.length / 4, `${accepted} of ${CASES.length} accepted`)
  t.ok(accepted < CASES.length, 'and some refused')
})
