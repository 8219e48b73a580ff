/**
 * What is shown: from a picture, how somebody looks at it and the size of the screen to its lines. Nothing else goes in.
 */
import { columnsFor, headingOf, isInTrouble, rowOf, styleOfShare, type PlacedColumn } from './columns.ts'
import type { BackendPicture, EventPicture, Picture, PoolPicture } from './picture.ts'
import { age, bytes, latency, rate, share, timeOfDay } from './quantities.ts'
import { flow, line, type Span } from './spans.ts'
import { cut } from './text.ts'
import { FIRST_VIEW, type Order, type View } from './view.ts'

/** How it is with the gateway that the picture is of. */
export interface Link {
  /** Where its admin listener is. */
  readonly place: string
  /** When the last figures came; undefined before the first. */
  readonly heardAt: number | undefined
  readonly everyMs: number
  /** undefined while it is connected. */
  readonly lost: { readonly since: number; readonly why: string; readonly nextAt: number } | undefined
}

export interface Scene {
  readonly picture: Picture
  readonly link: Link
  readonly view: View
  /** The only pool to show. */
  readonly pool: string | undefined
  readonly now: number
}

export interface Size {
  readonly columns: number
  readonly rows: number
  readonly colours: boolean
}

export interface Screen {
  readonly lines: readonly string[]
  /** Where the view begins, put right. */
  readonly offset: number
  /** How many lines of the tables it shows. */
  readonly page: number
}

/** Of what is left of a screen, the share that the events get, and no more than so many lines. */
const EVENT_SHARE = 1 / 4
const MOST_EVENTS = 8
/** A gateway that is late by so many looks has stood still. */
const LATE = 3

export function screenOf(scene: Scene, size: Size): Screen {
  const { picture, view, now } = scene
  const { columns, rows, colours } = size
  if (rows <= 0 || columns <= 0) return { lines: [], offset: 0, page: 1 }
  // One line is for the keys, and something of the tables should always be seen.
  const header = headerOf(scene, columns).slice(0, Math.max(1, Math.floor((rows - 1) / 2)))
  const placed = columnsFor(columns, picture.nameWidth)
  const left = Math.max(0, rows - header.length - 2)
  const told = picture.events.length
  const events = picture.events.slice(Math.max(0, told - Math.min(MOST_EVENTS, Math.floor(left * EVENT_SHARE))))
  const heading = events.length > 0 ? [EVENTS_HEADING] : []
  const page = Math.max(1, left - events.length - heading.length)
  const body = bodyOf(scene, placed)
  const offset = Math.max(0, Math.min(view.offset, body.length - page))
  const shown = view.help ? HELP.slice(0, page) : body.slice(offset, offset + page).map((show) => show())
  const padding = Array.from({ length: Math.max(0, page - shown.length) }, (): readonly Span[] => [])
  const all = [
    ...header,
    view.help ? HELP_HEADING : headingOf(placed),
    ...shown,
    ...padding,
    ...heading,
    ...events.map((event) => eventLine(event, now)),
  ].slice(0, rows - 1)
  const lines = [...all, footerOf(scene, offset, page, body.length)]
  return { lines: lines.map((spans) => line(spans, columns, colours)), offset, page }
}

/** All of it, once, in as many lines as it takes. */
export function tableOf(scene: Scene, { columns, colours }: Omit<Size, 'rows'>): string {
  const placed = columnsFor(columns, scene.picture.nameWidth)
  const lines = [
    ...headerOf(scene, columns),
    headingOf(placed),
    ...bodyOf({ ...scene, view: FIRST_VIEW }, placed).map((show) => show()),
    ...(scene.picture.events.length > 0 ? [EVENTS_HEADING] : []),
    ...scene.picture.events.slice(-MOST_EVENTS).map((event) => eventLine(event, scene.now)),
  ]
  return lines.map((spans) => `${line(spans, columns, colours).trimEnd()}\n`).join('')
}

function headerOf({ picture, link, view, now }: Scene, columns: number): Array<readonly Span[]> {
  const { gateway, reload, version, hash } = picture
  const { perSecond, classes, failing, p50Ms, p99Ms } = gateway
  const parts = classes.map(([name, value = 0]): readonly Span[] => [[`${name} `, 'quiet'], [rate(value)]])
  return [
    ...flow(
      [
        [[`sluice ${version}`, 'strong']],
        linkSpans(link, now),
        ...(view.paused ? [[['PAUSED', 'heading'] as const]] : []),
        [['up ', 'quiet'], [age(gateway.upMs)]],
        [['at ', 'quiet'], [link.place]],
        [['config ', 'quiet'], [hash]],
      ],
      columns,
    ),
    ...flow(
      [
        [[rate(perSecond), 'strong'], [' req/s']],
        ...parts,
        [
          ['failing ', 'quiet'],
          [share(failing), styleOfShare(failing)],
        ],
        [['p50 ', 'quiet'], [latency(p50Ms)]],
        [['p99 ', 'quiet'], [latency(p99Ms)]],
        [['busy ', 'quiet'], [String(gateway.inFlight)]],
        [['connections ', 'quiet'], [String(gateway.connections)]],
        [['loop ', 'quiet'], [share(gateway.loop)]],
        [['heap ', 'quiet'], [bytes(gateway.heapBytes)]],
        [['rss ', 'quiet'], [bytes(gateway.rssBytes)]],
      ],
      columns,
    ),
    ...(reload === undefined || reload.ok
      ? []
      : [[[`reload refused at ${timeOfDay(reload.at, now)}: ${reload.error}`, 'bad'] as const]]),
  ]
}

function linkSpans({ lost, heardAt, everyMs }: Link, now: number): readonly Span[] {
  if (lost !== undefined) {
    const next = Math.max(0, Math.ceil((lost.nextAt - now) / 1000))
    const again = next === 0 ? 'trying again' : `next try in ${next}s`
    return [[`NOT CONNECTED since ${timeOfDay(lost.since, now)}: ${lost.why}; ${again}`, 'bad']]
  }
  if (heardAt === undefined) return [['connected', 'good']]
  const silentMs = now - heardAt
  return silentMs > LATE * everyMs + 1000 ? [[`SILENT for ${age(silentMs)}`, 'bad']] : [['live', 'good']]
}

type Show = () => readonly Span[]

/** The lines of all pools; only those that are looked at are made. */
function bodyOf({ picture, view, pool: only }: Scene, columns: readonly PlacedColumn[]): Show[] {
  const pools = picture.pools.filter(({ name }) => only === undefined || name === only)
  const body: Show[] = []
  for (const pool of inOrder(pools, view.order, worstOf)) {
    const shown = view.troubleOnly ? pool.backends.filter(isInTrouble) : pool.backends
    if (view.troubleOnly && shown.length === 0 && pool.supply === 'enough') continue
    let highest: number | undefined
    if (body.length > 0) body.push(() => [])
    body.push(() => poolLine(pool))
    for (const backend of inOrder(shown, view.order, (each) => each)) {
      body.push(() => rowOf(columns, backend, pool, (highest ??= highestIn(pool))))
    }
  }
  if (body.length > 0) return body
  const nothing = only === undefined || picture.pools.some(({ name }) => name === only)
  return [() => [[nothing ? 'nothing is in trouble' : `there is no pool ${only}`, 'quiet']]]
}

/** Curves of one pool can be compared with each other. */
function highestIn({ backends }: PoolPicture): number {
  let highest = 0
  for (const { history } of backends) for (const value of history) highest = Math.max(highest, value ?? 0)
  return highest
}

function poolLine(pool: PoolPicture): readonly Span[] {
  const { name, algorithm, backends, perSecond, failing, p50Ms, p99Ms, inFlight, supply } = pool
  const well = backends.filter(({ state, breaker }) => state === 'healthy' && breaker === 'closed').length
  return [
    [name, 'strong'],
    ...supplySpans(supply),
    [`  ${well} of ${backends.length} well`, well === backends.length ? 'good' : 'doubtful'],
    [`  ${rate(perSecond)} req/s`],
    ['  failing ', 'quiet'],
    [share(failing), styleOfShare(failing)],
    [`  p50 ${latency(p50Ms)}  p99 ${latency(p99Ms)}  busy ${inFlight}  ${algorithm}`, 'quiet'],
  ]
}

function supplySpans(supply: string): readonly Span[] {
  if (supply === 'empty') return [['  EMPTY: no backend may be chosen', 'bad']]
  return supply === 'panic' ? [['  PANIC: so few are well that all are used', 'bad']] : []
}

/** The worst first. */
const STATES_BY_NEED: readonly string[] = ['unhealthy', 'degraded', 'warming', 'draining', 'disabled', 'healthy']

/** What a backend or a pool is put in order by. */
type Ranked = Pick<BackendPicture, 'state' | 'breaker' | 'perSecond' | 'failing' | 'p99Ms'>

/** What is larger comes first. */
const URGENCIES: Readonly<Record<Exclude<Order, 'as configured'>, (ranked: Ranked) => number>> = {
  state: ({ state, breaker }) =>
    (breaker === 'closed' ? 0 : STATES_BY_NEED.length) - Math.max(0, STATES_BY_NEED.indexOf(state)),
  requests: ({ perSecond }) => perSecond ?? -1,
  failures: ({ failing }) => failing ?? -1,
  latency: ({ p99Ms }) => p99Ms ?? -1,
}

function inOrder<T>(items: readonly T[], order: Order, rankedOf: (item: T) => Ranked): readonly T[] {
  if (order === 'as configured') return items
  const urgencyOf = URGENCIES[order]
  const urgent = items.map((item) => [urgencyOf(rankedOf(item)), item] as const)
  return urgent.toSorted(([a], [b]) => b - a).map(([, item]) => item)
}

/** A pool is as urgent as the worst of its backends; its figures are its own. */
function worstOf({ backends, perSecond, failing, p99Ms }: PoolPicture): Ranked {
  const [worst] = inOrder(backends, 'state', (each) => each)
  return { state: worst?.state ?? 'healthy', breaker: worst?.breaker ?? 'closed', perSecond, failing, p99Ms }
}

const EVENTS_HEADING: readonly Span[] = [['LAST EVENTS', 'strong']]

function eventLine({ at, what, pool, backend, from, to, cause }: EventPicture, now: number): readonly Span[] {
  const subject = [pool, backend].filter((part) => part !== '').join(' / ')
  const change = from === '' ? to : `${from} → ${to}`
  return [
    [`${timeOfDay(at, now)}  `, 'quiet'],
    [`${what}  `],
    [subject === '' ? '' : `${subject}  `, 'strong'],
    [`${change}  `],
    [cause, 'quiet'],
  ]
}

function footerOf({ view }: Scene, offset: number, page: number, all: number): readonly Span[] {
  const range = all > page ? `${offset + 1}-${Math.min(all, offset + page)} of ${all}  ` : ''
  const only = view.troubleOnly ? 'only in trouble' : 'all'
  return [
    [range, 'strong'],
    [
      `q quit  ? help  s order: ${view.order}  f show: ${only}  p ${view.paused ? 'go on' : 'pause'}  j/k scroll`,
      'quiet',
    ],
  ]
}

const HELP_HEADING: readonly Span[] = [['HELP', 'heading']]

/** Keys, then words: whoever sees it for the first time should not need anything else. */
const HELP: ReadonlyArray<readonly Span[]> = (
  [
    ['up, k, down, j', 'scroll by a line; PgUp and PgDn by a page, g and G to the start and the end'],
    ['s', 'order: as configured, by state, requests, failures or latency'],
    ['f', 'only backends in trouble: not healthy, breaker not closed, checks failing, or 5% of requests'],
    ['p', 'pause: what is shown stays as it is'],
    ['Ctrl-L, Ctrl-Z', 'draw anew, suspend'],
    ['?, q', 'leave this help, quit'],
    ['', ''],
    ['STATE', 'degraded and warming get a part of their share; unhealthy, draining, disabled get nothing new'],
    ['WEIGHT', 'the share it has now, of the one that is configured'],
    ['BUSY', 'requests that it works on'],
    ['FAIL', 'of the attempts that ended: connection errors, timeouts, 5xx; not those whose client left'],
    ['P50, P99', 'half and 99 of 100 answers began within this'],
    ['BREAKER', 'open: it gets nothing, half-open: a few requests to try'],
    ['CHECK', 'the last active check'],
    ['WHY', 'what made it so'],
  ] as const
).map(([name, meaning]) => [[cut(name, 16).padEnd(17), 'strong'], [meaning]])
