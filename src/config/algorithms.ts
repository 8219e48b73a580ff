/**
 * Whether the algorithms of pools exist and accept their options, as far as can be told before plugins have run: these
 * may register more.
 */
import { listing, nearest } from './nearest.ts'
import { ordinary } from './object.ts'
import { show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'

/** What whoever asks for a check knows of algorithms. */
export interface AlgorithmCheck {
  readonly names: readonly string[]
  /** Why the algorithm of that name cannot be made with these options, if so. */
  readonly whyNot: (name: string, options: object) => string | undefined
}

export function judgeAlgorithms(
  config: Readonly<Record<string, unknown>>,
  check: AlgorithmCheck,
  findings: Findings,
): void {
  const open = list(config['plugins']).length > 0
  for (const [pool, value] of Object.entries(record(config['pools']) ?? {})) {
    const algorithm = record(value)?.['algorithm']
    const long = record(algorithm)
    const name = text(algorithm) ?? text(long?.['type'])
    if (name === undefined || name === '') continue
    const path = ['pools', pool, 'algorithm']
    if (!check.names.includes(name)) {
      if (!open) findings.error(long === undefined ? path : [...path, 'type'], unknownAlgorithm(name, check.names))
      continue
    }
    const wrong = check.whyNot(name, optionsOf(long))
    if (wrong !== undefined) findings.error(path, `${show(name)} cannot be used like this: ${wrong}`)
  }
}

function optionsOf(algorithm: Readonly<Record<string, unknown>> = {}): object {
  const { type: _, ...options } = algorithm
  return Object(ordinary(Object.assign(Object.create(null), options)))
}

function unknownAlgorithm(name: string, known: readonly string[]): string {
  const meant = nearest(name, known)
  const hint = meant === undefined ? `expected one of ${listing(known)}` : `did you mean ${show(meant)}?`
  return `there is no algorithm ${show(name)}, ${hint}`
}
