/**
 * Reads a configuration file of any kind. Whatever is wrong with it ends in a `ConfigError`.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkConfig, type Checked, type SourceCheckOptions } from './check.ts'
import type { Environment } from './environment.ts'
import { readObject } from './object.ts'
import type { FileHashes } from './pem.ts'
import { ConfigError, oneLine, type Problem, show } from './problem.ts'
import { CONFIG_QUERY } from './self.ts'
import type { Settings } from './settings.ts'
import type { Source } from './source.ts'
import { hashOf, readBytes, type TextOptions } from './text.ts'
import { whyUnreadable } from './unreadable.ts'

export interface Loaded {
  readonly settings: Settings
  readonly warnings: readonly Problem[]
  /** The first 12 characters of the SHA-256 of the file's content. */
  readonly hash: string
  /** Other files that belong to it. */
  readonly files: FileHashes
}

/** What a configuration was found to be, and a hash of what was read. */
export type CheckedContent = Checked & { readonly hash: string }

/** How the content of a text file is read and checked. */
export type CheckBytes = (content: Buffer, options: TextOptions) => Promise<CheckedContent>

/** Reads and checks a file. @throws {ConfigError} with every problem */
export async function loadConfig(
  file: string,
  env: Environment = process.env,
  options: SourceCheckOptions = {},
): Promise<Loaded> {
  const { settings, problems, warnings, files, hash } = await checkFile(file, env, options)
  if (settings === undefined) throw new ConfigError(problems)
  return { settings, warnings, hash, files }
}

/**
 * The same for those who want to know more than the problems of a file that is wrong.
 *
 * @param checkBytes another way to do it with files that are text, such as in a thread of its own
 * @throws {ConfigError} when it cannot be read at all
 */
export async function checkFile(
  file: string,
  env: Environment,
  options: SourceCheckOptions,
  checkBytes?: CheckBytes,
): Promise<CheckedContent> {
  const kind = KINDS.get(extname(file).toLowerCase())
  if (kind !== undefined && checkBytes !== undefined) {
    return checkBytes(await contentOf(file), { kind, file, folder: dirname(resolve(file)), env })
  }
  const source = await readConfig(file, env)
  return { ...checkConfig(source, options), hash: source.hash }
}

/** Those that are text. */
const KINDS: ReadonlyMap<string, TextOptions['kind']> = new Map([
  ['.yaml', 'yaml'],
  ['.yml', 'yaml'],
  ['.json', 'json'],
])

/** Reads a file for `checkConfig`; for those who want the warnings along with the errors. */
export async function readConfig(file: string, env: Environment = process.env): Promise<Source> {
  const location = resolve(file)
  const folder = dirname(location)
  const extension = extname(location).toLowerCase()
  const content = await contentOf(file)
  const kind = KINDS.get(extension)
  if (kind !== undefined) return readBytes(content, { kind, file, folder, env })
  switch (extension) {
    case '.ts':
    case '.js':
    case '.mjs':
      return readObject(await importConfig(file, location), { file, folder, hash: hashOf(content), env })
    default:
      throw unreadable(file, 'expected a name that ends in .yaml, .yml, .json, .ts, .js or .mjs')
  }
}

async function contentOf(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw unreadable(file, whyUnreadable(error))
  }
}

function unreadable(file: string, reason: string): ConfigError {
  return new ConfigError([{ file, path: '', message: `cannot be read: ${reason}` }])
}

const { cache } = createRequire(import.meta.url)
let imports = 0

function isFunction(value: unknown): value is () => unknown {
  return typeof value === 'function'
}

/** The default export of a module, or what it returns. Read afresh each time: that is what reloading means. */
async function importConfig(file: string, location: string): Promise<unknown> {
  // Modules are remembered by URL, those in the older format by path.
  delete cache[location]
  const url = pathToFileURL(location).href
  let exported: unknown
  try {
    const namespace: unknown = await import(`${url}?${CONFIG_QUERY}=${++imports}`)
    exported = typeof namespace === 'object' && namespace !== null && 'default' in namespace ? namespace.default : null
    exported = await (isFunction(exported) ? exported() : exported)
  } catch (error) {
    throw new ConfigError([{ file, ...whereThrown(error, url, location), path: 'import', message: whyThrown(error) }])
  }
  if (exported !== undefined && exported !== null) return exported
  const message = 'expected a default export: the configuration, or a function that returns it'
  throw new ConfigError([{ file, line: 1, column: 1, path: 'default', message }])
}

/** The line of the file itself that an error names, if it does. */
function whereThrown(error: unknown, url: string, location: string): { line: number; column: number } {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  for (const line of stack.split('\n')) {
    for (const name of [url, location]) {
      const start = line.indexOf(name)
      if (start < 0) continue
      const found = /^(?:\?[^:]*)?:(\d+)(?::(\d+))?/.exec(line.slice(start + name.length))
      if (found !== null) return { line: Number(found[1]), column: Number(found[2] ?? 1) }
    }
  }
  return { line: 1, column: 1 }
}

function whyThrown(error: unknown): string {
  if (!(error instanceof Error)) return `the file threw ${show(error)}`
  const said: unknown = error.message
  const message = typeof said === 'string' ? oneLine(said.trim().split('\n')[0] ?? '') : show(said)
  return message === '' ? error.name : `${error.name}: ${message}`
}
