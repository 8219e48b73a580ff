/**
 * Tells when the content of a configuration's files has changed and come to rest. What is watched is directories, never
 * a file: editors and Kubernetes put another file, or another symbolic link, in the place of the one that was there, and
 * a watch on a file stays with what nobody reads any more.
 */
import { type FSWatcher, lstatSync, readFileSync, readlinkSync, statSync, watch } from 'node:fs'
import { basename, isAbsolute, join, parse, sep } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { show } from './problem.ts'
import { hashOf } from './text.ts'
import { whyUnreadable } from './unreadable.ts'

/** With the hash of what was read from each, where that is known: then what is written meanwhile is news. */
export type FurtherFiles = readonly string[] | ReadonlyMap<string, string | undefined>

export interface WatchOptions {
  readonly clock: Clock
  /** Of the content that is in force, as in `Loaded`. What the file holds now, when not given. */
  readonly hash?: string
  /** Further files that the configuration consists of, such as certificates. */
  readonly files?: FurtherFiles
  /** How long a content has to stay the same. */
  readonly settleMs?: number
  /** How long a file has to be empty, missing or unreadable before that is a change, too. */
  readonly absenceMs?: number
  /** How often all is looked at without any sign of a change. */
  readonly pollMs?: number
  /**
   * Called once for each change.
   *
   * @param hash of the file itself, as in `Loaded`, so that whoever reads it can tell whether it has changed again;
   * `undefined` while there is nothing to read, which loading it explains
   */
  onChange(hash: string | undefined): void
  /** Something cannot be watched, and changes are noticed late. Called once, and again only when all was well between. */
  onError(reason: string): void
}

/** Twice the longest pause between two pieces of a file that a slow disk or a copy over a network makes. */
export const SETTLE_MS = 300
/**
 * Between an editor's deleting and writing lie milliseconds, in the course of a checkout or a deployment it can be
 * seconds. Waiting costs nothing: without a file the gateway goes on with what it has.
 */
const ABSENCE_MS = 5000
/**
 * The last resort, for all that says nothing of its changes: file systems of other machines, directories that cannot be
 * watched (rights, the system's limit), a replaced directory further up. It is also when these are tried again.
 */
const POLL_MS = 10_000
/** So that a burst of events is one look at the files. */
const GATHER_MS = 50
/** As in Linux: more in one path are taken for a circle. */
const MOST_LINKS = 40

/** The hash of each file's content; `undefined` for one that is empty, missing or unreadable. */
type Contents = ReadonlyMap<string, string | undefined>

/**
 * Events only say when to look; what counts is what is found then. Looking is synchronous on purpose: a few calls on
 * small files, and what is compared and what is watched are of one moment.
 */
export class ConfigWatch {
  readonly #file: string
  readonly #options: WatchOptions
  readonly #directories = new Directories(() => this.#lookWithin(GATHER_MS))
  #files: readonly string[]
  #reported: Contents
  /** What was found last if it is neither reported nor at rest. */
  #unsettled: { readonly contents: Contents; readonly sinceMs: number } | undefined
  /** How many looks in a row found something that cannot be watched. */
  #blindLooks = 0
  #next: { readonly at: number; readonly cancel: () => void } | undefined
  #stopped = false

  constructor(file: string, options: WatchOptions) {
    const { hash, files = [] } = options
    this.#file = absolute(file)
    this.#options = options
    this.#files = [this.#file]
    this.#reported = new Map()
    this.#follow(files, hash)
  }

  /**
   * After the configuration was read, for whatever reason: what it consists of now.
   *
   * @param files besides the file itself; those whose hash is not given are compared with what was reported
   * @param hash of the file itself, as it was read: that content is no news any more
   */
  update(files: FurtherFiles, hash?: string): void {
    this.#unsettled = undefined
    this.#follow(files, hash)
  }

  /** Nothing is called any more. */
  stop(): void {
    this.#stopped = true
    this.#next?.cancel()
    this.#next = undefined
    this.#directories.close()
  }

  #follow(files: FurtherFiles, hash: string | undefined): void {
    const read = [...files].map((file) => (typeof file === 'string' ? ([file] as const) : file))
    const known = new Map(this.#reported)
    for (const [file, ...found] of read) if (found.length > 0) known.set(absolute(file), found[0])
    if (hash !== undefined) known.set(this.#file, hash)
    this.#files = [this.#file, ...read.map(([file]) => absolute(file))]
    this.#reported = contentsOf(this.#files, known)
    this.#lookWithin(GATHER_MS)
  }

  /** A look that is due sooner stays as it is: events without an end must not put it off for ever. */
  #lookWithin(delayMs: number): void {
    if (this.#stopped) return
    const { clock } = this.#options
    const at = clock.now() + delayMs
    if (this.#next !== undefined && this.#next.at <= at) return
    this.#next?.cancel()
    this.#next = { at, cancel: clock.schedule(() => this.#look(), delayMs) }
  }

  #look(): void {
    this.#next = undefined
    this.#lookWithin(this.#options.pollMs ?? POLL_MS)
    this.#watchDirectories()
    // Hearing that something cannot be watched may have been the reason to stop.
    if (!this.#stopped) this.#compare()
  }

  #watchDirectories(): void {
    const { changed, fault } = this.#directories.watch(this.#files.flatMap(placesOf))
    // A link may have changed between being read and being watched.
    if (changed) this.#lookWithin(GATHER_MS)
    this.#blindLooks = fault === undefined ? 0 : this.#blindLooks + 1
    // A directory that has just gone cannot be watched either, and the next look knows of it.
    if (this.#blindLooks === 1) this.#lookWithin(GATHER_MS)
    if (this.#blindLooks === 2 && fault !== undefined) this.#options.onError(fault)
  }

  #compare(): void {
    const { clock, settleMs = SETTLE_MS, absenceMs = ABSENCE_MS } = this.#options
    const contents = contentsOf(this.#files)
    if (isSame(contents, this.#reported)) {
      this.#unsettled = undefined
      return
    }
    const now = clock.now()
    // Counted from what was found, not from events: when the process was held up, they come after the look.
    if (this.#unsettled === undefined || !isSame(contents, this.#unsettled.contents)) {
      this.#unsettled = { contents, sinceMs: now }
    }
    const isGone = this.#files.some(
      (file) => contents.get(file) === undefined && this.#reported.get(file) !== undefined,
    )
    const leftMs = this.#unsettled.sinceMs + (isGone ? absenceMs : settleMs) - now
    if (leftMs > 0) return this.#lookWithin(leftMs)
    this.#reported = contents
    this.#unsettled = undefined
    this.#options.onChange(contents.get(this.#file))
  }
}

/** Of a configuration that is a module only the file itself is watched: what it imports stays as it was loaded first. */
export function watchConfig(file: string, options: WatchOptions): ConfigWatch {
  return new ConfigWatch(file, options)
}

/** Not resolved: behind a link, `..` leads elsewhere than the text of the path says. */
function absolute(path: string): string {
  return isAbsolute(path) ? path : `${process.cwd()}${sep}${path}`
}

function contentsOf(files: readonly string[], known: Contents = new Map()): Contents {
  return new Map(files.map((file) => [file, known.has(file) ? known.get(file) : contentOf(file)]))
}

function contentOf(file: string): string | undefined {
  try {
    // A pipe could be waited for without an end.
    if (!statSync(file).isFile()) return undefined
    const content = readFileSync(file)
    return content.length === 0 ? undefined : hashOf(content)
  } catch {
    // Whoever loads it hears why.
    return undefined
  }
}

function isSame(one: Contents, other: Contents): boolean {
  return [...one].every(([file, content]) => other.get(file) === content)
}

/** An entry of a directory whose change can change what a path leads to. */
interface Place {
  readonly directory: string
  readonly name: string
}

/**
 * Follows a path step by step, as the system does: every symbolic link on the way, in the directory in which it really
 * is, and at its end the file, or the first part of the path that is missing.
 */
function placesOf(path: string): Place[] {
  const places: Place[] = []
  const steps: string[] = []
  let directory = ''
  const go = (to: string): void => {
    const root = isAbsolute(to) ? parse(to).root : ''
    if (root !== '') directory = root
    steps.unshift(...stepsOf(to.slice(root.length)))
  }
  go(path)
  let links = 0
  for (let name = steps.shift(); name !== undefined; name = steps.shift()) {
    const found = lookUp(join(directory, name))
    if (found === undefined || found.link !== undefined || steps.length === 0) places.push({ directory, name })
    if (found === undefined) break
    if (found.link === undefined) directory = join(directory, name)
    else if (links++ < MOST_LINKS) go(found.link)
    else break
  }
  return places
}

function stepsOf(path: string): string[] {
  return path.split(sep === '/' ? sep : /[\\/]/).filter((step) => step !== '' && step !== '.')
}

function lookUp(path: string): { readonly link: string | undefined } | undefined {
  try {
    return { link: lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined }
  } catch {
    // Missing, or hidden from us, which comes to the same.
    return undefined
  }
}

interface Watched {
  readonly watcher: FSWatcher
  /** Which directory it was that had the path then. */
  readonly identity: string | undefined
  names: ReadonlySet<string>
  /** Whether the directory itself has been moved or deleted, or the watch has failed. */
  isOver: boolean
}

/** Watches on directories, with the names in them that matter. */
class Directories {
  readonly #onEvent: () => void
  readonly #watched = new Map<string, Watched>()

  constructor(onEvent: () => void) {
    this.#onEvent = onEvent
  }

  /** @returns whether other directories are watched than before, and why one is not that should be */
  watch(places: readonly Place[]): { changed: boolean; fault: string | undefined } {
    const wanted = Map.groupBy(places, ({ directory }) => directory)
    let changed = false
    let fault: string | undefined
    for (const [directory, watched] of this.#watched) {
      if (wanted.has(directory) && !watched.isOver && identityOf(directory) === watched.identity) continue
      watched.watcher.close()
      this.#watched.delete(directory)
    }
    for (const [directory, inside] of wanted) {
      const names = new Set(inside.map(({ name }) => name))
      const watched = this.#watched.get(directory)
      if (watched !== undefined) {
        watched.names = names
        continue
      }
      const reason = this.#open(directory, names)
      if (reason === undefined) changed = true
      else fault ??= `cannot watch ${show(directory)}: ${reason}`
    }
    return { changed, fault }
  }

  close(): void {
    for (const { watcher } of this.#watched.values()) watcher.close()
    this.#watched.clear()
  }

  #open(directory: string, names: ReadonlySet<string>): string | undefined {
    try {
      const identity = identityOf(directory)
      // Not persistent: a gateway lives as long as it listens, and waiting for a change is no reason to stay.
      const watcher = watch(directory, { persistent: false })
      const watched: Watched = { watcher, identity, names, isOver: false }
      watcher.on('change', (type, name) => {
        // What happens to the directory itself comes with its own name.
        const isItself = name === basename(directory)
        if (isItself && type === 'rename') watched.isOver = true
        if (isItself || typeof name !== 'string' || watched.names.has(name)) this.#onEvent()
      })
      // No look at once: what fails again and again is tried with the next one.
      watcher.on('error', () => (watched.isOver = true))
      this.#watched.set(directory, watched)
      return undefined
    } catch (error) {
      return whyUnreadable(error)
    }
  }
}

/** `undefined` for one that is gone, or in a directory that lets nobody see it. */
function identityOf(directory: string): string | undefined {
  try {
    const { dev, ino } = statSync(directory, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
