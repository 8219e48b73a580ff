/**
 * The end of a gateway whose checks are under way or planned: it comes at once, and nothing is left - no connection, no
 * timer. And pools that are mounted in an application are checked as well, until it closes.
 */
import { createHook } from 'node:async_hooks'
import { Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'

import Fastify from 'fastify'
import { test, type Test } from 'tap'

import { sluice, type PoolConfig } from '../../src/index.ts'
import { backend, type Backend } from '../helpers/gateway.ts'
import { MoodyBackend, named, watched } from '../helpers/moody-backend.ts'
import { ask, get, guarded, inTurn, portOf, rawBackend } from '../helpers/raw.ts'

function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
}

/** Counts the timers that the gateway itself makes from now on and that are still there. */
function countTimers(t: Test): () => Promise<number> {
  const alive = new Set<number>()
  const hook = createHook({
    init(id, type) {
      if (type !== 'Timeout') return
      const { stack = '' } = new Error('who makes it')
      if (/\/src\/transport\/(?:system-clock|connections?|probe)\.ts/.test(stack)) alive.add(id)
    },
    destroy: (id) => void alive.delete(id),
  })
  hook.enable()
  t.teardown(() => hook.disable())
  return async () => {
    // It is told of what is gone a little later.
    await inTurn([1, 2, 3], async () => turn())
    return alive.size
  }
}

const HANGING = { interval: '1h', timeout: '1h' } as const

for (const type of ['http', 'tcp'] as const) {
  void test(`closing with ${type} checks that hang or wait ends them, and leaves nothing`, async (t) => {
    const timers = countTimers(t)
    const before = sockets()
    const peers: Record<string, { readonly url: string }> = {}
    const hanging = await rawBackend(t, {})
    // Ten are under way at most; the others wait for their place, or for their time.
    for (let n = 0; n < 30; n++) peers[`peer-${n}`] = hanging
    const health: PoolConfig['health'] = { active: { type, ...HANGING, interval: 30 } }
    const gateway = await watched(t, peers, { health }, { admin: false })
    await hanging.connection(9)
    t.ok((await timers()) > 0, 'there are timers to be left')
    await guarded(gateway.close(), () => 'closing')
    await inTurn(hanging.accepted, async ({ inbox }) => inbox.end())
    for (const { socket } of hanging.accepted) socket.destroy()
    t.equal(await timers(), 0)
    await turn()
    t.equal(sockets(), before)
    if (type === 'http') t.equal(hanging.accepted.length, 10, 'no check began while it closed')
    t.same(gateway.seen.story(undefined, 'health'), [], 'a check that was given up has not failed')
  })
}

void test('closing while an ejection, an open breaker and a warm-up have their time leaves no timer', async (t) => {
  const timers = countTimers(t)
  let sick = true
  const good = await backend(t, named('good'))
  const bad = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(request.url === '/health' ? 200 : 500).end()
  })
  const fresh = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(request.url === '/health' && sick ? 500 : 200).end()
  })
  const health = { active: { interval: 20, timeout: 10_000 }, passive: { ejection: '1h' }, warmup: '1h' } as const
  const pool = { algorithm: 'round-robin', health, breaker: { open: '1h', maxOpen: '1h' } } as const
  const gateway = await watched(t, { good, bad, fresh }, pool, { admin: false })
  await gateway.seen.next({ backend: 'fresh', to: 'unhealthy' })
  sick = false
  await gateway.seen.next({ backend: 'fresh', to: 'warming' })
  await inTurn(Array.from({ length: 60 }), async () => ask(t, gateway.port, get()))
  await gateway.seen.next({ backend: 'bad', what: 'health', to: 'unhealthy' })
  t.ok(gateway.seen.story('bad', 'breaker').length > 0)
  t.ok((await timers()) > 3)
  await gateway.close()
  t.equal(await timers(), 0)
})

void test('the kept connections of checks are closed with the gateway', async (t) => {
  const counted = await backend(t, named('counted'))
  const moody = await MoodyBackend.start(t)
  // Idle for longer than any test waits.
  const health = { active: { interval: '1h', timeout: '1h' } } as const
  const pools = { other: { backends: [moody.url], health } }
  const routes = [{ path: '/*', pool: 'web' }]
  const gateway = await watched(t, { counted }, { health }, { pools, routes })
  await counted.request(0)
  await gateway.status()
  t.equal(counted.open(), 1, 'it is kept')
  await gateway.close()
  await moody.openAtMost(0)
  await counted.openAtMost(0)
})

void test('a pool that is mounted is checked as well, and no longer once the application has closed', async (t) => {
  const lines: string[] = []
  let wake: (() => void) | undefined
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      lines.push(String(piece))
      wake?.()
      done()
    },
  })
  let sick = false
  const steady = await backend(t, named('steady'))
  const failing: Backend = await backend(t, (request, response) => {
    request.resume()
    response.writeHead(request.url === '/health' && sick ? 500 : 200).end('failing')
  })
  const app = Fastify({ logger: { level: 'info', stream } })
  t.teardown(() => app.close())
  const health = { active: { interval: 20, timeout: 10_000 } }
  const backends = [
    { id: 'steady', url: steady.url },
    { id: 'failing', url: failing.url },
  ]
  await app.register(sluice, { prefix: '/reports', pool: { backends, health } })
  await app.listen({ port: 0, host: '127.0.0.1' })
  sick = true
  const out = async (): Promise<void> => {
    while (!lines.some((line) => line.includes('backend failing of pool pool is unhealthy (health): '))) {
      // oxlint-disable-next-line no-await-in-loop -- until it is said
      await new Promise<void>((resolve) => void (wake = resolve))
    }
  }
  await guarded(out(), () => lines.join(''))
  await inTurn(Array.from({ length: 10 }), async () => {
    t.equal((await ask(t, portOf(app.server), get('/reports/1'))).body.toString(), 'steady')
  })
  await app.close()
  await Promise.all([steady.openAtMost(0), failing.openAtMost(0)])
})
