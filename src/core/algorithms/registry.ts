/**
 * The algorithms that a configuration can name: the built-in ones and those that users register. Adding one is a file
 * and one registration; nothing here or elsewhere has to know what exists.
 */
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

/** The name closest to `word`, if it is close enough to be a slip of the fingers: at most a third of it is wrong. */
function nearest(word: string, names: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const name of names) {
    const distance = editDistance(word.toLowerCase(), name)
    if (distance >= bestDistance) continue
    best = name
    bestDistance = distance
  }
  return best
}

/** Levenshtein's distance, by the two-row dynamic programme of Wagner and Fischer (1974). */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const swap = at(previous, column - 1) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(swap, at(previous, column) + 1, at(current, column - 1) + 1))
    }
    previous = current
  }
  return at(previous, b.length)
}

function at(numbers: readonly number[], index: number): number {
  return numbers[index] ?? Infinity
}
