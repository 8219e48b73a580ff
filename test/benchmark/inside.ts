/** Sluice beside itself, one thing apart: `npm run bench -- routes`, `-- protection` and `-- observability`. */
import { CHECK_PATH, SMALL, type Case } from './cases.ts'
import { compare, warmUp, type Row } from './compare.ts'
import { Load } from './load-client.ts'
import { sized, type Options, type Report } from './options.ts'
import { startBackends, startPeer, type Peer, type Running } from './processes.ts'
import { sluice } from './proxies/sluice.ts'
import { describe, type Found } from './report.ts'

/** Whether the number of routes costs a request anything. */
export const BY_ROUTES: readonly Peer[] = [
  { name: '10 routes', start: sluice({ moreRoutes: 9 }) },
  { name: '10,000 routes', start: sluice({ moreRoutes: 9999 }) },
]

/** What looking after backends costs a request. */
export const BY_PROTECTION: readonly Peer[] = [
  { name: 'none', start: sluice({ pool: { health: { passive: false }, breaker: false } }) },
  { name: 'passive health', start: sluice({ pool: { breaker: false } }) },
  { name: 'breakers', start: sluice({ pool: { health: { passive: false } } }) },
  {
    name: 'both, and checks',
    start: sluice({ pool: { health: { active: { path: CHECK_PATH, interval: '1s', timeout: '1s' } } } }),
  },
]

/** What it costs to see everything. Events are always there. */
export const BY_OBSERVABILITY: readonly Peer[] = [
  { name: 'none', start: sluice({ traces: false }) },
  { name: 'metrics', start: sluice({ traces: false, admin: true }) },
  { name: 'access log to a file', start: sluice({ traces: false, access: true }) },
  { name: 'traces', start: sluice({}) },
  { name: 'all of it', start: sluice({ admin: true, access: true }) },
]

/** Starts what can be started, one after the other: their start must not disturb each other. */
export async function startPeers(peers: readonly Peer[], ports: readonly number[]): Promise<Running[]> {
  const running: Running[] = []
  for (const peer of peers) {
    try {
      // oxlint-disable-next-line no-await-in-loop
      const started = await startPeer(peer, ports)
      if (started === undefined) console.error(`${peer.name}: not installed, left out`)
      else running.push(started)
    } catch (error) {
      console.error(`${error instanceof Error ? error.message : String(error)}, left out`)
    }
  }
  return running
}

export async function inside(peers: readonly Peer[], options: Options, report: Report): Promise<Found[]> {
  const backends = await startBackends()
  const load = new Load()
  const each = sized(SMALL, options)
  try {
    const onFound = (found: Found): void => report.add(describe(found, 3))
    return await overStarts(peers, [each], options, { ports: backends.ports, load, onFound })
  } finally {
    load.stop()
    backends.stop()
  }
}

interface Surroundings {
  readonly ports: readonly number[]
  readonly load: Load
  /** What each has to take before it is measured. */
  readonly first?: Case
  /** Whether it can take such requests. */
  readonly able?: (name: string, each: Case) => boolean
  /** Told of each case when the last start is through with it. */
  readonly onFound: (found: Found) => void
}

/** The samples of all starts: one start of the same code differs from another one by more than rounds do. */
export async function overStarts(
  peers: readonly Peer[],
  cases: readonly Case[],
  { starts, rounds }: Options,
  { ports, load, first, able = () => true, onFound }: Surroundings,
): Promise<Found[]> {
  const found: Found[] = []
  const rows = new Map<Case, readonly Row[]>()
  for (let start = 1; start <= starts; start++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other: they share two cores
    const running = await startPeers(peers, ports)
    try {
      // oxlint-disable-next-line no-await-in-loop
      if (first !== undefined) await warmUp(running, first, load)
      for (const each of cases) {
        const those = running.filter(({ name }) => able(name, each))
        // oxlint-disable-next-line no-await-in-loop
        const all = together(rows.get(each), await compare(those, each, rounds, load))
        rows.set(each, all)
        if (start < starts) continue
        const one = { case: each, rounds: rounds * starts, rows: all }
        found.push(one)
        onFound(one)
      }
    } finally {
      // oxlint-disable-next-line no-await-in-loop
      await Promise.all(running.map((proxy) => proxy.stop()))
    }
  }
  return found
}

const NOT_ALWAYS = 'it did not start each time'

/** The samples of some starts and of one more. They are compared round by round: nobody may have fewer than the others. */
function together(before: readonly Row[] | undefined, rows: readonly Row[]): readonly Row[] {
  if (before === undefined) return rows
  const missing = before.filter(({ name }) => rows.every((row) => row.name !== name))
  return [...rows, ...missing].map((row) => {
    const same = before.find(({ name }) => name === row.name)
    return same === undefined || same === row ? failed(row) : joined(same, row)
  })
}

const failed = (row: Row): Row => ({ ...row, failure: row.failure ?? NOT_ALWAYS })

const joined = (before: Row, row: Row): Row => ({
  ...row,
  samples: [...before.samples, ...row.samples],
  peakMiB: Math.max(before.peakMiB, row.peakMiB),
  failure: before.failure ?? row.failure,
})
