/**
 * `${NAME}` and `${NAME:-default}` in the strings of a configuration. Only in values that were already read, never in
 * the text of a file: so a variable cannot bring keys, lists or comments of its own along.
 */
export type Environment = Readonly<Record<string, string | undefined>>

export interface Substituted {
  readonly text: string
  /** Whether the string was one substitution and nothing else; it may then stand for a number or a boolean. */
  readonly whole: boolean
  readonly errors: readonly string[]
}

export function substitute(text: string, env: Environment): Substituted {
  if (!text.includes('${')) return { text, whole: false, errors: [] }
  const errors: string[] = []
  // `$${` is an escaped `${`. An opening without its end swallows the rest, and is reported.
  const result = text.replaceAll(/(\$?)\$\{([^}]*)(\}?)/g, (match, escaped: string, inner: string, end: string) => {
    if (escaped !== '') return match.slice(1)
    const value = end === '' ? malformed(`\${${inner}`) : read(inner, env)
    if (typeof value === 'string') return value
    errors.push(value.error)
    return ''
  })
  return { text: result, whole: /^\$\{[^}]*\}$/.test(text), errors }
}

function read(inner: string, env: Environment): string | { error: string } {
  const parts = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner)
  const name = parts?.[1]
  if (name === undefined || inner.includes('${')) return malformed(`\${${inner}}`)
  const value = Object.hasOwn(env, name) ? env[name] : undefined
  const byDefault = parts?.[2]
  // As in a shell, `:-` also stands in for a variable that is set to nothing.
  if (byDefault !== undefined) return value === undefined || value === '' ? byDefault : value
  if (value !== undefined) return value
  return { error: `the environment variable ${name} is not set; set it, or give a default as in \${${name}:-default}` }
}

function malformed(text: string): { error: string } {
  const shown = JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
  return { error: `expected \${NAME} or \${NAME:-default}, got ${shown}; write $\${ for the characters themselves` }
}
