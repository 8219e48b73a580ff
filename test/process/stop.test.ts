/**
 * How the process ends: what is under way is finished, what never ends is cut, and a second signal does not wait.
 */
import { once } from 'node:events'
import { type ClientRequest, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'

import { type Test, test } from 'tap'

import { ask, askJson, backend, startGateway } from '../helpers/process.ts'

/** A backend that answers at once, except to /held: there it begins only when it is told to, if ever. */
interface Holding {
  readonly url: string
  readonly held: ServerResponse[]
  /** Waits until that many requests are held. */
  readonly arrived: (count: number) => Promise<void>
}

async function holding(t: Test): Promise<Holding> {
  const held: ServerResponse[] = []
  const waiting: Array<() => void> = []
  const url = await backend(t, (request, answer) => {
    if (request.url !== '/held') {
      answer.end('at once')
      return
    }
    held.push(answer)
    for (const wake of waiting.splice(0)) wake()
  })
  const arrived = async (count: number): Promise<void> => {
    while (held.length < count) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other is what it waits for
      await new Promise<void>((wake) => {
        waiting.push(wake)
      })
    }
  }
  return { url, held, arrived }
}

function config(backendUrl: string, shutdown: string): string {
  return `pools: { web: { backends: ["${backendUrl}"] } }\nlog: { access: false }\nshutdown: ${shutdown}\n`
}

/** A connection on which one request was answered and which is idle now. */
async function idleConnection(t: Test, url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: idle\r\n\r\n')
  await once(socket, 'data')
  return socket
}

void test('SD-01: SIGTERM under load loses nothing: not ready at once, then closing, then what is in flight', async (t) => {
  const { url: backendUrl, held, arrived } = await holding(t)
  const gateway = await startGateway(t, config(backendUrl, '{ delay: 2s, grace: 60s }'))
  const { url, admin, process } = gateway
  t.same(await askJson(`${admin}/readyz`), { status: 200, body: { status: 'ready' } })

  const inFlight = Array.from({ length: 10 }, () => ask(`${url}/held`, { headers: { connection: 'keep-alive' } }))
  await arrived(10)
  const load = { on: true }
  const statuses: number[] = []
  const client = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- a client that asks again and again
    while (load.on) statuses.push((await ask(`${url}/`)).status)
  }
  const clients = Promise.all(Array.from({ length: 10 }, client))
  const idle = await idleConnection(t, url)

  process.signal('SIGTERM')
  await process.logged(/^stopping on SIGTERM$/)
  t.same(await askJson(`${admin}/readyz`), { status: 503, body: { status: 'stopping' } }, 'not ready at once')
  t.equal((await ask(`${admin}/healthz`)).status, 200, 'but alive')
  const during = await ask(`${url}/`, { headers: { connection: 'keep-alive' } })
  t.equal(during.status, 200, 'it still serves')
  t.not(during.headers.connection, 'close', 'as before')
  load.on = false
  await clients
  t.ok(statuses.length > 0)
  t.same(
    statuses.filter((status) => status !== 200),
    [],
    'every request of the load was answered',
  )

  // Idle connections are closed as soon as nothing new is let in.
  if (!idle.closed) await once(idle, 'close')
  // Reset when the system had taken it in the moment before.
  await t.rejects(ask(`${url}/`), { code: /^ECONN(REFUSED|RESET)$/ }, 'nothing new is let in')
  for (const answer of held) answer.end('finished')
  for (const { status, headers, body } of await Promise.all(inFlight)) {
    t.same([status, headers.connection, body], [200, 'close', 'finished'])
  }
  const { code, signal, stderr } = await process.ended
  t.same({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  t.ok(await process.logged(/^stopped$/))
})

/** A request whose end, whatever it is, is awaited by the test. */
async function broken(url: string): Promise<string> {
  const sent: ClientRequest = get(url, { agent: false })
  return await new Promise((done) => {
    sent.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message))
    sent.on('response', (answer: IncomingMessage) => {
      answer.on('error', (error: NodeJS.ErrnoException) => done(`in its answer: ${error.code ?? error.message}`))
      answer.on('end', () => done('an answer that looks whole'))
      answer.resume()
    })
  })
}

void test('SD-04: what never ends is cut at the grace, before or in the middle of its answer, with exit code 0', async (t) => {
  const { url: backendUrl, held, arrived } = await holding(t)
  const { url, process } = await startGateway(t, config(backendUrl, '{ grace: 300ms }'))
  const requests = [broken(`${url}/held`), broken(`${url}/held`)]
  await arrived(2)
  held[0]?.write('the first half, and no more')
  process.signal('SIGTERM')
  const ends = await Promise.all(requests)
  t.same(
    ends.map((end) => end.replace('in its answer: ', '')),
    ['ECONNRESET', 'ECONNRESET'],
  )
  t.ok(await process.logged(/^2 connections were still open after 300 ms and are cut off$/))
  const { code, stderr } = await process.ended
  t.same({ code, stderr }, { code: 0, stderr: '' })
})

void test('a plugin that never closes does not keep the process from ending', async (t) => {
  const folder = t.testdir({
    'package.json': '{ "type": "module" }',
    'hangs.js': `export default async (app) => { app.addHook('onClose', () => new Promise(() => {})) }`,
  })
  const url = await backend(t, 'here')
  const { process } = await startGateway(t, `${config(url, '{ grace: 100ms }')}plugins: ["${folder}/hangs.js"]\n`)
  process.signal('SIGTERM')
  const { code, stderr } = await process.ended
  t.same({ code, stderr }, { code: 0, stderr: '' })
})

void test('SD-05: a second signal, the same or the other one, ends it at once and not with 0', async (t) => {
  const pairs: ReadonlyArray<readonly [NodeJS.Signals, NodeJS.Signals]> = [
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGTERM'],
    ['SIGTERM', 'SIGINT'],
    ['SIGINT', 'SIGINT'],
  ]
  const ended = pairs.map(async ([first, second]) => {
    const { url: backendUrl, arrived } = await holding(t)
    const { url, process } = await startGateway(t, config(backendUrl, '{ delay: 1h, grace: 1h }'))
    const cut = broken(`${url}/held`)
    await arrived(1)
    process.signal(first)
    await process.logged(new RegExp(`^stopping on ${first}$`))
    process.signal(second)
    const { code, signal } = await process.ended
    t.ok(signal !== null || (code !== null && code > 0), `${first} ${second}: ${code ?? signal}`)
    t.equal(await cut, 'ECONNRESET')
  })
  await Promise.all(ended)
})

void test('SIGINT and SIGTERM: exit code 0; SIGHUP ends nothing', async (t) => {
  const url = await backend(t, 'here')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const gateway = await startGateway(t, config(url, '{}'))
    gateway.process.signal('SIGHUP')
    // oxlint-disable-next-line no-await-in-loop
    await gateway.process.logged(/: SIGHUP, in /)
    // oxlint-disable-next-line no-await-in-loop
    t.equal((await ask(gateway.url)).body, 'here')
    gateway.process.signal(signal)
    // oxlint-disable-next-line no-await-in-loop
    const { code, stdout, stderr } = await gateway.process.ended
    t.same({ code, stderr }, { code: 0, stderr: '' })
    t.match(stdout, new RegExp(`"stopping on ${signal}"`))
  }
})
