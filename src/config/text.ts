/**
 * YAML and JSON text to a source: values, with the position of every key and value.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { Environment } from './environment.ts'
import { formatPath, oneLine, type Path } from './problem.ts'
import { DEEPEST, emptyRecord, type Finding, Notes, type Place, type Position, type Source } from './source.ts'
import { readObject } from './object.ts'

export interface TextOptions {
  readonly kind: 'yaml' | 'json'
  readonly file?: string | undefined
  readonly folder: string
  readonly env: Environment
  /** Of the bytes that the text was; made from the text when not given. */
  readonly hash?: string
}

/** How many values aliases (`*name`) may repeat in all, before it is taken for an attempt to exhaust memory. */
const MOST_REPEATED = 100_000

class TooManyAliases extends Error {
  readonly at: Position

  constructor(at: Position) {
    super(`they repeat more than ${MOST_REPEATED} values; write some of them out`)
    this.at = at
  }
}

interface Read {
  readonly value: unknown
  readonly place: Place
}

export function readText(content: string, options: TextOptions): Source {
  const { file, folder, env } = options
  const text = content.replace(/^\uFEFF/, '')
  const about = { file, folder, hash: options.hash ?? hashOf(content) }
  const refused = (findings: readonly Finding[]): Source => refusedSource(about, findings)

  let json: unknown
  if (options.kind === 'json') {
    try {
      json = JSON.parse(text)
    } catch (error) {
      return refused([jsonFinding(error, text)])
    }
  }
  const reader = new TextReader(text, options.kind, env)
  if (reader.syntax.length > 0) {
    // What JSON accepts and YAML does not (a key of 2,000 letters) is good, only without positions.
    return options.kind === 'json' ? readObject(json, { ...about, env }) : refused(reader.syntax)
  }
  try {
    const { value, place } = reader.read()
    const { findings, unknown, substituted } = reader.notes
    return { ...about, value, place, findings, fatal: false, unknown, substituted }
  } catch (error) {
    if (error instanceof TooManyAliases)
      return refused([{ path: [], label: 'aliases', message: error.message, at: error.at }])
    throw error
  }
}

/** The same from bytes, which have to be UTF-8: what cannot be read is not guessed at. */
export function readBytes(content: Buffer, options: Omit<TextOptions, 'hash'>): Source {
  const hash = hashOf(content)
  if (isUtf8(content)) return readText(content.toString(), { ...options, hash })
  const { file, folder } = options
  const finding = { path: [], label: 'encoding', message: 'not valid UTF-8', at: placeOfNoText(content) }
  return refusedSource({ file, folder, hash }, [finding])
}

function refusedSource(about: Pick<Source, 'file' | 'folder' | 'hash'>, findings: readonly Finding[]): Source {
  return { ...about, value: undefined, place: undefined, findings, fatal: true, unknown: [], substituted: [] }
}

/** Of the first bytes that are no UTF-8; no character has the byte of a line's end inside. */
function placeOfNoText(content: Buffer): Position {
  let start = 0
  for (let line = 1; ; line++) {
    const next = content.indexOf('\n', start)
    const bytes = content.subarray(start, next < 0 ? content.length : next)
    if (!isUtf8(bytes) || next < 0) return { line, column: bytes.toString().indexOf('\ufffd') + 1 }
    start = next + 1
  }
}

export function hashOf(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex').slice(0, 12)
}

function jsonFinding(error: unknown, text: string): Finding {
  const message = error instanceof Error ? error.message : 'not valid JSON'
  const before = text.slice(0, jsonOffset(message, text)).split('\n')
  const at = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
  const what = message.replace(/ in JSON at position.*| at position.*|, (\.{3})?".*/s, '')
  return { path: [], label: 'syntax', message: `not valid JSON: ${oneLine(what)}`, at }
}

/** V8 gives an offset, or the unexpected character with up to ten others on each side of it, or means the end. */
function jsonOffset(message: string, text: string): number {
  const given = /at position (\d+)/.exec(message)?.[1]
  if (given !== undefined) return Number(given)
  const [, token = '', cut, excerpt = ''] =
    /^Unexpected token '(.+?)', (\.{3})?"(.*)"(?:\.{3})? is/s.exec(message) ?? []
  const start = excerpt === '' ? -1 : text.indexOf(excerpt)
  if (start < 0) return text.length
  return start + (cut === undefined ? Math.max(0, excerpt.indexOf(token)) : 10)
}

class TextReader {
  readonly notes: Notes
  /** Errors after which the rest cannot be trusted. */
  readonly syntax: Finding[] = []
  readonly #text: string
  readonly #kind: 'yaml' | 'json'
  readonly #lines = new LineCounter()
  readonly #root: unknown
  readonly #anchors = new Map<string, unknown>()
  /** What is being read right now, from the root down: an alias to one of these would never end. */
  readonly #open = new Set<unknown>()
  #repeating = 0
  #repeated = 0

  constructor(text: string, kind: 'yaml' | 'json', env: Environment) {
    this.#text = text
    this.#kind = kind
    this.notes = new Notes(env)
    try {
      const document = parseDocument(text, {
        lineCounter: this.#lines,
        prettyErrors: false,
        // Reported here instead: by position, all of them, and with the line of the first.
        uniqueKeys: false,
        schema: kind === 'json' ? 'json' : 'core',
        merge: kind === 'yaml',
      })
      this.#root = document.contents
      for (const error of [...document.errors, ...document.warnings]) this.#report(error.code, error.message, error.pos)
    } catch {
      // The parser recurses: its stack ends where nobody nests by hand.
      this.syntax.push({ path: [], label: 'syntax', message: 'nested too deeply', at: { line: 1, column: 1 } })
    }
  }

  read(): Read {
    return this.#node(this.#root, [], { line: 1, column: 1 })
  }

  #report(code: string, said: string, range: readonly [number, number]): void {
    const at = this.#position(range[0])
    // One mistake makes everything behind it unexpected: that says nothing new.
    if (code === 'UNEXPECTED_TOKEN' && this.syntax.length > 0) return
    const firstLine = said.split('\n')[0] ?? said
    const what = code === 'MULTIPLE_DOCS' ? 'expected one document, got a second one after "---"' : firstLine
    const inFlow = this.#text.slice(0, range[0]).endsWith('$') && this.#text.startsWith('{', range[0])
    const hint = inFlow ? '; inside { } and [ ], put ${NAME} in quotes' : ''
    this.syntax.push({ path: [], label: 'syntax', message: `not valid YAML: ${oneLine(what)}${hint}`, at })
  }

  #position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }

  #at(node: unknown, otherwise: Position): Position {
    const range = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range : undefined
    return range === undefined || range === null ? otherwise : this.#position(range[0])
  }

  #node(node: unknown, path: Path, fallback: Position): Read {
    // An empty value has no text of its own: its key says more than the spot where it would have stood.
    const empty = isScalar(node) && node.value === null && (node.source ?? '') === ''
    const at = empty ? fallback : this.#at(node, fallback)
    const place: Place = { at, keys: new Map(), inside: new Map() }
    const unusable = (message: string) => ({ value: this.notes.unusable(path, message, at), place })

    if (path.length > DEEPEST) return unusable(`nested more than ${DEEPEST} levels deep`)
    if (this.#repeating > 0 && ++this.#repeated > MOST_REPEATED) throw new TooManyAliases(at)
    if (isAlias(node)) return this.#alias(node.source, path, at, unusable)
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor !== undefined && this.#repeating === 0) {
      this.#anchors.set(node.anchor, node)
    }
    if (isScalar(node)) {
      const { value } = node
      return { value: typeof value === 'string' ? this.notes.string(value, path, at) : value, place }
    }
    this.#open.add(node)
    const value = isSeq(node) ? this.#list(node, path, place) : isMap(node) ? this.#map(node, path, place) : null
    this.#open.delete(node)
    return { value, place }
  }

  #alias(name: string, path: Path, at: Position, unusable: (message: string) => Read): Read {
    const target = this.#anchors.get(name)
    if (target === undefined) return unusable(`no anchor &${name} before this alias`)
    if (this.#open.has(target)) return unusable(`the alias *${name} contains itself`)
    this.#repeating++
    const read = this.#node(target, path, at)
    this.#repeating--
    return read
  }

  #list(node: YAMLSeq, path: Path, place: Place): unknown[] {
    return node.items.map((item, index) => {
      const { value, place: inside } = this.#node(item, [...path, index], place.at)
      place.inside.set(index, inside)
      return value
    })
  }

  #map(node: YAMLMap, path: Path, place: Place): Record<string, unknown> {
    const result = emptyRecord()
    const merged: Read[] = []
    for (const pair of node.items) {
      if (this.#isMerge(pair)) merged.push(...this.#merge(pair, path, place))
      else this.#pair(pair, path, place, result)
    }
    for (const { value, place: from } of merged) this.#addMissing(result, place, value, from)
    return result
  }

  #pair(pair: Pair, path: Path, place: Place, result: Record<string, unknown>): void {
    const at = this.#at(pair.key, place.at)
    const key = this.#key(pair.key)
    if (key === undefined) {
      this.notes.findings.push({ path, message: 'expected a plain name as a key', at })
      return
    }
    const { value, place: inside } = this.#node(pair.value, [...path, key], at)
    const first = place.keys.get(key)
    if (first !== undefined) {
      const message = `duplicate key ${JSON.stringify(key)}, first given on line ${first.line}`
      this.notes.findings.push({ path: [...path, key], message, at })
      return
    }
    result[key] = value
    place.keys.set(key, at)
    place.inside.set(key, inside)
  }

  #key(node: unknown): string | undefined {
    const key = isAlias(node) ? this.#anchors.get(node.source) : node
    if (!isScalar(key)) return undefined
    if (key.anchor !== undefined) this.#anchors.set(key.anchor, key)
    return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
  }

  #isMerge(pair: Pair): boolean {
    return this.#kind === 'yaml' && isScalar(pair.key) && pair.key.source === '<<' && pair.key.type === 'PLAIN'
  }

  /** The maps that `<<` brings in: one, or a list of them, the first of which wins. */
  #merge(pair: Pair, path: Path, place: Place): Read[] {
    const at = this.#at(pair.key, place.at)
    const items: readonly unknown[] = isSeq(pair.value) ? pair.value.items : [pair.value]
    const reads = items.map((item) => this.#node(item, path, at))
    if (reads.some((read) => read.value === null || typeof read.value !== 'object' || Array.isArray(read.value))) {
      const message = `expected keys to merge after "<<", as in <<: *name`
      this.notes.findings.push({ path, message, at, label: formatPath([...path, '<<']) })
      return []
    }
    return reads
  }

  #addMissing(result: Record<string, unknown>, place: Place, value: unknown, from: Place): void {
    for (const [key, item] of Object.entries(value ?? {})) {
      const inside = from.inside.get(key)
      if (place.keys.has(key) || inside === undefined) continue
      result[key] = item
      place.keys.set(key, from.keys.get(key) ?? from.at)
      place.inside.set(key, inside)
    }
  }
}
