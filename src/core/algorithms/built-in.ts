/**
 * The algorithms that Sluice brings along, one line each.
 */
import { AlgorithmRegistry } from './registry.ts'
import { roundRobin } from './round-robin.ts'
import { weightedRoundRobin } from './weighted-round-robin.ts'

/** A registry of its own for each gateway: what one registers is nothing to another in the same process. */
export function builtInAlgorithms(): AlgorithmRegistry {
  const registry = new AlgorithmRegistry()
  registry.register('round-robin', roundRobin)
  registry.register('weighted-round-robin', weightedRoundRobin)
  return registry
}
