/**
 * An exchange told as spans of OpenTelemetry: one of what the client asked of us, and one for each attempt, of what we
 * asked of a backend. The ids are those that backends were told.
 */
import type { Attributes, HrTime, SpanContext } from '@opentelemetry/api'
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import type { Resource } from '@opentelemetry/resources'

import type { Attempt } from '../transport/attempt.ts'
import type { Exchange } from '../transport/exchange.ts'
import type { FailureKind } from '../transport/failure.ts'
import type { Trace } from '../transport/trace.ts'

export type Span = Parameters<OTLPTraceExporter['export']>[0][number]

/** What is the same for all spans, with the numbers that OpenTelemetry has for words. */
export interface SpanSurroundings {
  readonly resource: Resource
  readonly scope: Span['instrumentationScope']
  readonly kinds: { readonly SERVER: Span['kind']; readonly CLIENT: Span['kind'] }
  readonly statuses: { readonly UNSET: Span['status']['code']; readonly ERROR: Span['status']['code'] }
}

/** Semantic conventions of HTTP: any other method is told as one name, since a client can make up any number. */
const METHODS: ReadonlySet<string> = new Set('GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY'.split(' '))
/** Of a path or a host, which a client may make as long as its head. */
const LONGEST = 1024

/** What differs between spans. */
interface Told {
  readonly trace: Trace
  readonly name: string
  readonly kind: Span['kind']
  readonly spanId: string
  /** Undefined where the trace begins with it. */
  readonly parentId: string | undefined
  /** Whether the parent is somebody else's. */
  readonly remote: boolean
  /** Of `performance.now()`. */
  readonly startedAt: number
  readonly endedAt: number
  readonly attributes: Attributes
  /** What went wrong; undefined for nothing. */
  readonly error: string | undefined
}

/** The spans of an exchange that has ended just now. */
export function spansOf(exchange: Exchange, trace: Trace, around: SpanSurroundings): Span[] {
  const now = performance.now()
  const { replaced = [], attempt, attempts } = exchange
  // When no backend is left for another attempt, the last one is among them all the same.
  const all = attempt === undefined ? replaced : [...replaced, attempt].slice(0, attempts)
  const own = toldOf(exchange, trace, around, now)
  const children = all.map((each, index) => attemptOf(each, index, exchange, trace, around, now))
  return [own, ...children].map((told) => spanOf(told, around))
}

function toldOf(exchange: Exchange, trace: Trace, { kinds }: SpanSurroundings, now: number): Told {
  const { forwarding, res, raw, outcome, attempt } = exchange
  const method = methodOf(exchange.method)
  const { path: route } = forwarding
  const status = answeredWith(exchange)
  return {
    trace,
    name: `${method === OTHER ? 'HTTP' : method} ${route}`,
    kind: kinds.SERVER,
    spanId: trace.spanId,
    parentId: trace.parentId,
    remote: true,
    startedAt: exchange.startedAt,
    endedAt: now,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'url.path': exchange.path.slice(0, LONGEST),
      'url.scheme': 'encrypted' in raw.socket ? 'https' : 'http',
      'server.address': (raw.headers.host ?? '').replace(/:\d+$/, '').slice(0, LONGEST),
      'client.address': exchange.ip,
      'network.protocol.version': raw.httpVersion,
      ...(status === undefined ? undefined : { 'http.response.status_code': status }),
      'sluice.pool': forwarding.pool.name,
      ...(attempt === undefined ? undefined : { 'sluice.backend': attempt.lease.member.id }),
      ...(outcome === undefined ? undefined : { 'sluice.outcome': outcome }),
    },
    error: whyFailed(exchange, res.statusCode),
  }
}

/** What the client was told; undefined where it had left before. */
function answeredWith({ outcome, res }: Exchange): number | undefined {
  return outcome === 'aborted' && !res.headersSent ? undefined : res.statusCode
}

/** A client that left, or asked for what it cannot have, is no failure of ours. */
function whyFailed({ outcome, error }: Exchange, status: number): string | undefined {
  if (outcome === 'broken') return error?.failure ?? 'broken'
  if (outcome === 'aborted' || status < 500) return undefined
  return error?.code ?? String(status)
}

function attemptOf(
  attempt: Attempt,
  index: number,
  exchange: Exchange,
  trace: Trace,
  { kinds }: SpanSurroundings,
  now: number,
): Told {
  const { lease, startedAt, ms } = attempt
  const { id, url } = lease.member
  const isLast = attempt === exchange.attempt
  // One that was answered may have failed after its head had come.
  const outcome = (isLast ? exchange.error?.failure : undefined) ?? attempt.outcome
  // What was replaced or failed before its answer was over then; else the answer went on until now.
  const endedAt = ms > 0 && (!isLast || typeof attempt.outcome === 'string') ? startedAt + ms : now
  const method = methodOf(exchange.method)
  return {
    trace,
    name: method === OTHER ? 'HTTP' : method,
    kind: kinds.CLIENT,
    spanId: attempt.spanId,
    parentId: trace.spanId,
    remote: false,
    startedAt,
    endedAt,
    attributes: {
      'http.request.method': method,
      'url.scheme': url.protocol.slice(0, -1),
      'server.address': url.hostname,
      'server.port': Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
      ...(typeof attempt.outcome === 'number' ? { 'http.response.status_code': attempt.outcome } : undefined),
      ...(index === 0 ? undefined : { 'http.request.resend_count': index }),
      'sluice.pool': exchange.forwarding.pool.name,
      'sluice.backend': id,
    },
    error: whyAttemptFailed(outcome),
  }
}

function whyAttemptFailed(outcome: number | FailureKind | undefined): string | undefined {
  if (typeof outcome === 'number') return outcome >= 500 ? String(outcome) : undefined
  return outcome === 'client-gone' ? undefined : outcome
}

const OTHER = '_OTHER'

function methodOf(method: string): string {
  return METHODS.has(method) ? method : OTHER
}

function spanOf(told: Told, { resource, scope, statuses }: SpanSurroundings): Span {
  const { name, kind, trace, parentId, error, startedAt, endedAt } = told
  const context = contextOf(trace, told.spanId, false)
  return {
    name,
    kind,
    spanContext: () => context,
    ...(parentId !== undefined && { parentSpanContext: contextOf(trace, parentId, told.remote) }),
    startTime: timeOf(epochAt(startedAt)),
    endTime: timeOf(epochAt(endedAt)),
    duration: timeOf(endedAt - startedAt),
    ended: true,
    status: { code: error === undefined ? statuses.UNSET : statuses.ERROR },
    attributes: error === undefined ? told.attributes : { ...told.attributes, 'error.type': error },
    links: [],
    events: [],
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

function contextOf({ traceId }: Trace, spanId: string, isRemote: boolean): SpanContext {
  return { traceId, spanId, traceFlags: 1, isRemote }
}

/** A clock that only goes forward is no longer that of the wall when the wall's is set, or the machine has slept. */
const MOST_APART_MS = 20
let origin = performance.timeOrigin

function epochAt(at: number): number {
  const actual = Date.now() - performance.now()
  if (Math.abs(actual - origin) > MOST_APART_MS) origin = actual
  return origin + at
}

/** Whole seconds, and the nanoseconds of what is left. */
function timeOf(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1000)
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6))]
}
