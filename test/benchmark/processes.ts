/**
 * The processes of a benchmark: backends and load on one core, each proxy on the other.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'

export const PROXY_CORE = 0
const BACKENDS = 3
// The kernel counts processor time in ticks of 10 ms (sysconf(_SC_CLK_TCK) is 100 on Linux).
const TICK_US = 10_000

export interface Peer {
  readonly name: string
  readonly start: (port: number, backends: readonly number[], folder: string) => ChildProcess | undefined
}

export interface Running {
  readonly name: string
  readonly port: number
  /** Processor time so far, in microseconds, with that of its children. */
  cpuUs(): number
  rssMiB(): number
  stop(): void
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))
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

export function startNode(
  file: string,
  args: readonly string[],
  { core, messages = false }: { core: number; messages?: boolean },
): ChildProcess {
  return start(core, process.execPath, [here(file), ...args], messages)
}

export async function startBackends(): Promise<{ ports: number[]; stop: () => void }> {
  const children = Array.from({ length: BACKENDS }, () => startNode('backend.ts', [], { core: 1 }))
  const ports = await Promise.all(
    children.map(async (child) => {
      const [line]: unknown[] = child.stdout === null ? [] : await once(child.stdout, 'data')
      return Number(String(line))
    }),
  )
  return { ports, stop: () => children.forEach((child) => child.kill()) }
}

interface SluiceOptions {
  readonly access?: boolean
  /** How many other routes stand beside the one that takes the requests. */
  readonly moreRoutes?: number
  /** What its pools say besides their backends. */
  readonly pool?: object
}

function sluice({ access = false, moreRoutes = 2, pool = {} }: SluiceOptions): Peer['start'] {
  return (port, backends, folder) => {
    const config = `${folder}/sluice-${port}.json`
    const urls = backends.map((each) => `http://127.0.0.1:${each}`)
    const pools = Object.fromEntries(['one', 'two', 'three'].map((name) => [name, { backends: urls, ...pool }]))
    const others = Array.from({ length: moreRoutes }, (_, n) =>
      n % 2 === 0
        ? { path: `/other/${n}/*`, pool: 'two' }
        : { path: `/third/${n}/:id`, pool: 'three', methods: ['POST'] },
    )
    const routes = [{ path: '/*', pool: 'one' }, ...others]
    const log = { level: 'info', access }
    writeFileSync(config, JSON.stringify({ listen: { host: '127.0.0.1', port }, admin: false, log, pools, routes }))
    const sh = `exec "$0" "$1" run --config "$2" > "${folder}/access-${port}.log"`
    return start(PROXY_CORE, 'sh', ['-c', sh, process.execPath, here('../../bin/sluice.js'), config])
  }
}

function application(file: string): Peer['start'] {
  return (port, backends) => startNode(`peers/${file}`, [String(port), ...backends.map(String)], { core: PROXY_CORE })
}

function nginx(port: number, backends: readonly number[], folder: string): ChildProcess | undefined {
  if (!installed('nginx')) return undefined
  const config = `${folder}/nginx.conf`
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000; client_body_temp_path ${folder}; proxy_temp_path ${folder};
  fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream all { ${backends.map((each) => `server 127.0.0.1:${each};`).join(' ')} keepalive 128; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://all; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`,
  )
  return start(PROXY_CORE, 'nginx', ['-c', config, '-e', 'stderr'])
}

export const PEERS: readonly Peer[] = [
  { name: 'sluice', start: sluice({ access: true }) },
  { name: 'sluice-no-log', start: sluice({}) },
  { name: 'reply-from', start: application('reply-from.ts') },
  { name: 'fastify-undici', start: application('fastify-undici.ts') },
  { name: 'nginx', start: nginx },
]

/** Whether the number of routes costs a request anything: `npm run bench -- routes`. */
export const BY_ROUTES: readonly Peer[] = [
  { name: '10 routes', start: sluice({ moreRoutes: 9 }) },
  { name: '10,000 routes', start: sluice({ moreRoutes: 9999 }) },
]

/** What looking after backends costs a request: `npm run bench -- protection`. */
export const BY_PROTECTION: readonly Peer[] = [
  { name: 'none', start: sluice({ pool: { health: { passive: false }, breaker: false } }) },
  { name: 'passive health', start: sluice({ pool: { breaker: false } }) },
  { name: 'breakers', start: sluice({ pool: { health: { passive: false } } }) },
  {
    name: 'both, and checks',
    start: sluice({ pool: { health: { active: { path: '/small/check', interval: '1s', timeout: '1s' } } } }),
  },
]

let nextPort = 18_080

export async function startPeer(peer: Peer, backends: readonly number[]): Promise<Running | undefined> {
  const folder = mkdtempSync(`${tmpdir()}/sluice-bench-`)
  const port = nextPort++
  const child = peer.start(port, backends, folder)
  if (child?.pid === undefined) return undefined
  const { pid } = child
  await listening(port)
  const family = () => [pid, ...childrenOf(pid)]
  return {
    name: peer.name,
    port,
    cpuUs: () => family().reduce((sum, each) => sum + ticks(each), 0) * TICK_US,
    rssMiB: () => family().reduce((sum, each) => sum + rss(each), 0),
    stop: () => {
      child.once('exit', () => rmSync(folder, { recursive: true, force: true }))
      child.kill('SIGTERM')
    },
  }
}

function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return list === '' ? [] : list.split(' ').map(Number)
}

/** Fields 14 and 15 of /proc/PID/stat, user and system time; the name in field 2 may hold spaces. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return Number(fields[11]) + Number(fields[12])
}

function rss(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
}

/** Waits until somebody accepts on `port`. */
async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ port, host: '127.0.0.1' })
    // oxlint-disable-next-line no-await-in-loop
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => setTimeout(resolve, 50, false))
    })
    socket.destroy()
    if (open) return
  }
}
