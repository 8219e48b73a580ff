/**
 * Legal HTTP/1 messages of every shape, by seeded chance. Each comes as the parts that it is made of, so that a test can
 * cut it between any two and within any one of them. Text stands for bytes as latin1.
 */
import { METHODS } from 'node:http'

import { seededRandom } from '../../src/testing/random.ts'
import type { Random } from '../../src/core/clock.ts'

/** A seed of one's own, to look further or to repeat what failed elsewhere. */
export function seedOf(byDefault: number): number {
  const given = Number(process.env['SLUICE_TEST_SEED'] ?? byDefault)
  if (!Number.isSafeInteger(given)) throw new Error('SLUICE_TEST_SEED is no whole number')
  return given
}

export class Chance {
  readonly #random: Random

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.#random() * (most - least + 1))
  }

  happens(probability: number): boolean {
    return this.#random() < probability
  }

  one<T>(items: readonly T[]): T {
    const item = items[this.between(0, items.length - 1)]
    if (item === undefined) throw new Error('nothing to choose from')
    return item
  }

  text(characters: string, least: number, most: number): string {
    let text = ''
    for (let left = this.between(least, most); left > 0; left--)
      text += characters.charAt(this.between(0, characters.length - 1))
    return text
  }

  shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, key: this.#random() }))
      .toSorted((a, b) => a.key - b.key)
      .map(({ item }) => item)
  }

  /** The same name in letters of another size. */
  spelled(name: string): string {
    const form = this.between(0, 3)
    if (form === 0) return name.toLowerCase()
    if (form === 1) return name.toUpperCase()
    if (form === 2) return name.replaceAll(/./g, (letter) => (this.happens(0.5) ? letter.toUpperCase() : letter))
    return name
  }
}

// --- parts and cuts ---

export interface Part {
  readonly kind: string
  readonly text: string
}

/** Where a message can be cut: within a part or between two, with all the places of that kind that it stands for. */
export interface Boundary {
  readonly kind: string
  readonly first: number
  readonly last: number
}

export class Draft {
  readonly parts: Part[] = []

  add(kind: string, text: string): this {
    if (text !== '') this.parts.push({ kind, text })
    return this
  }

  /** The end of a line; `of` says of which. */
  end(of: string): this {
    return this.add(`CR of ${of}`, '\r').add(`LF of ${of}`, '\n')
  }

  fields(fields: readonly Field[], of: string): this {
    for (const { name, before, value, after } of fields) {
      this.add(`name of ${of}`, name).add('colon', ':').add('blank', before).add(`value of ${of}`, value)
      this.add('blank', after).end(of)
    }
    return this
  }
}

export function bytesOfParts(parts: readonly Part[]): Buffer {
  return Buffer.from(parts.map(({ text }) => text).join(''), 'latin1')
}

export function boundariesOf(parts: readonly Part[]): Boundary[] {
  const found: Boundary[] = []
  let at = 0
  for (const [index, { kind, text }] of parts.entries()) {
    const before = parts[index - 1]
    if (before !== undefined) found.push({ kind: `${before.kind} | ${kind}`, first: at, last: at })
    if (text.length > 1) found.push({ kind: `in ${kind}`, first: at + 1, last: at + text.length - 1 })
    at += text.length
  }
  return found
}

// --- characters ---

const DIGITS = '0123456789'
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const TOKEN = `!#$%&'*+-.^_\`|~${DIGITS}${LETTERS}`
const OBS_TEXT = String.fromCharCode(...Array.from({ length: 128 }, (_, index) => 128 + index))
const VISIBLE = String.fromCharCode(...Array.from({ length: 94 }, (_, index) => 33 + index))
/** RFC 3986: what may stand in a segment besides percent-encodings. */
const SEGMENT = `-._~!$&'()*+,;=:@${DIGITS}${LETTERS}`

// --- fields ---

export interface Field {
  readonly name: string
  /** White space around the value. */
  readonly before: string
  readonly value: string
  readonly after: string
}

const BLANKS = ['', ' ', ' ', ' ', '\t', '   ', ' \t ']

function field(chance: Chance, name: string, value: string): Field {
  // Behind an empty value there is nothing that white space could stand between.
  const after = value === '' || chance.happens(0.8) ? '' : chance.one(BLANKS)
  return { name: chance.spelled(name), before: chance.one(BLANKS), value, after }
}

/** Any legal value: visible characters, obs-text, and white space in its midst. */
function anyValue(chance: Chance): string {
  if (chance.happens(0.08)) return ''
  const inner = chance.happens(0.4) ? `${VISIBLE}${OBS_TEXT} \t` : `${VISIBLE} `
  // What some take for white space is a byte like others here: half of a letter in UTF-8, say.
  const outer = chance.one([OBS_TEXT, VISIBLE, VISIBLE, VISIBLE, '\x85\xa0'])
  const most = chance.happens(0.02) ? 3000 : 40
  return chance.text(outer, 1, 1) + chance.text(inner, 0, most) + chance.text(outer, 1, 1)
}

function anyName(chance: Chance): string {
  return `X-${chance.text(TOKEN, 1, chance.happens(0.05) ? 100 : 12)}`
}

const ODD_NAMES = ["!#$%&'*+-.^`|~", '__proto__', 'constructor', 'toString', '0', 'x_under_score', 'Content--Length']

const ORDINARY: ReadonlyArray<readonly [name: string, value: string]> = [
  ['Accept', 'text/html;level=1, */*;q=0.1'],
  ['Accept', 'application/json'],
  ['Accept-Encoding', 'gzip;q=0.5, br, identity;q=0'],
  ['Accept-Language', 'de-CH, *;q=0.5'],
  ['Authorization', 'Basic dXNlcjpwYXNz=='],
  ['Cache-Control', 'no-cache, max-age=0, x="a, b"'],
  ['Content-Type', 'multipart/form-data; boundary="a b\\"c"'],
  ['Content-Encoding', 'unheard-of, gzip'],
  ['Date', 'Tue, 15 Nov 1994 08:12:31 GMT'],
  ['If-None-Match', 'W/"x", "y", "\xe4"'],
  ['Max-Forwards', '3'],
  ['Origin', 'null'],
  ['Pragma', 'no-cache'],
  ['Range', 'bytes=0-1,5-,-3'],
  ['Referer', 'http://a.example/%zz?#'],
  ['User-Agent', 'Test/1.0 (a; (b \xfc)) c'],
  ['Warning', '199 - "x, y" "Tue, 15 Nov 1994 08:12:31 GMT"'],
]

function anyFields(chance: Chance, ordinary: typeof ORDINARY): Field[] {
  const fields: Field[] = []
  const count = chance.happens(0.03) ? 80 : chance.between(0, 8)
  for (let left = count; left > 0; left--) {
    if (chance.happens(0.4)) fields.push(field(chance, ...chance.one(ordinary)))
    else if (chance.happens(0.2)) fields.push(field(chance, chance.one(ODD_NAMES), anyValue(chance)))
    else fields.push(field(chance, anyName(chance), anyValue(chance)))
    const before = fields.at(-1)
    // The same again, maybe spelled another way.
    if (before !== undefined && before.name.startsWith('X-') && chance.happens(0.2))
      fields.push(field(chance, before.name, anyValue(chance)))
  }
  return fields
}

/** Fields of one hop, some of them listed in Connection, and what Connection says of the connection itself. */
function hopFields(chance: Chance, persistence: string): Field[] {
  const fields: Field[] = []
  const options = persistence === '' ? [] : [chance.spelled(persistence)]
  if (chance.happens(0.15)) {
    options.push('X-Hop')
    fields.push(field(chance, 'X-Hop', anyValue(chance)), field(chance, 'x-hop', 'again'))
  }
  if (chance.happens(0.05)) {
    options.push('x-another-HOP', 'X-Absent')
    fields.push(field(chance, 'X-Another-Hop', anyValue(chance)))
  }
  if (chance.happens(0.1)) fields.push(field(chance, 'Keep-Alive', 'timeout=5, max=7'))
  const lines = options.length > 1 && chance.happens(0.4) ? options : [options.join(chance.one([',', ', ', ' ,\t']))]
  for (const line of lines)
    if (line !== '') fields.push(field(chance, 'Connection', chance.happens(0.1) ? `, ${line} ,` : line))
  return fields
}

// --- content ---

const SIZES: ReadonlyArray<readonly [least: number, most: number]> = [
  [1, 1],
  [2, 100],
  [2, 100],
  [2, 100],
  [1000, 5000],
  [16_380, 16_390],
]

function anyContent(chance: Chance): string {
  if (chance.happens(0.1)) return ''
  const [least, most] = chance.happens(0.03) ? [65_000, 150_000] : chance.one(SIZES)
  const block = chance.text(OBS_TEXT + VISIBLE + BYTES_OF_LINES, Math.min(least, 2000), Math.min(most, 2000))
  const length = block.length < 2000 ? block.length : chance.between(least, most)
  return block.repeat(Math.ceil(length / block.length)).slice(0, length)
}

/** What could be taken for framing, and for the beginning of another message. */
const BYTES_OF_LINES = '\r\n\r\n\0\x01\x7f 0\r\n'

const EXTENSIONS = [
  ';a',
  ';name=value',
  ';q="quoted; \\" text, \tmore"',
  ';a;b=c;d="\xe4\xff"',
  `;${'long'.repeat(50)}=1`,
]

function chunked(chance: Chance, draft: Draft, content: string, trailers: readonly Field[]): void {
  const most = chance.one([1, 7, 100, 5000, 100_000])
  const few = content.length / most > 200 ? 5000 : most
  for (let at = 0; at < content.length;) {
    const data = content.slice(at, at + chance.between(1, few))
    const zeros = chance.happens(0.1) ? '0'.repeat(chance.between(1, 5)) : ''
    draft.add('size', chance.spelled(zeros + data.length.toString(16)))
    if (chance.happens(0.2)) draft.add('extension', chance.one(EXTENSIONS))
    draft.end('size').add('data', data).end('data')
    at += data.length
  }
  draft.add('last size', chance.happens(0.2) ? '000' : '0')
  if (chance.happens(0.2)) draft.add('extension', chance.one(EXTENSIONS))
  draft.end('last size').fields(trailers, 'trailer').end('trailers')
}

function anyTrailers(chance: Chance): Field[] {
  if (chance.happens(0.6)) return []
  return Array.from({ length: chance.between(1, 3) }, () => field(chance, anyName(chance), anyValue(chance)))
}

type Framing = 'none' | 'length' | 'chunked' | 'close'

function framingFields(chance: Chance, framing: Framing, length: number): Field[] {
  // Node refuses a tab behind it, which is safe, and nobody sends one.
  if (framing === 'chunked') return [{ ...field(chance, 'Transfer-Encoding', chance.spelled('chunked')), after: '' }]
  if (framing !== 'length') return []
  return [field(chance, 'Content-Length', (chance.happens(0.05) ? '00' : '') + String(length))]
}

// --- requests ---

export interface GeneratedRequest {
  readonly number: number
  readonly method: string
  readonly version: '1.0' | '1.1'
  readonly parts: readonly Part[]
  readonly content: string
  /** Whether the connection stays open behind its answer. */
  readonly stays: boolean
  /** Whether it asks for a 100 before its body, from a server that can know it. */
  readonly expects: boolean
  /** Whether it asks for another protocol: then nothing may follow it before it is answered. */
  readonly switches: boolean
}

const FORWARDED_METHODS = METHODS.filter((method) => method !== 'CONNECT')
const COMMON_METHODS = ['GET', 'GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH']

/** A legal request that every server has to understand, with its number in X-Number. */
export function generateRequest(seed: number, number: number): GeneratedRequest {
  const chance = new Chance(seed * 1_000_003 + number)
  const method = chance.one(chance.happens(0.5) ? COMMON_METHODS : FORWARDED_METHODS)
  const version = chance.happens(0.2) ? '1.0' : '1.1'
  const framing = chance.one<Framing>(version === '1.0' ? ['none', 'length'] : ['none', 'length', 'chunked'])
  const content = framing === 'none' ? '' : anyContent(chance)
  const expects = version === '1.1' && content !== '' && chance.happens(0.1)
  const persistence = chance.happens(version === '1.0' ? 0.5 : 0.3) ? (version === '1.0' ? 'keep-alive' : 'close') : ''
  const { target, absolute } = anyTarget(chance, method)
  const switches = version === '1.1' && persistence === '' && chance.happens(0.03)
  const fields = chance.shuffled([
    ...hosts(chance, version, absolute),
    ...anyFields(chance, ORDINARY),
    ...hopFields(chance, persistence),
    ...hopOfRequests(chance, persistence),
    ...(switches ? SWITCH.map(([name, value]) => field(chance, name, value)) : []),
    ...identityFields(chance),
    ...cookies(chance),
    ...framingFields(chance, framing, content.length),
    ...(expects ? [field(chance, 'Expect', chance.spelled('100-continue'))] : []),
    field(chance, 'X-Number', String(number)),
  ])
  const draft = new Draft()
  if (chance.happens(0.05)) draft.end('an empty line')
  draft.add('method', method).add('space', ' ').add('target', target).add('space', ' ')
  draft.add('version', `HTTP/${version}`).end('request line').fields(fields, 'field').end('head')
  if (framing === 'chunked') chunked(chance, draft, content, anyTrailers(chance))
  else draft.add('content', content)
  const stays = (persistence === '') === (version === '1.1')
  return { number, method, version, parts: draft.parts, content, stays, expects, switches }
}

const SEGMENTS = [
  '',
  'a%2Fb%2fc',
  '%41%7e~',
  ';x=1;y=2',
  '...',
  'a..b',
  '.well-known',
  'seg/..',
  'seg/%2e%2E',
  '.',
  '@127.0.0.1:1',
  ':80',
  '__proto__',
  '%E2%82%AC',
  '%00%0d%0a',
]

function anyTarget(chance: Chance, method: string): { target: string; absolute: string | undefined } {
  const segments = Array.from({ length: chance.between(1, 5) }, () => anySegment(chance))
  const path = `/${segments.join('/')}${chance.happens(0.02) ? `/${'long/'.repeat(1000)}` : ''}`
  const query = chance.happens(0.5) ? '' : `?${anyQuery(chance)}`
  if (chance.happens(0.85)) return { target: path + query, absolute: undefined }
  const absolute = chance.one(['other.example', 'Other.Example:81', '[::1]:8080', '192.0.2.1', 'xn--nxasmq6b.example'])
  // Without a path, OPTIONS would ask about the server as a whole.
  const given = method !== 'OPTIONS' && chance.happens(0.3) ? '' : path
  return { target: `${chance.spelled(chance.one(['http', 'https']))}://${absolute}${given}${query}`, absolute }
}

function anySegment(chance: Chance): string {
  if (chance.happens(0.3)) return chance.one(SEGMENTS)
  // What leads out of the root, in any server's reading, is refused on purpose.
  const text = anyEncoded(chance, SEGMENT, 12)
  return /(?:\.|%2e){2}/i.test(text) ? 'plain' : text
}

function anyEncoded(chance: Chance, characters: string, most: number): string {
  let text = ''
  for (let left = chance.between(1, most); left > 0; left--)
    text += chance.happens(0.1) ? `%${chance.text(`${DIGITS}abcdefABCDEF`, 2, 2)}` : chance.text(characters, 1, 1)
  return text
}

function anyQuery(chance: Chance): string {
  if (chance.happens(0.3)) return chance.one(['', '?', '=&&=', 'a=1&a=2', 'a;b', '/../..', 'u=http://a/%2e%2e/'])
  return anyEncoded(chance, `${SEGMENT}/?&=&=`, chance.happens(0.05) ? 2000 : 40)
}

function hosts(chance: Chance, version: string, absolute: string | undefined): Field[] {
  if (version === '1.0' && chance.happens(0.5)) return []
  if (chance.happens(0.05)) return [field(chance, 'Host', '')]
  const own = chance.one([
    'gateway.example',
    'A.Example.:8080',
    '[2001:db8::1]',
    '127.0.0.1:1',
    'under_score',
    'localhost',
  ])
  return [field(chance, 'Host', absolute !== undefined && chance.happens(0.5) ? absolute : own)]
}

const HOP_OF_REQUESTS: ReadonlyArray<readonly [name: string, value: string]> = [
  ['Proxy-Authorization', 'Basic dXNlcjpwYXNz=='],
  ['Proxy-Authenticate', 'Basic'],
  ['Trailer', 'X-Sum, X-Other'],
  ['Upgrade', 'unheard-of/2, h2c'],
  ['TE', 'trailers'],
  ['TE', 'gzip;q=0.5, trailers, deflate'],
  ['TE', ''],
]

/** To HTTP/2, which no gateway has to understand here. */
const SWITCH: ReadonlyArray<readonly [name: string, value: string]> = [
  ['Connection', 'Upgrade, HTTP2-Settings'],
  ['Upgrade', 'h2c'],
  ['HTTP2-Settings', 'AAMAAABk'],
]

function hopOfRequests(chance: Chance, persistence: string): Field[] {
  const fields: Field[] = []
  if (chance.happens(0.2)) fields.push(field(chance, ...chance.one(HOP_OF_REQUESTS)))
  if (chance.happens(0.5)) fields.push(field(chance, 'Connection', 'TE'))
  // Some parsers read it as Connection: so it must not say something else.
  if (persistence !== '' && chance.happens(0.2)) fields.push(field(chance, 'Proxy-Connection', persistence))
  return fields
}

const CLAIMS: ReadonlyArray<readonly [name: string, value: string]> = [
  ['X-Forwarded-For', '6.6.6.6, 7.7.7.7'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Host', 'evil.example'],
  ['X_Forwarded_For', '6.6.6.6'],
  ['X-Forwarded-Port', '1'],
  ['Forwarded', 'for=6.6.6.6;host="evil.example";proto=https'],
  ['X-Real-IP', '6.6.6.6'],
  ['X-Real_IP', '6.6.6.6'],
  ['True-Client-IP', '6.6.6.6'],
  ['CF-Connecting-IP', '6.6.6.6'],
  ['X-Client-IP', '6.6.6.6'],
  ['X-Request-Id', 'of-the-client'],
  ['Via', '1.0 fred, 1.1 p.example.net (Comment)'],
  ['Via', 'HTTP/1.1 other:80'],
]

function identityFields(chance: Chance): Field[] {
  if (chance.happens(0.7)) return []
  return Array.from({ length: chance.between(1, 3) }, () => field(chance, ...chance.one(CLAIMS)))
}

function cookies(chance: Chance): Field[] {
  const count = chance.happens(0.6) ? 0 : chance.between(1, 3)
  const values = ['a=b', 'c="d e"; $f=%20', 'x=\xe4\xff; y=', '__Host-id=1']
  return Array.from({ length: count }, () => field(chance, 'Cookie', chance.one(values)))
}

// --- responses ---

export interface PlainRequest {
  readonly method: string
  readonly version: '1.0' | '1.1'
  /** Whether its sender reads trailers. */
  readonly trailers: boolean
  readonly text: string
}

export interface GeneratedResponse {
  readonly number: number
  /** The request that it answers. */
  readonly request: PlainRequest
  readonly status: number
  readonly parts: readonly Part[]
  /** What the client gets of it. */
  readonly content: string
  /** Whether the backend ends the connection behind it. */
  readonly ends: boolean
}

const REASONS = ['', 'OK', 'Not Here: \xe4\xff', 'a\tb  c', 'HTTP/1.1 200 OK', '~!"', 'Moved', '200']

const ORDINARY_OF_RESPONSES: ReadonlyArray<readonly [name: string, value: string]> = [
  ['Set-Cookie', 'a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT'],
  ['Set-Cookie', 'b="2, 3"; Path=/'],
  ['Set-Cookie', 'a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT'],
  ['Vary', 'a, b'],
  ['WWW-Authenticate', 'Basic realm="a, b", Digest x="y"'],
  ['Content-Type', 'text/plain; charset="\\u\\t"'],
  ['Content-Encoding', 'gzip'],
  ['ETag', 'W/"\xe4"'],
  ['Location', '//a.example/%zz?#x'],
  ['Retry-After', '120'],
  ['Server', 'Odd/1.0 (x)'],
  ['Date', 'Tue, 15 Nov 1994 08:12:31 GMT'],
  ['X-Request-Id', 'of-the-backend'],
  ['Age', '0'],
]

const HOP_OF_RESPONSES: ReadonlyArray<readonly [name: string, value: string]> = [
  ['Proxy-Authenticate', 'Basic realm="x"'],
  ['Proxy-Connection', 'close'],
  ['Upgrade', 'h2c, unheard-of/2'],
  ['Trailer', 'X-Sum'],
]

/** A request with the number in its target, and a legal answer to it, with the number in X-Number. */
export function generateResponse(seed: number, number: number): GeneratedResponse {
  const chance = new Chance(seed * 1_000_003 + 500_009 + number)
  const request = plainRequest(chance, number)
  const version = chance.happens(0.1) ? '1.0' : '1.1'
  const status = chance.one([200, 200, 204, 304, 404, chance.between(200, 599), chance.between(200, 599)])
  const bodiless = request.method === 'HEAD' || status === 204 || status === 304
  const framing = framingOf(chance, version, status, bodiless)
  const content = framing === 'none' ? '' : anyContent(chance)
  const persistence = version === '1.0' ? 'keep-alive' : 'close'
  const says = framing !== 'close' && chance.happens(0.15) ? persistence : ''
  const draft = new Draft()
  interims(chance, draft, number)
  const fields = chance.shuffled([
    ...anyFields(chance, ORDINARY_OF_RESPONSES),
    ...hopFields(chance, says),
    ...(chance.happens(0.1) ? [field(chance, ...chance.one(HOP_OF_RESPONSES))] : []),
    ...framingFields(chance, framing, content.length),
    field(chance, 'X-Number', String(number)),
  ])
  draft.add('version', `HTTP/${version}`).add('space', ' ').add('status', String(status)).add('space', ' ')
  draft.add('reason', chance.one(REASONS)).end('status line').fields(fields, 'field').end('head')
  if (!bodiless && framing === 'chunked') chunked(chance, draft, content, anyTrailers(chance))
  else if (!bodiless) draft.add('content', content)
  const ends = framing === 'close' || (version === '1.0') === (says === '')
  return { number, request, status, parts: draft.parts, content: bodiless ? '' : content, ends }
}

/** HEAD and 304 may say how long the content would have been; 204 may not. */
function framingOf(chance: Chance, version: string, status: number, bodiless: boolean): Framing {
  if (status === 204) return 'none'
  if (bodiless) return chance.one<Framing>(version === '1.0' ? ['none', 'length'] : ['none', 'length', 'chunked'])
  return chance.one<Framing>(
    version === '1.0' ? ['length', 'close'] : ['length', 'length', 'chunked', 'chunked', 'close'],
  )
}

function plainRequest(chance: Chance, number: number): PlainRequest {
  const method = chance.one(['GET', 'GET', 'HEAD', 'POST', 'DELETE', 'PROPFIND'])
  const version = chance.happens(0.15) ? '1.0' : '1.1'
  const trailers = version === '1.1' && chance.happens(0.3)
  const stays = version === '1.0' && chance.happens(0.5)
  const connection = trailers ? 'TE: trailers\r\nConnection: TE\r\n' : stays ? 'Connection: keep-alive\r\n' : ''
  const body = method === 'POST' ? 'Content-Length: 4\r\n\r\nbody' : '\r\n'
  const text = `${method} /${number} HTTP/${version}\r\nHost: a\r\nX-Number: ${number}\r\n${connection}${body}`
  return { method, version, trailers, text }
}

function interims(chance: Chance, draft: Draft, number: number): void {
  if (chance.happens(0.75)) return
  for (let left = chance.between(1, 3); left > 0; left--) {
    const [line, ...fields] = chance.one([
      ['100 Continue'],
      ['102 Processing'],
      ['103 Early Hints', '</a.css>; rel=preload; as=style', '</\xe4>; rel=preconnect'],
      ['103 Hints of another kind', '</b>'],
    ])
    draft.add('interim line', `HTTP/1.1 ${line}`).end('interim line')
    const links = fields.map((value) => field(chance, 'Link', value))
    draft
      .fields(links.length === 0 ? [] : [...links, field(chance, 'X-Number', String(number))], 'interim')
      .end('interim')
  }
}
