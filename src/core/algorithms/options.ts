/**
 * The checks of options that algorithms share: an option which is silently dropped looks as if it worked.
 */

/** The options by name, when every name is one of `known`. */
export function readOptions(options: unknown, known: readonly string[]): ReadonlyMap<string, unknown> {
  if (options === undefined || options === null) return new Map()
  if (typeof options !== 'object' || Array.isArray(options)) throw new TypeError('its options must be an object')
  const read = new Map<string, unknown>(Object.entries(options))
  const unknown = [...read.keys()].filter((name) => !known.includes(name))
  if (unknown.length === 0) return read
  const takes = known.length === 0 ? 'no options' : `only ${known.join(', ')}`
  throw new Error(`it takes ${takes}, but was given ${unknown.join(', ')}`)
}

/** For algorithms without options. */
export function refuseOptions(options: unknown): void {
  readOptions(options, [])
}
