/**
 * The command line: `run`, `check`, `diff`, `schema` and `top`, and the exit codes: 0 as asked, 1 the configuration or the
 * command line is wrong, 2 the process could not run.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { algorithmCheck } from './algorithm-check.ts'
import { checkConfig, ConfigError, formatProblem } from './config/check.ts'
import { differenceOf } from './config/difference.ts'
import { inWords } from './config/difference-words.ts'
import { loadConfig, readConfig } from './config/load.ts'
import { UsageError } from './cli/usage-error.ts'
import { configSchema } from './config/schema.ts'
import type { LogLevel, Settings } from './config/settings.ts'
import { ROOT } from './package.ts'
import { serve, StartError } from './server.ts'

const USAGE = `sluice: a load balancer and API gateway

  sluice run [--config FILE]     runs the gateway (without FILE: a demo with three backends)
      --port PORT                instead of listen.port
      --admin-port PORT          instead of admin.port
      --log-level LEVEL          instead of log.level (trace, debug, info, warn, error, fatal, silent)
  sluice check FILE [--strict]   says whether a configuration is right; with --strict, warnings are errors
  sluice diff OLD NEW [--json]   says what NEW would change, and which changes need a restart; OLD and NEW are FILEs
  sluice schema                  prints the JSON Schema of the configuration
  sluice top                     shows how a running gateway stands, live; keys: q quits, ? helps
      --url URL                  where its admin listener is (http://127.0.0.1:9090)
      --config FILE              takes that, and the token, from the gateway's configuration
      --token TOKEN              its token; better given in SLUICE_ADMIN_TOKEN, which others cannot see
      --interval DURATION        between two looks (1s)
      --pool NAME                only this pool
      --once                     one table, and the end; so it is where stdout is no terminal

FILE is .yaml, .yml, .json, .ts or .js.`

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

const OPTIONS = {
  config: { type: 'string', short: 'c' },
  port: { type: 'string' },
  'admin-port': { type: 'string' },
  'log-level': { type: 'string' },
  strict: { type: 'boolean' },
  json: { type: 'boolean' },
  url: { type: 'string' },
  token: { type: 'string' },
  interval: { type: 'string' },
  pool: { type: 'string' },
  once: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

type Values = ReturnType<typeof parse>['values']

/** @returns the exit code, or undefined when the process goes on running */
export async function main(args: readonly string[]): Promise<number | undefined> {
  try {
    const { values, positionals } = parse(args)
    const [command = 'run', ...rest] = positionals
    if (values.help) return print(USAGE)
    switch (command) {
      case 'run':
        return await run(values, rest)
      case 'check':
        return await check(values, rest)
      case 'diff':
        return await diff(values, rest)
      case 'schema':
        return print(JSON.stringify(configSchema(), null, 2))
      case 'top':
        // What nobody needs who runs a gateway.
        return await (await import('./cli/top.ts')).topCommand(values, rest)
      case 'help':
        return print(USAGE)
      default:
        throw new UsageError(
          `unknown command "${command}"; known are run, check, diff, schema and top (see sluice --help)`,
        )
    }
  } catch (error) {
    return explain(error)
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })
  } catch (error) {
    throw new UsageError(error instanceof Error ? (error.message.split(/\.?\n|\. /, 1)[0] ?? '') : String(error))
  }
}

function explain(error: unknown): number {
  if (error instanceof ConfigError) {
    console.error(error.problems.map(formatProblem).join('\n'))
    return 1
  }
  if (error instanceof UsageError) {
    console.error(`sluice: ${error.message}`)
    return 1
  }
  if (error instanceof StartError) {
    console.error(`sluice: ${error.message}`)
    return 2
  }
  throw error
}

function print(text: string): number {
  console.log(text)
  return 0
}

async function run(values: Values, rest: readonly string[]): Promise<undefined> {
  if (rest.length > 0) throw new UsageError(`run takes no "${rest[0]}"; did you mean --config ${rest[0]}?`)
  const file = values.config ?? fileURLToPath(new URL('config/gateway.yaml', ROOT))
  await serve(file, (settings) => withOverrides(settings, values))
  return undefined
}

async function check(values: Values, rest: readonly string[]): Promise<number> {
  const file = rest[0] ?? values.config
  if (file === undefined || rest.length > 1) throw new UsageError('check takes one file: sluice check FILE')
  const { problems = [], warnings, settings } = checkConfig(await readConfig(file), { algorithms: algorithmCheck() })
  for (const problem of problems) console.error(formatProblem(problem))
  for (const warning of warnings) console.error(`${formatProblem(warning)} (warning)`)
  if (settings === undefined || (values.strict && warnings.length > 0)) return 1
  return print(`${file}: the configuration is valid (${summary(settings)})`)
}

async function diff(values: Values, rest: readonly string[]): Promise<number> {
  const [before, after] = rest
  if (before === undefined || after === undefined || rest.length > 2) {
    throw new UsageError('diff takes two files: sluice diff OLD NEW')
  }
  // One after the other, so that what is wrong is said in this order; and of both, whatever is wrong with the first.
  const from = await settingsOf(before)
  const to = await settingsOf(after)
  if (from === undefined || to === undefined) return 1
  const difference = differenceOf(from, to)
  if (values.json) return print(JSON.stringify(difference, null, 2))
  const lines = inWords(difference)
  return print(lines.length === 0 ? 'nothing would change' : lines.join('\n'))
}

/** `undefined` when it is wrong; then everything that is wrong has been printed. */
async function settingsOf(file: string): Promise<Settings | undefined> {
  try {
    return (await loadConfig(file, process.env, { algorithms: algorithmCheck() })).settings
  } catch (error) {
    explain(error)
    return undefined
  }
}

function summary({ routes, pools }: Settings): string {
  return `${routes.length} route${routes.length === 1 ? '' : 's'}, ${pools.size} pool${pools.size === 1 ? '' : 's'}`
}

function withOverrides(settings: Settings, values: Values): Settings {
  const port = portOf(values.port, '--port')
  const adminPort = portOf(values['admin-port'], '--admin-port')
  const level = LEVELS.find((each) => each === values['log-level'])
  if (level === undefined && values['log-level'] !== undefined) {
    throw new UsageError(`--log-level: expected ${LEVELS.join(', ')}, got "${values['log-level']}"`)
  }
  return {
    ...settings,
    listen: { ...settings.listen, port: port ?? settings.listen.port },
    admin: settings.admin && { ...settings.admin, port: adminPort ?? settings.admin.port },
    log: { ...settings.log, level: level ?? settings.log.level },
  }
}

function portOf(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new UsageError(`${option}: expected a port from 0 to 65535, got "${text}"`)
  }
  return Number(text)
}
