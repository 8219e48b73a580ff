/**
 * A gateway as a process of its own, before nginx and Node backends: large bodies arrive byte for byte and cost it
 * little memory, and of many requests at once none is lost or mixed up.
 */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

import { test, type Test } from 'tap'

import type { Config } from '../../src/index.ts'
import { backend, sha256, type Backend } from '../helpers/gateway.ts'
import { NGINX_MISSING, startNginx } from '../helpers/nginx.ts'
import { guarded, inTurn } from '../helpers/raw.ts'

const MIB = 1024 ** 2
const SIZE = 100 * MIB
const ROOT = join(import.meta.dirname, '../..')

/** 100 MB of which no two blocks of 4 MB are the same. */
const CONTENT = Buffer.concat(Array.from({ length: SIZE / (4 * MIB) }, () => randomBytes(4 * MIB)))
const DIGEST = sha256(CONTENT)

/** For the warm-up: so much less that a gateway that holds bodies back would show. */
const SMALL = 20 * MIB

interface Process {
  readonly port: number
  readonly pid: number
}

async function startProcess(t: Test, config: Config): Promise<Process> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-load-'))
  const file = join(folder, 'gateway.json')
  writeFileSync(
    file,
    JSON.stringify({ ...config, listen: { host: '127.0.0.1', port: 0 }, admin: false, log: { access: false } }),
  )
  const child = spawn(process.execPath, [join(ROOT, 'bin/sluice.js'), 'run', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit')
    rmSync(folder, { recursive: true, force: true })
  })
  const started = new Promise<number>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const port = /on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    child.on('exit', () => reject(new Error('the gateway ended')))
  })
  const port = await guarded(started, () => 'starting the gateway')
  return { port, pid: child.pid ?? 0 }
}

/** What a process holds in memory, in bytes. */
function rss(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

/** The most that a process holds in memory while something happens. */
async function peak(pid: number, act: () => Promise<unknown>): Promise<number> {
  let most = rss(pid)
  const timer = setInterval(() => {
    most = Math.max(most, rss(pid))
  }, 10)
  try {
    await act()
  } finally {
    clearInterval(timer)
  }
  return most
}

async function download(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    const request = httpRequest({ port, path, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => void hash.update(chunk))
      response.on('end', () => resolve(hash.digest('hex')))
      response.on('error', reject)
    })
    request.on('error', reject).end()
  })
}

function* pieces(size: number): Generator<Buffer> {
  for (let at = 0; at < size; at += MIB / 4) yield CONTENT.subarray(at, at + MIB / 4)
}

/** The answer is the digest of what the backend got. */
async function upload(port: number, path: string, size = SIZE): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { port, path, method: 'PUT', agent: false, headers: { 'content-length': size } },
      (response) => {
        let text = ''
        response.setEncoding('latin1').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve(text))
      },
    )
    request.on('error', reject)
    Readable.from(pieces(size)).pipe(request)
  })
}

/** Serves the content, hashes what it is sent, and echoes everything else. */
async function nodeBackend(t: Test): Promise<Backend> {
  return backend(t, (request, response, recorded) => {
    if (request.method === 'PUT') request.on('end', () => response.end(recorded.sha256()))
    else if (request.url === '/big') response.writeHead(200, { 'content-length': SIZE }).end(CONTENT)
    else if (request.url === '/small') response.end(CONTENT.subarray(0, SMALL))
    else response.end(`${request.url} ${String(request.headers['x-unique'])}`)
  })
}

async function setUp(t: Test): Promise<Process> {
  const nodes = await Promise.all([1, 2, 3].map(async () => nodeBackend(t)))
  const folder = mkdtempSync(join(tmpdir(), 'sluice-files-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'big'), CONTENT)
  writeFileSync(join(folder, 'small'), CONTENT.subarray(0, SMALL))
  const nginxes = await Promise.all(
    nodes.map(async ({ url }) =>
      startNginx(
        t,
        `location ~ ^/(big|small)$ { root ${folder}; }
         location = /upload { proxy_pass ${url}; proxy_http_version 1.1; proxy_request_buffering off; }
         location / { return 200 "$request_uri $http_x_unique"; }`,
      ),
    ),
  )
  // Wherever they all pile up, none is to be refused.
  const pool = { connections: { pending: 1000, queue: '30s' } }
  return startProcess(t, {
    pools: {
      nginx: { ...pool, backends: nginxes.map(({ url }) => url) },
      node: { ...pool, backends: nodes.map(({ url }) => url) },
    },
    routes: [
      { path: '/nginx/*', pool: 'nginx', rewrite: { stripPrefix: '/nginx' } },
      { path: '/node/*', pool: 'node', rewrite: { stripPrefix: '/node' } },
    ],
  })
}

const OPTIONS = { skip: NGINX_MISSING, timeout: 100_000 }

const KINDS = ['nginx', 'node']

async function warmUp(port: number): Promise<void> {
  await inTurn([...KINDS, ...KINDS, ...KINDS], async (kind) => {
    await download(port, `/${kind}/small`)
    await upload(port, `/${kind}/upload`, SMALL)
  })
}

void test('100 MB down and up, one at a time and ten at once', OPTIONS, async (t) => {
  const { port, pid } = await setUp(t)
  // The engine lets some 64 MB of dead buffers pile up before it collects them, whatever the size of bodies: what it
  // takes for small ones is where the count begins.
  const before = await peak(pid, async () => warmUp(port))
  const grows = async (name: string, limit: number, act: () => Promise<unknown>): Promise<void> => {
    const growth = (await peak(pid, act)) - before
    t.ok(growth < limit, `${name}: ${Math.round(growth / MIB)} MB more`)
  }
  await inTurn(KINDS, async (kind) => {
    await grows(`${kind}, down`, 50 * MIB, async () => t.equal(await download(port, `/${kind}/big`), DIGEST))
    await grows(`${kind}, up`, 50 * MIB, async () => t.equal(await upload(port, `/${kind}/upload`), DIGEST))
  })
  await grows('ten at once', 100 * MIB, async () => {
    const transfers = Array.from({ length: 10 }, async (_, n) => {
      const kind = KINDS[Math.floor(n / 2) % 2]
      return n % 2 === 0 ? download(port, `/${kind}/big`) : upload(port, `/${kind}/upload`)
    })
    t.same(
      await Promise.all(transfers),
      Array.from({ length: 10 }, () => DIGEST),
    )
  })
})

void test('100,000 requests of 1,000 clients: each gets its own answer', OPTIONS, async (t) => {
  const { port } = await setUp(t)
  const script = join(import.meta.dirname, 'load-client.ts')
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=128', script, String(port), '1000', '100000', '/nginx,/node'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await once(child, 'close')
  t.match(JSON.parse(output), { answered: 100_000, wrong: 0, broken: 0, example: '' })
})
