/** The benchmark's handle on its load process. */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'

import { startNode } from './processes.ts'

export interface Job {
  readonly port: number
  readonly requests: number
  readonly connections: number
  readonly path: string
}

export interface Result {
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

export class Load {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(): Promise<Load> {
    return new Load(startNode('load.ts', [], { core: 1, messages: true }))
  }

  async run(job: Job): Promise<Result> {
    this.#child.send(job)
    const [result]: Result[] = await Promise.race([
      once(this.#child, 'message'),
      once(this.#child, 'exit').then(() => []),
    ])
    if (result === undefined) throw new Error('the load process gave no result; what it met is above')
    return result
  }

  stop(): void {
    this.#child.kill()
  }
}
