/**
 * Time and chance as arguments: nothing in `src/core` reads a clock, sets a timer or draws a number except through
 * these, so that every behaviour in it can be tested in virtual time and with a seeded generator.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes backwards, whatever happens to the date of the machine. */
  now(): number
  /** Runs `fn` once after `delayMs`; the returned function cancels it and may be called at any time. */
  schedule(fn: () => void, delayMs: number): () => void
}

/** A uniform draw from [0, 1). */
export type Random = () => number
