/** The benchmark's handle on its load process. */
import type { ChildProcess } from 'node:child_process'

import { end, nextMessage, tied } from './child.ts'
import type { Job } from './load/client.ts'
import type { Result } from './load/course.ts'
import type { Order, Report } from './load.ts'
import { startNode } from './processes.ts'

/** Beyond the load's own deadline: by then the load itself must be what hangs. */
const GRACE_MS = 10_000

export class Load {
  #child = start()

  /**
   * Opens connections, besides those that are open; each has had one answer then.
   *
   * @throws when the proxy does not do what it should, in time
   */
  async open(job: Job): Promise<void> {
    await this.#ask({ what: 'open', job }, job.deadlineMs)
  }

  /** @throws as above; then all connections are closed */
  async run(deadlineMs: number): Promise<Result> {
    const report = await this.#ask({ what: 'run' }, deadlineMs)
    if (report.what !== 'ran') throw new Error('the load did not run')
    return report.result
  }

  /** @returns how many connections the proxy has not closed */
  async count(): Promise<number> {
    const report = await this.#ask({ what: 'count' }, GRACE_MS)
    return report.what === 'counted' ? report.kept : 0
  }

  async close(): Promise<void> {
    await this.#ask({ what: 'close' }, GRACE_MS)
  }

  stop(): void {
    this.#child.kill()
  }

  async #ask(order: Order, withinMs: number): Promise<Report> {
    const child = this.#child
    const timer = setTimeout(() => void end(child, 'SIGKILL'), withinMs + GRACE_MS)
    try {
      const answer = nextMessage<Report>(child, 'the load')
      child.send(order)
      const report = await answer
      if (report.what === 'failed') throw new Error(report.reason)
      return report
    } finally {
      clearTimeout(timer)
      // One that has died is replaced, so that the next proxy has its turn.
      if (child.exitCode !== null || child.signalCode !== null) this.#child = start()
    }
  }
}

function start(): ChildProcess {
  return tied(startNode('load.ts', [], { core: 1, messages: true }))
}
