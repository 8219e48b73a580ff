/**
 * The trace that an exchange is part of (W3C Trace Context, https://www.w3.org/TR/trace-context/): the client's
 * continued, or one begun here. What a client sends is read strictly, and nothing of it goes on that was not read.
 */
import { randomFillSync } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

import type { TracingSettings } from '../config/settings.ts'
import { trim } from './response-head.ts'

/** What is passed on in a traceparent. */
export interface Parent {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

/** Section 3.2: a version, a trace id, a span id and flags in hex, with dashes between them. */
const TRACE_AT = 3
const SPAN_AT = TRACE_AT + 33
const FLAGS_AT = SPAN_AT + 17
const PARENT_LENGTH = FLAGS_AT + 2
const DASH = 0x2d
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)

/** Section 3.3.1.1. */
const MAX_MEMBERS = 32
/** Four times what has to be passed on at least (section 3.3.1.5): a client must not decide how much every hop carries. */
const MAX_STATE = 2048
/** Those that are longer go first where something has to. */
const LONG_MEMBER = 128

/** Kinds of characters, a bit each. */
const LETTER = 1
const DIGIT = 2
const SIGN = 4
const HEX = 8
const VALUE = 16
const KINDS = Uint8Array.from({ length: 128 }, (_, code) => kindsOf(String.fromCharCode(code)))

function kindsOf(character: string): number {
  let kinds = 0
  if (/[a-z]/.test(character)) kinds |= LETTER
  if (/\d/.test(character)) kinds |= DIGIT
  if (/[_*/-]/.test(character)) kinds |= SIGN
  if (/[\da-f]/.test(character)) kinds |= HEX
  if (/[ -~]/.test(character) && !/[,=]/.test(character)) kinds |= VALUE
  return kinds
}

export class Trace {
  readonly traceId: string
  /** The client's span; undefined where the trace begins here. */
  readonly parentId: string | undefined
  /** Whether those who come behind are asked to record it, and we do. */
  readonly sampled: boolean
  /** What tracing systems tell each other: the value of tracestate, '' for none. */
  readonly state: string
  #spanId: string | undefined

  constructor(traceId: string, parentId: string | undefined, sampled: boolean, state: string) {
    this.traceId = traceId
    this.parentId = parentId
    this.sampled = sampled
    this.state = state
  }

  /** Of the exchange, to which its attempts are children. */
  get spanId(): string {
    return (this.#spanId ??= newSpanId())
  }
}

/**
 * The trace of a request; undefined where traces are none of our business.
 *
 * @param trusted whether what the client says of others is believed
 */
export function traceOf(raw: IncomingMessage, trusted: boolean, rules: TracingSettings): Trace | undefined {
  if (!rules.propagate) return undefined
  const { traceparent, tracestate } = raw.headers
  const continues = trusted || rules.accept === 'everyone'
  const parent = continues && traceparent !== undefined ? parentIn(String(traceparent), raw.rawHeaders) : undefined
  if (parent === undefined) return new Trace(newTraceId(), undefined, drawn(rules.sample), '')
  // Anybody may ask for less to be recorded; for more only whom we trust, or a client could fill the collector.
  const sampled = parent.sampled && (trusted || drawn(rules.sample))
  return new Trace(
    parent.traceId,
    parent.spanId,
    sampled,
    tracestate === undefined ? '' : readState(String(tracestate)),
  )
}

/** Not by the trace id, as other samplers do: a client could choose one that is always taken. */
function drawn(share: number): boolean {
  return share >= 1 || Math.random() < share
}

/** Node has joined several lines to one, which only a version to come could allow for. */
function parentIn(value: string, rawHeaders: readonly string[]): Parent | undefined {
  const parent = readParent(value)
  return parent === undefined || (value.includes(',') && linesOf(rawHeaders, 'traceparent') > 1) ? undefined : parent
}

function linesOf(rawHeaders: readonly string[], name: string): number {
  let lines = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) lines++
  return lines
}

/** Reads the value of a traceparent; undefined for one that is to be treated as if it were not there. */
export function readParent(value: string): Parent | undefined {
  const { length } = value
  if (length < PARENT_LENGTH || !isOf(HEX, value, 0, 2) || value.startsWith('ff')) return undefined
  // Versions to come may add something, behind another dash.
  if (length > PARENT_LENGTH && (value.startsWith('00') || value.charCodeAt(PARENT_LENGTH) !== DASH)) return undefined
  for (const at of [TRACE_AT, SPAN_AT, FLAGS_AT]) if (value.charCodeAt(at - 1) !== DASH) return undefined
  const isHex = isOf(HEX, value, TRACE_AT, SPAN_AT - 1) && isOf(HEX, value, SPAN_AT, FLAGS_AT - 1)
  if (!isHex || !isOf(HEX, value, FLAGS_AT, PARENT_LENGTH)) return undefined
  const traceId = value.slice(TRACE_AT, SPAN_AT - 1)
  const spanId = value.slice(SPAN_AT, FLAGS_AT - 1)
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  // The last bit is the only flag of version 00; others are not passed on (section 3.2.2.5.2).
  return { traceId, spanId, sampled: Number.parseInt(value.slice(FLAGS_AT, PARENT_LENGTH), 16) % 2 === 1 }
}

/** Always in version 00, whatever the client's was: that is the one we know. */
export function writeParent({ traceId, sampled }: Pick<Trace, 'traceId' | 'sampled'>, spanId: string): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}

/** Reads the value of a tracestate; '' when there is nothing in it, or anything is wrong with it. */
export function readState(value: string): string {
  // More than are allowed need not be looked at.
  const listed = value.split(',', MAX_MEMBERS + 1)
  if (listed.length > MAX_MEMBERS) return ''
  const members: string[] = []
  let length = -1
  for (const item of listed) {
    const member = trim(item, 0)
    // Allowed, and not to be sent (section 3.3.1.1).
    if (member === '') continue
    if (!isMember(member)) return ''
    members.push(member)
    length += member.length + 1
  }
  return (length > MAX_STATE ? shortened(members, length) : members).join(',')
}

/** Section 3.3.1.3: a key, or a tenant and a system, and a value that does not end in a space. */
function isMember(member: string): boolean {
  const equals = member.indexOf('=')
  const at = member.indexOf('@')
  const isKey =
    at === -1 || at > equals
      ? isName(member, 0, equals, 256, LETTER)
      : isName(member, 0, at, 241, LETTER | DIGIT) && isName(member, at + 1, equals, 14, LETTER)
  const length = member.length - equals - 1
  return (
    isKey && length >= 1 && length <= 256 && isOf(VALUE, member, equals + 1, member.length) && !member.endsWith(' ')
  )
}

/** @param first what its first character may be */
function isName(text: string, from: number, to: number, most: number, first: number): boolean {
  const length = to - from
  return (
    length >= 1 && length <= most && isOf(first, text, from, from + 1) && isOf(LETTER | DIGIT | SIGN, text, from, to)
  )
}

/** Whether all characters in between are of these kinds; expressions would take longer, and a client could see to it. */
function isOf(kinds: number, text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (((KINDS[text.charCodeAt(i)] ?? 0) & kinds) === 0) return false
  return true
}

/** Whole members only, the long ones first, then from the end (section 3.3.1.5). */
function shortened(members: readonly string[], length: number): string[] {
  let left = length
  const kept = members.toReversed().filter((member) => {
    if (left <= MAX_STATE || member.length <= LONG_MEMBER) return true
    left -= member.length + 1
    return false
  })
  const short = kept.toReversed()
  while (left > MAX_STATE) left -= (short.pop()?.length ?? left) + 1
  return short
}

const TRACE_DIGITS = 32
const SPAN_DIGITS = 16
/** Drawn in advance, and made text at once: asked for one by one, ids cost ten times as much. */
const drawnBytes = Buffer.allocUnsafeSlow(4096)
let digits = ''
let used = 0

function newTraceId(): string {
  return randomHex(TRACE_DIGITS)
}

export function newSpanId(): string {
  return randomHex(SPAN_DIGITS)
}

function randomHex(length: number): string {
  if (used + length > digits.length) {
    digits = randomFillSync(drawnBytes).toString('hex')
    used = 0
  }
  const start = used
  used += length
  return digits.slice(start, used)
}
