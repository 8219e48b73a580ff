/**
 * Time that stands still until a test moves it. Everything that falls due on the way runs in order, at its own time.
 */
import type { Clock } from '../core/clock.ts'

interface Task {
  readonly fn: () => void
  readonly at: number
  readonly order: number
}

export class VirtualClock implements Clock {
  readonly #tasks = new Set<Task>()
  #now = 0
  #scheduled = 0

  now(): number {
    return this.#now
  }

  schedule(fn: () => void, delayMs: number): () => void {
    this.#scheduled += 1
    const task: Task = { fn, at: this.#now + Math.max(0, delayMs), order: this.#scheduled }
    this.#tasks.add(task)
    return () => {
      this.#tasks.delete(task)
    }
  }

  /** How many tasks wait: 0 is what a test for leaks expects in the end. */
  get pending(): number {
    return this.#tasks.size
  }

  /** Also runs what the tasks themselves schedule, as far as it falls due within `ms`. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (let task = this.#due(end); task !== undefined; task = this.#due(end)) {
      this.#tasks.delete(task)
      this.#now = task.at
      task.fn()
    }
    this.#now = end
  }

  #due(end: number): Task | undefined {
    let first: Task | undefined
    for (const task of this.#tasks) {
      if (task.at > end) continue
      if (first === undefined || task.at < first.at || (task.at === first.at && task.order < first.order)) first = task
    }
    return first
  }
}
