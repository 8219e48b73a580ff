/**
 * Who has least in flight for its weight: what the two ways to know it have in common (least-scan.ts, least-index.ts).
 */
import type { Backend } from '../backend.ts'
import type { Random } from '../clock.ts'
import type { FailedTurns } from './failed-turns.ts'
import type { Pace } from './pace.ts'

export interface LeastOrder {
  /** The sum of weights. */
  readonly total: number
  /** The position of whoever has least; it takes its turn among its equals. */
  next(): number
  /** It has less in flight than before, or has become slow, or sits out. */
  changed(backend: Backend): void
}

/** The picks to come, for whoever only wants to look at them. */
export interface LeastAhead {
  /** Who of equals, at these positions, would have its turn; it then has had it. Undefined where that will be drawn. */
  next(tied: readonly number[]): number | undefined
}

/** What there is to know of backends besides their load. */
export interface Standings {
  readonly pace: Pace
  readonly failed: FailedTurns
  readonly random: Random
}
