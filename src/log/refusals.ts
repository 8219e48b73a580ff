/**
 * A log of refusals that no flood of them can fill a disk with: the first at once, those of each second after it as one
 * line, until a second brings none.
 */
import type { FastifyBaseLogger } from 'fastify'

const EVERY_MS = 1000

interface Burst {
  count: number
  latest: object
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

  #gather(message: string): void {
    const burst: Burst = { count: 0, latest: {} }
    this.#bursts.set(message, burst)
    setTimeout(() => {
      this.#bursts.delete(message)
      if (burst.count === 0) return
      this.#log[this.#level]({ ...burst.latest, count: burst.count }, `${message}, repeatedly; this is the latest`)
      this.#gather(message)
    }, EVERY_MS).unref()
  }
}
