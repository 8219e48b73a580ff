/**
 * The words of the access log: what there is to say of an exchange, written as JSON by hand, since there is a line for
 * each. Whatever comes from a client or a backend goes through `quote`.
 */
import { hostname } from 'node:os'

import type { FastifyReply, FastifyRequest } from 'fastify'

import type { AccessSettings, QueryInLog } from '../config/settings.ts'
import type { Exchange, Outcome, Try } from '../transport/exchange.ts'
import type { Forwarding } from '../transport/forwarding.ts'
import type { Peers } from '../transport/peer.ts'
import { clientOf } from '../transport/request-head.ts'
import { targetOf } from '../transport/target.ts'
import { escaped, pathIn, quote } from './text.ts'

/** What pino would write behind the time. */
const PROCESS = [',"pid":', process.pid, ',"hostname":', quote(hostname()), ','].join('')
/** For a client that left before it had an answer; nginx made it so. */
const CLIENT_GONE = 499

/** What lines of a millisecond begin with. */
let start = ''
let startedAt = 0
let startedLevel = 0

/** A whole line, as pino would write it. */
export function lineOf(level: number, fields: string, message: string): string {
  const now = Date.now()
  if (now !== startedAt || level !== startedLevel) {
    startedAt = now
    startedLevel = level
    start = `{"level":${level},"time":${now}${PROCESS}`
  }
  return `${start}${fields},"msg":"${message}"}\n`
}

/**
 * The members of an object, without its braces. A text costs by the pieces that it is put together from, so that what is
 * the same for all answers of a backend on a route is kept in one piece.
 */
export function exchangeFields(exchange: Exchange, access: AccessSettings, ms: number): string {
  const { request, raw, res, attempt, outcome, error, body } = exchange
  const status = outcome === 'aborted' ? CLIENT_GONE : res.statusCode
  const bytesOut = outcome === 'refused' ? ownBytes(exchange.reply, exchange.method) : exchange.bytesOut
  const trace = exchange.trace === undefined ? '' : `","traceId":"${exchange.trace.traceId}`
  const peer = escaped(exchange.peer.ip)
  const client = exchange.ip === exchange.peer.ip ? peer : escaped(exchange.ip)
  const path = escaped(exchange.path + shown(exchange.query, access.query))
  const asked = `"requestId":"${escaped(request.id)}${trace}","client":"${client}","peer":"${peer}","method":"${exchange.method}","path":"${path}"`
  let fields = `${asked}${becameOf(exchange, status)},"bytesIn":${body?.bytes ?? 0},"bytesOut":${bytesOut}`
  if (attempt !== undefined) {
    const { queueMs, connectMs, firstByteMs } = attempt
    // A connection was there, most often.
    if (queueMs === 0 && connectMs === 0) fields += ',"queueMs":0,"connectMs":0'
    else fields += `,"queueMs":${tenths(queueMs)},"connectMs":${tenths(connectMs)}`
    if (firstByteMs !== undefined) fields += `,"firstByteMs":${tenths(firstByteMs)}`
  }
  fields += `,"ms":${tenths(ms)}`
  if (error !== undefined) {
    if (error.code !== undefined) fields += `,"code":"${error.code}"`
    if (error.failure !== undefined) fields += `,"failure":"${error.failure}"`
    fields += `,"reason":${quote(error.reason)}`
  }
  return fields + headersOf(raw.headers, access.headers)
}

/** What became of it: the status, the route, the attempts. */
function becameOf(exchange: Exchange, status: number): string {
  const { forwarding, attempt, tries, attempts } = exchange
  if (attempt === undefined)
    return `${becameIn(forwarding, exchange.outcome, status)},"attempts":${attempts},"tries":[]`
  const plain = tries === undefined && exchange.outcome === 'answered' && attempt.outcome === status && attempts === 1
  if (plain) return `${answeredBy(attempt.lease.member.id, forwarding, status)}${tenths(attempt.ms)}}]`
  const all = tries === undefined ? [attempt.record] : exchange.allTries
  const backend = quote(attempt.lease.member.id)
  const became = `${becameIn(forwarding, exchange.outcome, status)},"backend":${backend}`
  return `${became},"attempts":${attempts},"tries":[${all.map(writtenTry).join(',')}]`
}

function becameIn({ route, pool }: Forwarding, outcome: Outcome | undefined, status: number): string {
  return `,"status":${status},"outcome":"${outcome}","route":${quote(route)},"pool":${quote(pool.name)}`
}

/** More than are in use at a time, most often; together a few megabytes. */
const MOST_KEPT = 10_000
let kept = 0
/** By route, backend and status. */
let answers = new WeakMap<Forwarding, Map<string, Map<number, string>>>()

/** Of an answer at the first attempt, up to the time that it took. */
function answeredBy(id: string, forwarding: Forwarding, status: number): string {
  return answers.get(forwarding)?.get(id)?.get(status) ?? keepAnswer(id, forwarding, status)
}

function keepAnswer(id: string, forwarding: Forwarding, status: number): string {
  const backend = quote(id)
  const became = becameIn(forwarding, 'answered', status)
  const tries = `,"backend":${backend},"attempts":1,"tries":[{"backend":${backend},"outcome":${status},"ms":`
  // Joined, it is one piece indeed.
  const text = [became, tries].join('')
  if (++kept > MOST_KEPT) {
    kept = 1
    answers = new WeakMap()
  }
  const byBackend = answers.get(forwarding) ?? new Map<string, Map<number, string>>()
  const byStatus = byBackend.get(id) ?? new Map<number, string>()
  answers.set(forwarding, byBackend.set(id, byStatus.set(status, text)))
  return text
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

function writtenTry({ backend, outcome, ms }: Try): string {
  const how = typeof outcome === 'string' ? `"${outcome}"` : (outcome ?? null)
  return `{"backend":${quote(backend)},"outcome":${how},"ms":${tenths(ms)}}`
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
