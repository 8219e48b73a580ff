/**
 * "Did you mean ...?" and "expected one of ...": the words around a name that is not known.
 */
export { nearest } from '../core/nearest.ts'

/** `a, b, c and 12 more`: a list that stays readable however long it is. */
export function listing(words: Iterable<string>, most = 12): string {
  const all = [...words]
  const shown = all.slice(0, most).join(', ')
  return all.length > most ? `${shown} and ${all.length - most} more` : shown
}
