/**
 * `npm run bench -- growth`: what a request costs with more backends, by algorithm, and with more routes; and what an
 * idle connection of a client costs. Backends are many addresses of few servers. Their connections are kept for long,
 * so that no round has to make thousands anew: that is not what is asked. nginx stands beside for its round robin, and the
 * floor for what it costs to touch one of so many connections, whoever picks it.
 */
import { addresses } from './addresses.ts'
import { growthAims, verdicts } from './aims.ts'
import { SMALL, type Case } from './cases.ts'
import { ratio, table } from './figures.ts'
import { idle, type IdleFound } from './idle.ts'
import { BY_ROUTES, inside, overStarts } from './inside.ts'
import { Load } from './load-client.ts'
import { machine } from './machine.ts'
import { chosen, sized, type Options, type Report } from './options.ts'
import { PROXY_CORE, startBackends, startNode, type Backends, type Peer } from './processes.ts'
import { nginx } from './proxies/nginx.ts'
import { sluice } from './proxies/sluice.ts'
import { describe, type Found } from './report.ts'

const SIZES = [3, 30, 300, 3000]
const LARGEST = Math.max(...SIZES)

interface Balancing {
  readonly name: string
  readonly start: (servers: readonly string[]) => Peer['start']
}

function balancing(name: string, algorithm: string | object): Balancing {
  const pool = { algorithm, connections: { idle: '10m' } }
  return { name, start: (servers) => sluice({ pool, urls: servers.map((each) => `http://${each}`), moreRoutes: 0 }) }
}

const OURS: readonly Balancing[] = [
  balancing('round-robin', 'round-robin'),
  balancing('power-of-two', 'power-of-two'),
  balancing('consistent-hash', { type: 'consistent-hash', key: { path: true } }),
  balancing('least-connections', 'least-connections'),
]
const OWN: ReadonlySet<string> = new Set(OURS.map(({ name }) => name))

const ALGORITHMS: readonly Balancing[] = [
  ...OURS,
  {
    name: 'floor, at random',
    start: (servers) => (port) => startNode('peers/floor.ts', [String(port), 'http', ...servers], { core: PROXY_CORE }),
  },
  { name: 'nginx, round robin', start: (servers) => nginx({ servers }) },
]

interface Findings {
  readonly machine: string
  readonly backends: readonly Found[]
  readonly routes: readonly Found[]
  readonly idle: IdleFound | undefined
}

export async function growth(options: Options, report: Report): Promise<void> {
  const sections = chosen('case', [{ name: 'backends' }, { name: 'routes' }, { name: 'idle' }], options.cases)
  const has = (name: string) => sections.some((section) => section.name === name)
  const where = machine()
  report.add(where)
  const findings: Findings = {
    machine: where,
    backends: has('backends') ? await byBackends(options, report) : [],
    routes: has('routes') ? await inside(BY_ROUTES, options, report) : [],
    idle: has('idle') ? await byConnections(options, report) : undefined,
  }
  report.data(findings)
  const own = findings.backends.filter(({ case: { title } }) => OWN.has(title))
  report.add(verdicts(growthAims([...own, ...findings.routes], findings.idle?.rows ?? [])))
}

async function byBackends(options: Options, report: Report): Promise<Found[]> {
  const algorithms = chosen('only', ALGORITHMS, options.only)
  const backends = await startBackends((index) => [network(index), String(LARGEST / 3)])
  const load = new Load()
  const found: Found[] = []
  const onFound = (one: Found): void => report.add(describe(one, 3))
  try {
    for (const algorithm of algorithms) {
      const each = sized({ ...SMALL, name: 'backends', title: algorithm.name }, options)
      const peers = SIZES.map((size) => ({
        name: `${size} backends`,
        start: algorithm.start(serversOf(backends, size)),
      }))
      const around = { ports: [], load, first: crowded(each), onFound }
      // oxlint-disable-next-line no-await-in-loop -- one after the other: they share two cores
      found.push(...(await overStarts(peers, [each], options, around)))
    }
  } finally {
    load.stop()
    backends.stop()
  }
  report.add(summary(found))
  return found
}

const network = (index: number): string => `127.${index + 1}`

/** Of all servers alike. */
function serversOf({ ports }: Backends, size: number): string[] {
  return ports.flatMap((port, index) =>
    addresses(network(index), size / ports.length).map((address) => `${address}:${port}`),
  )
}

/**
 * By chance several requests are at one backend at once, and need as many connections: of thousands of backends each
 * would make its second one some day, in a round that is counted.
 */
function crowded(each: Case): Case {
  return { ...each, connections: 8 * each.connections, requests: 3 * each.requests }
}

function summary(found: readonly Found[]): string {
  const lines = found.map(({ case: { title }, rows }) => {
    const cpu = rows.map(({ samples }) => samples.map(({ cpuUs }) => cpuUs))
    return [title, ...cpu.map((samples) => ratio(samples, cpu[0] ?? []).toFixed(2))]
  })
  return `Processor time a request, to that with ${SIZES[0]} backends\n\n${table(['algorithm', ...SIZES.map(String)], lines)}`
}

async function byConnections(options: Options, report: Report): Promise<IdleFound> {
  const backends = await startBackends()
  const load = new Load()
  try {
    const found = await idle(options, backends, load)
    report.add(found.text)
    return found
  } finally {
    load.stop()
    backends.stop()
  }
}
