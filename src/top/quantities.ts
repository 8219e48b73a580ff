/**
 * Quantities for people who look at many of them at once: short, in the unit that fits, and a dash for what there is not.
 */
export const NOTHING = '–'

/** How often in a second, or any other count. */
export function rate(value: number | undefined): string {
  if (value === undefined) return NOTHING
  if (value < 10) return String(Math.round(value * 10) / 10)
  return value < 10_000 ? String(Math.round(value)) : `${(value / 1000).toFixed(1)}k`
}

export function share(value: number | undefined): string {
  if (value === undefined) return NOTHING
  const percent = value * 100
  return `${percent > 0 && percent < 10 ? percent.toFixed(1) : Math.round(percent)}%`
}

/** How long something took. */
export function latency(ms: number | undefined): string {
  if (ms === undefined) return NOTHING
  if (ms < 10) return `${ms.toFixed(1)}ms`
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)}s`
}

const AGES: ReadonlyArray<readonly [unit: string, ms: number]> = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
]

/** How long ago something was. */
export function age(ms: number | undefined): string {
  if (ms === undefined) return NOTHING
  const [unit, size] = AGES.find(([, least]) => ms >= least) ?? ['s', 1000]
  return `${Math.floor(Math.max(0, ms) / size)}${unit}`
}

export function bytes(value: number | undefined): string {
  if (value === undefined) return NOTHING
  const mebibytes = value / 1024 ** 2
  return mebibytes < 1024 ? `${Math.round(mebibytes)}MiB` : `${(mebibytes / 1024).toFixed(1)}GiB`
}

/** The time of day where the terminal is; with the day, when it is not this one. */
export function timeOfDay(at: number, now: number): string {
  if (!Number.isFinite(at)) return NOTHING
  const [then, today] = [new Date(at), new Date(now)]
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map(twoDigits).join(':')
  if (then.toDateString() === today.toDateString()) return time
  return `${twoDigits(then.getMonth() + 1)}-${twoDigits(then.getDate())} ${time}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

/** One bar a value; the lowest is for none at all. */
export function curve(values: ReadonlyArray<number | undefined>, highest: number): string {
  return values.map((value) => (value === undefined ? ' ' : bar(value, highest))).join('')
}

function bar(value: number, highest: number): string {
  if (value <= 0) return BARS[0]
  const step = 1 + Math.round((value / Math.max(highest, value)) * (BARS.length - 2))
  return BARS[step] ?? BARS[0]
}
