/**
 * The gateway as a process of its own, as its users run it: what it prints, what it answers, how it ends. Nothing here
 * waits for time to pass: it waits for a line of output, an answer or the end.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { type AddressInfo, createServer } from 'node:net'
import { createServer as createHttpServer, type IncomingHttpHeaders, request, type RequestListener } from 'node:http'
import { delimiter, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

export const ROOT = resolve(import.meta.dirname, '../..')
export const BIN = join(ROOT, 'bin/sluice.js')

/** The test runner puts its options into whatever is spawned, so they are taken out again on the way. */
export const UNSET: readonly string[] = ['-u', 'NODE_OPTIONS', '-u', 'NODE_V8_COVERAGE']

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly node?: string
  readonly bin?: string
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Without the test runner's own code in it, which counts coverage and which an older Node may not understand. */
  readonly plain?: boolean
  /** For Node itself. */
  readonly flags?: readonly string[]
  /** The user to run as, for a test that runs as root. */
  readonly uid?: number
}

/** A line of the log, of which only the message is known to be there. */
export interface LogLine extends Readonly<Record<string, unknown>> {
  readonly msg: string
}

type Watcher = (line: LogLine | undefined) => void

export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  readonly lines: string[] = []
  readonly #watchers = new Set<Watcher>()
  #stderr = ''
  #over = false

  constructor(args: readonly string[], options: RunOptions = {}) {
    const {
      node = process.execPath,
      flags = [],
      bin = BIN,
      cwd = ROOT,
      env = process.env,
      uid,
      plain = false,
    } = options
    const user = uid === undefined ? {} : { uid, gid: uid }
    const whole = [...flags, bin, ...args]
    const [command, rest] = plain ? ['env', [...UNSET, node, ...whole]] : [node, whole]
    this.child = spawn(command, rest, { cwd, env, ...user, stdio: ['ignore', 'pipe', 'pipe'] })
    // A test that is cut off must not leave it running either.
    const kill = (): void => void this.child.kill('SIGKILL')
    process.once('exit', kill)
    const { stdout, stderr } = this.child
    if (stdout === null || stderr === null) throw new Error('there is no output to read')
    createInterface({ input: stdout }).on('line', (line) => this.#take(line))
    stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text))
    this.ended = new Promise((done, failed) => {
      this.child.once('error', failed)
      this.child.once('close', (code, signal) => {
        this.#over = true
        process.removeListener('exit', kill)
        for (const watcher of this.#watchers) watcher(undefined)
        done({ code, signal, stdout: this.lines.map((line) => `${line}\n`).join(''), stderr: this.#stderr })
      })
    })
  }

  /** The first line of the log whose message matches (or one after it), now or later; fails when the process ends first. */
  async logged(message: RegExp, number = 1): Promise<LogLine> {
    let left = number
    for (const text of this.lines) {
      const line = parseLine(text)
      if (line !== undefined && message.test(line.msg) && --left === 0) return line
    }
    if (this.#over) throw this.#neverSaid(message)
    return await new Promise((done, failed) => {
      const watcher: Watcher = (line) => {
        if (line !== undefined && (!message.test(line.msg) || --left > 0)) return
        this.#watchers.delete(watcher)
        if (line === undefined) failed(this.#neverSaid(message))
        else done(line)
      }
      this.#watchers.add(watcher)
    })
  }

  /** Waits until it serves. */
  async serving(): Promise<Addresses> {
    const { msg } = await this.logged(/^sluice serves /)
    const [, port] = / on http:\/\/\S+:(\d+);/.exec(msg) ?? []
    const [, status] = /status at (http:\/\/\S+)\/status$/.exec(msg) ?? []
    return { url: `http://127.0.0.1:${port}`, admin: status ?? '', greeting: msg }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** For the end of a test: whatever state it is in, it is gone afterwards. */
  async stop(): Promise<void> {
    if (!this.#over) this.child.kill('SIGKILL')
    await this.ended
  }

  #take(text: string): void {
    this.lines.push(text)
    const line = parseLine(text)
    if (line !== undefined) for (const watcher of this.#watchers) watcher(line)
  }

  #neverSaid(message: RegExp): Error {
    return new Error(`it ended without saying ${String(message)}; on stderr: ${this.#stderr}`)
  }
}

export interface Addresses {
  readonly url: string
  /** '' when there is no admin listener. */
  readonly admin: string
  readonly greeting: string
}

function parseLine(text: string): LogLine | undefined {
  try {
    const line: unknown = JSON.parse(text)
    return isLogLine(line) ? line : undefined
  } catch {
    return undefined
  }
}

function isLogLine(line: unknown): line is LogLine {
  return typeof line === 'object' && line !== null && 'msg' in line && typeof line.msg === 'string'
}

/** An empty folder with no package of ours above it, gone when the test ends. */
export function outsideFolder(t: Test): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'sluice-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts the command line; the test stops it at its end. */
export function start(t: Test, args: readonly string[], options?: RunOptions): Running {
  const running = new Running(args, options)
  t.teardown(() => running.stop())
  return running
}

/** Runs the command line to its end. */
export async function run(t: Test, args: readonly string[], options?: RunOptions): Promise<Ended> {
  return await start(t, args, options).ended
}

/** A gateway in a process of its own, on ports that the system chose. */
export async function startGateway(
  t: Test,
  config: string,
  options?: RunOptions,
  more: readonly string[] = [],
): Promise<Addresses & { readonly process: Running }> {
  const file = join(outsideFolder(t), 'gateway.yaml')
  writeFileSync(file, config)
  const running = start(t, ['run', '--config', file, '--port', '0', '--admin-port', '0', ...more], options)
  return { process: running, ...(await running.serving()) }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Ask {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

/** One request on a connection of its own. */
export async function ask(url: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> {
  return await new Promise((done, failed) => {
    const sent = request(url, { method, headers, agent: false }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (piece: string) => (text += piece))
      answer.on('error', failed)
      answer.on('end', () => done({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }))
    })
    sent.on('error', failed)
    sent.end(body)
  })
}

export async function askJson(
  url: string,
  options?: Ask,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const { status, body } = await ask(url, options)
  return { status, body: JSON.parse(body) as unknown }
}

/** A backend; it answers with its name when nothing else is asked of it. */
export async function backend(t: Test, listener: RequestListener | string): Promise<string> {
  const server = createHttpServer(typeof listener === 'string' ? (_, answer) => answer.end(listener) : listener)
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((closed) => {
      server.close(closed)
    })
  })
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening)
  })
  return `http://127.0.0.1:${portOf(server.address())}`
}

/** A port that something else listens on until the test ends. */
export async function takenPort(t: Test, host = '127.0.0.1'): Promise<number> {
  const server = createServer()
  t.teardown(
    () =>
      new Promise((closed) => {
        server.close(closed)
      }),
  )
  await new Promise<void>((listening) => {
    server.listen(0, host, listening)
  })
  return portOf(server.address())
}

function portOf(address: string | AddressInfo | null): number {
  if (typeof address === 'object' && address !== null) return address.port
  throw new Error('it listens on no port')
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  await Promise.all(
    servers.map(
      (server) =>
        new Promise<void>((done) => {
          server.listen(0, '127.0.0.1', done)
        }),
    ),
  )
  const ports = servers.map((server) => portOf(server.address()))
  await Promise.all(
    servers.map(
      (server) =>
        new Promise((done) => {
          server.close(done)
        }),
    ),
  )
  return ports
}

/** A Node on the PATH that is too old to run Sluice by itself, where the machine has one. */
export function oldNode(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'))
  return folders.map((folder) => join(folder, 'node')).find(isOld)
}

function isOld(node: string): boolean {
  try {
    accessSync(node, constants.X_OK)
    const version = execFileSync(node, ['--version'], { encoding: 'utf8' })
    return Number(/^v(\d+)/.exec(version)?.[1]) < 24
  } catch {
    return false
  }
}
