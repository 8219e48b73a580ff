/**
 * The connections to backends that are gone, until they have ended what they have, or their time is over.
 */
import type { Clock } from '../core/clock.ts'
import type { Connections } from './connections.ts'

export class Retiring {
  /** How long they may take, in milliseconds. */
  drainMs = 0
  readonly #clock: Clock
  readonly #cancels = new Map<Connections, () => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(connections: Connections, whose: 'backend' | 'pool'): void {
    const late = (): void => {
      connections.destroy('its backend was taken out, and its time to end is over')
      this.#forget(connections)
    }
    this.#cancels.set(connections, this.#clock.schedule(late, this.drainMs))
    // A pool that is gone has none left to turn to: its requests may come back to these.
    connections.retire(whose === 'pool' ? undefined : () => this.#forget(connections))
  }

  /** All that is left ends now. */
  cut(reason: string): void {
    for (const connections of this.#cancels.keys()) connections.destroy(reason)
  }

  #forget(connections: Connections): void {
    this.#cancels.get(connections)?.()
    this.#cancels.delete(connections)
  }
}
