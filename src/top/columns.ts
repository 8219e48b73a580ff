/**
 * The table of backends: what each column shows, and which of them a terminal is wide enough for.
 */
import { LOOKS, type BackendPicture, type PoolPicture } from './picture.ts'
import { age, curve, latency, NOTHING, rate, share } from './quantities.ts'
import type { Span, Style } from './spans.ts'
import { fill } from './text.ts'

interface Column {
  readonly title: string
  readonly width: number
  readonly side: 'left' | 'right'
  /** Those of high ranks are the first to go where it is narrow. */
  readonly rank: number
  readonly show: (backend: BackendPicture, pool: PoolPicture, highest: number) => Span
}

/** A column with the width that it has on this screen. */
export type PlacedColumn = Omit<Column, 'rank'>

const STATE_STYLES: ReadonlyMap<string, Style> = new Map([
  ['healthy', 'good'],
  ['degraded', 'doubtful'],
  ['warming', 'doubtful'],
  ['unhealthy', 'bad'],
  ['draining', 'quiet'],
  ['disabled', 'quiet'],
  ['closed', 'quiet'],
  ['half-open', 'doubtful'],
  ['open', 'bad'],
])

/** Failures are worth a look from here on, and bad from there. */
const DOUBTFUL_SHARE = 0.01
const BAD_SHARE = 0.05

/** Between two columns. */
const GAP = 2
const NAME_WIDTHS = { least: 10, most: 40 } as const
const REASON_WIDTH = 16

const COLUMNS: readonly Column[] = [
  { title: 'BACKEND', width: 0, side: 'left', rank: 0, show: ({ id }) => [id] },
  { title: 'STATE', width: 9, side: 'left', rank: 1, show: ({ state }) => [state, STATE_STYLES.get(state)] },
  { title: 'WEIGHT', width: 8, side: 'right', rank: 8, show: weight },
  { title: 'BUSY', width: 5, side: 'right', rank: 5, show: ({ inFlight }) => [String(inFlight)] },
  { title: 'REQ/S', width: 6, side: 'right', rank: 2, show: ({ perSecond }) => [rate(perSecond)] },
  { title: 'FAIL', width: 5, side: 'right', rank: 3, show: ({ failing }) => [share(failing), styleOfShare(failing)] },
  { title: 'P50', width: 6, side: 'right', rank: 10, show: ({ p50Ms }) => [latency(p50Ms)] },
  { title: 'P99', width: 6, side: 'right', rank: 4, show: ({ p99Ms }) => [latency(p99Ms)] },
  { title: 'BREAKER', width: 9, side: 'left', rank: 6, show: breaker },
  { title: 'CHECK', width: 14, side: 'left', rank: 9, show: check },
  {
    title: 'REQ/S LATELY',
    width: LOOKS,
    side: 'left',
    rank: 11,
    show: ({ history }, _pool, highest) => [curve(history, highest).padStart(LOOKS), 'calm'],
  },
  { title: 'WHY', width: REASON_WIDTH, side: 'left', rank: 7, show: ({ reason }) => [reason] },
]

const BY_RANK = COLUMNS.toSorted((a, b) => a.rank - b.rank)

export function styleOfShare(failing: number | undefined): Style | undefined {
  if (failing === undefined || failing < DOUBTFUL_SHARE) return undefined
  return failing < BAD_SHARE ? 'doubtful' : 'bad'
}

/** Whether somebody should look at it. */
export function isInTrouble({ state, breaker: circuit, checksFailedInRow, failing = 0 }: BackendPicture): boolean {
  return state !== 'healthy' || circuit !== 'closed' || checksFailedInRow > 0 || failing >= BAD_SHARE
}

/** Those columns that have room, the most important first; what is left over goes to the reasons. */
export function columnsFor(columns: number, nameWidth: number): readonly PlacedColumn[] {
  const name = Math.max(NAME_WIDTHS.least, Math.min(nameWidth, NAME_WIDTHS.most, Math.floor(columns / 3)))
  const widthIn = ({ width, title }: Column): number => (title === 'BACKEND' ? name : width)
  const chosen = new Set<Column>()
  let left = columns
  for (const column of BY_RANK) {
    const width = widthIn(column) + (chosen.size === 0 ? 0 : GAP)
    if (width > left) break
    chosen.add(column)
    left -= width
  }
  return COLUMNS.filter((column) => chosen.has(column)).map((column) => {
    const { title, side, show } = column
    return { title, side, show, width: widthIn(column) + (title === 'WHY' ? left : 0) }
  })
}

export function headingOf(columns: readonly PlacedColumn[]): readonly Span[] {
  return [[columns.map(({ title, width, side }) => fill(title, width, side)).join(' '.repeat(GAP)), 'heading']]
}

export function rowOf(
  columns: readonly PlacedColumn[],
  backend: BackendPicture,
  pool: PoolPicture,
  highest: number,
): readonly Span[] {
  return columns.flatMap(({ width, side, show }, place): readonly Span[] => {
    const [text, style] = show(backend, pool, highest)
    const cell: Span = [fill(text, width, side), style]
    return place === 0 ? [cell] : [[' '.repeat(GAP)], cell]
  })
}

function weight({ weight: configured, effectiveWeight }: BackendPicture): Span {
  const present = String(Math.round(effectiveWeight * 100) / 100)
  return effectiveWeight === configured ? [present] : [`${present} of ${configured}`, 'doubtful']
}

function breaker({ breaker: state }: BackendPicture, { hasBreaker }: PoolPicture): Span {
  return hasBreaker ? [state, STATE_STYLES.get(state)] : [NOTHING, 'quiet']
}

function check({ checkAgeMs, checksFailedInRow }: BackendPicture, { checks }: PoolPicture): Span {
  if (!checks) return [NOTHING, 'quiet']
  if (checkAgeMs === undefined) return ['not yet', 'quiet']
  const ago = `${age(checkAgeMs)} ago`
  return checksFailedInRow > 0 ? [`${checksFailedInRow} bad, ${ago}`, 'bad'] : [`good, ${ago}`, 'quiet']
}
