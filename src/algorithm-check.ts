/**
 * What the check of a configuration may know of algorithms: it is told, because it does not know the core.
 */
import type { AlgorithmCheck } from './config/algorithms.ts'
import { builtInAlgorithms } from './core/algorithms/built-in.ts'
import type { AlgorithmRegistry } from './core/algorithms/registry.ts'

/** Made and thrown away: the factory of an algorithm alone knows which of its options make sense. */
export function algorithmCheck(registry: AlgorithmRegistry = builtInAlgorithms()): AlgorithmCheck {
  const deps = { clock: { now: () => 0, schedule: () => () => undefined }, random: () => 0 }
  return {
    names: registry.names(),
    whyNot(name, options) {
      try {
        registry.create(name, options, deps)
        return undefined
      } catch (error) {
        const reason = error instanceof Error ? error.cause : undefined
        return reason instanceof Error ? reason.message : String(error)
      }
    },
  }
}
