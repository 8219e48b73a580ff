/**
 * The two kinds of quantities people write in a configuration: durations (`250ms`, `1.5s`) and sizes (`64KiB`, `1MB`).
 * Both become one plain number, milliseconds or bytes; what cannot be read is `undefined`.
 */
const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['kB', 1000],
  ['KB', 1000],
  ['MB', 1000 ** 2],
  ['GB', 1000 ** 3],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
])

/** For editors, which know patterns but not our units. */
export const DURATION_PATTERN = '^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$'
export const SIZE_PATTERN = '^[0-9]+(\\.[0-9]+)?(B|[kK]B|[MG]B|[KMG]iB)$'

/** Timers hold their delay in 31 bits; a longer one would fire at once. */
export const LONGEST_MS = 2 ** 31 - 1

/** Milliseconds. Rounded to whole ones, but never down to 0, which means "none" in many places. */
export function parseDuration(value: unknown): number | undefined {
  const ms = quantity(value, new RegExp(DURATION_PATTERN), DURATION_UNITS)
  if (ms === undefined || ms === 0) return ms
  return ms < 1 ? undefined : Math.round(ms)
}

/** Bytes. There is no half of one: `1.5KiB` is fine, `1.5B` is not. */
export function parseSize(value: unknown): number | undefined {
  const bytes = quantity(value, new RegExp(SIZE_PATTERN), SIZE_UNITS)
  return bytes !== undefined && Number.isSafeInteger(bytes) ? bytes : undefined
}

export function formatDuration(ms: number): string {
  return format(ms, ['h', 'm', 's', 'ms'], DURATION_UNITS)
}

export function formatSize(bytes: number): string {
  return format(bytes, ['GiB', 'MiB', 'KiB', 'B'], SIZE_UNITS)
}

function quantity(value: unknown, pattern: RegExp, units: ReadonlyMap<string, number>): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  if (typeof value !== 'string' || !pattern.test(value)) return undefined
  const amount = Number.parseFloat(value)
  const unit = units.get(value.replace(/^[0-9.]+/, ''))
  return unit === undefined || !Number.isFinite(amount * unit) ? undefined : amount * unit
}

/** In the largest unit that leaves a whole number. */
function format(value: number, order: readonly string[], units: ReadonlyMap<string, number>): string {
  const fitting = order.find((name) => value % (units.get(name) ?? 1) === 0) ?? order.at(-1) ?? ''
  const name = value === 0 ? (order.at(-1) ?? '') : fitting
  return `${value / (units.get(name) ?? 1)}${name}`
}
