/**
 * A configuration as it was read, before it is judged: its raw value, and where in the file each part of it stands.
 */
import { type Environment, substitute } from './environment.ts'
import { formatPath, type Path, type Problem } from './problem.ts'

export interface Position {
  readonly line: number
  readonly column: number
}

/** Where a value stands, and what is inside it. */
export interface Place {
  readonly at: Position
  readonly keys: Map<string | number, Position>
  readonly inside: Map<string | number, Place>
}

/** A problem before its position is looked up. */
export interface Finding {
  readonly path: Path
  readonly message: string
  /** Whether it is about the key or about its value. */
  readonly on?: 'key' | 'value'
  /** Known at once where the value has no place in the tree, as with syntax errors. */
  readonly at?: Position
  /** In place of the path. */
  readonly label?: string
}

export interface Source {
  /** As the user typed it. */
  readonly file: string | undefined
  /** What relative paths in it are relative to. */
  readonly folder: string
  /** The first 12 characters of the SHA-256 of its content. */
  readonly hash: string
  readonly value: unknown
  /** `undefined` where the format has no positions. */
  readonly place: Place | undefined
  readonly findings: readonly Finding[]
  /** Whether the file could not be read as a whole, so that its value means nothing. */
  readonly fatal: boolean
  /** Values that are unknown, because their environment variable is: nothing further is said about them. */
  readonly unknown: readonly Path[]
  /** Strings that were one substitution, and may stand for a number or a boolean. */
  readonly substituted: readonly Path[]
}

/** What readers of all formats share: findings, and the environment in strings. */
export class Notes {
  readonly findings: Finding[] = []
  readonly unknown: Path[] = []
  readonly substituted: Path[] = []
  readonly #env: Environment

  constructor(env: Environment) {
    this.#env = env
  }

  string(text: string, path: Path, at?: Position): string | undefined {
    const { text: result, whole, errors } = substitute(text, this.#env)
    if (errors.length > 0) {
      for (const message of errors) this.findings.push({ path, message, ...(at && { at }) })
      this.unknown.push(path)
      return undefined
    }
    if (whole) this.substituted.push(path)
    return result
  }

  /** Reports a value that cannot be used at all. */
  unusable(path: Path, message: string, at?: Position): undefined {
    this.findings.push({ path, message, ...(at && { at }) })
    this.unknown.push(path)
  }
}

/** An object in which `__proto__` and `constructor` are keys like any others. */
export function emptyRecord(): Record<string, unknown> {
  const empty: Record<string, unknown> = Object.create(null)
  return empty
}

/** How deep a configuration may be nested: far more than any needs, far less than a stack holds. */
export const DEEPEST = 64

export function locate(source: Source, finding: Finding): Position | undefined {
  if (finding.at !== undefined || source.place === undefined) return finding.at ?? source.place?.at
  let place = source.place
  let position = place.at
  for (const [index, step] of finding.path.entries()) {
    const key = place.keys.get(step)
    const next = place.inside.get(step)
    if (next === undefined) return position
    const onKey = index === finding.path.length - 1 && finding.on === 'key'
    position = onKey && key !== undefined ? key : next.at
    place = next
  }
  return position
}

/** Puts findings into the order of the file. Without positions everything stands at the file's beginning. */
export function toProblems(source: Source, findings: readonly Finding[]): Problem[] {
  const problems = findings.map((finding): Problem => {
    const found = locate(source, finding)
    const said = { path: finding.label ?? formatPath(finding.path), message: finding.message }
    // Text that came by a call has lines, but no name; what was made in code has neither.
    if (source.file === undefined) return found === undefined ? said : { ...found, ...said }
    return { file: source.file, ...(found ?? { line: 1, column: 1 }), ...said }
  })
  const seen = new Set<string>()
  return problems
    .filter((problem) => {
      // A value that several places share (a YAML anchor) is wrong once.
      const { line, column, path, message } = problem
      const identity = source.place === undefined ? `${path} ${message}` : `${line}:${column} ${message}`
      return !seen.has(identity) && seen.add(identity)
    })
    .toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
}
