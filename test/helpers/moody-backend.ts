/**
 * What tests of health need: a backend in a process of its own whose mood they decide, a gateway whose events are noted,
 * and clients that ask again and again. This file is also what that process runs.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'

import type { Config, PoolConfig } from '../../src/index.ts'
import type { GatewayEvent } from '../../plugins/events.ts'
import { type Gateway, type Handler, startGateway } from './gateway.ts'
import { ask, askJson } from './process.ts'
import { guarded, portOf } from './raw.ts'

/** How it answers: as it should, with 500, with 500 every other time, late, not at all, or by breaking off. */
export type Mood = 'well' | 'failing' | 'half' | 'slow' | 'hanging' | 'resetting'

/** What the slow ones take for an answer. */
export const SLOW_MS = 250

type Order =
  | { readonly be: { readonly traffic: Mood; readonly health: Mood } }
  | { readonly refuse: true }
  | { readonly openAtMost: number }

export class MoodyBackend {
  readonly name: string
  port = 0
  #child: ChildProcess | undefined

  private constructor(name: string) {
    this.name = name
  }

  /** Runs until the test ends; every answer that is well is its name. */
  static async start(t: Test, name = 'moody'): Promise<MoodyBackend> {
    const moody = new MoodyBackend(name)
    t.teardown(() => moody.kill())
    await moody.restart()
    return moody
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** From now on, for checks of `/health` and for everything else; it listens again if it refused. */
  async be(traffic: Mood, health: Mood = traffic): Promise<void> {
    await this.#order({ be: { traffic, health } })
  }

  /** Nobody listens any more, and all connections are closed. */
  async refuse(): Promise<void> {
    await this.#order({ refuse: true })
  }

  /** Waits until no more than so many connections to it are open. */
  async openAtMost(count: number): Promise<void> {
    await this.#order({ openAtMost: count })
  }

  /** The system still accepts connections for it, but nobody is there. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  /** A new process, on the port of the one before, which has to be gone. */
  async restart(): Promise<void> {
    const child = fork(import.meta.filename, [this.name, `${this.port}`], {
      execArgv: [],
      // What the test runner put in there is not meant for backends.
      env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    this.port = Number(await this.#reply(child))
  }

  async #order(order: Order): Promise<void> {
    const child = this.#child
    if (child === undefined) throw new Error(`${this.name} does not run`)
    const reply = this.#reply(child)
    child.send(order)
    await reply
  }

  async #reply(child: ChildProcess): Promise<unknown> {
    const ended = once(child, 'exit').then(() => Promise.reject(new Error(`${this.name} has ended`)))
    const messages = await guarded(Promise.race([once(child, 'message'), ended]), () => `a reply of ${this.name}`)
    ended.catch(() => undefined)
    return messages[0]
  }
}

/** A backend of this process that answers with its name. */
export function named(name: string): Handler {
  return (request, response) => {
    request.resume()
    request.on('end', () => response.end(name))
  }
}

/** The events of a gateway in their order. */
export class Chronicle {
  readonly events: GatewayEvent[] = []
  #read = 0
  #waiting: Array<() => void> = []

  constructor(app: FastifyInstance) {
    app.events.listen((event) => {
      this.events.push(event)
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  /** The next event like this one, behind the one that was given last. */
  async next(like: Partial<GatewayEvent>): Promise<GatewayEvent> {
    const wanted = Object.entries(like)
    const find = (): GatewayEvent | undefined => {
      const rest = this.events.slice(this.#read)
      const at = rest.findIndex((event) => wanted.every(([key, value]) => Reflect.get(event, key) === value))
      if (at !== -1) this.#read += at + 1
      return rest[at]
    }
    return guarded(this.#until(find), () => `the event ${JSON.stringify(like)}; there are ${this.story().join(', ')}`)
  }

  /** Waits until the health of each of these backends is this, in whatever order it came to be. */
  async each(backends: readonly string[], to: string): Promise<void> {
    const are = (): true | undefined =>
      backends.every(
        (name) => this.events.findLast(({ what, backend }) => what === 'health' && backend === name)?.to === to,
      ) || undefined
    await guarded(this.#until(are), () => `${backends.join(', ')} are ${to}; there are ${this.story().join(', ')}`)
  }

  async #until<T>(ready: () => T | undefined): Promise<T> {
    for (;;) {
      const result = ready()
      if (result !== undefined) return result
      // oxlint-disable-next-line no-await-in-loop -- until it has happened
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
  }

  /** What happened to a backend, or to everyone, in short. */
  story(backend?: string, what?: GatewayEvent['what']): string[] {
    return this.events
      .filter((event) => backend === undefined || event.backend === backend)
      .filter((event) => what === undefined || event.what === what)
      .map((event) => `${event.what} ${event.backend ?? event.pool} ${event.from} > ${event.to}: ${event.cause}`)
  }
}

export interface Watched extends Gateway {
  readonly seen: Chronicle
  /** What the admin listener says of the backends of a pool, by their ids. */
  status(pool?: string): Promise<ReadonlyMap<string, object>>
}

/** A gateway with a pool of backends that go by their names, and a note of its events. */
export async function watched(
  t: Test,
  backends: Readonly<Record<string, { readonly url: string }>>,
  pool: Omit<PoolConfig, 'backends'> = {},
  rest: Omit<Config, 'pools'> & { readonly pools?: Config['pools'] } = {},
  prepare?: (app: FastifyInstance) => void,
): Promise<Watched> {
  const web = { ...pool, backends: Object.entries(backends).map(([id, { url }]) => ({ id, url })) }
  let seen: Chronicle | undefined
  const config = { admin: { port: 0 }, ...rest, pools: { web, ...rest.pools } }
  const gateway = await startGateway(t, config, (app) => {
    seen = new Chronicle(app)
    prepare?.(app)
  })
  if (seen === undefined) throw new Error('it was never prepared')
  const admin = await gateway.app.admin?.listen({ port: 0, host: '127.0.0.1' })
  const status = async (name = 'web'): Promise<ReadonlyMap<string, object>> => {
    const { body } = await askJson(`${admin}/status`)
    const found: unknown = Reflect.get(Object(Reflect.get(Object(body), 'pools')), name)
    const list: unknown = Reflect.get(Object(found), 'backends')
    if (!Array.isArray(list)) throw new Error(`no backends of ${name} in ${JSON.stringify(body)}`)
    return new Map(list.map((each: unknown) => [String(Reflect.get(Object(each), 'id')), Object(each)]))
  }
  return { ...gateway, seen, status }
}

/** Between an answer and the next question of a client: what is asked shall not be what keeps the machine busy. */
const PAUSE_MS = 4

/** Clients, each of which asks again soon after it has its answer. */
export class Traffic {
  /** What was no 200, in words. */
  readonly failures: string[] = []
  readonly #by = new Map<string, number>()
  #answers = 0
  #stopped = false
  #waiting: Array<() => void> = []
  readonly #clients: Promise<unknown>

  constructor(t: Test, port: number, { clients = 3, path = '/', method = 'GET' } = {}) {
    const url = `http://127.0.0.1:${port}${path}`
    this.#clients = Promise.all(Array.from({ length: clients }, async () => this.#run(url, method)))
    t.teardown(() => this.stop())
  }

  /** How many answers were the name of a backend. */
  by(name: string): number {
    return this.#by.get(name) ?? 0
  }

  /** Waits for so many more answers, whatever they are. */
  async more(count: number): Promise<void> {
    await this.#until(() => this.#answers, count)
  }

  /** Waits for so many more answers of this backend. */
  async moreBy(name: string, count: number): Promise<void> {
    await this.#until(() => this.by(name), count)
  }

  /** Ends it; what has begun still gets its answer. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#clients
  }

  async #until(counted: () => number, count: number): Promise<void> {
    const enough = counted() + count
    const wait = async (): Promise<void> => {
      while (counted() < enough) {
        // oxlint-disable-next-line no-await-in-loop -- until they are there
        await new Promise<void>((resolve) => void this.#waiting.push(resolve))
      }
    }
    await guarded(wait(), () => `${counted()} of ${enough} answers; failed: ${this.failures.slice(0, 5).join(', ')}`)
  }

  async #run(url: string, method: string): Promise<void> {
    while (!this.#stopped) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other is what a client does
      await this.#ask(url, method)
      this.#answers++
      for (const wake of this.#waiting.splice(0)) wake()
      // oxlint-disable-next-line no-await-in-loop
      await pause(PAUSE_MS)
    }
  }

  async #ask(url: string, method: string): Promise<void> {
    try {
      const { status, body } = await ask(url, { method })
      if (status === 200) this.#by.set(body, this.by(body) + 1)
      else this.failures.push(`${status} ${body}`)
    } catch (error) {
      this.failures.push(String(error))
    }
  }
}

// --- in the process of the backend ---

class MoodyServer {
  readonly #name: string
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((request, response) => {
    request.resume()
    this.#answer(request.url === '/health' ? this.#health : this.#traffic, response)
  })
  #traffic: Mood = 'well'
  #health: Mood = 'well'
  #turn = 0
  #port: number
  #atMost = -1

  constructor(name: string, port: number) {
    this.#name = name
    this.#port = port
    this.#server.keepAliveTimeout = 60_000
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        this.#tellIfFew()
      })
    })
  }

  async listen(): Promise<number> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = portOf(this.#server)
    return this.#port
  }

  async obey(order: Order): Promise<void> {
    if ('be' in order) {
      this.#traffic = order.be.traffic
      this.#health = order.be.health
      if (!this.#server.listening) await this.listen()
      process.send?.('done')
    } else if ('refuse' in order) {
      const closed = once(this.#server, 'close')
      this.#server.close()
      for (const socket of this.#sockets) socket.destroy()
      await closed
      process.send?.('done')
    } else {
      this.#atMost = order.openAtMost
      this.#tellIfFew()
    }
  }

  #tellIfFew(): void {
    if (this.#sockets.size > this.#atMost) return
    this.#atMost = -1
    process.send?.('done')
  }

  #answer(mood: Mood, response: ServerResponse): void {
    if (mood === 'well') response.end(this.#name)
    else if (mood === 'failing') fail(response)
    else if (mood === 'half') this.#answer(++this.#turn % 2 === 0 ? 'well' : 'failing', response)
    else if (mood === 'slow') setTimeout(() => response.end(this.#name), SLOW_MS)
    else if (mood === 'resetting') response.socket?.resetAndDestroy()
  }
}

function fail(response: ServerResponse): void {
  response.writeHead(500).end('this went wrong')
}

function isOrder(message: unknown): message is Order {
  return typeof message === 'object' && message !== null
}

if (import.meta.main) {
  const [, , name = '', port] = process.argv
  const server = new MoodyServer(name, Number(port))
  process.on('message', (message) => {
    if (isOrder(message)) void server.obey(message)
  })
  // Whoever started it is gone.
  process.on('disconnect', () => process.exit())
  process.send?.(await server.listen())
}
