/**
 * The process: loads, builds, listens, and stops gracefully. It only wires; what is told to whom about failures to
 * start is `StartError`'s.
 */
import { dirname, resolve } from 'node:path'
import { setFlagsFromString } from 'node:v8'

import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'

import { algorithmCheck } from './algorithm-check.ts'
import { createGateway } from './app.ts'
import { checkFile, loadConfig, type Loaded } from './config/load.ts'
import { ConfigError, formatProblem } from './config/problem.ts'
import type { Settings } from './config/settings.ts'
import { watchConfig, type ConfigWatch } from './config/watch.ts'
import { checkBytes } from './large-config.ts'
import { saveLastGood } from './last-good.ts'
import { logStream } from './log/stream.ts'
import { systemClock } from './transport/system-clock.ts'

/** The process cannot run: one line says why. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

/** Settings, with what goes before any configuration: the command line. */
export type Override = (settings: Settings) => Settings

/** Runs until a signal ends it. @throws {StartError | ConfigError} when it cannot start */
export async function serve(file: string, override: Override): Promise<void> {
  keepGarbageYoung()
  const found = await loadConfig(file, process.env, { algorithms: algorithmCheck() })
  const loaded = { ...found, settings: override(found.settings) }
  const { settings, warnings } = loaded
  const app = await build(loaded, file, override)
  for (const warning of warnings) app.log.warn(formatProblem(warning))
  try {
    const { admin } = app
    if (settings.admin && admin) await listen(admin, settings.admin, 'admin')
    await listen(app, settings.listen, 'listen')
  } catch (error) {
    await app.close()
    throw error
  }
  app.lifecycle.state = 'ready'
  app.log.info(greeting(app, settings, file))
  const watch = followFile(app, file, override, loaded)
  stopOnSignals(app, watch)
}

/**
 * Where V8 has seen hundreds of objects survive, such as the listeners of as many requests that waited at once, it makes
 * those that come later among the old ones. They are soon garbage all the same, and keep what they refer to, the whole
 * of their request, until the next collection of everything: from then on, one of young objects took 14 ms instead of
 * 0.6, ten times a second. What a gateway makes for a request never lives long.
 */
function keepGarbageYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/** Reads the file again when it changes, on SIGHUP, and when a call asks for it. */
function followFile(app: FastifyInstance, file: string, override: Override, loaded: Loaded): ConfigWatch {
  const { configuration } = app
  const watch = watchConfig(file, {
    clock: systemClock,
    hash: loaded.hash,
    files: loaded.files,
    onChange: () => {
      if (configuration.inForce.settings.reload.watch) reload('the file has changed')
    },
    onError: (reason) => app.log.warn(`changes of the configuration may go unnoticed; SIGHUP reads it: ${reason}`),
  })
  configuration.read = async () => {
    const algorithms = algorithmCheck(app.algorithms)
    const checked = await checkFile(file, process.env, { algorithms }, (content, options) =>
      checkBytes(content, options, algorithms),
    )
    const { settings, problems, warnings, files, hash } = checked
    // Also when it is wrong: that is told once, and the files that it misses may come.
    watch.update(files, hash)
    if (settings === undefined) throw new ConfigError(problems)
    for (const warning of warnings) app.log.warn(formatProblem(warning))
    return { settings: override(settings), hash }
  }
  process.on('SIGHUP', () => reload('SIGHUP'))
  app.events.listen(({ what, to }) => {
    if (what === 'reload' && to !== 'refused') save()
  })
  save()
  return watch

  function save(): void {
    const { settings, hash } = configuration.inForce
    if (!settings.reload.save) return
    saveLastGood(file, hash).catch((error: unknown) =>
      app.log.warn(`the configuration is not saved: ${messageOf(error)}`),
    )
  }

  function reload(by: string): void {
    // What is wrong with it has been told.
    void configuration.reload(by).catch(() => undefined)
  }
}

async function build({ settings, hash }: Loaded, file: string, override: Override): Promise<FastifyInstance> {
  try {
    const app = await createGateway(settings, { hash, folder: dirname(resolve(file)), override })
    await app.ready()
    return app
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(error.problems.map((problem) => ({ file, ...problem })))
    throw new StartError(`cannot start: ${messageOf(error)}`, { cause: error })
  }
}

async function listen(app: FastifyInstance, at: { host: string; port: number }, key: string): Promise<void> {
  const { host, port } = at
  const { level } = app.log
  try {
    // Fastify would log a line for each address of the machine: one line of ours says it all.
    app.log.level = 'warn'
    await app.listen({ host, port })
    app.log.level = level
  } catch (error) {
    throw new StartError(`cannot listen on ${host}:${port} (${key}): ${reasonOf(error)}`, { cause: error })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
}

function reasonOf(error: unknown): string {
  const reason = error instanceof Error && 'code' in error ? REASONS[String(error.code)] : undefined
  return reason ?? messageOf(error)
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message.replace(/\n[^]*/, '')
}

function greeting(app: FastifyInstance, settings: Settings, file: string): string {
  const backends = [...settings.pools.values()].reduce((sum, pool) => sum + pool.backends.length, 0)
  const parts = [
    `sluice serves ${file} on ${urlOf(app, settings.listen.host)}`,
    [count(settings.routes.length, 'route'), count(settings.pools.size, 'pool'), count(backends, 'backend')].join(', '),
  ]
  if (settings.admin && app.admin) parts.push(`status at ${urlOf(app.admin, settings.admin.host)}/status`)
  return parts.join('; ')
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`
}

/** The port is the real one, also where the configuration left it to the system. */
function urlOf(app: FastifyInstance, host: string): string {
  const address = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return `${'setSecureContext' in app.server ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function stopOnSignals(app: FastifyInstance, watch: ConfigWatch): void {
  const logger = { error: (message: unknown) => app.log.error(message) }
  // Who listens once is gone before he hears: a second signal at that moment would find nobody, and end the process.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, ignore)
  closeWithGrace({ delay: false, logger, skip: ['SIGHUP'] }, async ({ signal, err }) => {
    if (err) {
      app.log.fatal({ err }, 'stopping: an error that nothing caught')
      process.exitCode = 2
    } else app.log.info(`stopping on ${signal ?? 'request'}`)
    if (signal === 'SIGINT' && process.stdin.isTTY && process.env['npm_lifecycle_event'] !== undefined) hearOnce(signal)
    watch.stop()
    await stop(app)
    app.log.info('stopped')
    // What is on its way to the disk when the process ends is written once more: nobody could tell whether it arrived.
    await Promise.race([logStream().drain(), wait(LAST_LINES_MS)])
    process.exit()
  })
}

/**
 * What npm runs in a terminal hears twice of one Ctrl-C: from the terminal, and from npm, which passes it on. The second
 * would be taken for that of somebody who does not want to wait.
 */
function hearOnce(signal: NodeJS.Signals): void {
  const listeners = process.listeners(signal).filter((listener) => listener !== ignore)
  for (const listener of listeners) process.off(signal, listener)
  setTimeout(() => {
    for (const listener of listeners) process.on(signal, listener)
  }, ONE_PRESS_MS).unref()
}

const ignore = (): void => undefined

/** Longer than npm takes, also on a busy machine; who presses twice within it has to press once more. */
const ONE_PRESS_MS = 500

/** A disk that takes longer for what is on its way gets it twice. */
const LAST_LINES_MS = 1000
/** What is left to do once every connection is cut: the closing hooks of plugins, which may hang as well. */
const AFTER_CUT_MS = 500

/** Not ready at once, closed to new connections after `delay`, and over after `grace` whatever is still under way. */
async function stop(app: FastifyInstance): Promise<void> {
  const { shutdown } = app.configuration.inForce.settings
  app.lifecycle.state = 'stopping'
  await wait(shutdown.delayMs)
  await Promise.race([app.close(), wait(shutdown.graceMs + AFTER_CUT_MS)])
}

function wait(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms)
  })
}
