/**
 * The metrics, one entry each: its name, what it says, and how it is read at the moment somebody asks. Names and labels
 * are what users' dashboards and alerts are built on.
 */
import type { BreakerState } from '../core/breaker.ts'
import type { Member } from '../core/member.ts'
import type { Overload } from '../core/overload.ts'
import type { State, Standing } from '../core/standing.ts'
import type { PoolEntry } from '../transport/pool-entry.ts'
import type { BackendFigures, Figures } from './figures.ts'
import type { Durations, Tally } from './series.ts'

type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly value: number
  readonly labels: Labels
  /** Those that a backend, pool or route has in all its samples: one object, whose text is made once. */
  readonly sharedLabels: Labels
  /** Where it is not the metric's own. */
  readonly metricName?: string
}

export interface Metric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  readonly read: () => Iterable<Sample>
}

/** What is not counted but looked at. */
export interface Sights {
  readonly pools: () => Iterable<PoolEntry>
  readonly lastReloadOk: () => boolean
  readonly openConnections: () => number
  readonly logLinesLost: () => number
  readonly overload: Pick<Overload, 'state' | 'refused'>
}

export const STATES: readonly State[] = ['healthy', 'degraded', 'unhealthy', 'warming', 'draining', 'disabled']
export const BREAKER_STATES: readonly BreakerState[] = ['closed', 'open', 'half-open']
const NO_LABELS: Labels = {}

export function catalogue(figures: Figures, sights: Sights): readonly Metric[] {
  return [
    ...ofRequests(figures),
    ...ofPools(figures, sights),
    ...ofBackends(figures, sights),
    ...ofGateway(figures, sights),
  ]
}

function ofRequests(figures: Figures): Metric[] {
  const requests = (): Tallied[] =>
    [...figures.routes.values()].flatMap((route) =>
      Array.from(route.requests.values(), ({ labels, statuses }) => ({ labels, tally: statuses })),
    )
  return [
    counters('sluice_requests_total', 'Requests that have ended, by the class of their status.', 'status', requests),
    {
      name: 'sluice_request_duration_seconds',
      help: 'From the head of a request to the end of its answer.',
      type: 'histogram',
      *read() {
        for (const route of figures.routes.values()) yield* histogram('sluice_request_duration_seconds', route)
      },
    },
  ]
}

function ofPools(figures: Figures, { pools }: Sights): Metric[] {
  const retries = (): Tallied[] =>
    Array.from(figures.pools.values(), ({ labels, retries: tally }) => ({ labels, tally }))
  return [
    {
      name: 'sluice_attempt_duration_seconds',
      help: 'From the beginning of an attempt to the response headers of its backend.',
      type: 'histogram',
      *read() {
        for (const pool of figures.pools.values()) yield* histogram('sluice_attempt_duration_seconds', pool)
      },
    },
    counters(
      'sluice_retries_total',
      'Attempts after the first one, by what the one before failed of.',
      'reason',
      retries,
    ),
    {
      name: 'sluice_retry_budget_exhausted_total',
      help: 'How often a retry was wanted and the budget had no place for it.',
      type: 'counter',
      *read() {
        for (const { settings, budget } of pools()) {
          const sharedLabels = figures.pools.get(settings.name)?.labels
          if (sharedLabels !== undefined) yield { labels: NO_LABELS, sharedLabels, value: budget.exhausted }
        }
      },
    },
  ]
}

function ofBackends(figures: Figures, sights: Sights): Metric[] {
  const seats = (): Seat[] => [...seatsOf(figures, sights.pools())]
  const attempts = (): Tallied[] => seats().map(({ figures: { labels, attempts: tally } }) => ({ labels, tally }))
  const gauge = (name: string, help: string, value: (seat: Seat) => number | undefined): Metric =>
    gauges(name, help, seats, (seat) => oneSample(value(seat)))
  return [
    counters('sluice_attempts_total', 'Attempts that have ended, by how.', 'outcome', attempts),
    {
      name: 'sluice_backend_response_seconds',
      help: 'From the beginning of an attempt to the response headers of its backend: their sum, and how many there were.',
      type: 'summary',
      *read() {
        for (const {
          figures: { labels: sharedLabels, latencies },
        } of seats()) {
          const sample = { labels: NO_LABELS, sharedLabels }
          yield { ...sample, metricName: 'sluice_backend_response_seconds_sum', value: latencies.sum }
          yield { ...sample, metricName: 'sluice_backend_response_seconds_count', value: latencies.count }
        }
      },
    },
    gauge('sluice_backend_in_flight', 'Attempts under way.', ({ member }) => member.inFlight),
    gauges('sluice_backend_state', 'How a backend stands: 1 for the state it is in.', seats, ({ entry, member }) =>
      oneOf(STATES, entry.standings.stateOf(member)),
    ),
    gauge('sluice_backend_weight', 'The weight that a backend has now, its health counted in.', ({ entry, member }) =>
      entry.standings.effectiveWeightOf(member),
    ),
    gauges(
      'sluice_breaker_state',
      'The state of the circuit breaker: 1 for the one it is in.',
      seats,
      ({ entry, member }) => oneOf(BREAKER_STATES, entry.standings.breakerStateOf(member)),
    ),
    counters('sluice_health_checks_total', 'Checks that have ended, by what they found.', 'result', () =>
      seats().flatMap(({ entry, figures: { labels }, standing }) =>
        entry.settings.health.active === undefined || standing === undefined
          ? []
          : [{ labels, tally: standing.checks }],
      ),
    ),
    gauge('sluice_health_check_age_seconds', 'How long ago the last check has ended.', ({ entry, member }) => {
      const last = entry.checkers.get(member)?.last
      return last === undefined ? undefined : (performance.now() - last.at) / 1000
    }),
  ]
}

function ofGateway(figures: Figures, { lastReloadOk, openConnections, logLinesLost, overload }: Sights): Metric[] {
  return [
    counters(
      'sluice_config_reloads_total',
      'Configurations that were to take effect, by whether they did.',
      'result',
      () => [{ labels: NO_LABELS, tally: figures.reloads }],
    ),
    single('sluice_config_last_reload_success', '1 when the last of them did.', () => (lastReloadOk() ? 1 : 0)),
    single('sluice_open_connections', 'Connections of clients that are open.', openConnections),
    {
      ...single('sluice_log_lines_lost_total', 'Lines of the log that could not be written.', logLinesLost),
      type: 'counter',
    },
    single('sluice_overloaded', '1 while the gateway has more to do than it can.', () =>
      overload.state === 'overloaded' ? 1 : 0,
    ),
    counters(
      'sluice_requests_shed_total',
      'Requests refused because of that, by the limit that was passed.',
      'limit',
      () => [{ labels: NO_LABELS, tally: { entries: () => Object.entries(overload.refused) } }],
    ),
  ]
}

/** A gauge of the gateway as a whole. */
function single(name: string, help: string, value: () => number): Metric {
  const read = (): Sample[] => [{ labels: NO_LABELS, sharedLabels: NO_LABELS, value: value() }]
  return { name, help, type: 'gauge', read }
}

/** A backend in its pool, with all that is known of it. */
interface Seat {
  readonly entry: PoolEntry
  readonly member: Member
  readonly standing: Standing | undefined
  readonly figures: BackendFigures
}

function* seatsOf({ pools }: Figures, entries: Iterable<PoolEntry>): Iterable<Seat> {
  for (const entry of entries) {
    const backends = pools.get(entry.settings.name)?.backends
    for (const member of entry.pool.members) {
      const figures = backends?.get(member.id)
      if (figures !== undefined) yield { entry, member, standing: entry.standings.of(member), figures }
    }
  }
}

interface Tallied {
  readonly labels: Labels
  readonly tally: Pick<Tally, 'entries'>
}

function counters(name: string, help: string, label: string, read: () => Iterable<Tallied>): Metric {
  return {
    name,
    help,
    type: 'counter',
    *read() {
      for (const { labels: sharedLabels, tally } of read())
        for (const [word, value] of tally.entries()) yield { labels: { [label]: word }, sharedLabels, value }
    },
  }
}

type LabelledValue = readonly [labels: Labels, value: number]

/** Gauges of backends: what each of them shows, beside the labels that are its own. */
function gauges(
  name: string,
  help: string,
  seats: () => Iterable<Seat>,
  show: (seat: Seat) => Iterable<LabelledValue>,
): Metric {
  return {
    name,
    help,
    type: 'gauge',
    *read() {
      for (const seat of seats())
        for (const [labels, value] of show(seat)) yield { labels, sharedLabels: seat.figures.labels, value }
    },
  }
}

function oneSample(value: number | undefined): readonly LabelledValue[] {
  return value === undefined ? [] : [[NO_LABELS, value]]
}

/** 1 for the state that a backend is in, 0 for all others. */
function oneOf<S extends string>(states: readonly S[], present: S): LabelledValue[] {
  return states.map((state) => [{ state }, state === present ? 1 : 0])
}

function* histogram(
  name: string,
  { labels: sharedLabels, durations }: { readonly labels: Labels; readonly durations: Durations },
): Iterable<Sample> {
  for (const [le, value] of durations.buckets())
    yield { metricName: `${name}_bucket`, labels: { le }, sharedLabels, value }
  yield { metricName: `${name}_sum`, labels: NO_LABELS, sharedLabels, value: durations.sum }
  yield { metricName: `${name}_count`, labels: NO_LABELS, sharedLabels, value: durations.count }
}
