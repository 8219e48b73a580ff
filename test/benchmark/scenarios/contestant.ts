/**
 * A proxy that serves the fleet of a run, until it is stopped. One that does not start, or that dies, ends the harness:
 * a table without it would look like a result.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'

import { startPeer, type Peer, type Running } from '../processes.ts'
import { alive, end, tied } from './child.ts'
import type { Fleet } from './fleet.ts'

const START_WITHIN_MS = 15_000
const STOP_WITHIN_MS = 1_000

export class Contestant {
  readonly name: string
  readonly port: number
  readonly #running: Running
  readonly #child: ChildProcess

  private constructor(running: Running, child: ChildProcess) {
    this.name = running.name
    this.port = running.port
    this.#running = running
    this.#child = child
  }

  /** `undefined` when it is not installed. */
  static async start(peer: Peer, fleet: Fleet): Promise<Contestant | undefined> {
    const children: ChildProcess[] = []
    const starting = startPeer({ ...peer, start: (...args) => keep(children, peer.start(...args)) }, fleet.ports)
    const [child] = children
    if (child === undefined) return undefined
    const running = await unlessItEnds(child, peer.name, starting)
    if (running === undefined) return undefined
    const contestant = new Contestant(running, child)
    try {
      await unlessItEnds(child, peer.name, serving(contestant, fleet.token))
    } catch (error) {
      await contestant.stop()
      throw error
    }
    return contestant
  }

  /** Processor time so far. */
  cpuMs(): number {
    if (!alive(this.#child)) throw new Error(`${this.name} has died`)
    return this.#running.cpuUs() / 1000
  }

  async stop(): Promise<void> {
    if (!alive(this.#child)) return
    // It may want to wait for connections that nobody will use again.
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), STOP_WITHIN_MS)
    const ended = end(this.#child, 'SIGTERM')
    this.#running.stop()
    await ended
    clearTimeout(impatient)
  }
}

function keep(children: ChildProcess[], child: ChildProcess | undefined): ChildProcess | undefined {
  if (child !== undefined) children.push(tied(child))
  return child
}

async function unlessItEnds<Result>(child: ChildProcess, name: string, result: Promise<Result>): Promise<Result> {
  const over = new AbortController()
  const ended = alive(child) ? once(child, 'exit', { signal: over.signal }) : Promise.resolve([])
  const broken = ended.then((): never => {
    throw new Error(`${name} does not start: it has ended`)
  })
  try {
    return await Promise.race([result, broken])
  } finally {
    over.abort()
  }
}

/** Until a backend of this very fleet answers through it: something else could listen on its port. */
async function serving({ name, port }: Contestant, token: string): Promise<void> {
  const deadline = performance.now() + START_WITHIN_MS
  let answer = ''
  while (performance.now() < deadline) {
    // oxlint-disable-next-line no-await-in-loop -- asked again when the answer is not yet the right one
    answer = await ask(port)
    if (answer === `200 ${token}`) return
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((resolve) => void setTimeout(resolve, 100))
  }
  throw new Error(`${name} does not serve the backends of this run; its last answer: ${answer}`)
}

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const request = get({ port, host: '127.0.0.1', path: '/items/0', agent: false, timeout: 2_000 }, (response) => {
      response.resume()
      resolve(`${response.statusCode} ${String(response.headers['x-fleet'])}`)
    })
    request.once('timeout', () => request.destroy())
    request.once('error', (error) => resolve(error.message))
  })
}
