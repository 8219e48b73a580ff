/**
 * A bad day of a gateway, from its start to its stop, and what its clients saw of it: what metrics, log and dashboard tell
 * is compared with that.
 */
import { writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'

import type { Test } from 'tap'

import { MoodyBackend } from '../helpers/moody-backend.ts'
import { ask, askJson, outsideFolder, start, type Addresses, type Running } from '../helpers/process.ts'
import { ask as askRaw, get, inTurn, RawClient } from '../helpers/raw.ts'

/** One request, as its client saw it. */
export interface Seen {
  readonly path: string
  /** 'aborted' where the client left. */
  readonly status: number | 'aborted'
  readonly requestId: string
  /** The name of the backend, which is what it answers; '' where none did. */
  readonly backend: string
  readonly bytes: number
}

export interface Day extends Addresses {
  readonly process: Running
  readonly file: string
  readonly seen: Seen[]
  readonly backends: Readonly<Record<'dies' | 'slows' | 'lasts' | 'hangs', MoodyBackend>>
}

/** Keeps the event loop busy when it is asked to, as a plugin that computes too much would, until somebody suffers. */
const BUSY_PLUGIN = `export default async app => {
  app.get('/busy/*', (request, reply) => {
    const compute = () => {
      for (const until = Date.now() + 1000; Date.now() < until;);
      if (app.overload.refused.eventLoopDelay === 0) setImmediate(compute)
    }
    setTimeout(compute, 5)
    reply.code(202).send('busy')
  })
}
`

export async function beginDay(t: Test): Promise<Day> {
  const named = async (name: string): Promise<MoodyBackend> => MoodyBackend.start(t, name)
  const [dies, slows, lasts, hangs] = await Promise.all([named('dies'), named('slows'), named('lasts'), named('hangs')])
  await hangs.be('hanging')
  const folder = outsideFolder(t)
  writeFileSync(join(folder, 'busy.js'), BUSY_PLUGIN)
  const file = join(folder, 'gateway.json')
  writeFileSync(file, configOf({ dies, slows, lasts, hangs }))
  const running = start(t, ['run', '--config', file, '--port', '0', '--admin-port', '0'])
  return { process: running, file, seen: [], backends: { dies, slows, lasts, hangs }, ...(await running.serving()) }
}

function configOf(backends: Day['backends']): string {
  const seat = (name: keyof Day['backends']): object => ({ id: name, url: backends[name].url })
  return JSON.stringify({
    reload: { watch: false },
    overload: { eventLoopDelay: '300ms' },
    pools: {
      shop: { algorithm: 'round-robin', backends: [seat('dies'), seat('slows'), seat('lasts')] },
      stuck: { backends: [seat('hangs')] },
    },
    routes: [
      { path: '/shop/*', pool: 'shop' },
      { path: '/stuck/*', pool: 'stuck' },
    ],
    plugins: ['./busy.js'],
  })
}

/** So many requests of a few clients, one after the other each. */
export async function visit({ url, seen }: Day, path: string, count: number, clients = 8): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  let left = count
  const client = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- that is what a client does
    while (left-- > 0) seen.push(await visitOnce(agent, url, `${path}${left}`))
  }
  await Promise.all(Array.from({ length: clients }, client))
  agent.destroy()
}

async function visitOnce(agent: Agent, url: string, path: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}${path}`, { agent }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => (body += text))
      answer.once('error', reject)
      answer.once('end', () => {
        const status = answer.statusCode ?? 0
        const requestId = String(answer.headers['x-request-id'])
        const backend = status === 200 && answer.headers['content-type'] === undefined ? body : ''
        resolve({ path, status, requestId, backend, bytes: Buffer.byteLength(body) })
      })
    })
    sent.once('error', reject)
    sent.end()
  })
}

/** Clients that leave before they have an answer. */
export async function leave(t: Test, { url, admin, seen }: Day, count: number): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: count }, async () => RawClient.open(t, Number(new URL(url).port))),
  )
  for (const client of clients) client.send(get('/stuck/a'))
  await until(async () => (await inFlight(admin)) === count)
  for (const { socket } of clients) {
    socket.destroy()
    seen.push({ path: '/stuck/a', status: 'aborted', requestId: '', backend: '', bytes: 0 })
  }
  await until(async () => (await inFlight(admin)) === 0)
}

async function until(fits: () => Promise<boolean>): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- until it does
  while (!(await fits()));
}

async function inFlight(admin: string): Promise<number> {
  const { body } = await askJson(`${admin}/status`)
  const found = JSON.stringify(body).matchAll(/"inFlight":(\d+)/g)
  return Array.from(found, ([, count]) => Number(count)).reduce((sum, count) => sum + count, 0)
}

/** Something keeps the gateway busy, and clients come meanwhile; until it says that this is over. */
export async function overload(day: Day): Promise<void> {
  await visit(day, '/busy/', 1, 1)
  while (!day.seen.some(({ status }) => status === 503)) {
    // oxlint-disable-next-line no-await-in-loop -- until one is refused
    await visit(day, '/shop/much/', 8)
  }
  await day.process.logged(/gateway is no longer overloaded/)
}

/** What is no request at all. */
export async function babble(t: Test, { url, seen }: Day, count: number): Promise<void> {
  await inTurn(Array.from({ length: count }), async () => {
    const { status } = await askRaw(t, Number(new URL(url).port), 'this is no request\r\n\r\n')
    seen.push({ path: '', status, requestId: '', backend: '', bytes: 0 })
  })
}

/** Wants a configuration that is none. @returns the answer */
export async function reloadBadly({ admin, file }: Day): Promise<string> {
  writeFileSync(file, '{ "pools": { "shop": { "backends": ["htp://nowhere"] } } }')
  const { status, body } = await ask(`${admin}/reload`, { method: 'POST' })
  return `${status} ${body}`
}
