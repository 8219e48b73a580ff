/**
 * A pool at work: what its configuration became, and what becomes of it under another one. A change is first prepared,
 * which may fail and has no effect, and then made at once. What stays keeps all that it is and knows: requests in flight,
 * connections, health, breakers, what its algorithm has learned.
 */
import { isDeepStrictEqual } from 'node:util'

import type { BackendSettings, PoolSettings } from '../config/settings.ts'
import type { Algorithm } from '../core/algorithms/algorithm.ts'
import type { Backend } from '../core/backend.ts'
import type { Checker } from '../core/checker.ts'
import type { Clock, Random } from '../core/clock.ts'
import { Member } from '../core/member.ts'
import { Pool, type Supply } from '../core/pool.ts'
import { RetryBudget } from '../core/retry.ts'
import { Standings, type Flip, type StandingRules } from '../core/standing.ts'
import type { SecureOptions } from './connection.ts'
import { Connections, type ConnectionSettings } from './connections.ts'
import { secureOptions } from './secure.ts'

/** What a configuration made of one pool. Under the next one it is another entry, which shares what is at work. */
export interface PoolEntry {
  readonly settings: PoolSettings
  readonly pool: Pool
  /** Of every backend; shared with the entries before, so that whoever still holds one of these finds those who are new. */
  readonly connections: Map<Backend, Connections>
  /** For https backends, their checks included. */
  readonly secure: SecureOptions | undefined
  readonly budget: RetryBudget
  readonly standings: Standings
  /** Of those that are checked. */
  readonly checkers: Map<Member, Checker>
}

export interface PoolSurroundings {
  readonly clock: Clock
  readonly random: Random
  /** @throws when there is no such algorithm, or not with such options */
  createAlgorithm(settings: PoolSettings): Algorithm
  onAlgorithmError(pool: string, error: unknown): void
  onSupply(pool: string, from: Supply, to: Supply): void
  onFlip(pool: string, flip: Flip): void
  /**
   * The connections of a backend that is gone, which has still to end what it has. With its whole `pool` gone, requests
   * under way there may still come for another attempt.
   */
  onRetired(connections: Connections, whose: 'backend' | 'pool'): void
}

/** @throws when it cannot be made */
export function createEntry(settings: PoolSettings, around: PoolSurroundings): PoolEntry {
  const { name, backends } = settings
  const { clock, random } = around
  const secure = secureOptions(settings)
  const limits = limitsOf(settings, secure)
  const members = backends.map(({ id, url, weight }) => new Member(id, url, weight))
  const pool = new Pool({
    name,
    members,
    algorithm: around.createAlgorithm(settings),
    clock,
    onAlgorithmError: (error) => around.onAlgorithmError(name, error),
    panic: settings.panic,
    onSupply: (from, to) => around.onSupply(name, from, to),
  })
  const onFlip = (flip: Flip): void => around.onFlip(name, flip)
  return {
    settings,
    pool,
    connections: new Map(members.map((member) => [member, new Connections(member.url, limits)])),
    secure,
    standings: new Standings(pool, standingRules(settings), { clock, random, onFlip }),
    checkers: new Map(),
    budget: new RetryBudget(settings.retry.budget, clock),
  }
}

/** Nothing of it takes anything new, and no timer of its health is left; what is under way ends in its own time. */
export function retireEntry({ standings, connections }: PoolEntry, around: Pick<PoolSurroundings, 'onRetired'>): void {
  standings.stop()
  for (const each of connections.values()) around.onRetired(each, 'pool')
}

/**
 * @returns what there will be, and how to make it so, which cannot fail
 * @throws when it cannot be made
 */
export function prepareEntry(
  before: PoolEntry,
  settings: PoolSettings,
  around: PoolSurroundings,
): { readonly entry: PoolEntry; readonly commit: () => void } {
  const { pool, standings, budget, connections } = before
  const tlsStays = isDeepStrictEqual(before.settings.tls, settings.tls)
  const secure = tlsStays && before.secure !== undefined ? before.secure : secureOptions(settings)
  const algorithmStays = isDeepStrictEqual(before.settings.algorithm, settings.algorithm)
  const algorithm = algorithmStays ? undefined : around.createAlgorithm(settings)
  const limits = limitsOf(settings, secure)
  const configured = new Map(before.settings.backends.map((backend) => [backend.id, backend]))
  const present = new Map(pool.members.map((member) => [member.id, member]))
  const members = new Map<Member, number>()
  for (const backend of settings.backends) {
    const member = memberFor(backend, present.get(backend.id))
    // What an operator has set by hand holds until the configuration sets something else.
    const isAsBefore = configured.get(backend.id)?.weight === backend.weight
    members.set(member, isAsBefore ? member.configuredWeight : backend.weight)
  }
  const commit = (): void => {
    const joined = new Set([...members.keys()].filter((member) => present.get(member.id) !== member))
    const left = pool.members.filter((member) => !members.has(member))
    for (const [member, each] of connections) {
      if (tlsStays) each.adopt(limits)
      else replace(connections, member, limits, around)
    }
    for (const member of joined) connections.set(member, new Connections(member.url, limits))
    budget.adopt(settings.retry.budget)
    pool.adopt({ members, algorithm, panic: settings.panic })
    for (const member of left) {
      standings.remove(member)
      const gone = connections.get(member)
      connections.delete(member)
      if (gone !== undefined) around.onRetired(gone, 'backend')
    }
    standings.adopt(standingRules(settings))
    // Who takes the place of all is used unchecked, as when a pool begins: nobody is there to take the requests meanwhile.
    const alone = pool.candidates.every((member) => joined.has(member))
    for (const member of joined) {
      const { health } = standings.add(member)
      if (!alone) health.joins()
    }
  }
  return { entry: { ...before, settings, secure }, commit }
}

/** Another address is another backend, whatever it is called. */
function memberFor({ id, url, weight }: BackendSettings, present: Member | undefined): Member {
  return present?.url.href === url.href ? present : new Member(id, url, weight)
}

/** Connections that were verified otherwise must not be used any more. */
function replace(
  connections: Map<Backend, Connections>,
  backend: Backend,
  limits: ConnectionSettings,
  around: PoolSurroundings,
): void {
  const old = connections.get(backend)
  connections.set(backend, new Connections(backend.url, limits))
  if (old !== undefined) around.onRetired(old, 'backend')
}

function limitsOf({ connections, timeouts }: PoolSettings, secure: SecureOptions | undefined): ConnectionSettings {
  return { ...connections, connectMs: timeouts.connectMs, tlsMs: timeouts.tlsMs, secure }
}

function standingRules({ health, breaker }: PoolSettings): StandingRules {
  return { health, breaker, maxEjected: health.passive?.maxEjected ?? 0 }
}
