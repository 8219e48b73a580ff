/**
 * A strict, total parser of HTTP/1 response heads (RFC 9112). It reads what backends send, so it takes nothing on
 * trust: what two parsers could read differently is refused, and the caller answers 502 and throws the connection
 * away. It never throws; a refusal is a string that says what was wrong.
 */
import { HOP_BY_HOP, TOKEN } from '../core/fields.ts'

/** How the end of a response's body is known (RFC 9112, section 6.3). */
export type Framing = 'none' | 'length' | 'chunked' | 'close'

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** Names and values in turn, in the order and spelling they came in, without the hop-by-hop ones. */
  readonly fields: string[]
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
// (RFC 9112, section 4; some servers leave out the space before an empty reason too).
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/
// Control characters other than tab are never part of a head's lines (RFC 9110, section 5.5).
// oxlint-disable-next-line no-control-regex
export const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/
// 15 digits stay below 2^53: more cannot be counted exactly, and no body is that long.
const DIGITS = /^\d{1,15}$/
/** More than any real server sends; what is bounded in bytes only could still be tens of thousands of lines. */
const MAX_FIELDS = 1000
const KEEP_ALIVE_TIMEOUT = /(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*"?(\d{1,9})/i

/** By length, for a cheap first look. */
const CONNECTION_ONLY: ReadonlyArray<ReadonlySet<string> | undefined> = byLength(HOP_BY_HOP)

function byLength(names: readonly string[]): Array<Set<string> | undefined> {
  const sets: Array<Set<string> | undefined> = []
  for (const name of names) (sets[name.length] ??= new Set()).add(name)
  return sets
}

/** Whether a field concerns one connection only; `name` in any case. */
export function isHopByHop(name: string): boolean {
  return CONNECTION_ONLY[name.length]?.has(name.toLowerCase()) === true
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

class Collector {
  readonly fields: string[] = []
  connection = ''
  transferEncoding: string | undefined
  contentLength: string | undefined
  keepAlive = ''
  upgrade = ''
  trailer = ''
  problem: string | undefined

  /** Takes one field line; false when it must be refused. */
  add(line: string): boolean {
    const colon = line.indexOf(':')
    if (colon < 1) return this.refuse('a field line without a name')
    const name = line.slice(0, colon)
    // Also refuses obsolete folding (a line that begins with a space) and spaces before the colon.
    if (!TOKEN.test(name)) return this.refuse('an invalid field name')
    const value = trim(line, colon + 1)
    if (CONNECTION_ONLY[name.length] !== undefined || name.length === 14) {
      const lower = name.toLowerCase()
      if (lower === 'content-length') {
        if (this.contentLength !== undefined) return this.refuse('more than one Content-Length')
        if (!DIGITS.test(value)) return this.refuse('an invalid Content-Length')
        this.contentLength = value
      } else if (isHopByHop(lower)) {
        if (lower === 'connection') this.connection = this.connection === '' ? value : `${this.connection},${value}`
        else if (lower === 'keep-alive') this.keepAlive = value
        else if (lower === 'upgrade') this.upgrade = value
        else if (lower === 'trailer') this.trailer = this.trailer === '' ? value : `${this.trailer}, ${value}`
        else if (lower === 'transfer-encoding') {
          if (this.transferEncoding !== undefined) return this.refuse('more than one Transfer-Encoding')
          this.transferEncoding = value
        }
        return true
      }
    }
    // Two entries a field.
    if (this.fields.length >= 2 * MAX_FIELDS) return this.refuse('too many fields')
    this.fields.push(name, value)
    return true
  }

  refuse(problem: string): false {
    this.problem = problem
    return false
  }
}

/** The text from `start` on without optional white space around it (RFC 9110, section 5.6.3). */
export function trim(line: string, start: number): string {
  let end = line.length
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  return line.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/**
 * Reads a response head.
 *
 * @param text the head as latin1, from its first byte up to, not including, the empty line
 * @param method the request's method: the answer to HEAD has no body
 * @returns the head, or what is wrong with it
 */
export function parseResponseHead(text: string, method: string): ResponseHead | string {
  let end = text.indexOf('\r\n')
  if (end === -1) end = text.length
  const statusLine = STATUS_LINE.exec(text.slice(0, end))
  if (statusLine === null) return 'an invalid status line'
  const reason = statusLine[3] ?? ''
  if (CONTROL.test(reason)) return 'a control character in the status line'
  const collector = new Collector()
  for (let start = end + 2; start < text.length; start = end + 2) {
    end = text.indexOf('\r\n', start)
    if (end === -1) end = text.length
    const line = text.slice(start, end)
    if (CONTROL.test(line)) return 'a control character in a field'
    if (!collector.add(line)) return collector.problem ?? 'an invalid field'
  }
  return frame(Number(statusLine[2]), reason, statusLine[1] === '1', method, collector)
}

function frame(
  status: number,
  reason: string,
  http11: boolean,
  method: string,
  seen: Collector,
): ResponseHead | string {
  const { connection, transferEncoding, contentLength } = seen
  if (transferEncoding !== undefined) {
    // RFC 9112, section 6.1: a message with both is an attack or a mistake, and HTTP/1.0 knows no codings.
    if (contentLength !== undefined) return 'Transfer-Encoding together with Content-Length'
    if (!http11) return 'Transfer-Encoding in an HTTP/1.0 response'
    if (transferEncoding.toLowerCase() !== 'chunked') return 'an unknown Transfer-Encoding'
  }
  let fields = seen.fields
  let persistent = http11
  if (connection !== '') {
    const options = connection.toLowerCase()
    if (!ONLY_PERSISTENCE.test(options)) fields = withoutFields(fields, listedFields(options))
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
    if (contentLength !== undefined && status !== 304 && method !== 'HEAD')
      fields = withoutFields(fields, CONTENT_LENGTH)
  } else if (transferEncoding !== undefined) framing = 'chunked'
  else if (contentLength !== undefined) framing = 'length'
  else framing = 'close'
  const promise = seen.keepAlive === '' ? null : KEEP_ALIVE_TIMEOUT.exec(seen.keepAlive)
  return {
    status,
    reason,
    fields,
    framing,
    length,
    reusable: persistent && framing !== 'close',
    keepAliveMs: promise === null ? undefined : Number(promise[1]) * 1000,
    upgrade: seen.upgrade,
    trailer: seen.trailer,
  }
}
