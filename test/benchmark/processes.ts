/**
 * The processes of a benchmark: backends and load on one core, each proxy on the other.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { alive, end, tied } from './child.ts'
import { freePorts } from './ports.ts'

export const PROXY_CORE = 0
const BACKENDS = 3
const START_WITHIN_MS = 30_000
const STOP_WITHIN_MS = 2_000

export interface Peer {
  readonly name: string
  /** `undefined` when it is not installed. */
  readonly start: (port: number, backends: readonly number[], folder: string) => ChildProcess | undefined
}

export interface Running {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly alive: boolean
  /** Processor time so far, in microseconds, with that of its children. */
  cpuUs(): number
  rssMiB(): number
  /** The most memory that it had since `resetPeak`. */
  peakMiB(): number
  resetPeak(): void
  stop(): Promise<void>
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))
/** Debian's servers are where a user's PATH does not go. */
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`
export const installed = (program: string): boolean => spawnSync('which', [program]).status === 0
const pinning = installed('taskset')

/** The command that runs this one on one core, where that can be had. */
export function pinned(core: number, command: string, args: readonly string[]): [command: string, args: string[]] {
  return pinning ? ['taskset', ['-c', String(core), command, ...args]] : [command, [...args]]
}

function start(core: number, command: string, args: readonly string[], messages = false): ChildProcess {
  const stdio = ['ignore', messages ? 'inherit' : 'pipe', 'inherit', ...(messages ? ['ipc' as const] : [])] as const
  return spawn(...pinned(core, command, args), { stdio: [...stdio] })
}

interface NodeOptions {
  readonly core: number
  readonly messages?: boolean
  /** For Node itself. */
  readonly flags?: readonly string[]
}

export function startNode(
  file: string,
  args: readonly string[],
  { core, messages = false, flags = [] }: NodeOptions,
): ChildProcess {
  return start(core, process.execPath, [...flags, here(file), ...args], messages)
}

interface ProxyOptions {
  /** What it is told besides what all are. */
  readonly environment?: Readonly<Record<string, string>>
  /** For those that talk much. */
  readonly quiet?: boolean
}

export function startProxy(
  command: string,
  args: readonly string[],
  { environment, quiet = false }: ProxyOptions = {},
): ChildProcess {
  const env = { ...process.env, ...environment }
  return spawn(...pinned(PROXY_CORE, command, args), { stdio: ['ignore', 'ignore', quiet ? 'ignore' : 'inherit'], env })
}

export interface Backends {
  readonly ports: readonly number[]
  stop(): void
}

/** @param args what each is told, by its index */
export async function startBackends(args: (index: number) => readonly string[] = () => []): Promise<Backends> {
  const children = Array.from({ length: BACKENDS }, (_, index) => {
    return tied(startNode('backend.ts', args(index), { core: 1 }))
  })
  const ports = await Promise.all(
    children.map(async (child) => {
      const [line]: unknown[] = child.stdout === null ? [] : await once(child.stdout, 'data')
      return Number(String(line))
    }),
  )
  return { ports, stop: () => children.forEach((child) => child.kill()) }
}

/** Who is interrupted comes to no end at which they could be removed. */
const folders = new Set<string>()
process.once('exit', () => folders.forEach(remove))

/** An empty folder, removed with the harness if it is still there. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  folders.add(folder)
  return folder
}

function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** @throws when it does not listen, in time */
export async function startPeer(peer: Peer, backends: readonly number[]): Promise<Running | undefined> {
  const folder = makeFolder()
  const [port = 0] = await freePorts(1)
  const child = peer.start(port, backends, folder)
  if (child?.pid === undefined) {
    remove(folder)
    return undefined
  }
  tied(child).once('exit', () => remove(folder))
  await listening(peer.name, child, port)
  return new RunningPeer(peer.name, port, child, child.pid)
}

class RunningPeer implements Running {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly #child: ChildProcess

  constructor(name: string, port: number, child: ChildProcess, pid: number) {
    this.name = name
    this.port = port
    this.pid = pid
    this.#child = child
  }

  get alive(): boolean {
    return alive(this.#child)
  }

  cpuUs(): number {
    return this.#sum(processorUs)
  }

  rssMiB(): number {
    return this.#sum((pid) => memory(pid, 'VmRSS'))
  }

  peakMiB(): number {
    return this.#sum((pid) => memory(pid, 'VmHWM'))
  }

  resetPeak(): void {
    // See proc(5): the peak is what it is now.
    for (const pid of this.#family()) writeFileSync(`/proc/${pid}/clear_refs`, '5')
  }

  async stop(): Promise<void> {
    // It may want to wait for connections that nobody will use again.
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), STOP_WITHIN_MS)
    await end(this.#child, 'SIGTERM')
    clearTimeout(impatient)
  }

  #sum(of: (pid: number) => number): number {
    return this.#family().reduce((sum, pid) => sum + of(pid), 0)
  }

  #family(): number[] {
    return this.alive ? [this.pid, ...childrenOf(this.pid)] : []
  }
}

/** Any of its threads may have started one. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const list = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim()
    return list === '' ? [] : list.split(' ').map(Number)
  })
}

/** User and system time of all its threads: /proc/PID/stat has it in ticks of 10 ms only, this in nanoseconds. */
function processorUs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000)
    .reduce((sum, us) => sum + us, 0)
}

function memory(pid: number, what: 'VmRSS' | 'VmHWM'): number {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return Number(/\d+/.exec(lines.find((line) => line.startsWith(what)) ?? '')?.[0] ?? 0) / 1024
}

/** Waits until somebody accepts on `port`. */
async function listening(name: string, child: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS
  while (alive(child) && performance.now() < deadline) {
    const socket = connect({ port, host: '127.0.0.1' })
    // oxlint-disable-next-line no-await-in-loop
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => setTimeout(resolve, 50, false))
    })
    socket.destroy()
    if (open) return
  }
  child.kill('SIGKILL')
  throw new Error(`${name} does not start`)
}
