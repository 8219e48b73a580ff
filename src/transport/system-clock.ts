/**
 * The clock of the machine, for everything in `src/core`. Its timers do not keep the process alive.
 */
import type { Clock } from '../core/clock.ts'

export const systemClock: Clock = {
  now: () => performance.now(),
  schedule: (fn, delayMs) => {
    const timer = setTimeout(fn, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
