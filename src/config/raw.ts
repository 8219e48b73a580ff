/**
 * Looking into a configuration that may be wrong in any part: what has the wrong type is as if it were not there,
 * because the schema has already complained about it.
 */
import type { Path } from './problem.ts'
import { type Finding, locate, type Source } from './source.ts'

export function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return isRecord(value) ? value : undefined
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Collects what the checks of meaning find. */
export class Findings {
  readonly errors: Finding[]
  readonly warnings: Finding[] = []
  readonly #source: Source

  constructor(source: Source, errors: Finding[]) {
    this.#source = source
    this.errors = errors
  }

  error(path: Path, message: string, on: 'key' | 'value' = 'value'): void {
    this.errors.push({ path, message, on })
  }

  warn(path: Path, message: string, on: 'key' | 'value' = 'value'): void {
    this.warnings.push({ path, message, on })
  }

  /** ` (line 12)`, where lines are known. */
  line(path: Path): string {
    if (this.#source.place === undefined) return ''
    const position = locate(this.#source, { path, message: '' })
    return position === undefined ? '' : ` (line ${position.line})`
  }
}
