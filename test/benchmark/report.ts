/** What a comparison found, for people. */
import type { Case } from './cases.ts'
import type { Row, Sample } from './compare.ts'
import { median, ratio, spread, table } from './figures.ts'

export interface Found {
  readonly case: Case
  readonly rounds: number
  readonly rows: readonly Row[]
}

/** @param digits of what is the proxies' cost to the first one's: more where small differences are asked for */
export function describe({ case: each, rounds, rows }: Found, digits = 2): string {
  const base = rows.find(({ samples }) => samples.length > 0)
  const head = ['proxy', 'µs a request (median, min–max)', `to ${base?.name ?? 'none'}`, 'requests/s']
  const rest = ['p50 ms', 'p99 ms', 'busy', 'MiB', 'at most']
  const rate = each.perSecond === undefined ? '' : `${each.perSecond} requests a second, `
  const title = `${each.title} (${each.name}), ${each.connections} connections, ${rate}${each.requests} requests a round, ${rounds} rounds`
  const lines = rows.map((row) => [row.name, ...cells(row, base?.samples ?? [], digits)])
  return `${title}\n\n${table([...head, ...rest], lines)}`
}

function cells({ samples, rssMiB, peakMiB, failure }: Row, base: readonly Sample[], digits: number): string[] {
  if (failure !== undefined) return [`failed: ${failure}`, ...Array.from({ length: 7 }, () => '')]
  const middle = (of: (sample: Sample) => number) => median(samples.map(of))
  const cpu = samples.map(({ cpuUs }) => cpuUs)
  return [
    `${median(cpu).toFixed(1)} (${spread(cpu, 1)})`,
    ratio(
      cpu,
      base.map(({ cpuUs }) => cpuUs),
    ).toFixed(digits),
    middle(({ perSecond }) => perSecond).toFixed(0),
    middle(({ p50 }) => p50).toFixed(2),
    middle(({ p99 }) => p99).toFixed(2),
    `${(100 * middle(({ busy }) => busy)).toFixed(0)} %`,
    rssMiB.toFixed(0),
    peakMiB.toFixed(0),
  ]
}
