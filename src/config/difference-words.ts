/**
 * A difference in words, for whoever is about to make the change: one line for each.
 */
import { type Change, type Difference, type KeyChange, type RouteName, routeText, type Shadow } from './difference.ts'
import { listing } from './nearest.ts'
import { oneLine, show } from './problem.ts'
import { HIDDEN, type Written } from './written.ts'

/** @returns no lines when nothing would change */
export function inWords({ pools, backends, routes, shadowed, keys }: Difference): readonly string[] {
  const lines = [
    ...pools.flatMap(({ pool, ...rest }) => linesOf(`pool ${word(pool)}`, rest)),
    ...backends.flatMap(({ pool, id, ...rest }) => linesOf(`backend ${word(id)} of pool ${word(pool)}`, rest)),
    ...routes.flatMap(({ route, ...rest }) => linesOf(`route ${routeText(route)}`, rest)),
    ...shadowed.map(shadowLine),
    ...keys.map((key) => `${keyLine(key)}${key.restart ? ' (needs a restart)' : ''}`),
  ]
  return lines.map(oneLine)
}

interface Changed {
  readonly change: Change
  readonly keys: readonly KeyChange[]
}

function linesOf(what: string, { change, keys }: Changed): readonly string[] {
  if (change === 'changed') return keys.map((key) => `${what}: ${keyLine(key)}`)
  const details = keys.map(({ key, from, to = from }) => `${key} ${to === undefined ? '' : valueText(to)}`.trimEnd())
  return [`${what}: ${change} (${details.join(', ')})`]
}

function keyLine({ key, from, to }: KeyChange): string {
  if (from === undefined) return `${key}: set ${to === undefined || to === HIDDEN ? HIDDEN : `to ${valueText(to)}`}`
  if (to === undefined) return `${key}: no longer set ${from === HIDDEN ? HIDDEN : `(was ${valueText(from)})`}`
  // A secret, or two functions: they look the same from here.
  const [before, after] = [valueText(from), valueText(to)]
  return before === after ? `${key}: changed ${HIDDEN}` : `${key}: from ${before} to ${after}`
}

function shadowLine({ route, methods, to }: Shadow): string {
  const others = listing(to.map((other: RouteName) => `"${routeText(other)}"`))
  return `route ${routeText(route)}: no longer reached by ${listing(methods)} requests, which go to ${others}`
}

function valueText(value: Written): string {
  if (typeof value === 'string') return value === HIDDEN ? HIDDEN : word(value)
  if (isList(value)) return `[${listing(value.map(valueText))}]`
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value).map(([key, item]) => `${key}: ${valueText(item)}`)
  return entries.length === 0 ? '{}' : `{ ${listing(entries)} }`
}

/** `Array.isArray` does not know that a list may be readonly. */
function isList(value: Written): value is readonly Written[] {
  return Array.isArray(value)
}

/** In quotes unless it reads as one word. */
function word(text: string): string {
  return /^[\w./:@%*+[\]-]+$/.test(text) && text.length <= 60 ? text : show(text)
}
