/**
 * `npm run bench`: what a request costs. Sluice, a plain @fastify/reply-from application and nginx (where installed)
 * in one run: each proxy on one core, backends and load on the other, rounds interleaved. The figure is processor
 * time of the proxy a request, user and system, from the kernel's accounts: steadier than requests a second.
 *
 *   npm run bench                     both cases, five rounds
 *   npm run bench -- --rounds 9 --only sluice,nginx --case small
 *   npm run bench -- algorithms       what a pick costs, by algorithm and number of backends
 *   npm run bench -- routes           Sluice with 10 routes beside Sluice with 10,000
 *   npm run bench -- protection       Sluice without passive health, breakers and checks beside Sluice with them
 *   npm run bench -- reload           a reload of 1,000 pools, of which one has changed
 *   npm run bench -- scenarios        what clients notice of backends' bad days; has options of its own
 */
import { parseArgs } from 'node:util'

import { CASES, type Case } from './cases.ts'
import { Load } from './load-client.ts'
import { BY_PROTECTION, BY_ROUTES, PEERS, startBackends, startPeer, type Running } from './processes.ts'

if (process.argv[2] === 'scenarios') {
  await import('./scenarios/run.ts')
  process.exit()
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    case: { type: 'string', default: '' },
    connections: { type: 'string', default: '64' },
  },
})

if (positionals[0] === 'algorithms') {
  await import('./algorithms.ts')
  process.exit()
}

if (positionals[0] === 'reload') {
  await import('./reload.ts')
  process.exit()
}

// First where nanoseconds can be told apart, then in whole processes, which differ among themselves by more.
if (positionals[0] === 'protection') await import('./protection.ts')

const rounds = Number(values.rounds)
const wanted = values.only === '' ? undefined : new Set(values.only.split(','))
const inside = new Map([
  ['routes', BY_ROUTES],
  ['protection', BY_PROTECTION],
]).get(positionals[0] ?? '')
const peers = (inside ?? PEERS).filter(({ name }) => wanted === undefined || wanted.has(name))
const only = inside === undefined ? values.case : 'small'
const cases = CASES.filter(({ name }) => only === '' || only === name)

const backends = await startBackends()
const load = await Load.start()
const running: Running[] = []
for (const peer of peers) {
  // oxlint-disable-next-line no-await-in-loop -- one after the other: their start must not disturb each other
  const started = await startPeer(peer, backends.ports)
  if (started === undefined) console.error(`${peer.name}: not installed, left out`)
  else running.push(started)
}
try {
  for (const each of cases) {
    // oxlint-disable-next-line no-await-in-loop
    await measure(each)
  }
} finally {
  for (const proxy of running) proxy.stop()
  load.stop()
  backends.stop()
}

interface Sample {
  readonly cpuUs: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

async function measure(each: Case): Promise<void> {
  const connections = Number(values.connections)
  const samples = new Map<string, Sample[]>(running.map(({ name }) => [name, []]))
  const run = (port: number, requests: number) => load.run({ port, requests, connections, path: each.path })
  // The first round warms up caches and compilers, and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const proxy of running) {
      const before = proxy.cpuUs()
      // oxlint-disable-next-line no-await-in-loop -- interleaved on purpose
      const { seconds, p50, p99 } = await run(proxy.port, each.requests)
      const cpuUs = (proxy.cpuUs() - before) / each.requests
      if (round > 0) samples.get(proxy.name)?.push({ cpuUs, perSecond: each.requests / seconds, p50, p99 })
    }
  }
  print(each, connections, samples)
}

function print(each: Case, connections: number, samples: ReadonlyMap<string, Sample[]>): void {
  const base = samples.get('nginx') ?? [...samples.values()][0] ?? []
  console.log(`\n${each.title}, ${connections} connections, ${each.requests} requests a round, ${rounds} rounds`)
  const against = samples.has('nginx') ? 'nginx' : 'the first'
  console.log(`| proxy | µs a request (median, min–max) | to ${against} | requests/s | p50 ms | p99 ms | MiB |`)
  console.log('|---|---|---|---|---|---|---|')
  for (const [name, all] of samples) {
    const cpu = all.map(({ cpuUs }) => cpuUs)
    const rss = running.find((proxy) => proxy.name === name)?.rssMiB() ?? 0
    const middle = (of: (sample: Sample) => number) => median(all.map(of))
    const cells = [
      name,
      `${median(cpu).toFixed(1)} (${Math.min(...cpu).toFixed(1)}–${Math.max(...cpu).toFixed(1)})`,
      // Round by round: what slows a machine down slows neighbours in time down alike.
      median(cpu.map((us, round) => us / (base[round]?.cpuUs ?? NaN))).toFixed(inside === undefined ? 2 : 3),
      middle(({ perSecond }) => perSecond).toFixed(0),
      middle(({ p50 }) => p50).toFixed(2),
      middle(({ p99 }) => p99).toFixed(2),
      rss.toFixed(0),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}
