/**
 * What the explanations of several algorithms have in common.
 */
import type { Backend } from '../backend.ts'

/** Who has no weight is never picked, and has no score. */
export function scoresOf<B extends Backend>(
  candidates: readonly B[],
  scoreOf: (backend: B, index: number) => number,
): ReadonlyMap<B, number> {
  const scores = new Map<B, number>()
  for (const [index, backend] of candidates.entries()) {
    if (backend.weight > 0) scores.set(backend, scoreOf(backend, index))
  }
  return scores
}

/** Of candidates that only one of can be picked, that one: then chance has no choice. */
export function onlyOneOf<B extends Backend>(candidates: readonly B[]): B | undefined {
  const [first, ...others] = candidates.filter(({ weight }) => weight > 0)
  return others.length === 0 ? first : undefined
}

/**
 * Whom the better of two draws is, whatever is drawn: of two candidates both are drawn, and only their order is chance,
 * which decides when neither is better.
 */
export function betterOfTwo<B extends Backend>(
  candidates: readonly B[],
  isBetter: (one: B, other: B) => boolean,
): B | undefined {
  const [first, second, ...others] = candidates.filter(({ weight }) => weight > 0)
  if (first === undefined || second === undefined) return first
  if (others.length > 0) return undefined
  if (isBetter(first, second)) return first
  return isBetter(second, first) ? second : undefined
}

export const FAILED_NOTE = 'sits out turns, since requests to it failed'
