/**
 * The algorithms that Sluice brings along, one line each.
 */
import { consistentHash } from './consistent-hash.ts'
import { leastConnections } from './least-connections.ts'
import { peakEwma } from './peak-ewma.ts'
import { powerOfTwo } from './power-of-two.ts'
import { random } from './random.ts'
import { AlgorithmRegistry } from './registry.ts'
import { roundRobin } from './round-robin.ts'
import { weightedRoundRobin } from './weighted-round-robin.ts'

/** A registry of its own for each gateway: what one registers is nothing to another in the same process. */
export function builtInAlgorithms(): AlgorithmRegistry {
  const registry = new AlgorithmRegistry()
  registry.register('round-robin', roundRobin)
  registry.register('weighted-round-robin', weightedRoundRobin)
  registry.register('random', random)
  registry.register('least-connections', leastConnections)
  registry.register('power-of-two', powerOfTwo)
  registry.register('peak-ewma', peakEwma)
  registry.register(
    'consistent-hash',
    consistentHash((name, options, deps) => registry.create(name, options, deps)),
  )
  return registry
}
