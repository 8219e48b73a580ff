/**
 * A log of refusals that no flood of them can fill a disk with: the first at once, those of each second after it as one
 * line, until a second brings none.
 */
import type { FastifyBaseLogger } from 'fastify'

const EVERY_MS = 1000

interface Burst {
  count: number
  latest: object
  readonly timer: NodeJS.Timeout
}

export class Refusals {
  readonly #log: FastifyBaseLogger
  readonly #level: 'info' | 'warn'
  readonly #bursts = new Map<string, Burst>()

  constructor(log: FastifyBaseLogger, level: 'info' | 'warn') {
    this.#log = log
    this.#level = level
  }

  /** @param message what has happened, in words that are few and fixed */
  add(message: string, entry: object): void {
    const burst = this.#bursts.get(message)
    if (burst === undefined) {
      this.#log[this.#level](entry, message)
      this.#gather(message)
    } else {
      burst.count++
      burst.latest = entry
    }
  }

  /** Tells what has not been told yet. */
  stop(): void {
    for (const message of this.#bursts.keys()) this.#tell(message)
  }

  #gather(message: string): void {
    const timer = setTimeout(() => {
      if (this.#tell(message)) this.#gather(message)
    }, EVERY_MS).unref()
    this.#bursts.set(message, { count: 0, latest: {}, timer })
  }

  /** @returns whether there was anything to tell */
  #tell(message: string): boolean {
    const burst = this.#bursts.get(message)
    this.#bursts.delete(message)
    clearTimeout(burst?.timer)
    if (burst === undefined || burst.count === 0) return false
    this.#log[this.#level]({ ...burst.latest, count: burst.count }, `${message}, repeatedly; this is the latest`)
    return true
  }
}
