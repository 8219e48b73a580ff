/**
 * A strict, total parser of HTTP/1 response heads (RFC 9112). It reads what backends send, so it takes nothing on
 * trust: what two parsers could read differently is refused, and the caller answers 502 and throws the connection
 * away. It never throws; a refusal is a string that says what was wrong.
 */
import { EXPLAIN, FieldNames, HOP_BY_HOP, REQUEST_ID, TOKEN } from '../core/fields.ts'

/** How the end of a response's body is known (RFC 9112, section 6.3). */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /**
   * The fields, a line each with its end, in the order and spelling they came in, with one space behind each colon; without
   * the hop-by-hop ones and those that are ours to write.
   */
  readonly lines: string
  /** Whether there is a Date among them. */
  readonly dated: boolean
  readonly framing: Framing
  /** The body's length in bytes where `framing` is 'length'. */
  readonly length: number
  /** Whether another request may follow on this connection. */
  readonly reusable: boolean
  /** What the backend's `Keep-Alive: timeout=` promises, in milliseconds. */
  readonly keepAliveMs: number | undefined
  /** The protocol that is switched to with a 101, as sent; '' for none. */
  readonly upgrade: string
  /** The names of the fields that will follow the content, as announced; '' for none. */
  readonly trailer: string
}

// A status line: HTTP/1.0 or 1.1, three digits of which the first is 1 to 9, and a reason that may be absent
// (RFC 9112, section 4; some servers leave out the space before an empty reason too). Then field lines: a token, a colon
// right behind it, and a value without control characters (section 5), which also leaves no room for obsolete folding.
const WELL_FORMED =
  // oxlint-disable-next-line no-control-regex
  /^HTTP\/1\.[01] [1-9]\d\d(?: [^\0-\x08\x0a-\x1f\x7f]*)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\0-\x08\x0a-\x1f\x7f]*\r\n)*$/
const STATUS_LINE = /^HTTP\/1\.[01] [1-9]\d\d(?: .*)?$/
/** Where the status, and the reason, begin. */
const STATUS_AT = 'HTTP/1.1 '.length
const REASON_AT = STATUS_AT + '200 '.length
// Control characters other than tab are never part of a head's lines (RFC 9110, section 5.5).
// oxlint-disable-next-line no-control-regex
export const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/
// 15 digits stay below 2^53: more cannot be counted exactly, and no body is that long.
const DIGITS = /^\d{1,15}$/
/** More than any real server sends; what is bounded in bytes only could still be tens of thousands of lines. */
const MAX_FIELDS = 1000
const KEEP_ALIVE_TIMEOUT = /(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*"?(\d{1,9})/i

const CONNECTION_ONLY = new FieldNames(HOP_BY_HOP)
/** Answers are told apart by these: they say where one ends, or are ours to write. */
const LOOKED_AT = new FieldNames([...HOP_BY_HOP, 'content-length', 'date', REQUEST_ID, EXPLAIN])

/** Whether a field concerns one connection only; `name` in any case. */
export function isHopByHop(name: string): boolean {
  return CONNECTION_ONLY.has(name)
}

/** The field names that a Connection field lists, in lower case. */
export function listedFields(connection: string): Set<string> {
  const listed = new Set(
    connection
      .toLowerCase()
      .split(',')
      .map((option) => option.trim()),
  )
  // Framing and the target are never a matter of one hop, whatever a sender lists (RFC 9110, section 7.6.1).
  listed.delete('content-length')
  listed.delete('host')
  return listed
}

/** `fields` (flat names and values) without those whose lower-case name is in `names`. */
export function withoutFields(fields: string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? ''
    if (!names.has(name.toLowerCase())) kept.push(name, fields[i + 1] ?? '')
  }
  return kept
}

const CONTENT_LENGTH: ReadonlySet<string> = new Set(['content-length'])

/** What a Connection field means for the connection itself and whether it lists fields besides. */
const ONLY_PERSISTENCE = /^(?:close|keep-alive)$/i

/** What is noted of a head while it is read. */
class Notes {
  connection = ''
  transferEncoding: string | undefined
  contentLength: string | undefined
  keepAlive = ''
  upgrade = ''
  trailer = ''
  dated = false
  problem: string | undefined

  /** Notes what a field of interest says. @returns whether it is passed on */
  take(name: string, value: string): boolean {
    switch (name) {
      case 'content-length':
        if (this.contentLength !== undefined) this.problem = 'more than one Content-Length'
        else if (!DIGITS.test(value)) this.problem = 'an invalid Content-Length'
        this.contentLength = value
        return true
      case 'date':
        this.dated = true
        return true
      case 'transfer-encoding':
        if (this.transferEncoding !== undefined) this.problem = 'more than one Transfer-Encoding'
        this.transferEncoding = value
        return false
      case 'connection':
        this.connection = this.connection === '' ? value : `${this.connection},${value}`
        return false
      case 'trailer':
        this.trailer = this.trailer === '' ? value : `${this.trailer}, ${value}`
        return false
      case 'keep-alive':
        this.keepAlive = value
        return false
      case 'upgrade':
        this.upgrade = value
        return false
      default:
        return !LOOKED_AT.has(name)
    }
  }
}

/** The text from `start` to `end` without optional white space around it (RFC 9110, section 5.6.3). */
export function trim(line: string, start: number, end = line.length): string {
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  return line.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** Names and values in turn. @param lines as in a head that was read */
export function fieldsOf(lines: string): string[] {
  const fields: string[] = []
  for (let at = 0; at < lines.length;) {
    const colon = lines.indexOf(':', at)
    const end = lines.indexOf('\r\n', colon)
    fields.push(lines.slice(at, colon), lines.slice(colon + 2, end))
    at = end + 2
  }
  return fields
}

/** The opposite. */
export function linesOf(fields: readonly string[]): string {
  let lines = ''
  for (let i = 0; i + 1 < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`
  return lines
}

function linesWithout(lines: string, names: ReadonlySet<string>): string {
  return linesOf(withoutFields(fieldsOf(lines), names))
}

/**
 * Reads a response head. Its lines are not taken apart, but for the few that matter here: what a client gets is, most
 * often, what came.
 *
 * @param text the head as latin1: all of its lines, each with its end, but not the empty one
 * @param method the request's method: the answer to HEAD has no body
 * @returns the head, or what is wrong with it
 */
export function parseResponseHead(text: string, method: string): ResponseHead | string {
  if (!WELL_FORMED.test(text)) return problemOf(text)
  const notes = new Notes()
  const status = Number(text.slice(STATUS_AT, STATUS_AT + 3))
  let end = text.indexOf('\r\n')
  const reason = text.slice(REASON_AT, Math.max(REASON_AT, end))
  let lines = ''
  /** Up to where lines are passed on as they are, not yet noted down. */
  let kept = end + 2
  let count = 0
  for (let start = kept; start < text.length; start = end + 2) {
    const colon = text.indexOf(':', start)
    end = text.indexOf('\r\n', colon)
    if (++count > MAX_FIELDS) return 'too many fields'
    let passes = true
    if (LOOKED_AT.mayHave(colon - start, text.charCodeAt(start))) {
      passes = notes.take(text.slice(start, colon).toLowerCase(), trim(text, colon + 1, end))
      if (notes.problem !== undefined) return notes.problem
    }
    if (passes && isTidy(text, colon, end)) continue
    lines += text.slice(kept, start)
    if (passes) lines += `${text.slice(start, colon)}: ${trim(text, colon + 1, end)}\r\n`
    kept = end + 2
  }
  lines += text.slice(kept)
  return frame(status, reason, text.charCodeAt(STATUS_AT - 2) === 0x31, method, lines, notes)
}

/** Whether a value stands behind one space, with nothing behind it. */
function isTidy(text: string, colon: number, end: number): boolean {
  if (text.charCodeAt(colon + 1) !== 0x20) return false
  return end === colon + 2 || (!isBlank(text.charCodeAt(colon + 2)) && !isBlank(text.charCodeAt(end - 1)))
}

/** What is wrong with a head that is not well-formed. */
function problemOf(text: string): string {
  const [first = '', ...lines] = text.split('\r\n')
  if (!STATUS_LINE.test(first)) return 'an invalid status line'
  if (CONTROL.test(first)) return 'a control character in the status line'
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (CONTROL.test(line)) return 'a control character in a field'
    if (line !== '' && colon < 1) return 'a field line without a name'
    // Also obsolete folding (a line that begins with a space) and spaces before the colon.
    if (line !== '' && !TOKEN.test(line.slice(0, colon))) return 'an invalid field name'
  }
  return 'an invalid head'
}

function frame(
  status: number,
  reason: string,
  http11: boolean,
  method: string,
  passed: string,
  seen: Notes,
): ResponseHead | string {
  const { connection, transferEncoding, contentLength } = seen
  if (transferEncoding !== undefined) {
    // RFC 9112, section 6.1: a message with both is an attack or a mistake, and HTTP/1.0 knows no codings.
    if (contentLength !== undefined) return 'Transfer-Encoding together with Content-Length'
    if (!http11) return 'Transfer-Encoding in an HTTP/1.0 response'
    if (transferEncoding.toLowerCase() !== 'chunked') return 'an unknown Transfer-Encoding'
  }
  let lines = passed
  let { dated } = seen
  let persistent = http11
  if (connection !== '') {
    const options = connection.toLowerCase()
    if (!ONLY_PERSISTENCE.test(options)) {
      const listed = listedFields(options)
      lines = linesWithout(lines, listed)
      dated &&= !listed.has('date')
    }
    if (/(?:^|[ \t,])close(?:$|[ \t,])/.test(options)) persistent = false
    else if (!http11) persistent = /(?:^|[ \t,])keep-alive(?:$|[ \t,])/.test(options)
  }
  const length = contentLength === undefined ? 0 : Number(contentLength)
  let framing: Framing
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) {
    framing = 'none'
    // Who announces a body where none may be could send one too: it would be read as the next answer.
    if (method !== 'HEAD' && (length > 0 || transferEncoding !== undefined)) persistent = false
    // RFC 9110, section 8.6: never in an answer with 1xx or 204; with 304 it tells of the stored one.
    if (contentLength !== undefined && status !== 304 && method !== 'HEAD') lines = linesWithout(lines, CONTENT_LENGTH)
  } else if (transferEncoding !== undefined) framing = 'chunked'
  else if (contentLength !== undefined) framing = 'length'
  else framing = 'close'
  const promise = seen.keepAlive === '' ? null : KEEP_ALIVE_TIMEOUT.exec(seen.keepAlive)
  return {
    status,
    reason,
    lines,
    dated,
    framing,
    length,
    reusable: persistent && framing !== 'close',
    keepAliveMs: promise === null ? undefined : Number(promise[1]) * 1000,
    upgrade: seen.upgrade,
    trailer: seen.trailer,
  }
}
