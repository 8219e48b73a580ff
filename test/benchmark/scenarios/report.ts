/** What a run has found, for people: a table for each scenario, and what of the aims is met. */
import type { Aim } from './aims.ts'
import type { Outcome } from './outcome.ts'
import type { Plan } from './plan.ts'

export interface Measured {
  readonly proxy: string
  readonly outcome: Outcome
  /** Of one core, while there was load. */
  readonly cpuShare: number
}

// Timers of Node are this late by themselves, and a little more.
const TOLERABLY_LATE_MS = 5

export function printPlan({ backends, slots, serviceMs, ratePerSecond, loadMs, seed }: Plan, rounds: number): void {
  const capacity = (backends * slots * 1000) / serviceMs
  console.log(
    `${backends} backends of ${slots} slots and ${serviceMs} ms; ${ratePerSecond} requests a second, ` +
      `${percent(ratePerSecond / capacity)} of what all can do; ${loadMs / 1000} s; seed ${seed}; rounds: ${rounds}. ` +
      'Times in ms, of all requests, failed ones too, from when they were due.',
  )
}

export function printScenario(title: string, plan: Plan, all: readonly Measured[]): void {
  console.log(`\n${title}`)
  console.log(
    `| proxy | failed | p50 | p99 | p99.9 | longest | over ${plan.waitedMs / 1000} s | share of each backend, % | CPU |`,
  )
  console.log('|---|---|---|---|---|---|---|---|---|')
  for (const { proxy, outcome, cpuShare } of all) {
    const { p50, p99, p999, longest, waited, shares } = outcome
    const cells = [
      proxy,
      failed(outcome),
      ...[p50, p99, p999, longest].map((ms) => ms.toFixed(0)),
      waited,
      shares.map((share) => (share * 100).toFixed(1)).join(' '),
      percent(cpuShare),
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  for (const { proxy, outcome } of all) {
    if (outcome.lateMs <= TOLERABLY_LATE_MS) continue
    console.log(
      `! ${proxy}: the load was ${outcome.lateMs.toFixed(0)} ms late (p99): the machine was too busy for this`,
    )
  }
}

export function printAims(aims: readonly Aim[]): void {
  if (aims.length === 0) return
  console.log(
    `\nAims (p99: 5 % over the better peer's counts as equal): ${aims.filter(({ met }) => met).length} of ${aims.length} met`,
  )
  console.log('| scenario | aim | proxy | found | at most | met |')
  console.log('|---|---|---|---|---|---|')
  for (const { scenario, what, proxy, value, atMost, met } of aims) {
    console.log(`| ${[scenario, what, proxy, value.toFixed(0), atMost.toFixed(0), met ? 'yes' : 'no'].join(' | ')} |`)
  }
}

function failed({ failed: count, failures }: Outcome): string {
  const kinds = Object.entries(failures).map(([kind, times]) => `${kind}: ${times}`)
  return kinds.length === 0 ? '0' : `${count} (${kinds.join(', ')})`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`
}
