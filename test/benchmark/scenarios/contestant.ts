/**
 * A proxy that serves the fleet of a run, until it is stopped. One that does not start, or that dies, ends the harness:
 * a table without it would look like a result.
 */
import { get } from 'node:http'

import { startPeer, type Peer, type Running } from '../processes.ts'
import type { Fleet } from './fleet.ts'

const START_WITHIN_MS = 15_000

export class Contestant {
  readonly name: string
  readonly port: number
  readonly #running: Running

  private constructor(running: Running) {
    this.name = running.name
    this.port = running.port
    this.#running = running
  }

  /** `undefined` when it is not installed. */
  static async start(peer: Peer, fleet: Fleet): Promise<Contestant | undefined> {
    const running = await startPeer(peer, fleet.ports)
    if (running === undefined) return undefined
    try {
      await serving(running, fleet.token)
    } catch (error) {
      await running.stop()
      throw error
    }
    return new Contestant(running)
  }

  /** Processor time so far. */
  cpuMs(): number {
    if (!this.#running.alive) throw new Error(`${this.name} has died`)
    return this.#running.cpuUs() / 1000
  }

  async stop(): Promise<void> {
    await this.#running.stop()
  }
}

/** Until a backend of this very fleet answers through it: something else could listen on its port. */
async function serving(running: Running, token: string): Promise<void> {
  const { name, port } = running
  const deadline = performance.now() + START_WITHIN_MS
  let answer = ''
  while (running.alive && performance.now() < deadline) {
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
