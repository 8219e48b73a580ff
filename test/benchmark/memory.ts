/**
 * `npm run bench -- memory`: whether anything grows with what clients make up. A million requests, each with a path, a
 * query, a host and a user agent that never were before, methods in turn, some that no route takes; metrics, access log,
 * traces and events on. Told are the memory that a collection of garbage leaves, and how many series the metrics have.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { tied } from './child.ts'
import { freePorts } from './ports.ts'
import { makeFolder, pinned, PROXY_CORE, startBackends } from './processes.ts'

const REQUESTS = 1_000_000
const STOPS = [50_000, 250_000, 500_000, 750_000, REQUESTS]
const CONNECTIONS = 32
/** Sent at a time on each. */
const BATCH = 20
const METHODS = ['GET', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND']
const ANSWER = Buffer.from('HTTP/1.1 ')

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const [port = 0, adminPort = 0] = await freePorts(2)
const backends = await startBackends()
const config = join(makeFolder(), 'sluice.json')
writeFileSync(
  config,
  JSON.stringify({
    listen: { host: '127.0.0.1', port },
    admin: { port: adminPort },
    log: { access: { headers: ['user-agent'] } },
    pools: { web: { backends: backends.ports.map((each) => `http://127.0.0.1:${each}`) } },
    routes: [{ path: '/taken/*', pool: 'web' }],
    plugins: [here('../clients/memory-plugin.ts')],
  }),
)
const command = pinned(PROXY_CORE, process.execPath, [here('../../bin/sluice.js'), 'run', '--config', config])
const gateway = tied(spawn(...command, { stdio: ['ignore', 'ignore', 'inherit'] }))

let asked = 0

/** The next one, unlike all before. */
function next(): string {
  const n = asked++
  const method = METHODS[n % METHODS.length] ?? ''
  const path = n % 10 === 9 ? `/nowhere-${n}` : `/taken/${n.toString(36)}/of/${n}`
  return `${method} ${path}?q=${n} HTTP/1.1\r\nHost: host-${n}.example\r\nUser-Agent: agent/${n}\r\nContent-Length: 0\r\n\r\n`
}

/** Asks on one connection until so many were asked on all. */
async function client(until: number): Promise<void> {
  const socket = await open()
  const left = (): number => Math.min(BATCH, until - asked)
  try {
    for (let count = left(); count > 0; count = left()) {
      const answered = answers(socket, count)
      socket.write(Array.from({ length: count }, next).join(''))
      // oxlint-disable-next-line no-await-in-loop -- that is what a client does
      await answered
    }
  } finally {
    socket.destroy()
  }
}

async function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** Counts the beginnings of answers. A body that looks like one would be no answer of these backends. */
async function answers(socket: Socket, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = count
    let rest: Buffer = Buffer.alloc(0)
    const lost = (): void => reject(new Error('the gateway closed a connection'))
    const read = (chunk: Buffer): void => {
      const bytes = Buffer.concat([rest, chunk])
      let at = bytes.indexOf(ANSWER)
      let seen = 0
      for (; at !== -1; at = bytes.indexOf(ANSWER, seen)) {
        left--
        seen = at + ANSWER.length
      }
      rest = bytes.subarray(Math.max(seen, bytes.length - ANSWER.length + 1))
      if (left > 0) return
      socket.off('data', read).off('close', lost)
      resolve()
    }
    socket.on('data', read).on('close', lost)
  })
}

async function memory(): Promise<NodeJS.MemoryUsage> {
  return JSON.parse(await (await fetch(`http://127.0.0.1:${port}/memory`)).text())
}

async function series(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
  return text.split('\n').filter((line) => line.startsWith('sluice_')).length
}

async function listening(): Promise<void> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- until it does
    const up = await fetch(`http://127.0.0.1:${adminPort}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (up) return
  }
}

const MIB = 1024 ** 2
try {
  await listening()
  console.log('| requests | heap, MiB | outside of it, MiB | series |\n|---|---|---|---|')
  for (const stop of STOPS) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => client(stop)))
    // oxlint-disable-next-line no-await-in-loop
    const { heapUsed, external } = await memory()
    // oxlint-disable-next-line no-await-in-loop
    console.log(`| ${asked} | ${(heapUsed / MIB).toFixed(1)} | ${(external / MIB).toFixed(1)} | ${await series()} |`)
  }
} finally {
  gateway.kill()
  backends.stop()
}
