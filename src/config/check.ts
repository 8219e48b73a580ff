/**
 * Judges a configuration as a whole: either it becomes settings, or every problem in it is named, in the order of the
 * file.
 */
import { type AlgorithmCheck, judgeAlgorithms } from './algorithms.ts'
import { complete } from './complete.ts'
import type { Environment } from './environment.ts'
import { judge } from './meaning.ts'
import { readObject } from './object.ts'
import { type FileHashes, PemReader } from './pem.ts'
import type { Path, Problem } from './problem.ts'
import { Findings, record } from './raw.ts'
import type { Settings } from './settings.ts'
import { type Finding, type Source, toProblems } from './source.ts'
import { coerce, validate } from './validate.ts'

export { ConfigError, formatProblem, type Problem } from './problem.ts'

export type Checked = {
  readonly warnings: readonly Problem[]
  /** Others that belong to the configuration, such as certificates: absolute paths, also of those that are not there. */
  readonly files: FileHashes
} & (
  | { readonly settings: Settings; readonly problems?: undefined }
  | { readonly settings?: undefined; readonly problems: readonly Problem[] }
)

export interface CheckOptions extends SourceCheckOptions {
  /** For `${NAME}` in strings; the process's own when not given. */
  readonly env?: Environment
  /** What relative paths are relative to; the working directory when not given. */
  readonly folder?: string
}

export interface SourceCheckOptions {
  /** Which algorithms there are; nothing is said about those of pools when not given. */
  readonly algorithms?: AlgorithmCheck
}

export function checkConfig(source: Source, options: SourceCheckOptions = {}): Checked {
  if (source.fatal) return { problems: toProblems(source, source.findings), warnings: [], files: new Map() }
  for (const path of source.substituted) coerce(source.value, path)
  const found: Finding[] = []
  const { value } = source
  const fits = validate(value, found)
  const findings = new Findings(source, found)
  const pems = new PemReader(source.folder)
  judge(value, source.folder, pems, findings)
  if (options.algorithms) judgeAlgorithms(record(value) ?? {}, options.algorithms, findings)

  const errors = [...source.findings, ...withoutUnknown(findings.errors, source.unknown)]
  const warnings = toProblems(source, withoutUnknown(findings.warnings, source.unknown))
  const { files } = pems
  if (fits && errors.length === 0) return { settings: complete(value, source.folder, pems), warnings, files }
  return { problems: toProblems(source, errors), warnings, files }
}

/** Checks a configuration made in code: a `Config`, if its author was right. */
export function checkObject(config: unknown, options: CheckOptions = {}): Checked {
  const { env = process.env, folder = process.cwd() } = options
  return checkConfig(readObject(config, { file: undefined, folder, hash: '', env }), options)
}

/** Nothing can be said about a value whose environment variable is missing, beyond that. */
function withoutUnknown(findings: readonly Finding[], unknown: readonly Path[]): Finding[] {
  if (unknown.length === 0) return [...findings]
  const paths = new Set(unknown.map((path) => JSON.stringify(path)))
  return findings.filter(({ path }) => {
    return !path.some((_, index) => paths.has(JSON.stringify(path.slice(0, index + 1)))) && !paths.has('[]')
  })
}
