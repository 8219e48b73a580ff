/**
 * The configuration in force, and how another one takes its place: all of it or nothing, one after the other, with the
 * ones before kept to go back to.
 */
import { differenceOf, isEmpty, keysThatNeedRestart, type Difference } from './difference.ts'
import { ConfigError, formatProblem, oneLine } from './problem.ts'
import type { Settings } from './settings.ts'

/** A configuration that was read and found right. */
export interface Candidate {
  readonly settings: Settings
  readonly hash: string
}

export interface InForce extends Candidate {
  readonly loadedAt: Date
}

export interface LastReload {
  readonly ok: boolean
  readonly at: Date
  /** Every problem, one a line; undefined when there was none. */
  readonly error: string | undefined
}

/** What was to be put in force is no longer wanted: nobody has made a mistake. */
export class Withdrawn extends Error {}

export interface ConfigurationOptions {
  /** Builds what the settings ask for, without effect; what it returns puts it in force, and cannot fail. */
  readonly prepare: (settings: Settings, before: Settings) => () => void
  readonly onApplied: (change: Applied) => void
  readonly onRefused: (by: string, problems: ConfigError) => void
}

export interface Applied {
  /** Who asked for it: a signal, a call, the file itself. */
  readonly by: string
  readonly from: InForce
  readonly to: InForce
  readonly difference: Difference
  /** With reading and checking, without waiting for its turn. */
  readonly tookMs: number
}

export class Configuration {
  #inForce: InForce
  #lastReload: LastReload
  /** Those before, the latest last. */
  readonly #before: InForce[] = []
  readonly #options: ConfigurationOptions
  #queue: Promise<unknown> = Promise.resolve()
  /** Reads it again from where it came from; undefined where it came from nowhere. */
  read: (() => Promise<Candidate>) | undefined

  constructor(first: Candidate, options: ConfigurationOptions) {
    this.#inForce = { ...first, loadedAt: new Date() }
    this.#lastReload = { ok: true, at: this.#inForce.loadedAt, error: undefined }
    this.#options = options
  }

  get inForce(): InForce {
    return this.#inForce
  }

  get lastReload(): LastReload {
    return this.#lastReload
  }

  /** Those that one can roll back to, the latest last. */
  get before(): readonly InForce[] {
    return this.#before
  }

  /**
   * Reads it again. Calls queue up: each sees what the one before has done.
   *
   * @throws {ConfigError} when it cannot take effect; then nothing has changed
   */
  reload(by: string): Promise<Difference> {
    const { read } = this
    if (read === undefined) throw new Error('this gateway was not configured by a file')
    return this.replace(by, read)
  }

  /**
   * Puts what `make` gives in the place of what is in force, when its turn has come.
   *
   * @throws {ConfigError} when it cannot take effect; then nothing has changed
   */
  replace(by: string, make: () => Candidate | Promise<Candidate>): Promise<Difference> {
    const turn = this.#queue.then(async () => {
      const startedAt = performance.now()
      try {
        return this.#apply(by, await make(), startedAt)
      } catch (error) {
        if (!(error instanceof Withdrawn)) this.#refuse(by, error)
        throw error
      }
    })
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  /**
   * Goes back to the one before.
   *
   * @param left what is to be left: nothing else is, if it is given
   * @throws {ConfigError} when there is none, or it can no longer be built
   */
  rollback(by: string, left?: InForce): Promise<Difference> {
    return this.replace(by, () => {
      const back = this.#before.at(-1)
      if (back === undefined) throw noRollback('there is no configuration before')
      if (left !== undefined && left !== this.#inForce) throw noRollback('another configuration is in force by now')
      return back
    })
  }

  /** What would change. */
  differenceTo({ settings }: Candidate): Difference {
    return differenceOf(this.#inForce.settings, settings)
  }

  #apply(by: string, candidate: Candidate, startedAt: number): Difference {
    const { settings, hash } = candidate
    const from = this.#inForce
    const difference = differenceOf(from.settings, settings)
    const fixed = keysThatNeedRestart(difference)
    if (fixed.length > 0) {
      throw new ConfigError(
        fixed.map((path) => ({ path, message: 'cannot change while the gateway runs; restart it to change this' })),
      )
    }
    this.#options.prepare(settings, from.settings)()
    const to: InForce = { settings, hash, loadedAt: new Date() }
    this.#inForce = to
    this.#lastReload = { ok: true, at: to.loadedAt, error: undefined }
    // What one goes back from is no place to go back to.
    if (candidate === this.#before.at(-1)) this.#before.pop()
    else if (!isEmpty(difference)) this.#before.push(from)
    this.#before.splice(0, this.#before.length - settings.reload.keep)
    this.#options.onApplied({ by, from, to, difference, tookMs: performance.now() - startedAt })
    return difference
  }

  #refuse(by: string, error: unknown): void {
    const problems =
      error instanceof ConfigError ? error : new ConfigError([{ path: '', message: oneLine(String(error)) }])
    const lines = problems.problems.slice(0, MOST_TOLD).map(formatProblem)
    const more = problems.problems.length - lines.length
    if (more > 0) lines.push(`and ${more} more`)
    this.#lastReload = { ok: false, at: new Date(), error: lines.join('\n') }
    this.#options.onRefused(by, problems)
  }
}

/** Of the mistakes of the last one: they are told again and again, and a file may have thousands. */
const MOST_TOLD = 100

function noRollback(message: string): ConfigError {
  return new ConfigError([{ path: 'rollback', message }])
}
