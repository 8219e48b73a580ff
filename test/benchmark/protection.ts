/**
 * `npm run bench -- protection`: what looking after a backend adds to a request, in the core alone, where nanoseconds can
 * be told apart: a lease from the pool, sent, settled and released, with nothing that watches it, with each part, and
 * with all. Rounds are interleaved; the figure is their median.
 */
import { checkObject } from '../../src/config/check.ts'
import { leastConnections } from '../../src/core/algorithms/least-connections.ts'
import type { BreakerRules } from '../../src/core/breaker.ts'
import type { PassiveRules } from '../../src/core/health.ts'
import { Member } from '../../src/core/member.ts'
import { Pool } from '../../src/core/pool.ts'
import { Standings } from '../../src/core/standing.ts'
import { request } from '../../src/testing/backends.ts'
import { systemClock } from '../../src/transport/system-clock.ts'

const ROUNDS = 21
const REQUESTS = 200_000

/** As everybody has it who asks for nothing else. */
const { settings } = checkObject({ pools: { web: { backends: ['http://127.0.0.1:9000'] } } })
const { health: { passive: PASSIVE } = {}, breaker: BREAKER } = settings?.pools.get('web') ?? {}

interface Contender {
  readonly name: string
  readonly pool: Pool
  readonly ns: number[]
}

function contender(name: string, passive: PassiveRules | undefined, breaker: BreakerRules | undefined): Contender {
  const members = [1, 2, 3].map((n) => new Member(`${n}`, new URL('http://127.0.0.1:9000')))
  const deps = { clock: systemClock, random: Math.random }
  const algorithm = leastConnections(undefined, deps)
  const pool = new Pool({ name, members, algorithm, clock: systemClock, onAlgorithmError: () => undefined })
  if (passive !== undefined || breaker !== undefined) {
    const health = { strategy: 'graded', active: undefined, passive, warmupMs: 0 } as const
    void new Standings(pool, { health, breaker, maxEjected: 0.5 }, { ...deps, onFlip: () => undefined })
  }
  return { name, pool, ns: [] }
}

const contenders = [
  contender('none', undefined, undefined),
  contender('passive health', PASSIVE, undefined),
  contender('breakers', undefined, BREAKER),
  contender('both', PASSIVE, BREAKER),
]
const asked = request()

for (let round = -2; round < ROUNDS; round++) {
  for (const { pool, ns } of contenders) {
    const startedAt = performance.now()
    for (let n = 0; n < REQUESTS; n++) {
      const lease = pool.acquire(asked)
      const now = performance.now()
      lease?.sent(now)
      lease?.settle('success', 10 + (n & 7), now)
      lease?.release('answered')
    }
    // What runs first has to be compiled, and is not counted.
    if (round >= 0) ns.push(((performance.now() - startedAt) * 1e6) / REQUESTS)
  }
}

console.log('\nA lease of three backends, by what watches it: pick, send, settle, release')
console.log('| watched by | ns a request (median) | more than none |')
console.log('|---|---|---|')
const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[all.length >> 1] ?? NaN
const [none] = contenders
for (const { name, ns } of contenders) {
  console.log(`| ${name} | ${median(ns).toFixed(0)} | ${(median(ns) - median(none?.ns ?? [])).toFixed(0)} |`)
}
