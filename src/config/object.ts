/**
 * A configuration that is already a value (a library's argument, the export of a module) to a source. Everything is
 * copied: what is checked is what is used, whatever happens to the original afterwards.
 */
import type { Environment } from './environment.ts'
import { type Path, show } from './problem.ts'
import { DEEPEST, emptyRecord, Notes, type Source } from './source.ts'

export interface ObjectOptions {
  readonly file: string | undefined
  readonly folder: string
  readonly hash: string
  readonly env: Environment
}

/** Far more values than a configuration has; shared parts count every time they appear. */
const MOST_VALUES = 1_000_000

export function readObject(value: unknown, { env, ...about }: ObjectOptions): Source {
  const notes = new Notes(env)
  const copier = new Copier(notes)
  let copy: unknown
  let fatal = false
  try {
    copy = copier.copy(value, [])
  } catch (error) {
    // Its size, or a getter or proxy of the user's own.
    const reason = error instanceof Error ? error.message : show(error)
    notes.unusable([], `cannot be read: ${reason}`)
    fatal = true
  }
  const { findings, unknown, substituted } = notes
  return { ...about, value: copy, place: undefined, findings, fatal, unknown, substituted }
}

class Copier {
  readonly #notes: Notes
  readonly #open = new Set<unknown>()
  #count = 0

  constructor(notes: Notes) {
    this.#notes = notes
  }

  copy(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return this.#notes.string(value, path)
    if (typeof value !== 'object' || value === null) return value
    if (!Array.isArray(value) && !isPlain(value)) {
      return belongsToOthers(path) ? value : this.#notes.unusable(path, 'expected a plain object')
    }
    if (this.#open.has(value)) return this.#notes.unusable(path, 'contains itself')
    if (path.length > DEEPEST) return this.#notes.unusable(path, `nested more than ${DEEPEST} levels deep`)
    if (++this.#count > MOST_VALUES) throw new RangeError('it is too large')
    this.#open.add(value)
    const result = Array.isArray(value)
      ? Array.from(value, (item: unknown, index) => this.copy(item, [...path, index]))
      : this.#entries(value, path)
    this.#open.delete(value)
    return result
  }

  #entries(value: object, path: Path): Record<string, unknown> {
    const result = emptyRecord()
    for (const [key, item] of Object.entries(value)) {
      // In JavaScript a key without a value is how one leaves it out.
      if (item !== undefined) result[key] = this.copy(item, [...path, key])
    }
    return result
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Options of plugins and algorithms are handed on, and may hold whatever those understand. */
function belongsToOthers(path: Path): boolean {
  const [top, , inside] = path
  return path.length > 3 && ((top === 'plugins' && inside === 'options') || (top === 'pools' && inside === 'algorithm'))
}

/** A copy with ordinary objects, for code that is not ours. */
export function ordinary(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordinary)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== null) return value
  // `fromEntries` defines properties: a key named `__proto__` stays a key.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, ordinary(item)]))
}
