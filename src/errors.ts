/**
 * The answers that Sluice itself gives: one table of codes, statuses and words. The words never name a backend, a path
 * on disk or a library: what is wrong in detail goes to the log, not to the client.
 */
import { randomBytes } from 'node:crypto'
import { STATUS_CODES, validateHeaderName, validateHeaderValue, type IncomingMessage } from 'node:http'
import { Http2ServerRequest } from 'node:http2'

import type { FastifyReply, FastifyRequest } from 'fastify'

import { REQUEST_ID } from './core/fields.ts'

interface ErrorKind {
  readonly status: number
  readonly message: string
  /** Seconds for a Retry-After header, where trying again soon makes sense. */
  readonly retryAfter?: number
}

export const ERRORS = {
  SLUICE_NO_ROUTE: { status: 404, message: 'No route matches this request' },
  SLUICE_BAD_REQUEST: { status: 400, message: 'The request cannot be forwarded safely' },
  SLUICE_BODY_TOO_LARGE: { status: 413, message: 'The request body is larger than this route accepts' },
  SLUICE_CLIENT_TIMEOUT: { status: 408, message: 'The client stopped sending its request' },
  SLUICE_LOOP: { status: 508, message: 'The request has come through this gateway before' },
  SLUICE_UNAUTHORIZED: { status: 401, message: 'This call needs Authorization: Bearer with the admin token' },
  SLUICE_CROSS_SITE: { status: 403, message: 'This call comes from a web page of another site' },
  SLUICE_MISDIRECTED: { status: 421, message: 'This is not a host of the admin listener; admin.hosts can list it' },
  SLUICE_OVERLOADED: { status: 503, message: 'Too much is under way already', retryAfter: 1 },
  SLUICE_INTERNAL: { status: 500, message: 'The gateway failed to handle this request' },
  SLUICE_NO_BACKEND: { status: 503, message: 'No backend is available', retryAfter: 1 },
  SLUICE_QUEUE_FULL: { status: 503, message: 'Too many requests are waiting for a backend', retryAfter: 1 },
  SLUICE_QUEUE_TIMEOUT: { status: 503, message: 'No connection to a backend became free in time', retryAfter: 1 },
  SLUICE_CONNECT_FAILED: { status: 502, message: 'The backend could not be reached' },
  SLUICE_RESET: { status: 502, message: 'The backend closed the connection before it answered' },
  SLUICE_BAD_RESPONSE: { status: 502, message: 'The backend did not answer with valid HTTP' },
  SLUICE_CONNECT_TIMEOUT: { status: 504, message: 'Connecting to the backend took too long' },
  SLUICE_HEADERS_TIMEOUT: { status: 504, message: 'The backend took too long to begin its answer' },
  SLUICE_TOTAL_TIMEOUT: { status: 504, message: 'The request as a whole took too long' },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

/** The body of every answer that Sluice itself gives. */
export interface ErrorBody {
  readonly statusCode: number
  readonly error: string
  readonly code: string
  readonly message: string
  readonly requestId: string
}

export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  readonly code: ErrorCode
  readonly statusCode: number
  readonly retryAfter: number | undefined

  /** @param retryAfter in seconds, where it is not what the table says */
  constructor(code: ErrorCode, retryAfter?: number) {
    const kind: ErrorKind = ERRORS[code]
    super(kind.message)
    this.code = code
    this.statusCode = kind.status
    this.retryAfter = retryAfter ?? kind.retryAfter
  }
}

/** Whether a body was announced that did not wholly arrive: nobody will read the rest. */
export function isUnread({ complete, headers }: IncomingMessage): boolean {
  // Of an empty one nothing can be left.
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  return !complete && (coding !== undefined || Number(length) > 0)
}

export const JSON_TYPE = 'application/json; charset=utf-8'
export const HEAD_TOO_LARGE = 'The request head is too large'
export const EXPECTATION = 'Only 100-continue can be expected'

/** The answer to what never becomes a request of Fastify's, and so has no id yet. */
export function bareError(
  status: number,
  code: ErrorCode,
  message: string,
): { readonly id: string; readonly error: string; readonly content: string } {
  const id = randomBytes(8).toString('hex')
  const body = errorBody(status, code, message, id)
  return { id, error: body.error, content: JSON.stringify(body) }
}

export function errorBody(statusCode: number, code: string, message: string, requestId: string): ErrorBody {
  return { statusCode, error: STATUS_CODES[statusCode] ?? 'Error', code, message, requestId }
}

/** The status that an error of anybody's brings with it. */
export function statusOf(error: unknown): number {
  const status: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'statusCode') : undefined
  return typeof status === 'number' ? status : 500
}

/** RFC 9113, section 8.2.2; in lower case. */
export const FORBIDDEN_IN_HTTP2: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

/**
 * Hooks may have set fields that cannot be sent, with what a client made up in them. Fastify finds out when it writes the
 * head; here, where nobody would catch that, it would be the end of the process.
 */
function dropUnsendable(reply: FastifyReply, http2: boolean): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (http2 && FORBIDDEN_IN_HTTP2.has(name)) reply.removeHeader(name)
    try {
      validateHeaderName(name)
      for (const one of Array.isArray(value) ? value : [value]) validateHeaderValue(name, String(one))
    } catch {
      reply.removeHeader(name)
    }
  }
}

/** Answers with an error of Sluice's own. */
export function sendError(error: SluiceError, request: FastifyRequest, reply: FastifyReply): void {
  const { code, statusCode, retryAfter, message } = error
  const http2 = request.raw instanceof Http2ServerRequest
  dropUnsendable(reply, http2)
  reply.code(statusCode).header(REQUEST_ID, request.id)
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  const closes = code === 'SLUICE_BAD_REQUEST' || isUnread(request.raw)
  // HTTP/2 knows no such field.
  if (closes && !http2) reply.header('connection', 'close')
  reply.type(JSON_TYPE)
  reply.send(JSON.stringify(errorBody(statusCode, code, message, request.id)))
}
