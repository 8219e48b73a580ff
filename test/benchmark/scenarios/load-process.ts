/** The harness's handle on its load. */
import type { ChildProcess } from 'node:child_process'

import { startNode } from '../processes.ts'
import { nextMessage, tied } from '../child.ts'
import type { Job } from './load.ts'
import type { Outcome } from './outcome.ts'

export class Load {
  readonly #child: ChildProcess

  constructor() {
    this.#child = tied(startNode('scenarios/load.ts', [], { core: 1, messages: true }))
  }

  /** Returns when the counted part of the load begins. */
  async begin(job: Job): Promise<void> {
    this.#child.send(job)
    await nextMessage(this.#child, 'the load')
  }

  /** What came of it, when the last request has ended. */
  outcome(): Promise<Outcome> {
    return nextMessage(this.#child, 'the load')
  }

  stop(): void {
    this.#child.kill()
  }
}
