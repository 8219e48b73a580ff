/**
 * The size of a run: how much there is of everything. Far from what the machine can do, because the subject is what a
 * proxy does with backends that misbehave, and not how fast it is.
 */
export interface Plan {
  readonly seed: number
  readonly backends: number
  /** How many requests a backend works on at once; the others queue behind them. */
  readonly slots: number
  /** The mean of the exponential service times. */
  readonly serviceMs: number
  readonly ratePerSecond: number
  /** Load that is not counted, before that which is: caches and compilers get warm, connections are made. */
  readonly warmupMs: number
  readonly loadMs: number
  /** How long a client waits; then it leaves, and has failed. */
  readonly clientTimeoutMs: number
  /** Who waits longer than this has waited out a timeout: no backend is that slow by itself. */
  readonly waitedMs: number
}

/** Five backends of 4 slots and 20 ms can answer 1000 requests a second; 600 are asked of them. */
export const FULL: Plan = {
  seed: 1,
  backends: 5,
  slots: 4,
  serviceMs: 20,
  ratePerSecond: 600,
  warmupMs: 1_500,
  loadMs: 14_000,
  clientTimeoutMs: 20_000,
  waitedMs: 10_000,
}

/** Shows that everything works; too short to show how well. */
export const QUICK: Plan = { ...FULL, warmupMs: 500, loadMs: 2_500, clientTimeoutMs: 4_000, waitedMs: 2_000 }
