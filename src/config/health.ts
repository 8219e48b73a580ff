/**
 * What health and breaker settings mean: checks that can be made and can pass, bounds that are in order.
 */
import type { TObject } from 'typebox'
import { isHostField } from './addresses.ts'
import { isToken, judgeFields } from './headers.ts'
import { type Path, show } from './problem.ts'
import { type Findings, record, text } from './raw.ts'
import { Active, Breaker, filled, Passive } from './schema.ts'
import { formatDuration, parseDuration } from './units.ts'

type Raw = Readonly<Record<string, unknown>>

export function judgeHealth(pool: Raw, path: Path, findings: Findings): void {
  const health = record(pool['health'])
  const active = record(health?.['active'])
  const passive = record(health?.['passive'])
  if (active !== undefined) judgeActive(active, [...path, 'health', 'active'], findings)
  if (passive !== undefined) judgePassive(passive, [...path, 'health', 'passive'], findings)
}

export function judgeBreaker(pool: Raw, path: Path, findings: Findings): void {
  const breaker = record(pool['breaker'])
  if (breaker === undefined) return
  const { open, maxOpen } = known(Breaker, breaker)
  const bounds = [time('open', open), time('maxOpen', maxOpen)] as const
  judgeOrder(breaker, ...bounds, [...path, 'breaker'], findings)
}

/** Completed by the defaults; what is written stays, also where it has no value because its variable is missing. */
function known(schema: TObject, given: Raw): Raw {
  return { ...filled(schema, given), ...given }
}

// --- checks ---

/** What a check that only connects has no use for. */
const HTTP_ONLY = ['path', 'method', 'host', 'headers', 'expect', 'body'] as const

function judgeActive(active: Raw, path: Path, findings: Findings): void {
  judgeTimeout(active, path, findings)
  if (active['type'] !== 'tcp') {
    judgeRequest(active, path, findings)
    judgeExpect(active['expect'], [...path, 'expect'], findings)
    return
  }
  for (const key of HTTP_ONLY.filter((name) => Object.hasOwn(active, name))) {
    findings.error(
      [...path, key],
      'makes no sense with type tcp, whose checks only connect; leave it out or use type http',
      'key',
    )
  }
}

function judgeTimeout(active: Raw, path: Path, findings: Findings): void {
  const { interval, timeout } = known(Active, active)
  const [intervalMs = 0, timeoutMs = 0] = [parseDuration(interval), parseDuration(timeout)]
  if (intervalMs === 0 || timeoutMs <= intervalMs) return
  const at = [...path, Object.hasOwn(active, 'timeout') ? 'timeout' : 'interval']
  const [waits, every] = [formatDuration(timeoutMs), formatDuration(intervalMs)]
  findings.warn(at, `timeout (${waits}) is longer than interval (${every}), so a check that hangs delays the next one`)
}

function judgeRequest(active: Raw, path: Path, findings: Findings): void {
  const target = text(active['path'])
  const wrong = target === undefined ? undefined : whyNoTarget(target)
  if (wrong !== undefined) findings.error([...path, 'path'], `${wrong}, got ${show(target)}`)
  judgeMethod(text(active['method'])?.toUpperCase(), active, path, findings)
  const host = text(active['host'])
  // It is sent as it is, so what would first have to be encoded is none.
  if (host !== undefined && !(isHostField(host) && isVisible(host))) {
    findings.error([...path, 'host'], `expected a host such as internal.example.com, got ${show(host)}`)
  }
  judgeFields(record(active['headers']) ?? {}, [...path, 'headers'], 'active.host', findings)
}

function whyNoTarget(target: string): string | undefined {
  if (!target.startsWith('/')) return 'expected a path that begins with /'
  if (target.includes('#')) return 'expected a path without fragment'
  return isVisible(target) ? undefined : 'expected a path of visible ASCII characters (others as %XX)'
}

function judgeMethod(method: string | undefined, active: Raw, path: Path, findings: Findings): void {
  if (method === undefined) return
  // RFC 9110 section 9.3.6: what CONNECT asks for is no path.
  if (!isToken(method) || method === 'CONNECT') {
    findings.error([...path, 'method'], `expected a method such as GET or HEAD, got ${show(active['method'])}`)
  } else if (method === 'HEAD' && Object.hasOwn(active, 'body')) {
    findings.warn([...path, 'body'], 'an answer to HEAD has no body, so no check can pass')
  }
}

function isVisible(written: string): boolean {
  return /^[\x21-\x7e]+$/.test(written)
}

function judgeExpect(expect: unknown, path: Path, findings: Findings): void {
  const written: readonly unknown[] = Array.isArray(expect) ? expect : [expect]
  for (const [index, each] of written.entries()) {
    if (statusRanges(each).every(([from, to]) => from <= to)) continue
    const at = Array.isArray(expect) ? [...path, index] : path
    findings.error(at, `expected a range that begins with the lower status, got ${show(each)}`)
  }
}

/** `200`, `200-399` or a list of such, with both ends of each range. What has another form is left out. */
export function statusRanges(expect: unknown): ReadonlyArray<readonly [from: number, to: number]> {
  const written: readonly unknown[] = Array.isArray(expect) ? expect : [expect]
  return written.flatMap((each) => {
    const [, from, to = from] =
      /^(\d{3})(?:-(\d{3}))?$/.exec(typeof each === 'number' ? `${each}` : (text(each) ?? '')) ?? []
    return from === undefined ? [] : [[Number(from), Number(to)] as const]
  })
}

// --- bounds ---

function judgePassive(passive: Raw, path: Path, findings: Findings): void {
  const { window, minimum, recover, degrade, eject } = known(Passive, passive)
  if (!Object.hasOwn(passive, 'over')) {
    judgeOrder(passive, count('minimum', minimum), count('window', window), path, findings)
  } else if (Object.hasOwn(passive, 'window')) {
    findings.warn([...path, 'window'], 'this has no effect: with over, all outcomes of that time count', 'key')
  }
  judgeOrder(passive, share('recover', recover), share('degrade', degrade), path, findings)
  judgeOrder(passive, share('degrade', degrade), share('eject', eject), path, findings)
}

interface Bound {
  readonly key: string
  /** `undefined` for what the schema has complained about: nothing more can be said of it. */
  readonly value: number | undefined
  readonly shown: string
}

function count(key: string, value: unknown): Bound {
  return { key, value: Number.isInteger(value) && Number(value) > 0 ? Number(value) : undefined, shown: show(value) }
}

function share(key: string, value: unknown): Bound {
  return { key, value: typeof value === 'number' && value >= 0 && value <= 1 ? value : undefined, shown: show(value) }
}

function time(key: string, value: unknown): Bound {
  const ms = parseDuration(value)
  return { key, value: ms === 0 ? undefined : ms, shown: formatDuration(ms ?? 0) }
}

/** An error where one value has to be at most another and is not; at one that somebody wrote, for the other may be a default. */
function judgeOrder(given: Raw, low: Bound, high: Bound, path: Path, findings: Findings): void {
  if (low.value === undefined || high.value === undefined || low.value <= high.value) return
  const [at, bound, other] = Object.hasOwn(given, high.key) ? [high, 'least', low] : [low, 'most', high]
  findings.error([...path, at.key], `expected at ${bound} ${other.key} (${other.shown}), got ${at.shown}`)
}
