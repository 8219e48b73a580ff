/**
 * What retry settings mean.
 */
import type { Path } from './problem.ts'
import { type Findings, record } from './raw.ts'
import { filled, RetryBackoff } from './schema.ts'
import { formatDuration, parseDuration } from './units.ts'

export function judgeRetry(pool: Readonly<Record<string, unknown>>, path: Path, findings: Findings): void {
  const backoff = record(record(pool['retry'])?.['backoff'])
  if (backoff === undefined) return
  const { base, max } = filled(RetryBackoff, backoff)
  const [baseMs = 0, maxMs = baseMs] = [parseDuration(base), parseDuration(max)]
  if (baseMs <= maxMs) return
  const at = [...path, 'retry', 'backoff', Object.hasOwn(backoff, 'base') ? 'base' : 'max']
  const longest = formatDuration(maxMs)
  findings.warn(at, `base (${formatDuration(baseMs)}) is longer than max (${longest}), so no wait exceeds ${longest}`)
}
