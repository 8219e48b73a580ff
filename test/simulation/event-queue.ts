/**
 * Virtual time for millions of events: a binary heap, where the tests' `VirtualClock` looks through all that is due.
 */
import type { Clock } from '../../src/core/clock.ts'

interface Event {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

export class EventQueue implements Clock {
  readonly #heap: Event[] = []
  #now = 0
  #scheduled = 0

  now(): number {
    return this.#now
  }

  schedule(fn: () => void, delayMs: number): () => void {
    this.#scheduled += 1
    const event: Event = { at: this.#now + Math.max(0, delayMs), order: this.#scheduled, run: fn }
    this.#add(event)
    return () => {
      event.run = undefined
    }
  }

  /** Until there is nothing left to happen. */
  runAll(): void {
    for (let event = this.#take(); event !== undefined; event = this.#take()) {
      this.#now = event.at
      event.run?.()
    }
  }

  #add(event: Event): void {
    let hole = this.#heap.length
    this.#heap.push(event)
    while (hole > 0) {
      const parent = (hole - 1) >>> 1
      const above = this.#heap[parent]
      if (above === undefined || !isBefore(event, above)) break
      this.#heap[hole] = above
      hole = parent
    }
    this.#heap[hole] = event
  }

  #take(): Event | undefined {
    const first = this.#heap[0]
    const last = this.#heap.pop()
    if (last === undefined || last === first) return first
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      let below = this.#heap[child]
      const right = this.#heap[child + 1]
      if (below === undefined) break
      if (right !== undefined && isBefore(right, below)) {
        child += 1
        below = right
      }
      if (!isBefore(below, last)) break
      this.#heap[hole] = below
      hole = child
    }
    this.#heap[hole] = last
    return first
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}
