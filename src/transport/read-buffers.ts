/**
 * Buffers that connections read large answers into. They go round: who writes one to a client gives it back when the
 * system has taken it. A fresh one for each read costs as much as everything else that is done for it, in memory that has
 * to be mapped and in garbage.
 */

/** As much as is read at once: an answer of 64 KiB with its head, for which another read and write cost a fifth. */
export const READ_SIZE = 131_072
/** What downloads at work need at a time; what is more is left to the collector. */
const KEPT = 32

const free: ReadBuffer[] = []

export class ReadBuffer {
  readonly bytes = Buffer.allocUnsafeSlow(READ_SIZE)
  #taken = true

  /** One that nobody uses. */
  static take(): ReadBuffer {
    const buffer = free.pop() ?? new ReadBuffer()
    buffer.#taken = true
    return buffer
  }

  /** Nobody uses it any more; a field, since it is handed around. */
  readonly release = (): void => {
    if (!this.#taken) return
    this.#taken = false
    if (free.length < KEPT) free.push(this)
  }
}
