/**
 * How much the admin listener does at once. It shares processor and memory with the traffic, which goes first: calls
 * beyond the limits are refused at once and never wait.
 */
import type { IncomingMessage } from 'node:http'

/** The largest body of a call, but for a configuration. */
export const CALL_BYTES = 1024 ** 2
/** The largest configuration, for the route that takes one: ten thousand routes take about two of these sixteen MiB. */
export const CONFIGURATION_BYTES = 16 * 1024 ** 2

/** Under way at once. */
const CALLS = 64
/** Of these, answers that last as long as their client likes: whoever must act finds room beside those who watch. */
const STREAMS = 32
/** The bodies of all of them together: they are in memory until the call has ended. */
const BODY_BYTES = 64 * 1024 ** 2

export class Calls {
  #calls = 0
  #streams = 0
  #bytes = 0

  /**
   * @param limit the largest body that its route takes
   * @returns how to leave again; undefined when there is no room
   */
  enter(raw: Pick<IncomingMessage, 'headers'>, limit: number): (() => void) | undefined {
    const streams = raw.headers.accept?.includes('text/event-stream') === true ? 1 : 0
    const bytes = mostBytes(raw, limit)
    const full = this.#calls + 1 > CALLS || (streams > 0 && this.#streams + 1 > STREAMS)
    if (full || (bytes > 0 && this.#bytes + bytes > BODY_BYTES)) return undefined
    this.#add(1, streams, bytes)
    return () => this.#add(-1, -streams, -bytes)
  }

  #add(calls: number, streams: number, bytes: number): void {
    this.#calls += calls
    this.#streams += streams
    this.#bytes += bytes
  }
}

/** Larger bodies than the limit are refused before they are read. */
function mostBytes({ headers }: Pick<IncomingMessage, 'headers'>, limit: number): number {
  return headers['transfer-encoding'] === undefined ? Math.min(Number(headers['content-length'] ?? 0), limit) : limit
}
