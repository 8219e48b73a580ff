/**
 * A pool under load in virtual time: requests arrive by chance, whether or not earlier ones were answered; each goes
 * where the algorithm says, waits there for a slot, is served for a time drawn by chance, and is answered.
 */
import type { RequestInfo } from '../../src/core/algorithms/algorithm.ts'
import { builtInAlgorithms } from '../../src/core/algorithms/built-in.ts'
import type { Random } from '../../src/core/clock.ts'
import type { Lease } from '../../src/core/lease.ts'
import { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { EventQueue } from './event-queue.ts'

export interface Contender {
  readonly name: string
  readonly type: string
  readonly options?: unknown
}

export interface Scenario {
  readonly name: string
  readonly servers: number
  /** Requests a server works on at once; the others wait. */
  readonly slots: number
  /** The mean of exponentially distributed times of service. */
  readonly serviceMs: number
  /** Arrivals a second, by a Poisson process. */
  readonly perSecond: number
  readonly forMs: number
  /** What arrives before this is not measured. */
  readonly fromMs?: number
  /** What happens at which time. */
  readonly events?: ReadonlyArray<readonly [atMs: number, happens: (world: World) => void]>
}

export interface World {
  readonly pool: Pool
  readonly servers: readonly Server[]
}

export interface Result {
  /** From a request's arrival to its answer: waiting and service; failures are not among them. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly meanWaitMs: number
  /** Of the requests measured, by server. */
  readonly shares: readonly number[]
  /** The most that ever waited at one server. */
  readonly largestQueue: number
  readonly failed: number
  /** Those that went to a server that hung; they are never answered, nor counted above. */
  readonly caught: number
}

/** One machine behind a member: a queue in order of arrival, and slots. */
export class Server {
  /** Times as long as the scenario says. */
  slowness = 1
  /** When set, every request fails after this time, without waiting. */
  failsAfterMs: number | undefined
  /** When set, no request that comes now is ever answered. */
  hangs = false
  caught = 0
  largestQueue = 0
  measured = 0
  #busy = 0
  readonly #queue: Array<() => void> = []
  readonly #time: EventQueue
  readonly #slots: number
  readonly #drawMs: () => number

  constructor(time: EventQueue, slots: number, drawMs: () => number) {
    this.#time = time
    this.#slots = slots
    this.#drawMs = drawMs
  }

  serve(onStart: () => void, onEnd: (ok: boolean) => void): void {
    if (this.hangs) {
      this.caught += 1
      return
    }
    if (this.failsAfterMs !== undefined) {
      this.#time.schedule(() => onEnd(false), this.failsAfterMs)
      return
    }
    const start = (): void => {
      this.#busy += 1
      onStart()
      this.#time.schedule(() => {
        this.#busy -= 1
        this.#queue.shift()?.()
        onEnd(true)
      }, this.#drawMs() * this.slowness)
    }
    if (this.#busy < this.#slots) start()
    else this.#queue.push(start)
    this.largestQueue = Math.max(this.largestQueue, this.#queue.length)
  }
}

export function simulate(scenario: Scenario, contender: Contender, seed = 1): Result {
  return new Simulation(scenario, contender, seed).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #time = new EventQueue()
  readonly #random: Random
  readonly #pool: Pool
  readonly #servers: readonly Server[]
  readonly #serverOf: ReadonlyMap<Member, Server>
  readonly #answeredMs: number[] = []
  #waitedMs = 0
  #failed = 0

  constructor(scenario: Scenario, { type, options }: Contender, seed: number) {
    this.#scenario = scenario
    this.#random = seededRandom(seed)
    const random = seededRandom(seed + 1000)
    const members = Array.from({ length: scenario.servers }, (_, n) => new Member(`server-${n}`, new URL('http://a')))
    this.#pool = new Pool({
      name: 'simulated',
      members,
      algorithm: builtInAlgorithms().create(type, options, { clock: this.#time, random }),
      clock: this.#time,
      onAlgorithmError: (error) => {
        throw error
      },
    })
    this.#servers = members.map(() => new Server(this.#time, scenario.slots, () => this.#draw(scenario.serviceMs)))
    this.#serverOf = new Map(members.map((member, n) => [member, this.#servers[n] ?? raise('a server each')]))
  }

  run(): Result {
    const world: World = { pool: this.#pool, servers: this.#servers }
    for (const [at, happens] of this.#scenario.events ?? []) this.#time.schedule(() => happens(world), at)
    this.#time.schedule(this.#arrive, this.#draw(1000 / this.#scenario.perSecond))
    this.#time.runAll()
    const sorted = Float64Array.from(this.#answeredMs).toSorted()
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
    const measured = this.#servers.reduce((sum, server) => sum + server.measured, 0)
    return {
      p50: at(0.5),
      p99: at(0.99),
      p999: at(0.999),
      meanWaitMs: this.#waitedMs / sorted.length,
      shares: this.#servers.map((server) => server.measured / measured),
      largestQueue: this.#servers.reduce((most, server) => Math.max(most, server.largestQueue), 0),
      failed: this.#failed / measured,
      caught: this.#servers.reduce((sum, { caught }) => sum + caught, 0),
    }
  }

  readonly #arrive = (): void => {
    const now = this.#time.now()
    if (now > this.#scenario.forMs) return
    this.#time.schedule(this.#arrive, this.#draw(1000 / this.#scenario.perSecond))
    const lease = this.#pool.acquire(this.#request()) ?? raise('nobody to ask')
    const server = this.#serverOf.get(lease.member) ?? raise('a server each')
    this.#serve(lease, server, now, now >= (this.#scenario.fromMs ?? 0))
  }

  #serve(lease: Lease, server: Server, now: number, isMeasured: boolean): void {
    if (isMeasured) server.measured += 1
    const onStart = (): void => {
      if (isMeasured) this.#waitedMs += this.#time.now() - now
    }
    lease.sent(now)
    server.serve(onStart, (ok) => {
      const ms = this.#time.now() - now
      lease.settle(ok ? 'success' : 'failure', ms, this.#time.now())
      lease.release(ok ? 'answered' : 'failed')
      if (!isMeasured) return
      if (ok) this.#answeredMs.push(ms)
      else this.#failed += 1
    })
  }

  /** From one of many users, some of whom ask more than others: the square makes a quarter of them ask for half. */
  #request(): RequestInfo {
    const user = `user-${Math.floor(this.#random() ** 2 * 10_000)}`
    const header = (name: string): string | undefined => (name === 'x-user' ? user : undefined)
    return { method: 'GET', path: '/', query: '', ip: '192.0.2.1', header }
  }

  #draw(mean: number): number {
    return -Math.log(1 - this.#random()) * mean
  }
}

function raise(message: string): never {
  throw new Error(message)
}
