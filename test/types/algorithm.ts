/**
 * What an algorithm cannot do: `tsc` is the test, since an expected error that does not come is an error.
 */
import type { Algorithm, AlgorithmFactory } from '../../src/core/algorithms/algorithm.ts'
import { AlgorithmRegistry } from '../../src/core/algorithms/registry.ts'
import type { Backend } from '../../src/core/backend.ts'
import type { Lease } from '../../src/core/lease.ts'
import { Member } from '../../src/core/member.ts'

function first<T>(list: readonly T[]): T {
  const [item] = list
  if (item === undefined) throw new Error('empty')
  return item
}

export const fits: Algorithm = { pick: (candidates) => first(candidates) }

export const readsTheRequest: Algorithm = {
  pick: (candidates, request) => first(request.header('x-user') === undefined ? candidates : candidates.slice(1)),
}

export const readsHealth: Algorithm = {
  // @ts-expect-error -- a candidate has no health
  pick: (candidates) => first(candidates.filter((candidate) => candidate.healthy)),
}

export const readsAvailability: Algorithm = {
  // @ts-expect-error -- nor a state
  pick: (candidates) => first(candidates.filter((candidate) => candidate.state === 'closed')),
}

const invented: Backend = new Member('x', new URL('http://127.0.0.1:1'))

export const inventsABackend: Algorithm = {
  // @ts-expect-error -- only what comes in can go out
  pick: () => invented,
}

export const copiesABackend: Algorithm = {
  // @ts-expect-error -- a copy is not one of the candidates
  pick: (candidates) => ({ ...first<Backend>(candidates), weight: 2 }),
}

export const picksNothing: Algorithm = {
  // @ts-expect-error -- an algorithm must pick
  pick: () => undefined,
}

export const picksPerhaps: Algorithm = {
  // @ts-expect-error -- `candidates[0]` may be undefined as far as the types know
  pick: (candidates) => candidates[0],
}

export const picksLater: Algorithm = {
  // @ts-expect-error -- picking does not wait
  pick: async (candidates) => first(candidates),
}

export const changesABackend: Algorithm = {
  pick: (candidates) => {
    const picked = first(candidates)
    // @ts-expect-error -- in-flight is counted by whoever uses the connection
    picked.inFlight += 1
    return picked
  },
}

export const reordersTheList: Algorithm = {
  // @ts-expect-error -- the list belongs to the pool
  pick: (candidates) => first(candidates.sort()),
}

export const ofOptions: AlgorithmFactory<{ readonly key: string }> = (options) => {
  // @ts-expect-error -- an option that is not declared
  const missing: unknown = options.kye
  return { pick: (candidates) => first(missing === options.key ? candidates : [...candidates]) }
}

new AlgorithmRegistry().register('mine', ofOptions)
// @ts-expect-error -- a factory makes an algorithm
new AlgorithmRegistry().register('none', () => 1)

export function misuses(lease: Lease): void {
  // @ts-expect-error -- there are three verdicts
  lease.settle('perhaps', 1)
  // @ts-expect-error -- and four endings
  lease.release('done')
  // @ts-expect-error -- a lease is on one member for good
  lease.member = new Member('y', new URL('http://127.0.0.1:1'))
}
