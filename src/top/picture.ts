/**
 * How everything stands, in names: what the rows of GET /events?figures (src/metrics/feed.ts) mean together with what was
 * told before them. Whatever comes is taken as it is or left out: a gateway may be of another version than this client.
 * All texts in a picture are clean.
 */
import { clean, widthOf } from './text.ts'

export interface Picture {
  readonly version: string
  readonly hash: string
  readonly gateway: GatewayPicture
  readonly pools: readonly PoolPicture[]
  /** The latest last. */
  readonly events: readonly EventPicture[]
  /** How the last change of the configuration went; undefined when that is not known. */
  readonly reload: ReloadPicture | undefined
  /** The widest name of a backend, in columns. */
  readonly nameWidth: number
}

export interface ReloadPicture {
  readonly ok: boolean
  readonly at: number
  readonly error: string
}

/** What happens in a second, and how it goes; undefined before there were two looks, and where nothing happened. */
interface Pace {
  readonly perSecond: number | undefined
  readonly failing: number | undefined
  readonly p50Ms: number | undefined
  readonly p99Ms: number | undefined
}

export interface GatewayPicture extends Pace {
  /** By class of status. */
  readonly classes: ReadonlyArray<readonly [name: string, perSecond: number | undefined]>
  readonly inFlight: number
  readonly connections: number
  /** The share of its time that the event loop was busy. */
  readonly loop: number | undefined
  readonly heapBytes: number | undefined
  readonly rssBytes: number | undefined
  readonly upMs: number | undefined
}

export interface PoolPicture extends Pace {
  readonly name: string
  readonly algorithm: string
  /** `enough`, `panic` or `empty`. */
  readonly supply: string
  readonly inFlight: number
  readonly checks: boolean
  readonly hasBreaker: boolean
  readonly backends: readonly BackendPicture[]
}

export interface BackendPicture extends Pace {
  readonly id: string
  readonly state: string
  readonly weight: number
  readonly effectiveWeight: number
  readonly inFlight: number
  readonly breaker: string
  readonly checkAgeMs: number | undefined
  readonly checksFailedInRow: number
  /** Why it stands as it does; '' when all is well. */
  readonly reason: string
  /** `perSecond` of the last looks, this one last. */
  readonly history: ReadonlyArray<number | undefined>
}

export interface EventPicture {
  readonly at: number
  readonly what: string
  readonly pool: string
  readonly backend: string
  readonly from: string
  readonly to: string
  readonly cause: string
}

/** As many as a screen could show. */
const EVENTS = 100
/** How many looks a backend's history holds. */
export const LOOKS = 12

interface LayoutBackend {
  readonly id: string
  /** Its own among all that there are, also after a change of the configuration. */
  readonly key: string
}

interface Layout {
  readonly version: string
  readonly hash: string
  readonly states: readonly string[]
  readonly breakers: readonly string[]
  readonly supplies: readonly string[]
  readonly pools: ReadonlyArray<Pick<PoolPicture, 'name' | 'algorithm' | 'checks' | 'hasBreaker'> & LayoutPool>
  readonly nameWidth: number
}

interface LayoutPool {
  readonly backends: readonly LayoutBackend[]
}

interface Reasons {
  readonly check: string
  readonly health: string
  readonly breaker: string
}

const NO_REASONS: Reasons = { check: '', health: '', breaker: '' }

/** Puts together what a stream tells, one message after the other. */
export class Reader {
  #layout: Layout | undefined
  #reasons = new Map<number, Reasons>()
  #events: EventPicture[] = []
  #reload: ReloadPicture | undefined
  #histories: ReadonlyMap<string, ReadonlyArray<number | undefined>> = new Map()
  #picture: Picture | undefined

  /** As of the last figures. */
  get picture(): Picture | undefined {
    return this.#picture
  }

  /** Another connection tells everything anew, events too. */
  begin(): void {
    this.#layout = undefined
    this.#reasons.clear()
    this.#events = []
  }

  /** @returns what it was */
  take(name: string, data: unknown): 'figures' | 'event' | 'reload' | 'other' {
    switch (name) {
      case 'layout':
        this.#layout = layoutOf(data)
        this.#reasons.clear()
        return 'other'
      case 'reasons':
        for (const [index, check, health, breaker] of rowsIn(data)) {
          this.#reasons.set(Number(index), { check: text(check), health: text(health), breaker: text(breaker) })
        }
        return 'other'
      case 'figures':
        return this.#look(data) ? 'figures' : 'other'
      default:
        this.#events = [...this.#events.slice(1 - EVENTS), eventOf(data)]
        return name === 'reload' ? 'reload' : 'event'
    }
  }

  /** GET /status, of which the stream does not tell how the last change of the configuration went. */
  takeStatus(status: unknown): void {
    const { lastReload } = fieldsOf(fieldsOf(status)['config'])
    const { ok, at, error } = fieldsOf(lastReload)
    this.#reload = typeof ok === 'boolean' ? { ok, at: Date.parse(text(at)), error: text(error) } : undefined
  }

  #look(data: unknown): boolean {
    const layout = this.#layout
    if (layout === undefined) return false
    const { gateway, pools, backends } = fieldsOf(data)
    const poolRows = rowsIn(pools).map(numbers)
    const backendRows = rowsIn(backends).map(numbers)
    const histories = new Map<string, ReadonlyArray<number | undefined>>()
    let first = 0
    const pictured = layout.pools.map(({ backends: seats, ...pool }, place) => {
      const [supply = -1, perSecond, failing, p50Ms, p99Ms, inFlight = 0] = poolRows[place] ?? []
      const members = seats.map((seat, index) =>
        this.#backend(layout, seat, first + index, backendRows[first + index] ?? [], histories),
      )
      first += seats.length
      const word = layout.supplies[supply] ?? ''
      return { ...pool, supply: word, perSecond, failing, p50Ms, p99Ms, inFlight, backends: members }
    })
    this.#histories = histories
    const { version, hash, nameWidth } = layout
    this.#picture = {
      version,
      hash,
      nameWidth,
      gateway: gatewayOf(gateway),
      pools: pictured,
      events: this.#events,
      reload: this.#reload,
    }
    return true
  }

  #backend(
    layout: Layout,
    { id, key }: LayoutBackend,
    index: number,
    row: Row,
    histories: Map<string, ReadonlyArray<number | undefined>>,
  ): BackendPicture {
    const [state = -1, weight = 0, effectiveWeight = 0, inFlight = 0, perSecond, failing, p50Ms, p99Ms, ...rest] = row
    const [breaker = -1, checkAgeMs, , checksFailedInRow = 0] = rest
    const history = [...(this.#histories.get(key) ?? []).slice(1 - LOOKS), perSecond]
    histories.set(key, history)
    const words = { state: layout.states[state] ?? '', breaker: layout.breakers[breaker] ?? '' }
    const reason = reasonOf(words, checksFailedInRow, this.#reasons.get(index) ?? NO_REASONS)
    const standing = { ...words, weight, effectiveWeight, inFlight, checkAgeMs, checksFailedInRow, reason }
    return { id, ...standing, perSecond, failing, p50Ms, p99Ms, history }
  }
}

/** Of the reasons there are, also of what is long past, those for how it stands now; what names a cause first. */
function reasonOf(
  { state, breaker }: Pick<BackendPicture, 'state' | 'breaker'>,
  checksFailedInRow: number,
  reasons: Reasons,
): string {
  if (state === 'draining' || state === 'disabled') return 'by hand'
  const present = [
    checksFailedInRow > 0 ? reasons.check : '',
    state === 'healthy' ? '' : reasons.health,
    breaker === 'closed' ? '' : reasons.breaker,
  ]
  return [...new Set(present.filter((reason) => reason !== ''))].join('; ')
}

function layoutOf(data: unknown): Layout {
  const { version, hash, states, breakers, supplies, pools } = fieldsOf(data)
  const known = listIn(pools).map((pool) => {
    const { name, algorithm, checks, breaker, backends } = fieldsOf(pool)
    const seats = rowsIn(backends).map(([id]) => ({ id: text(id), key: JSON.stringify([name, id]) }))
    return {
      name: text(name),
      algorithm: text(algorithm),
      checks: checks === true,
      hasBreaker: breaker === true,
      backends: seats,
    }
  })
  let nameWidth = 0
  for (const { backends } of known) for (const { id } of backends) nameWidth = Math.max(nameWidth, widthOf(id))
  return {
    version: text(version),
    hash: text(hash),
    pools: known,
    nameWidth,
    states: listIn(states).map(text),
    breakers: listIn(breakers).map(text),
    supplies: listIn(supplies).map(text),
  }
}

function gatewayOf(data: unknown): GatewayPicture {
  const fields = fieldsOf(data)
  const classes = Object.keys(fieldsOf(fields['requests'])).map(
    (name) => [clean(name), number(fieldsOf(fields['perSecond'])[name])] as const,
  )
  const known = classes.filter(([, value]) => value !== undefined)
  return {
    classes,
    perSecond: known.length === 0 ? undefined : known.reduce((sum, [, value = 0]) => sum + value, 0),
    failing: number(fields['failing']),
    p50Ms: number(fields['p50Ms']),
    p99Ms: number(fields['p99Ms']),
    inFlight: number(fields['inFlight']) ?? 0,
    connections: number(fields['connections']) ?? 0,
    loop: number(fields['loop']),
    heapBytes: number(fields['heapBytes']),
    rssBytes: number(fields['rssBytes']),
    upMs: number(fields['upMs']),
  }
}

function eventOf(data: unknown): EventPicture {
  const { at, what, pool, backend, from, to, cause } = fieldsOf(data)
  return {
    at: Date.parse(text(at)),
    what: text(what),
    pool: text(pool),
    backend: text(backend),
    from: text(from),
    to: text(to),
    cause: text(cause),
  }
}

type Row = ReadonlyArray<number | undefined>

function numbers(row: readonly unknown[]): Row {
  return row.map(number)
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function text(value: unknown): string {
  return typeof value === 'string' ? clean(value) : ''
}

function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function rowsIn(value: unknown): ReadonlyArray<readonly unknown[]> {
  return listIn(value).map(listIn)
}

export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {}
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
