/**
 * The algorithms that a configuration can name: the built-in ones and those that users register. Adding one is a file
 * and one registration; nothing here or elsewhere has to know what exists.
 */
import { nearest } from '../nearest.ts'
import type { Algorithm, AlgorithmDependencies, AlgorithmFactory } from './algorithm.ts'

/** What a name may look like: lower-case words joined by single hyphens, so that it reads the same in every file. */
const KEBAB_CASE = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/

export class AlgorithmRegistry {
  readonly #factories = new Map<string, AlgorithmFactory<never>>()

  /** Refuses a name that is taken: two plugins which both claim it should not decide by their order. */
  register<Options>(name: string, factory: AlgorithmFactory<Options>): void {
    if (!KEBAB_CASE.test(name)) {
      throw new Error(
        `Algorithm name "${name}" is not a lower-case word or words joined by hyphens, such as "least-load"`,
      )
    }
    if (this.#factories.has(name)) throw new Error(`Algorithm "${name}" is already registered`)
    this.#factories.set(name, factory)
  }

  /** In order of registration, which puts the built-in ones first. */
  names(): string[] {
    return [...this.#factories.keys()]
  }

  /** The options go to the factory as they are, from the user's file: it alone knows, and checks, what makes sense. */
  create(name: string, options: unknown, deps: AlgorithmDependencies): Algorithm {
    const factory = this.#factories.get(name)
    if (factory === undefined) throw new Error(this.#unknown(name))
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked by the factory, see above
      const algorithm = factory(options as never, deps)
      // A user's own factory may be plain JavaScript: better refused here than at every pick.
      if (typeof algorithm?.pick !== 'function') throw new TypeError('its factory returned nothing that can pick')
      return algorithm
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new Error(`Algorithm "${name}" cannot be made: ${why}`, { cause: error })
    }
  }

  #unknown(name: string): string {
    const names = this.names()
    const near = nearest(name, names)
    const suggestion = near === undefined ? '' : ` Did you mean "${near}"?`
    return `Unknown algorithm "${name}".${suggestion} Known: ${names.length === 0 ? 'none' : names.join(', ')}`
  }
}
