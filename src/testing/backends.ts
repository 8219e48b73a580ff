/**
 * Backends, members and requests as the tests of the core need them.
 */
import type { RequestInfo } from '../core/algorithms/algorithm.ts'
import type { Backend } from '../core/backend.ts'
import { Member } from '../core/member.ts'

export function member(id: string, weight = 1): Member {
  return new Member(id, new URL('http://127.0.0.1:9000'), weight)
}

/** Members named A, B, C, ... with these weights. */
export function members(...weights: number[]): Member[] {
  return weights.map((weight, index) => member(String.fromCodePoint(65 + index), weight))
}

/** A frozen list with no more to it than an algorithm may see: what reads or writes anything else throws. */
export function candidates(weights: readonly number[], inFlight: readonly number[] = []): readonly Backend[] {
  return Object.freeze(weights.map((weight, index) => guarded(`backend-${index}`, weight, inFlight[index] ?? 0)))
}

function guarded(id: string, weight: number, inFlight: number): Backend {
  const url = new URL('http://127.0.0.1:9000')
  return new Proxy<Backend>(Object.freeze({ id, url, weight, inFlight, silentSince: undefined }), {
    get(backend, key) {
      if (key === 'id') return backend.id
      if (key === 'url') return backend.url
      if (key === 'weight') return backend.weight
      if (key === 'inFlight') return backend.inFlight
      if (key === 'silentSince') return backend.silentSince
      throw new Error(`An algorithm has no business with "${String(key)}" of a backend`)
    },
  })
}

/** The n-th of ever-different requests. */
export function request(n = 0): RequestInfo {
  const ip = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
  const header = (name: string): string | undefined => (name === 'x-user' ? `user-${n}` : undefined)
  return { method: 'GET', path: `/items/${n}`, query: `?n=${n}`, ip, header }
}
