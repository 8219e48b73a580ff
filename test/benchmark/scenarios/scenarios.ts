/**
 * The bad days. The first backend is the one that misbehaves.
 */
import type { Fleet } from './fleet.ts'

/** Waits until a share of the counted load has been sent. */
export type Until = (share: number) => Promise<void>

export interface Scenario {
  readonly name: string
  readonly title: string
  /** Who else is to take part, by its name among the proxies. */
  readonly also?: readonly string[]
  /** Before the first request. */
  readonly before?: (fleet: Fleet) => Promise<void>
  /** Beside the load, from the first counted request on. */
  readonly beside?: (fleet: Fleet, until: Until) => Promise<void>
}

const BAD = 0

export const SCENARIOS: readonly Scenario[] = [
  { name: 'even', title: 'All five are well' },
  {
    name: 'slow',
    title: 'One is five times slower than the others, from the start',
    before: (fleet) => fleet.order(BAD, { slowdown: 5 }),
  },
  {
    name: 'crash',
    title: 'One is killed, and comes back after a while',
    beside: async (fleet, until) => {
      await until(0.25)
      await fleet.kill(BAD)
      await until(0.5)
      await fleet.start(BAD)
    },
  },
  {
    name: 'half-500',
    title: 'One answers 500 to half of its requests, at once; its health checks are fine',
    // 500 may be the answer, so nobody asks for another one unless told to. The others are told to.
    also: ['sluice-500'],
    beside: (fleet) => fleet.order(BAD, { failing: 0.5 }),
  },
  {
    name: 'hang',
    title: 'One is stopped (SIGSTOP) and never goes on',
    beside: async (fleet, until) => {
      await until(0.25)
      fleet.hang(BAD)
    },
  },
  {
    name: 'reset',
    title: 'One resets every connection upon a request, checks too',
    beside: (fleet) => fleet.order(BAD, { resetting: true }),
  },
  {
    name: 'slow-down',
    title: 'One turns fifty times slower; its health checks are fine',
    beside: async (fleet, until) => {
      await until(0.25)
      await fleet.order(BAD, { slowdown: 50 })
    },
  },
  {
    name: 'rolling',
    title: 'All five are restarted gracefully, one after the other',
    beside: async (fleet, until) => {
      for (const index of fleet.ports.keys()) {
        // oxlint-disable-next-line no-await-in-loop -- one after the other is the point
        await until(0.1 + index * 0.17)
        // oxlint-disable-next-line no-await-in-loop
        await fleet.terminate(index)
        // oxlint-disable-next-line no-await-in-loop -- longer than a program takes to start, and always the same
        await until(0.15 + index * 0.17)
        // oxlint-disable-next-line no-await-in-loop
        await fleet.start(index)
      }
    },
  },
]
