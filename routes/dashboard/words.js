/**
 * Numbers and times as people read them, and what the words of the page mean.
 */

/** Where there is no number to tell. */
export const NONE = '–'
/** The share of failures that is a worry. */
export const WORRYING_SHARE = 0.05

/** @param {number | null | undefined} value */
export function count(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE
  if (value >= 1e6) return `${trimmed(value / 1e6, 3)}M`
  if (value >= 10_000) return `${trimmed(value / 1000, 3)}k`
  return trimmed(value, value < 10 ? 2 : 4)
}

/** @param {number | null | undefined} value */
export function share(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE
  const percent = value * 100
  if (percent > 0 && percent < 0.1) return '< 0.1 %'
  return `${trimmed(percent, percent < 10 ? 2 : 3)} %`
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE
  if (ms < 1000) return `${ms < 100 ? trimmed(ms, 2) : Math.round(ms)} ms`
  return ms < 60_000 ? `${trimmed(ms / 1000, 2)} s` : span(ms)
}

/**
 * In its largest units, for what need not be exact.
 *
 * @param {number} ms
 */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  const hours = Math.floor(seconds / 3600)
  if (hours < 48) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(hours / 24)} days`
}

/** @param {number} ms */
export function ago(ms) {
  return ms < 1000 ? 'now' : `${span(ms)} ago`
}

/** @param {number} value */
export function bytes(value) {
  return value < 1024 ** 3 ? `${trimmed(value / 1024 ** 2, 3)} MiB` : `${trimmed(value / 1024 ** 3, 3)} GiB`
}

/** @param {Date} date */
export function clockTime(date) {
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })
  const isToday = date.toDateString() === new Date().toDateString()
  return isToday ? time : `${date.toLocaleDateString([], { month: 'short', day: 'numeric' })}, ${time}`
}

/**
 * @param {number} amount
 * @param {string} one
 * @param {string} [many]
 */
export function counted(amount, one, many = `${one}s`) {
  return `${amount} ${amount === 1 ? one : many}`
}

/**
 * @param {number} value
 * @param {number} digits
 */
function trimmed(value, digits) {
  return String(Number(value.toPrecision(digits)))
}

/** @type {Readonly<Record<string, string>>} */
export const STATE_MEANING = {
  healthy: 'Gets its whole share of requests.',
  degraded: 'There is some doubt about it: it gets half of its share.',
  unhealthy: 'Gets no requests until its checks or its time say that it is back.',
  warming: 'Has just come back: its share grows from a tenth to the whole.',
  draining: 'By hand: gets nothing new and ends what it has.',
  disabled: 'By hand: gets nothing and may be away.',
}

/** @type {Readonly<Record<string, string>>} */
export const BREAKER_MEANING = {
  closed: 'Requests pass.',
  open: 'Too many calls failed or were slow: for some seconds it gets nothing.',
  'half-open': 'A few requests are let in as a trial: they decide whether it closes.',
  none: 'This pool has no breaker.',
}

/** @type {ReadonlyArray<readonly [title: string, words: Readonly<Record<string, string>>]>} */
export const MEANINGS = [
  ['State of a backend', STATE_MEANING],
  ['Breaker', { ...BREAKER_MEANING }],
  [
    'Numbers',
    {
      'requests/s': 'Attempts begun in the last second; of the gateway: requests that ended.',
      failing:
        'The share of failures: no connection, no answer in time, a broken answer, or a status of 500 and above.',
      'p50, p99': 'Half of the answers, and 99 of 100, began within this time.',
      'in flight': 'Requests under way at this moment.',
      weight: 'Its share compared with the others. 5 → 2.5: configured as 5, worth 2.5 as healthy as it is now.',
      'event loop': 'How busy the gateway itself is: near 100 % it is the bottleneck.',
    },
  ],
]
