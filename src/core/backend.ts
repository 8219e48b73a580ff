/**
 * A server that requests can go to, as an algorithm and an operator see it. No health, no business logic: it neither
 * probes nor forwards.
 */
export interface Backend {
  /** Unique in its pool; `host:port` unless the configuration names it. */
  readonly id: string
  readonly url: URL
  /** The share of traffic it should get, relative to the others; 0 means none. */
  readonly weight: number
  /** Attempts under way: from the moment it is picked until the answer's last byte, a failure or a tunnel's end. */
  readonly inFlight: number
  /**
   * Since when, on the clock of the pool, requests that were sent wait for an answer and no good one has come; undefined
   * while nothing waits.
   */
  readonly silentSince?: number | undefined
}
