/**
 * Text of others in the log. JSON keeps it in its place whatever it holds, but leaves some characters as they are that
 * a terminal obeys or an editor takes for the end of a line (CWE-117).
 */

// DEL, the C1 control characters (of which U+009B begins a command to a terminal), and the two line ends of Unicode.
// oxlint-disable-next-line no-control-regex
const LEFT_BY_JSON = /[\x7f-\x9f\u2028\u2029]/
const ALL_LEFT_BY_JSON = new RegExp(LEFT_BY_JSON, 'g')
/** Visible ASCII that stands in JSON for itself. */
const PLAIN = /^[ !#-[\]-~]*$/
/** An escape of JSON: `\n` and `\t` may stand, they are of our own stack traces. */
const ESCAPE = /\\(?:u([0-9a-f]{4})|(.))/gi

/** As a string of JSON. */
export function quote(text: string): string {
  return `"${escaped(text)}"`
}

/** As it stands between the quotation marks of a string of JSON. */
export function escaped(text: string): string {
  return PLAIN.test(text) ? text : escapeControls(JSON.stringify(text).slice(1, -1))
}

/** The path of a target as it came, without the query, and the names and passwords that an absolute form may hold. */
export function pathIn(url: string): string {
  return (url.split('?', 1)[0] ?? '').replace(/\/\/[^/]*@/, '//')
}

/** JSON as it was, with escapes for all control characters. */
export function escapeControls(json: string): string {
  return LEFT_BY_JSON.test(json) ? json.replace(ALL_LEFT_BY_JSON, (character) => `\\u${codeOf(character)}`) : json
}

/** JSON whose strings, once read, show the escapes of control characters instead of having them. */
export function showControls(json: string): string {
  if (!json.includes('\\') && !LEFT_BY_JSON.test(json)) return json
  return escapeControls(json).replace(ESCAPE, (escape, code: string | undefined, short: string | undefined) => {
    if (code !== undefined) return isControl(Number.parseInt(code, 16)) ? `\\${escape}` : escape
    return short === 'b' || short === 'f' || short === 'r' ? `\\${escape}` : escape
  })
}

function isControl(code: number): boolean {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code === 0x2028 || code === 0x2029
}

function codeOf(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(4, '0')
}
