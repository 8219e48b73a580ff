/**
 * `npm run bench -- reload`: what a reload of 1,000 pools with 10 backends each costs, of which one has changed: the
 * processor time of all of it, of the main thread alone, and how long requests stood still.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

import { algorithmCheck } from '../../src/algorithm-check.ts'
import { createGateway } from '../../src/app.ts'
import { checkBytes } from '../../src/large-config.ts'

const POOLS = 1000
const BACKENDS = 10
const RELOADS = 9

/** As its author would write it; one weight is as asked. */
function configuration(weight: number): Buffer {
  const lines = ['log: { level: silent }', 'admin: false', 'pools:']
  for (let pool = 0; pool < POOLS; pool++) {
    lines.push(`  pool-${pool}:`, '    backends:')
    for (let n = 0; n < BACKENDS; n++) {
      const url = `http://10.${pool >> 8}.${pool & 255}.${n}:9000`
      lines.push(`      - { url: ${url}, id: backend-${n}, weight: ${pool === 7 && n === 0 ? weight : 1} }`)
    }
  }
  lines.push('routes:', ...Array.from({ length: POOLS }, (_, n) => `  - { path: /service-${n}/*, pool: pool-${n} }`))
  return Buffer.from(`${lines.join('\n')}\n`)
}

const options = { kind: 'yaml', folder: process.cwd(), env: {} } as const
const first = await checkBytes(configuration(1), options, algorithmCheck())
if (first.settings === undefined) throw new Error(first.problems[0]?.message)
const app = await createGateway(first.settings, { hash: first.hash, folder: options.folder })
await app.ready()

interface Sample {
  readonly allMs: number
  readonly mainMs: number
  readonly stallMs: number
}

function ms({ user, system }: { readonly user: number; readonly system: number }): number {
  return (user + system) / 1000
}

async function reload(weight: number): Promise<Sample> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const text = configuration(weight)
  const [before, mainBefore] = [process.cpuUsage(), process.threadCpuUsage()]
  delay.enable()
  await app.configuration.replace('the benchmark', async () => {
    const { settings, problems, hash } = await checkBytes(text, options, algorithmCheck(app.algorithms))
    if (settings === undefined) throw new Error(problems[0]?.message)
    return { settings, hash }
  })
  const [all, main] = [process.cpuUsage(before), process.threadCpuUsage(mainBefore)]
  // The monitor has to be heard once more to know of the last stall.
  await new Promise<void>((resolve) => void setTimeout(resolve, 20))
  delay.disable()
  return { allMs: ms(all), mainMs: ms(main), stallMs: delay.max / 1e6 }
}

const samples: Sample[] = []
for (let n = 0; n <= RELOADS; n++) {
  // oxlint-disable-next-line no-await-in-loop -- one after the other; the first one is not counted
  const sample = await reload(n + 2)
  if (n > 0) samples.push(sample)
}
await app.close()

const median = (of: (sample: Sample) => number): string =>
  (samples.map(of).toSorted((a, b) => a - b)[samples.length >> 1] ?? NaN).toFixed(0)
const worst = Math.max(...samples.map(({ stallMs }) => stallMs)).toFixed(0)
console.log(
  `A reload of ${POOLS} pools of ${BACKENDS} backends and as many routes, one weight changed (YAML, median of ${RELOADS})`,
)
console.log('| processor time, ms | of the main thread, ms | longest stall of requests, ms | the longest of all, ms |')
console.log('|---|---|---|---|')
console.log(
  `| ${median(({ allMs }) => allMs)} | ${median(({ mainMs }) => mainMs)} | ${median(({ stallMs }) => stallMs)} | ${worst} |`,
)
