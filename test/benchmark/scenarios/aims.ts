/**
 * What Sluice is to reach beside the others, looked up in a run's figures.
 */
import type { Outcome } from './outcome.ts'

export interface Row {
  readonly scenario: string
  readonly proxy: string
  readonly outcome: Outcome
}

export interface Aim {
  readonly scenario: string
  readonly what: string
  readonly proxy: string
  readonly value: number
  readonly atMost: number
  readonly met: boolean
}

const PEERS = ['nginx', 'haproxy']
// Two runs of one proxy differ by this much, because which backend is drawn in a tie changes everything after it.
const NOISE = 1.05

/** Of every Sluice in the run, in every scenario that its peers were in too. */
export function aims(rows: readonly Row[]): Aim[] {
  return rows
    .filter(({ proxy }) => !PEERS.includes(proxy))
    .flatMap((row) => {
      const peers = PEERS.flatMap(
        (name) => rows.find((other) => other.scenario === row.scenario && other.proxy === name) ?? [],
      )
      return peers.length < PEERS.length
        ? []
        : aimsOf(
            row,
            peers.map(({ outcome }) => outcome),
          )
    })
}

function aimsOf({ scenario, proxy, outcome }: Row, peers: readonly Outcome[]): Aim[] {
  const best = (of: (outcome: Outcome) => number) => Math.min(...peers.map((peer) => of(peer)))
  const aim = (what: string, value: number, atMost: number): Aim => {
    return { scenario, what, proxy, value, atMost, met: value <= atMost }
  }
  const found = [aim('p99, ms', outcome.p99, best(({ p99 }) => p99) * NOISE)]
  // Who was already sent to a backend that then hung may fail; nobody else.
  if (scenario === 'hang') {
    found.push(aim('failed, of those that waited', outcome.failed, outcome.waited))
    found.push(aim('waited out a timeout', outcome.waited, best(({ waited }) => waited) - 1))
  } else found.push(aim('failed', outcome.failed, 0))
  if (scenario === 'slow-down') found.push(aim('p99.9, ms', outcome.p999, best(({ p999 }) => p999) / 2))
  return found
}
