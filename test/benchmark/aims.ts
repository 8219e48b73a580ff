/** What Sluice is to cost beside the others, looked up in a run's figures. */
import type { Row, Sample } from './compare.ts'
import { median, ratio } from './figures.ts'
import type { Found } from './report.ts'

export interface Aim {
  readonly what: string
  readonly value: number
  readonly atMost: number
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

function cost(found: readonly Found[], name: string, peer: string, atMost: number): Aim[] {
  const [own, others] = [samplesOf(found, name, 'sluice'), samplesOf(found, name, peer)]
  if (own.length === 0 || others.length === 0) return []
  return [{ what: `${name}: processor time to that of ${peer}`, value: ratio(cpuOf(own), cpuOf(others)), atMost }]
}

function tail(found: readonly Found[]): Aim[] {
  const name = 'connections-1000'
  const [own, others] = [samplesOf(found, name, 'sluice'), samplesOf(found, name, 'reply-from')]
  if (own.length === 0 || others.length === 0) return []
  return [{ what: `${name}: p99 in ms, to that of reply-from`, value: p99Of(own), atMost: p99Of(others) }]
}

const cpuOf = (samples: readonly Sample[]): number[] => samples.map(({ cpuUs }) => cpuUs)
const p99Of = (samples: readonly Sample[]): number => median(samples.map(({ p99 }) => p99))

function samplesOf(found: readonly Found[], name: string, proxy: string): readonly Sample[] {
  const row: Row | undefined = found.find((one) => one.case.name === name)?.rows.find((each) => each.name === proxy)
  return row === undefined || row.failure !== undefined ? [] : row.samples
}
