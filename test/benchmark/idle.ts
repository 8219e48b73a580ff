/** What a client's connection costs that has had one answer and waits: memory of the proxy, after it has settled. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { SMALL } from './cases.ts'
import { median, spread, table } from './figures.ts'
import type { Load } from './load-client.ts'
import { sized, type Options } from './options.ts'
import { startApplication } from './peers/all.ts'
import { startPeer, type Backends, type Peer, type Running } from './processes.ts'
import { nginx } from './proxies/nginx.ts'
import { EVERYTHING, NOTHING, sluice } from './proxies/sluice.ts'

const SIZES = [100, 1000, 10_000]
/** Of files that a process has open besides connections to clients. */
const OTHER_FILES = 1000
const DEADLINE_MS = 60_000
/** So long, and that often, the memory has to stay as it is. */
const SETTLE_MS = 250
const SETTLED_TIMES = 3
const SETTLED_MIB = 0.1
const SETTLE_AT_MOST = 40

const SETTLE = ['--import', fileURLToPath(new URL('settle.ts', import.meta.url))]

interface Subject extends Peer {
  readonly settles: boolean
}

const SUBJECTS: readonly Subject[] = [
  { name: 'nginx', start: nginx({}), settles: false },
  { name: 'floor', start: startApplication('floor', false, SETTLE), settles: true },
  { name: 'sluice', start: sluice({ ...EVERYTHING, flags: SETTLE }), settles: true },
  { name: 'sluice-off', start: sluice({ ...NOTHING, flags: SETTLE }), settles: true },
  { name: 'reply-from', start: startApplication('reply-from', false, SETTLE), settles: true },
]

export interface IdleRow {
  readonly name: string
  readonly connections: number
  /** By round. */
  readonly kibEach: readonly number[]
}

export interface IdleFound {
  readonly rows: readonly IdleRow[]
  readonly text: string
}

export async function idle(options: Options, backends: Backends, load: Load): Promise<IdleFound> {
  const sizes = SIZES.filter((size) => size + OTHER_FILES <= openFiles() && !(options.quick && size > 1000))
  const rows = SUBJECTS.flatMap(({ name }) =>
    sizes.map((connections): IdleRow & { kibEach: number[] } => ({ name, connections, kibEach: [] })),
  )
  for (let round = 0; round < options.rounds; round++) {
    for (const subject of SUBJECTS) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other: each starts afresh
      const found = await measure(subject, sizes, { backends, load, warmup: sized(SMALL, options).requests })
      for (const [connections, kib] of found ?? []) {
        rows.find((row) => row.name === subject.name && row.connections === connections)?.kibEach.push(kib)
      }
    }
  }
  const measured = rows.filter(({ kibEach }) => kibEach.length > 0)
  return { rows: measured, text: describe(measured, options.rounds) }
}

interface Around {
  readonly backends: Backends
  readonly load: Load
  /** How many requests come before. */
  readonly warmup: number
}

/** @returns KiB of each connection, by their number */
async function measure(
  subject: Subject,
  sizes: readonly number[],
  { backends, load, warmup }: Around,
): Promise<Map<number, number> | undefined> {
  const proxy = await startPeer(subject, backends.ports)
  if (proxy === undefined) return undefined
  const job = { ...SMALL, port: proxy.port, deadlineMs: DEADLINE_MS }
  try {
    await load.open({ ...job, requests: warmup })
    await load.run(DEADLINE_MS)
    await load.close()
    const none = await settled(proxy, subject.settles)
    const found = new Map<number, number>()
    let open = 0
    for (const size of sizes) {
      // oxlint-disable-next-line no-await-in-loop -- more and more
      await load.open({ ...job, connections: size - open })
      open = size
      // oxlint-disable-next-line no-await-in-loop
      const grown = (await settled(proxy, subject.settles)) - none
      // oxlint-disable-next-line no-await-in-loop
      const kept = await load.count()
      if (kept === size) found.set(size, (grown * 1024) / size)
      else console.error(`${subject.name}: has closed ${size - kept} of ${size} idle connections, left out`)
    }
    return found
  } catch (error) {
    console.error(`${subject.name}: ${error instanceof Error ? error.message : String(error)}, left out`)
    return undefined
  } finally {
    await load.close()
    await proxy.stop()
  }
}

/** @returns MiB, once they stay as they are */
async function settled(proxy: Running, settles: boolean): Promise<number> {
  let [before, same] = [NaN, 0]
  for (let tried = 0; same < SETTLED_TIMES && tried < SETTLE_AT_MOST; tried++) {
    if (settles) process.kill(proxy.pid, 'SIGURG')
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((resolve) => void setTimeout(resolve, SETTLE_MS))
    const now = proxy.rssMiB()
    same = Math.abs(now - before) < SETTLED_MIB ? same + 1 : 0
    before = now
  }
  return before
}

/** The hard limit, up to which Node and nginx raise theirs. */
function openFiles(): number {
  const limit = /Max open files +\S+ +(\S+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return limit === undefined || limit === 'unlimited' ? Infinity : Number(limit)
}

function describe(rows: readonly IdleRow[], rounds: number): string {
  const lines = rows.map(({ name, connections, kibEach }) => {
    const base = rows.find((row) => row.name === 'nginx' && row.connections === connections)
    const to = base === undefined ? NaN : median(kibEach) / median(base.kibEach)
    return [name, `${connections}`, `${median(kibEach).toFixed(1)} (${spread(kibEach, 1)})`, to.toFixed(1)]
  })
  const title = `Idle connections of clients, each of which has had one answer; memory after it has settled, ${rounds} rounds`
  return `${title}\n\n${table(['proxy', 'connections', 'KiB each (median, min–max)', 'to nginx'], lines)}`
}
