/**
 * The head of the request that a backend gets, written afresh from what the client sent: hop-by-hop fields left out,
 * forwarded fields set by us, everything else in its order and spelling.
 */
import type { IncomingMessage } from 'node:http'

import { EXPLAIN, FieldNames, HOP_BY_HOP, REQUEST_ID } from '../core/fields.ts'
import { SluiceError } from '../errors.ts'
import { formatForwarded, parseForwarded, type ForwardedElement } from './forwarded.ts'
import type { Forwarding } from './forwarding.ts'
import type { Peer, Peers } from './peer.ts'
import { isHopByHop, linesOf, listedFields, withoutFields } from './response-head.ts'
import { writeParent, type Trace } from './trace.ts'
import { isHttp2 } from './wire.ts'

/** Fields that say who the client is: only a trusted proxy may, else they are dropped. */
const IDENTITY: ReadonlySet<string> = new Set([
  'x-real-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-forwarded-port',
  'x-forwarded-server',
  'x-forwarded-prefix',
  'x-original-forwarded-for',
  'x-envoy-external-address',
  'x-envoy-internal',
])
/** What we write ourselves, from the client's or not, and what is for us alone. */
const OURS: ReadonlySet<string> = new Set([
  'host',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  REQUEST_ID,
  'content-length',
  'transfer-encoding',
  'expect',
  'traceparent',
  'tracestate',
  // With a token in it, that no backend may learn.
  EXPLAIN,
  'http2-settings',
])
/** All that may have to stay behind. A name that is one of them but for a `_` in place of a `-` begins and is as long. */
const LOOKED_AT = new FieldNames([...HOP_BY_HOP, ...OURS, ...IDENTITY])
const NONE: ReadonlySet<string> = new Set()

// Everything that is not a visible character, a space, a tab, obs-text or a line end that we wrote ourselves.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/

export interface HeadInput {
  readonly raw: IncomingMessage
  readonly peer: Peer
  readonly id: string
  /** The client's Host, or the authority of an absolute-form target. */
  readonly host: string
  /** What is asked of the backend: path and query. */
  readonly target: string
  /** How its body is framed; undefined for none. */
  readonly body: { readonly chunked: boolean } | undefined
  /** The protocol that the client wants to switch to; '' for none. */
  readonly upgrade: string
  /** How this gateway calls itself in Via; '' for not at all. */
  readonly via: string
  /** The trace that it is part of; undefined where traces are passed on as they came. */
  readonly trace: Trace | undefined
  /** Who asks the backend, in that trace. */
  readonly spanId: string
  /** Whether Node's parser has refused control characters already, which takes as long as all the rest of this. */
  readonly strict: boolean
}

/** @throws {SluiceError} SLUICE_BAD_REQUEST when the request holds what must not be passed on */
export function buildRequestHead(input: HeadInput, backendHost: string, forwarding: Forwarding): string {
  const { raw, peer, host } = input
  const fields = passedFields(raw, peer.trusted, input.trace !== undefined)
  const { requestHeaders } = forwarding
  const kept = requestHeaders === undefined ? fields : withoutFields(fields, requestHeaders.drop)
  let head = `${raw.method ?? 'GET'} ${input.target} HTTP/1.1\r\nHost: ${hostFor(forwarding.hostHeader, host, backendHost)}\r\n`
  head += linesOf(kept)
  head += bodyField(raw, input.body)
  head += connectionFields(raw, input.upgrade)
  // RFC 9110, section 7.6.3: a gateway must say that the request came through it, and in which version of HTTP.
  if (input.via !== '') head += `Via: ${raw.httpVersion} ${input.via}\r\n`
  head += forwardedFields(input, forwarding)
  if (input.trace !== undefined) head += traceFields(input.trace, input.spanId, requestHeaders?.drop ?? NONE)
  if (requestHeaders !== undefined) for (const [name, value] of requestHeaders.set) head += `${name}: ${value}\r\n`
  if (!input.strict && CONTROL.test(head)) throw new SluiceError('SLUICE_BAD_REQUEST')
  return `${head}\r\n`
}

/** What the client asks of its connection and we ask of ours: to switch protocols, and to send trailers. */
function connectionFields(raw: IncomingMessage, upgrade: string): string {
  if (upgrade !== '') return `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`
  if (!wantsTrailers(raw)) return ''
  // RFC 9110, section 10.1.4: HTTP/1 must list TE in Connection; what is not listed was meant for someone before.
  const listed = isHttp2(raw) || /(?:^|[ \t,])te(?:$|[ \t,])/i.test(raw.headers.connection ?? '')
  return listed ? 'TE: trailers\r\nConnection: TE\r\n' : ''
}

/** Whether a client says that it reads trailers (RFC 9110, section 10.1.4); HTTP/1.0 has no place for them. */
export function wantsTrailers({ headers, httpVersion }: IncomingMessage): boolean {
  const te = headers['te']
  return te !== undefined && httpVersion !== '1.0' && /(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(String(te))
}

/** Who the client is and what it asked for, in the words of proxies (and RFC 7239, where the pool wants that). */
function forwardedFields({ raw, peer, host, id }: HeadInput, { requestHeaders, forwarded }: Forwarding): string {
  const { headers } = raw
  const { trusted, ip } = peer
  const drop = requestHeaders?.drop ?? NONE
  const chain = trusted ? forwardedOf(headers) : undefined
  let fields = ''
  if (!drop.has('x-forwarded-for')) {
    const before = trusted ? addressesBefore(headers, chain) : undefined
    fields += `X-Forwarded-For: ${before === undefined ? ip : `${before}, ${ip}`}\r\n`
  }
  const proto = (trusted && schemeBefore(headers, chain)) || ownScheme(raw)
  if (!drop.has('x-forwarded-proto')) fields += `X-Forwarded-Proto: ${proto}\r\n`
  const forwardedHost = (trusted && first(headers['x-forwarded-host'])) || host
  if (forwardedHost !== '' && !drop.has('x-forwarded-host')) fields += `X-Forwarded-Host: ${forwardedHost}\r\n`
  if ((forwarded || chain !== undefined) && !drop.has('forwarded')) {
    // What cannot be read is not passed on: ours could end up inside of it.
    const elements = chain === undefined ? [] : [headers.forwarded]
    if (forwarded) elements.push(formatForwarded(ip, host, ownScheme(raw)))
    fields += `Forwarded: ${elements.join(', ')}\r\n`
  }
  if (!drop.has(REQUEST_ID)) fields += `X-Request-Id: ${id}\r\n`
  return fields
}

/** A tracestate means nothing without its traceparent (W3C Trace Context, section 3.3). */
function traceFields(trace: Trace, spanId: string, drop: ReadonlySet<string>): string {
  if (drop.has('traceparent')) return ''
  const parent = `traceparent: ${writeParent(trace, spanId)}\r\n`
  return trace.state === '' || drop.has('tracestate') ? parent : `${parent}tracestate: ${trace.state}\r\n`
}

/** What Forwarded says, where it can be read. */
export function forwardedOf({ forwarded }: IncomingMessage['headers']): ForwardedElement[] | undefined {
  return forwarded === undefined ? undefined : parseForwarded(forwarded)
}

/** The addresses that a trusted proxy tells of; X-Forwarded-For goes before Forwarded, which a client may have sent. */
export function addressesBefore(
  headers: IncomingMessage['headers'],
  chain: readonly ForwardedElement[] | undefined,
): string | undefined {
  const list = headers['x-forwarded-for']
  return list === undefined ? chain?.map((element) => element.for ?? 'unknown').join(', ') : String(list)
}

/** The address of the client that began it: that of the peer, or what trusted proxies tell of. */
export function clientOf(raw: IncomingMessage, peer: Peer, peers: Peers): string {
  return peer.trusted ? peers.clientOf(peer, addressesBefore(raw.headers, forwardedOf(raw.headers))) : peer.ip
}

function schemeBefore(
  headers: IncomingMessage['headers'],
  chain: readonly ForwardedElement[] | undefined,
): string | undefined {
  return scheme(headers['x-forwarded-proto'] ?? chain?.[0]?.proto)
}

function hostFor(rule: string, client: string, backend: string): string {
  // Only HTTP/1.0 knows requests without a Host; the backend's own is better than none.
  if (rule === 'preserve') return client || backend
  return rule === 'backend' ? backend : rule
}

function bodyField({ headers }: IncomingMessage, body: HeadInput['body']): string {
  const length = headers['content-length']
  if (body !== undefined) return body.chunked ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${length}\r\n`
  // An empty body is not the same as none: servers refuse a POST that does not say which (RFC 9110, section 8.6).
  return length === undefined ? '' : 'Content-Length: 0\r\n'
}

function ownScheme(raw: IncomingMessage): string {
  return 'encrypted' in raw.socket ? 'https' : 'http'
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

/** What the client spoke: the first of a list, if every proxy on the way has added to it. */
function scheme(value: string | string[] | undefined): string | undefined {
  const spoken = first(value)?.split(',', 1)[0]?.trim().toLowerCase()
  return spoken === 'http' || spoken === 'https' ? spoken : undefined
}

/** The client's fields that go on: not those of this hop, not those we write, not those it may not claim. */
function passedFields(raw: IncomingMessage, trusted: boolean, traced: boolean): string[] {
  const { rawHeaders } = raw
  const fields: string[] = []
  let hosts = 0
  let cookies = 0
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    if (name.length === 6 && name.toLowerCase() === 'cookie') {
      // One line, as RFC 6265, section 5.4 wants it: Node has joined them.
      if (cookies++ === 0) fields.push(name, raw.headers.cookie ?? '')
    } else if (passes(name, trusted) || (!traced && isOfTrace(name))) fields.push(name, rawHeaders[i + 1] ?? '')
    else if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  // RFC 9112, section 3.2: Node takes the first of two, another server might take the second.
  if (hosts > 1) throw new SluiceError('SLUICE_BAD_REQUEST')
  const { connection } = raw.headers
  return connection === undefined || connection === 'keep-alive' || connection === 'close'
    ? fields
    : withoutFields(fields, listedFields(connection))
}

function isOfTrace(name: string): boolean {
  const lower = name.toLowerCase()
  return lower === 'traceparent' || lower === 'tracestate'
}

/** Whether a client's field goes on under its name: not one of this hop, nor one that only we or a trusted proxy may write. */
export function passes(name: string, trusted: boolean): boolean {
  const letter = name.charCodeAt(0)
  // HTTP/2 has the method, the target and the host among the fields, behind a colon.
  if (letter === 0x3a) return false
  if (!LOOKED_AT.mayHave(name.length, letter)) return true
  const lower = name.toLowerCase()
  if (isHopByHop(lower) || OURS.has(lower)) return false
  if (!trusted && IDENTITY.has(lower)) return false
  // Many backends read `_` as `-` (CGI made it so): what may not pass under its name may not pass under that one.
  return !lower.includes('_') || passes(lower.replaceAll('_', '-'), trusted)
}
