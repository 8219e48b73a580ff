/**
 * The backends of a run, each a process of its own, so that it can be killed, stopped by a signal, and started again on
 * the port that it had.
 */
import type { ChildProcess } from 'node:child_process'

import { end, nextMessage, tied } from '../child.ts'
import { freePorts } from '../ports.ts'
import { startNode } from '../processes.ts'
import type { Faults, Settings } from './backend.ts'
import type { Plan } from './plan.ts'

export class Fleet {
  readonly ports: readonly number[]
  readonly token: string
  readonly #plan: Plan
  readonly #children: ChildProcess[] = []

  private constructor(plan: Plan, ports: readonly number[]) {
    this.ports = ports
    this.token = `${process.pid}-${ports.join('-')}`
    this.#plan = plan
  }

  static async start(plan: Plan): Promise<Fleet> {
    const fleet = new Fleet(plan, await freePorts(plan.backends))
    try {
      await Promise.all(fleet.ports.map((_, index) => fleet.start(index)))
    } catch (error) {
      await fleet.stop()
      throw error
    }
    return fleet
  }

  /** Starts a backend, or starts it again; it listens afterwards, and behaves. */
  async start(index: number): Promise<void> {
    const { seed, slots, serviceMs } = this.#plan
    const settings: Settings = { index, port: this.#portOf(index), token: this.token, seed, slots, serviceMs }
    const child = startNode('scenarios/backend.ts', [JSON.stringify(settings)], { core: 1, messages: true })
    this.#children[index] = tied(child)
    await nextMessage(child, `backend ${index + 1}`)
  }

  /** Has a backend misbehave from now on. */
  async order(index: number, faults: Partial<Faults>): Promise<void> {
    const child = this.#childOf(index)
    child.send(faults)
    await nextMessage(child, `backend ${index + 1}`)
  }

  async kill(index: number): Promise<void> {
    await end(this.#childOf(index), 'SIGKILL')
  }

  /** Stops it gracefully: it takes nothing new, and ends when it has answered what it has. */
  async terminate(index: number): Promise<void> {
    await end(this.#childOf(index), 'SIGTERM')
  }

  /** It stays there, and its port takes connections, but nothing ever comes back. */
  hang(index: number): void {
    this.#childOf(index).kill('SIGSTOP')
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => end(child, 'SIGKILL')))
  }

  #portOf(index: number): number {
    const port = this.ports[index]
    if (port === undefined) throw new RangeError(`there is no backend ${index + 1}`)
    return port
  }

  #childOf(index: number): ChildProcess {
    const child = this.#children[index]
    if (child === undefined) throw new RangeError(`there is no backend ${index + 1}`)
    return child
  }
}
