/**
 * A gateway in real need: an event loop that is late, a heap that fills up, a backend that gets ten times what it can
 * take, names of fields that are meant to collide. It says so, refuses, lives on, and is as before afterwards.
 */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { test, type Test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { ask as askProcess, askJson, outsideFolder, startGateway } from '../helpers/process.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'

const PLUGIN = join(import.meta.dirname, '../helpers/pressing-plugin.ts')

type Pressed = Awaited<ReturnType<typeof startGateway>>

function codeOf(body: string): unknown {
  const parsed: unknown = body.startsWith('{') ? JSON.parse(body) : {}
  return typeof parsed === 'object' && parsed !== null && 'code' in parsed ? parsed.code : undefined
}

/** Asks until an answer is as wanted; gives all statuses before it. */
async function askUntil(gateway: Pressed, path: string, wanted: number): Promise<number[]> {
  const before: number[] = []
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- until it is so
    const { status, headers, body } = await askProcess(gateway.url + path)
    if (status === 503 && (codeOf(body) !== 'SLUICE_OVERLOADED' || headers['retry-after'] !== '1'))
      throw new Error(`refused as ${body}`)
    if (status === wanted) return before
    before.push(status)
  }
}

async function afterwards(t: Test, gateway: Pressed): Promise<void> {
  gateway.process.signal('SIGWINCH')
  await gateway.process.logged(/no longer presses/)
  await askUntil(gateway, '/', 200)
  const { cause } = await gateway.process.logged(/^the gateway is no longer overloaded/)
  t.match(cause, /everything is within its limits; it took [\d.]+ s and [1-9]\d* refused requests/)
  await inTurn(Array.from({ length: 20 }), async () => t.equal((await askProcess(gateway.url)).status, 200))
  const { body } = await askJson(`${gateway.admin}/status`)
  t.match(body, { overload: { state: 'normal', limit: null, share: 1 } })
}

void test('OV-02: the event loop is late: most are refused, some are served, the admin listener answers', async (t) => {
  const server = await backend(t)
  const config = {
    pools: { web: { backends: [server.url] } },
    overload: { eventLoopDelay: '20ms' },
    plugins: [{ path: PLUGIN, options: { turnMs: 60 } }],
  }
  const gateway = await startGateway(t, JSON.stringify(config))
  const { cause } = await gateway.process.logged(/^the gateway is overloaded/)
  t.match(cause, /^the event loop is [1-9]\d* ms late, more than 20 ms$/)
  await askUntil(gateway, '/', 503)
  await askUntil(gateway, '/', 200)
  t.equal((await askProcess(`${gateway.admin}/healthz`)).status, 200, 'OV-05')
  t.match(await askJson(`${gateway.admin}/status`), { body: { overload: { limit: 'eventLoopDelay' } } })
  await afterwards(t, gateway)
})

/** With a heap that is soon full. */
function smallHeap(t: Test): string {
  const node = join(outsideFolder(t), 'small-heap')
  writeFileSync(node, `#!/bin/sh\nexec "${process.execPath}" --max-old-space-size=160 "$@"\n`)
  chmodSync(node, 0o755)
  return node
}

void test('OV-03: the heap fills up: nothing is taken on before it is full, and it comes back by itself', async (t) => {
  const server = await backend(t)
  const config = { pools: { web: { backends: [server.url] } }, plugins: [PLUGIN] }
  const gateway = await startGateway(t, JSON.stringify(config), { node: smallHeap(t) })
  // Of a limit that counts room for young objects, too: of 160 MiB that is some three quarters.
  t.equal((await askProcess(`${gateway.url}/fill/0.5`)).status, 200)
  const kept = await askUntil(gateway, '/keep', 503)
  t.ok(kept.length > 0 && kept.every((status) => status === 200), `${kept.length} requests that keep memory`)
  const { cause } = await gateway.process.logged(/^the gateway is overloaded/)
  t.match(cause, /^the heap takes 9\d(?:\.\d)? % of what it may, more than 90 %$/)
  await inTurn(Array.from({ length: 50 }), async () => t.equal((await askProcess(`${gateway.url}/keep`)).status, 503))
  t.equal((await askProcess(`${gateway.admin}/healthz`)).status, 200, 'OV-05')
  t.equal(server.requests.length, 0)
  await afterwards(t, gateway)
})

void test('OV-04: ten times what the backend can take: it is kept busy, the rest is refused, then all is as before', async (t) => {
  const [places, waiting, clients, each] = [4, 8, 120, 20]
  let [now, most] = [0, 0]
  const server = await backend(t, (_request, response) => {
    most = Math.max(most, ++now)
    setTimeout(() => {
      now--
      response.end('ok')
    }, 5)
  })
  const connections = { max: places, pending: waiting, queue: '10s' }
  const web = { backends: [server.url], connections, retry: { attempts: 1 } }
  const gateway = await startGateway(t, JSON.stringify({ pools: { web } }))
  const port = Number(new URL(gateway.url).port)
  const seen = new Map<unknown, number>()
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = await RawClient.open(t, port)
      await inTurn(Array.from({ length: each }), async () => {
        client.send(get())
        const { status, body } = await client.answer()
        const what = status === 200 ? 200 : codeOf(body.toString())
        seen.set(what, (seen.get(what) ?? 0) + 1)
      })
    }),
  )
  t.same(new Set(seen.keys()), new Set([200, 'SLUICE_QUEUE_FULL']), 'served or refused, nothing else')
  t.equal((seen.get(200) ?? 0) + (seen.get('SLUICE_QUEUE_FULL') ?? 0), clients * each)
  t.equal(seen.get(200), server.requests.length, 'everything that the backend has done has reached somebody')
  t.equal(most, places, 'as much at once as it can take, no more')
  t.same(
    gateway.process.lines.filter((line) => /overloaded|is (?:open|degraded|unhealthy|empty)/.test(line)),
    [],
    'that others have too much to do is no overload of the gateway',
  )
  await inTurn(Array.from({ length: 20 }), async () => t.equal((await askProcess(gateway.url)).status, 200))
})

/**
 * Names that fall into one place of a hash table whose hash has no seed for them: V8 took decimal names below 2^24 for
 * their value (CVE-2026-21717). These have the same length, and the same lowest 13 bits.
 */
function collidingNames(count: number): string[] {
  const step = 2 ** 13
  const first = Math.ceil(10_000_000 / step) * step
  return Array.from({ length: count }, (_, index) => String(first + index * step))
}

void test('OV-11: fields, parameters and cookies by the hundred with names that collide: answered, and so are others', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, JSON.stringify({ pools: { web: { backends: [server.url] } } }))
  const port = Number(new URL(gateway.url).port)
  const names = collidingNames(700)
  const lines = names.map((name) => `${name}: 1`)
  const query = names.map((name) => `${name}=1`).join('&')
  const other = await RawClient.open(t, port)
  const attacks = [
    get('/', lines),
    get(`/?${query}`),
    get('/', [`Cookie: ${names.map((name) => `${name}=1`).join('; ')}`]),
    get('/', [`Connection: ${names.join(', ')}`, ...lines.slice(0, 200)]),
  ]
  const statuses = new Set<number>()
  await inTurn([...attacks, ...attacks, ...attacks], async (attack) => {
    const attackers = Array.from({ length: 10 }, async () => void statuses.add((await ask(t, port, attack)).status))
    other.send(get('/other'))
    t.equal((await other.answer()).status, 200, 'others are served')
    await Promise.all(attackers)
  })
  t.same([...statuses], [200])
  t.equal((await ask(t, port, get('/', [...lines, ...lines]))).status, 431, 'what is longer is refused unread')
})
