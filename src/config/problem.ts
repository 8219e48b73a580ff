/**
 * What is wrong with a configuration, where, and how it is said: one line a problem, in plain words.
 */
export type Path = ReadonlyArray<string | number>

export interface Problem {
  /** As the user typed it; `undefined` for a configuration that did not come from a file. */
  readonly file?: string
  readonly line?: number
  readonly column?: number
  /** `pools.web.backends[1].url`; '' for the configuration as a whole. */
  readonly path: string
  readonly message: string
}

/** The only error that reading a configuration ends in. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'SLUICE_CONFIG'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.problems = problems
  }
}

/** `FILE:LINE:COLUMN: KEY.PATH: message`, leaving out what is not known. Always one line. */
export function formatProblem(problem: Problem): string {
  const where = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':')
  const whole = problem.line === undefined ? '' : '(root)'
  const parts = [where, problem.path === '' ? whole : problem.path, problem.message]
  return oneLine(parts.filter((part) => part !== '').join(': '))
}

export function formatPath(path: Path): string {
  const steps = path.map((step) => {
    if (typeof step === 'number') return `[${step}]`
    return /^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
  })
  return steps.join('').replace(/^\./, '')
}

/** A value as it appears in a message. Long ones are cut: the position says where the rest is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  const isSimple = typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint'
  return isSimple ? String(value) : kind(value)
}

/** The same without the value itself, for what must not appear in a log. */
export function kind(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'no keys' : 'keys and values'
  return typeof value === 'string' ? 'text' : `a ${typeof value}`
}

/** Keys and values come from outside: none of them may break a line or steer a terminal. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
