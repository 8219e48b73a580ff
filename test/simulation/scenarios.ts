/**
 * What is simulated: who is compared, and in which situations.
 */
import type { Contender, Scenario, World } from './simulation.ts'

const key = { header: 'x-user' }

export const CONTENDERS: readonly Contender[] = [
  { name: 'round-robin', type: 'round-robin' },
  { name: 'weighted-round-robin', type: 'weighted-round-robin' },
  { name: 'random', type: 'random' },
  { name: 'least-connections', type: 'least-connections' },
  { name: 'power-of-two', type: 'power-of-two' },
  { name: 'peak-ewma', type: 'peak-ewma' },
  { name: 'consistent-hash (ring)', type: 'consistent-hash', options: { key } },
  { name: 'consistent-hash (maglev)', type: 'consistent-hash', options: { key, engine: 'maglev' } },
  { name: 'consistent-hash (balance 1.25)', type: 'consistent-hash', options: { key, balance: 1.25 } },
]

/** Five servers that answer 400 requests a second each, in 10 ms. */
const FIVE = { servers: 5, slots: 4, serviceMs: 10 } as const
const EACH_PER_SECOND = 400

function slow(nth: number, slowness: number): (world: World) => void {
  return ({ servers }) => {
    const server = servers[nth]
    if (server !== undefined) server.slowness = slowness
  }
}

function hang(nth: number): (world: World) => void {
  return ({ servers }) => {
    const server = servers[nth]
    if (server !== undefined) server.hangs = true
  }
}

function available(nth: number, isAvailable: boolean): (world: World) => void {
  return ({ pool }) => pool.setAvailable(`server-${nth}`, isAvailable)
}

export const SCENARIOS = {
  even: { ...FIVE, name: 'even, 70 % load', perSecond: 0.7 * 5 * EACH_PER_SECOND, forMs: 60_000 },
  slow: {
    ...FIVE,
    name: 'one of five five times slower, 60 % load',
    perSecond: 0.6 * 4.2 * EACH_PER_SECOND,
    forMs: 60_000,
    events: [[0, slow(0, 5)]],
  },
  brownout: {
    ...FIVE,
    name: 'one slows down fifty-fold while still answering, 60 % of the rest',
    perSecond: 0.6 * 4 * EACH_PER_SECOND,
    forMs: 80_000,
    fromMs: 20_000,
    events: [[20_000, slow(0, 50)]],
  },
  hang: {
    ...FIVE,
    name: 'one hangs for 10 s, 60 % of the rest',
    perSecond: 0.6 * 4 * EACH_PER_SECOND,
    forMs: 30_000,
    fromMs: 20_000,
    events: [[20_000, hang(0)]],
  },
  failing: {
    ...FIVE,
    name: 'one fails in 1 ms, 60 % of the rest',
    perSecond: 0.6 * 4 * EACH_PER_SECOND,
    forMs: 60_000,
    fromMs: 20_000,
    events: [
      [
        20_000,
        ({ servers: [first] }: World) => {
          if (first !== undefined) first.failsAfterMs = 1
        },
      ],
    ],
  },
  cold: {
    ...FIVE,
    name: 'a fifth one comes in cold, ten times slower for 5 s, 70 % of four',
    perSecond: 0.7 * 4 * EACH_PER_SECOND,
    forMs: 40_000,
    fromMs: 20_000,
    events: [
      [0, available(0, false)],
      [20_000, available(0, true)],
      [20_000, slow(0, 10)],
      [25_000, slow(0, 1)],
    ],
  },
  resized: {
    ...FIVE,
    name: 'two of five leave and come back, 50 % load',
    perSecond: 0.5 * 5 * EACH_PER_SECOND,
    forMs: 60_000,
    events: [
      [20_000, available(0, false)],
      [20_000, available(1, false)],
      [40_000, available(0, true)],
      [40_000, available(1, true)],
    ],
  },
  many: { servers: 1000, slots: 4, serviceMs: 10, name: '1,000 servers, 70 % load', perSecond: 280_000, forMs: 1000 },
} satisfies Record<string, Scenario>
