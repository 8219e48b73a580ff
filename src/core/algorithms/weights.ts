/**
 * The weights of a candidate list, checked and in a form that is quick to read.
 */
import type { Backend } from '../backend.ts'

/** By position in the list. The pool refuses such weights too; an algorithm may be used without a pool. */
export function weightsOf(candidates: readonly Backend[]): Float64Array<ArrayBuffer> {
  const weights = Float64Array.from(candidates, (backend) => backend.weight)
  for (const weight of weights) {
    if (!Number.isFinite(weight) || weight < 0)
      throw new RangeError(`A weight must be a finite number from 0 up, not ${weight}`)
  }
  return weights
}

/** @throws {RangeError} when there is none, so that nobody could be picked */
export function sumOf(weights: Float64Array): number {
  let total = 0
  for (const weight of weights) total += weight
  if (weights.length === 0) throw new RangeError('There is no candidate to pick from')
  if (total === 0) throw new RangeError('Every weight is 0: there is no candidate to pick from')
  return total
}
