/**
 * The check that algorithms without options share: an option which is silently dropped looks as if it worked.
 */
export function refuseOptions(options: unknown): void {
  if (options === undefined || options === null) return
  if (typeof options !== 'object') throw new TypeError('its options must be an object')
  const names = Object.keys(options)
  if (names.length > 0) throw new Error(`it takes no options, but was given ${names.join(', ')}`)
}
