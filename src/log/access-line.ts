/**
 * The words of the access log: what there is to say of an exchange, written as JSON by hand, since there is a line for
 * each. Whatever comes from a client or a backend goes through `quote`.
 */
import { hostname } from 'node:os'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { AccessSettings, QueryInLog } from '../config/settings.ts'
import type { Exchange, Try } from '../transport/exchange.ts'
import type { Peers } from '../transport/peer.ts'
import { clientOf } from '../transport/request-head.ts'
import { targetOf } from '../transport/target.ts'
import { pathIn, quote } from './text.ts'

/** What pino would write behind the time. */
const PROCESS = `"pid":${process.pid},"hostname":${quote(hostname())}`
/** For a client that left before it had an answer; nginx made it so. */
const CLIENT_GONE = 499

/** The part that is the same for all lines of a millisecond. */
let stamp = ''
let stampedAt = 0

/** A whole line, as pino would write it. */
export function lineOf(level: number, fields: string, message: string): string {
  const now = Date.now()
  if (now !== stampedAt) {
    stampedAt = now
    stamp = `,"time":${now},${PROCESS},`
  }
  return `{"level":${level}${stamp}${fields},"msg":"${message}"}\n`
}

/** The members of an object, without its braces. */
export function exchangeFields(exchange: Exchange, access: AccessSettings, ms: number): string {
  const { request, raw, res, forwarding, attempt, outcome, error, body } = exchange
  const status = outcome === 'aborted' ? CLIENT_GONE : res.statusCode
  const bytesOut = outcome === 'refused' ? ownBytes(exchange.reply, exchange.method) : exchange.bytesOut
  const trace = exchange.trace === undefined ? '' : `"traceId":"${exchange.trace.traceId}",`
  const peer = quote(exchange.peer.ip)
  const client = exchange.ip === exchange.peer.ip ? peer : quote(exchange.ip)
  let fields =
    `"requestId":${quote(request.id)},${trace}"client":${client},"peer":${peer}` +
    `,"method":"${exchange.method}","path":${quote(exchange.path + shown(exchange.query, access.query))}` +
    `,"status":${status},"outcome":"${outcome}"` +
    `,"route":${quoteName(forwarding.route)},"pool":${quoteName(forwarding.pool.name)}`
  if (attempt !== undefined) fields += `,"backend":${quoteName(attempt.lease.member.id)}`
  fields += `,"attempts":${exchange.attempts},"tries":[${triesOf(exchange)}]`
  fields += `,"bytesIn":${body?.bytes ?? 0},"bytesOut":${bytesOut}`
  if (attempt !== undefined) {
    fields += `,"queueMs":${tenths(attempt.queueMs)},"connectMs":${tenths(attempt.connectMs)}`
    if (attempt.firstByteMs !== undefined) fields += `,"firstByteMs":${tenths(attempt.firstByteMs)}`
  }
  fields += `,"ms":${tenths(ms)}`
  if (error !== undefined) {
    if (error.code !== undefined) fields += `,"code":"${error.code}"`
    if (error.failure !== undefined) fields += `,"failure":"${error.failure}"`
    fields += `,"reason":${quote(error.reason)}`
  }
  return fields + headersOf(raw.headers, access.headers)
}

/** The same for a request that never became an exchange. */
export function requestFields(
  request: FastifyRequest,
  reply: FastifyReply,
  access: AccessSettings,
  peers: Peers,
  ms: number,
): string {
  const { raw, refusal } = request
  const { method = '' } = raw
  const peer = request.peer ?? peers.of(raw)
  const res = reply.raw
  const target = targetOf(raw)
  const path = target?.path ?? pathIn(request.originalUrl)
  const outcome = res.headersSent ? (refusal === null ? 'answered' : 'refused') : 'aborted'
  const status = outcome === 'aborted' ? CLIENT_GONE : res.statusCode
  const query = target === undefined ? '' : shown(target.query, access.query)
  let fields =
    `"requestId":${quote(request.id)},"client":${quote(clientOf(raw, peer, peers))},"peer":${quote(peer.ip)}` +
    `,"method":${quote(method)},"path":${quote(path + query)},"status":${status},"outcome":"${outcome}"` +
    `,"bytesOut":${ownBytes(reply, method)},"ms":${tenths(ms)}`
  if (refusal !== null) fields += `,"code":"${refusal}"`
  return fields + headersOf(raw.headers, access.headers)
}

function triesOf(exchange: Exchange): string {
  const { tries, attempt } = exchange
  if (tries === undefined) return attempt === undefined ? '' : writtenTry(attempt.record)
  return exchange.allTries.map(writtenTry).join(',')
}

function writtenTry({ backend, outcome, ms }: Try): string {
  const how = typeof outcome === 'string' ? `"${outcome}"` : (outcome ?? null)
  return `{"backend":${quoteName(backend)},"outcome":${how},"ms":${tenths(ms)}}`
}

/** The length of an answer that no backend gave. */
function ownBytes(reply: FastifyReply, method: string): number {
  return method === 'HEAD' || !reply.raw.headersSent ? 0 : Number(reply.getHeader('content-length') ?? 0)
}

/** Most are below, and a number takes as long to become text as ten words to be joined. */
const TENTHS = Array.from({ length: 2000 }, (_, tenth) => String(tenth / 10))

/** Milliseconds, with one digit behind the point. */
function tenths(ms: number): string {
  const rounded = Math.round(ms * 10)
  return TENTHS[rounded] ?? String(rounded / 10)
}

/** More than a configuration has; what reloads leave behind is forgotten with the rest. */
const MOST_NAMES = 50_000
const quotedNames = new Map<string, string>()

/** A name out of the configuration, which comes again and again. */
function quoteName(name: string): string {
  let quoted = quotedNames.get(name)
  if (quoted === undefined) {
    quoted = quote(name)
    if (quotedNames.size >= MOST_NAMES) quotedNames.clear()
    quotedNames.set(name, quoted)
  }
  return quoted
}

function shown(query: string, how: QueryInLog): string {
  if (how === 'keep' || query === '') return query
  return how === 'drop' ? '' : `?${query.slice(1).split('&').map(masked).join('&')}`
}

/** What has no name might be the secret itself. */
function masked(parameter: string): string {
  const end = parameter.indexOf('=')
  return end === -1 ? '*' : `${parameter.slice(0, end)}=*`
}

function headersOf(headers: FastifyRequest['raw']['headers'], names: readonly string[]): string {
  if (names.length === 0) return ''
  const given = names.flatMap((name) => {
    const value = headers[name]
    return value === undefined ? [] : `${quote(name)}:${quote(String(value))}`
  })
  return `,"headers":{${given.join(',')}}`
}
