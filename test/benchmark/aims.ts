/** What Sluice is to cost, beside the others and with more of everything, looked up in a run's figures. */
import type { Row, Sample } from './compare.ts'
import { median, ratio } from './figures.ts'
import type { IdleRow } from './idle.ts'
import type { Found } from './report.ts'

export interface Aim {
  readonly what: string
  /** NaN where one of the two could not be measured. */
  readonly value: number
  readonly atMost: number
}

/** Each in a line. */
export function verdicts(all: readonly Aim[]): string {
  return all
    .map((aim) => `${verdict(aim)}: ${aim.what}: ${aim.value.toFixed(2)}, aim ${aim.atMost.toFixed(2)}`)
    .join('\n')
}

function verdict({ value, atMost }: Aim): string {
  if (Number.isNaN(value)) return 'not measured'
  return value <= atMost ? 'met' : 'not met'
}

/** Processor time of Sluice with everything on, to that of each. */
const SMALL_AT_MOST: readonly (readonly [name: string, atMost: number])[] = [
  ['reply-from', 0.8],
  ['fastify-http-proxy', 0.75],
  ['http-proxy', 0.6],
  ['caddy', 0.55],
  ['nginx', 2.6],
  // The next step.
  ['nginx', 2],
  ['sluice-off', 1.2],
]

/** Of the comparisons that were made. */
export function aims(found: readonly Found[]): Aim[] {
  return [
    ...SMALL_AT_MOST.flatMap(([name, atMost]) => cost(found, 'small', name, atMost)),
    ...cost(found, 'get-64k', 'nginx', 1),
    ...cost(found, 'get-1m', 'nginx', 1),
    ...tail(found),
  ]
}

/** What the most backends or routes cost a request, to what the least do, and what an idle connection of a client takes. */
export function growthAims(found: readonly Found[], idle: readonly IdleRow[]): Aim[] {
  const grown = found.map(({ case: { title }, rows }) => {
    const cpu = rows.map(({ samples, failure }) => (failure === undefined ? cpuOf(samples) : []))
    return { what: `${title}: ${rows.at(-1)?.name}`, value: ratio(cpu.at(-1) ?? [], cpu[0] ?? []), atMost: 1.1 }
  })
  const most = idle.findLast(({ name }) => name === 'sluice')
  const kB = most === undefined ? NaN : median(most.kibEach) * 1.024
  return idle.length === 0
    ? grown
    : [...grown, { what: 'an idle connection of a client, in kB', value: kB, atMost: 20 }]
}

function cost(found: readonly Found[], name: string, peer: string, atMost: number): Aim[] {
  if (!isAmong(found, name)) return []
  const [own, others] = [samplesOf(found, name, 'sluice'), samplesOf(found, name, peer)]
  return [{ what: `${name}: processor time to that of ${peer}`, value: ratio(cpuOf(own), cpuOf(others)), atMost }]
}

function tail(found: readonly Found[]): Aim[] {
  const name = 'connections-1000'
  if (!isAmong(found, name)) return []
  const [own, others] = [samplesOf(found, name, 'sluice'), samplesOf(found, name, 'reply-from')]
  return [{ what: `${name}: p99 in ms, to that of reply-from`, value: p99Of(own), atMost: p99Of(others) }]
}

const cpuOf = (samples: readonly Sample[]): number[] => samples.map(({ cpuUs }) => cpuUs)
const p99Of = (samples: readonly Sample[]): number => median(samples.map(({ p99 }) => p99))

const isAmong = (found: readonly Found[], name: string): boolean => found.some((one) => one.case.name === name)

function samplesOf(found: readonly Found[], name: string, proxy: string): readonly Sample[] {
  const row: Row | undefined = found.find((one) => one.case.name === name)?.rows.find((each) => each.name === proxy)
  return row === undefined || row.failure !== undefined ? [] : row.samples
}
