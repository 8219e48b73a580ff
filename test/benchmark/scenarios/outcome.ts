/**
 * What clients met in a run, in figures.
 */
export interface Sample {
  /** From the time at which the request was due to the end of its answer, or to its failure. */
  readonly ms: number
  /** How late the load itself was with sending it. */
  readonly lateMs: number
  /** Which backend answered; `undefined` when none did. */
  readonly backend: number | undefined
  /** What went wrong: a status, a code of Sluice, `timeout`, `broken off`. */
  readonly failure: string | undefined
}

export interface Outcome {
  readonly requests: number
  readonly failed: number
  /** How often what went wrong. */
  readonly failures: Readonly<Record<string, number>>
  /** Of all requests: one that failed counts with the time until its failure. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly longest: number
  /** Requests that took so long that they waited out a timeout. */
  readonly waited: number
  /** Of the answers that came from a backend, the share of each. */
  readonly shares: readonly number[]
  /** The 99th percentile of how late the load was: when it is large, the machine was too busy for these figures. */
  readonly lateMs: number
}

export function outcomeOf(samples: readonly Sample[], backends: number, waitedMs: number): Outcome {
  const times = samples.map(({ ms }) => ms).toSorted((a, b) => a - b)
  const late = samples.map(({ lateMs }) => lateMs).toSorted((a, b) => a - b)
  const failures = countBy(samples.flatMap(({ failure }) => failure ?? []))
  const answers = countBy(samples.flatMap(({ backend }) => (backend === undefined ? [] : String(backend))))
  const answered = Object.values(answers).reduce((sum, count) => sum + count, 0)
  return {
    requests: samples.length,
    failed: samples.filter(({ failure }) => failure !== undefined).length,
    failures,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    p999: percentile(times, 0.999),
    longest: times.at(-1) ?? NaN,
    waited: times.filter((ms) => ms > waitedMs).length,
    shares: Array.from({ length: backends }, (_, index) => (answers[String(index)] ?? 0) / Math.max(1, answered)),
    lateMs: percentile(late, 0.99),
  }
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** The smallest that is not exceeded by this share of all. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? NaN
}

/** The median of every figure over several rounds; what went wrong is that of the worst one. */
export function medianOf(rounds: readonly Outcome[]): Outcome {
  const middle = (of: (outcome: Outcome) => number) => {
    const sorted = rounds.map((outcome) => of(outcome)).toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? NaN
  }
  const worst = rounds.toSorted((a, b) => b.failed - a.failed)[0]
  return {
    requests: middle(({ requests }) => requests),
    failed: middle(({ failed }) => failed),
    failures: worst?.failures ?? {},
    p50: middle(({ p50 }) => p50),
    p99: middle(({ p99 }) => p99),
    p999: middle(({ p999 }) => p999),
    longest: middle(({ longest }) => longest),
    waited: middle(({ waited }) => waited),
    shares: (worst?.shares ?? []).map((_, index) => middle(({ shares }) => shares[index] ?? 0)),
    lateMs: middle(({ lateMs }) => lateMs),
  }
}
