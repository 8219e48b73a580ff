/**
 * Which route takes a request, for whoever asks: the data path, and those who want to know beforehand.
 */
import type { Route, Snapshot } from '../plugins/snapshot.ts'
import { routable, SERVER_WIDE, type Target } from '../src/transport/target.ts'

/** @param host the value of the Host field; an authority in the target goes before it */
export function findRoute(
  snapshot: Snapshot,
  method: string,
  host: string | undefined,
  { path, authority }: Pick<Target, 'path' | 'authority'>,
): Route | undefined {
  return snapshot.find(method, authority ?? host, path === SERVER_WIDE ? '/' : routable(path))
}
