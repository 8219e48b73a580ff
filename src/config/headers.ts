/**
 * What header rules mean: fields that can be sent, and that are ours to change.
 */
import { HOP_BY_HOP, TOKEN } from '../core/fields.ts'
import { type Path, show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'

/** RFC 9110 section 5.5: visible characters, spaces and tabs. Anything else could end a field early. */
const VALUE = /^[\t\x20-\x7e\u0080-\u00ff]*$/

/** Fields about one connection or the framing of a message (RFC 9110 section 7.6.1, RFC 9112 section 6): ours alone. */
const RESERVED: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'content-length', 'expect', 'http2-settings'])

export function judgeHeaderRules(
  rules: Readonly<Record<string, unknown>> | undefined,
  at: Path,
  findings: Findings,
): void {
  const hostKey = "the pool's hostHeader"
  const set = judgeFields(record(rules?.['set']) ?? {}, [...at, 'set'], hostKey, findings)
  for (const [index, item] of list(rules?.['remove']).entries()) {
    const name = text(item)
    const path = [...at, 'remove', index]
    if (name === undefined || !judgeName(name, path, 'value', hostKey, findings)) continue
    if (set.has(name.toLowerCase())) findings.error(path, `the field ${show(name)} is both set and removed`)
  }
}

/**
 * Fields to send, by name.
 * @param hostKey what decides about Host in their place
 * @returns the names of those that can be sent, in lower case
 */
export function judgeFields(
  fields: Readonly<Record<string, unknown>>,
  at: Path,
  hostKey: string,
  findings: Findings,
): ReadonlySet<string> {
  const names = new Set<string>()
  for (const [name, value] of Object.entries(fields)) {
    const path = [...at, name]
    if (!judgeName(name, path, 'key', hostKey, findings)) continue
    if (names.has(name.toLowerCase())) {
      findings.error(path, `the field ${show(name)} is already set in another case`, 'key')
    }
    names.add(name.toLowerCase())
    const written = text(value)
    if (written !== undefined && !VALUE.test(written)) {
      findings.error(path, 'expected a value without control characters and characters outside Latin-1')
    }
  }
  return names
}

export function isToken(name: string): boolean {
  return TOKEN.test(name)
}

function judgeName(name: string, path: Path, on: 'key' | 'value', hostKey: string, findings: Findings): boolean {
  const wrong = whyNoField(name, hostKey)
  if (wrong !== undefined) findings.error(path, wrong, on)
  return wrong === undefined
}

function whyNoField(name: string, hostKey: string): string | undefined {
  if (!isToken(name)) return `expected the name of a header field, got ${show(name)}`
  const lower = name.toLowerCase()
  if (lower === 'host') return `the field ${show(name)} cannot be changed here; use ${hostKey}`
  return RESERVED.has(lower)
    ? `the field ${show(name)} is about a single connection and is set by the gateway itself`
    : undefined
}
