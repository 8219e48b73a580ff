/**
 * Desynchronisation: requests that two servers could take for different ones. The backend here forgives nothing and
 * keeps every byte: what is not refused must reach it as one request whose end nobody can doubt. The kinds of requests
 * and what is expected of them follow the tiers of aws/http-desync-guardian and the default set of defparam/smuggler.
 */
import { test, type Test } from 'tap'

import { gatewayTo } from '../helpers/gateway.ts'
import { ask, fieldsOf, get, inTurn, rawBackend, RawClient, valuesOf, type Accepted } from '../helpers/raw.ts'

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
/** A body by its length; for whoever believes in chunks it ends early, and a second request follows. */
const TRAP = `0\r\n\r\n${SMUGGLED}`
const LENGTH = `Content-Length: ${TRAP.length}`
const CHUNKED = 'Transfer-Encoding: chunked'
/** A body in chunks behind which nothing follows. */
const CHUNKS = '5\r\nhello\r\n0\r\n\r\n'
/** Ends the connection of a client whose request was not refused. */
const LAST = get('/last', ['Connection: close'])

// --- the backend ---

interface Whole {
  readonly line: string
  readonly body: string
  /** How much of the text it takes up. */
  readonly length: number
}

const REQUEST_LINE = /^[A-Z]+ [!-~\x80-\xff]+ HTTP\/1\.1$/
const FIELD_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t -~\x80-\xff]*$/
// Many servers take `_` for `-`.
const FRAMING = /^(?:content[-_]length|transfer[-_]encoding)$/i

/** The first request in a text, what is wrong with it, or undefined while its end is still to come. */
function readStrictly(text: string): Whole | string | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = text.slice(0, end)
  const [line = '', ...lines] = head.split('\r\n')
  const fault = REQUEST_LINE.test(line) ? lines.find((each) => !FIELD_LINE.test(each)) : line
  if (fault !== undefined) return `not HTTP: ${JSON.stringify(fault)}`
  const fields = fieldsOf(head)
  if (valuesOf({ fields }, 'host').length !== 1) return 'not one Host'
  const [framing, ...more] = fields.filter(([name]) => FRAMING.test(name))
  if (more.length > 0) return `framed twice: ${JSON.stringify(head)}`
  const [name = '', value = ''] = framing ?? []
  const start = end + 4
  if (framing === undefined) return { line, body: '', length: start }
  if (/^transfer-encoding$/i.test(name) && value === 'chunked') return readChunks(line, text, start)
  if (!/^content-length$/i.test(name) || !/^\d+$/.test(value)) return `no framing: ${name}: ${value}`
  const length = start + Number(value)
  return length > text.length ? undefined : { line, body: text.slice(start, length), length }
}

function readChunks(line: string, text: string, start: number): Whole | string | undefined {
  let body = ''
  for (let at = start; ;) {
    const from = text.indexOf('\r\n', at) + 2
    if (from === 1) return undefined
    const size = text.slice(at, from - 2)
    if (!/^[0-9a-f]{1,8}$/.test(size)) return `no chunk: ${JSON.stringify(size)}`
    at = from + Number.parseInt(size, 16) + 2
    if (at > text.length) return undefined
    if (text.slice(at - 2, at) !== '\r\n') return `no end of a chunk: ${JSON.stringify(text.slice(from, at))}`
    if (at === from + 2) return { line, body, length: at }
    body += text.slice(from, at - 2)
  }
}

/** A connection that the gateway opened, and what it sent that is no whole request yet. */
interface Reader {
  readonly connection: Accepted
  rest: string
}

interface Strict {
  readonly url: string
  readonly readers: Reader[]
  readonly requests: Whole[]
  readonly faults: string[]
}

/** Answers whole requests, and notes what it cannot read. */
async function strictBackend(t: Test): Promise<Strict> {
  const { url } = await rawBackend(t, {
    onConnection: (connection) => {
      const reader: Reader = { connection, rest: '' }
      strict.readers.push(reader)
      connection.socket.on('data', (piece: Buffer) => {
        reader.rest += piece.toString('latin1')
        take(strict, reader)
      })
    },
  })
  const strict: Strict = { url, readers: [], requests: [], faults: [] }
  return strict
}

function take(strict: Strict, reader: Reader): void {
  for (let read = readStrictly(reader.rest); read !== undefined; read = readStrictly(reader.rest)) {
    if (typeof read === 'string') {
      strict.faults.push(read)
      reader.rest = ''
      reader.connection.send('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    } else {
      strict.requests.push(read)
      reader.rest = reader.rest.slice(read.length)
      reader.connection.send(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${read.line.startsWith('HEAD') ? '' : 'ok'}`)
    }
  }
}

// --- the client ---

interface Seen {
  /** Of all answers in the order they came. */
  readonly statuses: readonly number[]
  readonly requests: readonly Whole[]
  /** Beginnings of requests, whose connection the gateway then closed. */
  readonly pieces: readonly string[]
}

interface Setting {
  readonly port: number
  readonly strict: Strict
}

/** No time of the gateway's own ends a wait before the test's guard does. */
const PATIENT = { listen: { headersTimeout: '60s', bodyTimeout: '60s' } }

async function setUp(t: Test): Promise<Setting> {
  const strict = await strictBackend(t)
  const { port } = await gatewayTo(t, [strict], { connections: { max: 1, pending: 10, queue: '20s' } }, PATIENT)
  return { port, strict }
}

const STATUS_LINE = /HTTP\/1\.1 (\d{3}) [^]*?\r\n\r\n/g

/** Sends a case, and finds out what became of it at both ends. */
async function send(t: Test, { port, strict }: Setting, bytes: string): Promise<Seen> {
  const client = await RawClient.open(t, port)
  const { inbox } = client
  client.send(bytes)
  // An answer or the end: whoever waits for more of the body gives neither.
  await inbox.until(() => inbox.text.includes('\r\n\r\n') || inbox.ended !== undefined || inbox.closed || undefined)
  client.send(LAST)
  await client.end()
  client.socket.destroy()
  // Behind everything that the gateway may have sent before.
  await ask(t, port, get('/after'))
  const statuses = [...inbox.text.matchAll(STATUS_LINE)].map(([, status]) => Number(status))
  const requests = strict.requests.splice(0).filter(({ line }) => !/^GET \/(?:last|after) /.test(line))
  const cut = strict.readers.filter(({ rest }) => rest !== '')
  await Promise.all(cut.map(async ({ connection }) => connection.inbox.end()))
  const pieces = cut.map((reader) => reader.rest)
  for (const reader of cut) reader.rest = ''
  return { statuses, requests, pieces }
}

function isRefusal(status: number): boolean {
  return status === 400 || status === 501 || status === 505
}

/** Whatever became of a case: the backend got HTTP, and nothing that was hidden in a body became a request. */
function unclean({ strict }: Setting, { requests }: Seen): string[] {
  const found = strict.faults.splice(0)
  if (requests.some(({ line }) => line.includes('smuggled'))) found.push('smuggled')
  return found
}

function answeredOrForwarded({ statuses, requests }: Seen): string[] {
  const answers = statuses.filter((status) => !isRefusal(status)).map((status) => `answered ${status}`)
  return [...answers, ...requests.map(({ line }) => `forwarded: ${line}`)]
}

/** It must be refused, the connection closed, and the backend hear nothing of it. */
function ofSevere(seen: Seen): string[] {
  return [...answeredOrForwarded(seen), ...seen.pieces]
}

/** It must be refused, at the latest before its end is sent; or the backend gets exactly one request and answers. */
function ofAmbiguous(seen: Seen): string[] {
  const [first, ...behind] = seen.statuses
  if (first === undefined || isRefusal(first)) return answeredOrForwarded(seen)
  const found = first === 200 ? [] : [`answered ${first}`]
  if (seen.requests.length !== 1) found.push(`${seen.requests.length} requests`)
  // What asked for the end, or a refusal of what stood behind the request.
  if (behind.length > 1 || behind.some((status) => status !== 200 && !isRefusal(status))) found.push(behind.join())
  return found
}

/** Sends every case; none may give cause for complaint. */
async function sendAll(
  t: Test,
  cases: readonly string[],
  complaints: (seen: Seen, bytes: string) => readonly string[],
): Promise<void> {
  const setting = await setUp(t)
  await inTurn(cases, async (bytes) => {
    const seen = await send(t, setting, bytes)
    t.same([...unclean(setting, seen), ...complaints(seen, bytes)], [], JSON.stringify(bytes))
  })
}

// --- FR-11 ---

void test('FR-11: a first field line that begins with white space: its body never becomes a request', async (t) => {
  const length = `Content-Length: ${SMUGGLED.length}`
  const lines = [
    ` ${length}`,
    `\t${length}`,
    ` \t ${length}`,
    ` ${CHUNKED}`,
    ` ${length}\r\n ${length}`,
    ` x\r\n${length}`,
  ]
  const cases = lines.map((line) => `POST / HTTP/1.1\r\n${line}\r\nHost: a\r\n\r\n${SMUGGLED}`)
  await sendAll(t, cases, ofAmbiguous)
})

// --- FR-42 ---

interface Parts {
  readonly method?: string
  readonly target?: string
  readonly version?: string
  readonly body?: string
}

function request(lines: readonly string[], parts: Parts = {}): string {
  const { method = 'POST', target = '/', version = ' HTTP/1.1', body = TRAP } = parts
  return [`${method} ${target}${version}`, 'Host: a', ...lines, '', body].join('\r\n')
}

/** Bytes that some parser takes for white space or skips. */
const ODD = ['\x01', '\x11', '\x7f', '\xa0']
const around = (text: string, odd: readonly string[]): string[] => odd.flatMap((byte) => [byte + text, text + byte])

const BAD_LENGTHS = [
  ...[',', ' ', '.'].map((between) => TRAP.length + between + TRAP.length),
  '18446744073709551616',
  `$${TRAP.length}`,
  ...around(String(TRAP.length), ODD),
].map((value) => `Content-Length: ${value}`)

const BAD_CODINGS = ['xchunked', 'chunk', 'chunked,chunked', ...around('chunked', ['\0', ...ODD])].map(
  (value) => `Transfer-Encoding: ${value}`,
)

/** Bytes that end a line or a text, for somebody. */
const ENDING = ['\r', '\n', '\0'].flatMap((byte) => [
  `X-A${byte}: 1`,
  `${byte}X-A: 1`,
  `X-A: ${byte}1`,
  `X-A: 1${byte}`,
  `X-A: 1${byte}${CHUNKED}`,
])

const SEVERE = [
  ...BAD_LENGTHS.map((line) => request([line])),
  ...BAD_CODINGS.flatMap((line) => [request([line]), request([line, LENGTH])]),
  ...ENDING.map((line) => request([line, LENGTH])),
  ...[
    ['Content-Length: 5', LENGTH],
    [LENGTH, 'Content-Length: 5'],
    [CHUNKED, CHUNKED],
    [CHUNKED, CHUNKED, LENGTH],
    [CHUNKED, 'Transfer-Encoding: cow', LENGTH],
    ['Content-Length : 5', LENGTH],
    [' Content-Length: 5', LENGTH],
    ['Transfer-Encoding : chunked', CHUNKED],
    [`\r${CHUNKED}`],
    ['\rContent-Length: 5', LENGTH],
    [LENGTH, `X-A: 1\r\n ${CHUNKED}`],
    [LENGTH, `X-A: 1\n ${CHUNKED}`],
    ['X-A: \x11 \0', 'Transfer-Encoding\t: chunked'],
    ['X-A: \x12', 'Content-Length: 5\x11'],
    ['X-A: \x12', 'Transfer-Encoding: chunked\x80', 'Content-Length: $5'],
  ].map((lines) => request(lines)),
  ...['\r', '\n', '\0'].map((byte) => request([], { method: 'GET', target: `/a${byte}HTTP/1.1` })),
  request([], { method: 'GET', target: '\0/a' }),
  request([], { method: 'GET', target: `/a\tHTTP/1.1\r\nHost: a\r\n\r\nGET\t/smuggled\t` }),
  request([], { method: 'GET', version: ' HTTP/1.1 HTTP/1.1' }),
  request([], { method: 'GET\x01' }),
]

/** Names that are not the one given, though somebody may take them for it; some are UTF-8. */
const LOOKALIKES = [
  (name: string) => `${name} `,
  (name: string) => `${name}\t`,
  (name: string) => ` ${name}`,
  (name: string) => `\x01${name}`,
  (name: string) => `\x01\x01${name}`,
  (name: string) => `${name}\x01`,
  (name: string) => `${name} x`,
  (name: string) => `${name} \x01`,
  (name: string) => `${name}\x88`,
  (name: string) => `\xa0${name}`,
  (name: string) => `\xe2\x80\x83${name}`,
  (name: string) => `${name}\xe2\x80\x83`,
  (name: string) => name.replace('-', '- '),
  (name: string) => name.replace('-', '_'),
  (name: string) => name.replace('-', '---'),
  (name: string) => name.replace('-', '___'),
  (name: string) => name.replace('-', '\xe2\x80\x95'),
]

/** A field that is no matter of framing, but not HTTP either. */
const UNTIDY = ['X-A : 1', '\x01X-A: 1', 'X-A\x01: 1', 'X-A: \x011', 'X-A: 1\x01']

const AMBIGUOUS = [
  ...LOOKALIKES.flatMap((alike) => [
    request([`${alike('Transfer-Encoding')}: chunked`]),
    request([`${alike('Content-Length')}: ${TRAP.length}`]),
  ]),
  ...['Tran\xc5\xbffer-Encoding', 'Transfer-Encod\xc4\xb1ng'].map((name) => request([`${name}: chunked`])),
  ...['', ':X:Transfer-Encoding:', ' \t ', 'Transfer-Encoding ', ' Transfer-Encoding', 'Transfer-Encoding\t'].map(
    (name) => request([`${name}: chunked`, LENGTH]),
  ),
  ...['chunked', 'ChUnKeD', 'gzip', 'deflate', 'gzip, identity, chunked', 'chunked;a;'].map((coding) =>
    request([`Transfer-Encoding: ${coding}`, LENGTH]),
  ),
  request([LENGTH, CHUNKED]),
  request([LENGTH, LENGTH]),
  ...['GET', 'HEAD'].flatMap((method) => [
    request([LENGTH], { method }),
    request([CHUNKED], { method, body: CHUNKS }),
    request(['Content-Length: 0'], { method }),
    request(['X-A: 1\x01', LENGTH], { method }),
  ]),
  request([CHUNKED], { version: ' HTTP/1.0' }),
  ...[' HTTP/0.9', '', ' HTTP/1.2'].flatMap((version) => [
    request([CHUNKED], { version }),
    request([LENGTH], { version }),
    request([], { version, method: 'GET', body: '' }),
  ]),
  ...UNTIDY.flatMap((line) => [request([line, CHUNKED], { body: CHUNKS }), request([line, LENGTH])]),
  // The guardian lets the last three pass, but none of them is a target (RFC 9112, section 3.2).
  ...['/a\tHTTP/1.1', '/a\x01HTTP/1.1', '/a?b=c d', '/a#b', '/\xd1\x81', ''].flatMap((target) => [
    request([], { method: 'GET', target, body: '' }),
    request([LENGTH], { method: 'GET', target }),
  ]),
  request([], { method: 'GET', version: ' HTTP/1.1 ', body: '' }),
]

/** Legal, but whoever does not know these codings may say so. */
const CODED = [
  'gzip, chunked',
  'deflate, identity, chunked',
  'gzip , deflate , \tidentity\t, compress\t, chunked',
  'gzip\r\nTransfer-Encoding: deflate\r\nTransfer-Encoding: chunked',
  'gzip ; \r\nTransfer-Encoding: chunked;a;',
  '\t\tchunked;a;\t',
  // No other coding, but the tab behind it is too much for some parsers.
  'chunked\t',
].map((coding) => request([`Transfer-Encoding: ${coding}`], { body: CHUNKS }))

const BROWSER = [
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'Accept: text/html,application/xhtml+xml,*/*;q=0.8',
  'Accept-Language: en-US,en;q=0.5',
  'Accept-Encoding: gzip, deflate',
  'Connection: keep-alive',
  'Upgrade-Insecure-Requests: 1',
]

const HELLO = { body: 'hello' }

const COMPLIANT = [
  ...['X-A', "X-A.!#$%&'*+^_`|~09", 'X_A', 'X.A', 'X-0987654321'].map((name) =>
    request([`${name}: \t\tvalue;\x60\x85\x93\xa0`, 'Content-Length: 5'], HELLO),
  ),
  ...['Content-Length: 5', 'Content-Length:  5  ', 'content-LENGTH:5'].map((line) =>
    request([...BROWSER, line], HELLO),
  ),
  ...[CHUNKED, 'TrAnSfEr-EnCoDiNg:  ChUnKeD', 'Transfer-Encoding:\tchunked'].map((line) =>
    request([...BROWSER, line], { body: CHUNKS }),
  ),
  request([CHUNKED, 'X-A: \t\x60\x85\x93\xa0'], { body: CHUNKS }),
  request(['Content-Length: 5', `X-A: ${CHUNKED}`], HELLO),
  request([...Array.from({ length: 40 }, (_, n) => `X-${n}: a value`), 'Content-Length: 5'], HELLO),
  ...[
    '/',
    '/a-%09-b',
    '/a-%20-b',
    '/a-%0D-b',
    '/a-%0A-b',
    '/u:p@b.example:80/c?d=%20++~!@$^&*()_+:<>?,./;\'[]{}`~\\"|',
  ].map((target) => request(['Content-Length: 5'], { target, ...HELLO })),
]

void test('FR-42: severe cases are refused, and nothing of them reaches a backend', async (t) => {
  await sendAll(t, SEVERE, ofSevere)
})

void test('FR-42: ambiguous cases are refused, or one clean request reaches the backend', async (t) => {
  await sendAll(t, [...AMBIGUOUS, ...CODED], ofAmbiguous)
})

void test('FR-42: compliant cases are forwarded and answered', async (t) => {
  await sendAll(t, COMPLIANT, ({ statuses, requests }, bytes) => {
    const [line = ''] = bytes.split('\r\n', 1)
    // The second answer shows that the connection is still good.
    const found = statuses.join() === '200,200' ? [] : [`answered ${statuses.join()}`]
    if (requests.length !== 1) found.push(`${requests.length} requests`)
    if (requests[0]?.line !== line || requests[0]?.body !== 'hello') found.push(`got ${JSON.stringify(requests[0])}`)
    return found
  })
  const count = SEVERE.length + AMBIGUOUS.length + CODED.length + COMPLIANT.length
  t.ok(count >= 159, `${count} cases`)
})

// --- FR-43 ---

/** The tool's 13 bytes, and the two above ASCII again as the UTF-8 in which it sends them. */
const BYTES = [
  ...[0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x7f, 0xa0, 0xff].map((code) =>
    String.fromCharCode(code),
  ),
  '\xc2\xa0',
  '\xc3\xbf',
]

const MUTATIONS = [
  ` ${CHUNKED}`,
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding\t:\tchunked',
  'Transfer-Encoding : chunked',
  ...BYTES.flatMap((byte) => [
    `Transfer-Encoding:${byte}chunked`,
    `Transfer-Encoding${byte}: chunked`,
    byte + CHUNKED,
    CHUNKED + byte,
    `X: X${byte}${CHUNKED}`,
    `${CHUNKED}${byte}X: X`,
    `X: X\r${byte}${CHUNKED}`,
    `X: X${byte}\n${CHUNKED}`,
    `${CHUNKED}\r${byte}X: X`,
    `${CHUNKED}${byte}\nX: X`,
  ]),
]

/** Whoever believes the other of the two fields waits for more, or reads a second request. */
const PROBES: ReadonlyArray<readonly [length: number, body: string]> = [
  // TECL, with a length that makes a believer in it wait, and with the one that fits.
  [6, '0\r\n\r\nX'],
  [5, '0\r\n\r\nX'],
  // CLTE, likewise.
  [4, '1\r\nZ\r\n0\r\n\r\n'],
  [11, '1\r\nZ\r\n0\r\n\r\n'],
  [TRAP.length, TRAP],
]

void test('FR-43: a Transfer-Encoding hidden in 134 ways: no waiting, and never two framings', async (t) => {
  t.ok(MUTATIONS.length >= 134, `${MUTATIONS.length} mutations`)
  const cases = PROBES.flatMap(([length, body]) =>
    MUTATIONS.map((line) => `POST / HTTP/1.1\r\n${line}\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${body}`),
  )
  await sendAll(t, cases, ofAmbiguous)
})
