/**
 * The admin listener's calls: is it alive, does it take traffic, how does everything stand.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'

import { errorBody } from '../src/errors.ts'
import type { Checker } from '../src/core/checker.ts'
import type { HealthEvidence } from '../src/core/health.ts'
import type { Member } from '../src/core/member.ts'
import type { Overload } from '../src/core/overload.ts'
import type { Standing } from '../src/core/standing.ts'
import type { PoolEntry } from '../src/transport/pool-entry.ts'

export interface AdminOptions {
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
  readonly version: string
}

export default function admin(app: FastifyInstance, options: AdminOptions, done: () => void): void {
  const { gateway } = options
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send(errorBody(404, 'SLUICE_NOT_FOUND', 'No such call', request.id))
  })
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', (_request, reply: FastifyReply) => {
    const { state } = gateway.lifecycle
    return reply.code(state === 'ready' ? 200 : 503).send({ status: state })
  })
  app.get('/status', () => status(options))
  done()
}

function status({ gateway, version }: AdminOptions): object {
  const pools: Record<string, object> = Object.create(null)
  for (const [name, entry] of gateway.snapshot.pools) {
    const backends = entry.pool.members.map((member) => describeBackend(member, entry))
    pools[name] = { algorithm: entry.settings.algorithm.type, backends }
  }
  const { inForce, lastReload } = gateway.configuration
  const { ok, at, error = null } = lastReload
  return {
    version,
    startedAt: gateway.lifecycle.startedAt.toISOString(),
    config: {
      hash: inForce.hash,
      loadedAt: inForce.loadedAt.toISOString(),
      lastReload: { ok, at: at.toISOString(), error },
    },
    overload: describeOverload(gateway.overload),
    pools,
  }
}

/** The figures are those of the last sample; memory as shares of what there is. */
function describeOverload({ state, limit, share, load, refused }: Overload): object {
  return { state, limit: limit ?? null, share, refused: { ...refused }, ...load }
}

/** How one backend stands. */
export function describeBackend(member: Member, { standings, checkers, settings }: PoolEntry): object {
  const { id, url, configuredWeight, inFlight, requests, failures } = member
  const standing = standings.of(member)
  return {
    id,
    url: url.origin,
    weight: configuredWeight,
    effectiveWeight: standings.effectiveWeightOf(member),
    state: standings.stateOf(member),
    inFlight,
    requests,
    failures,
    breaker: { state: standings.breakerStateOf(member) },
    health: {
      active: settings.health.active === undefined ? null : activeOf(standing, checkers.get(member)),
      passive: settings.health.passive === undefined ? null : passiveOf(standing),
    },
  }
}

function activeOf(standing: Standing | undefined, checker: Checker | undefined): object {
  const { checks, failedInRow, goodInRow, lastFailure } = standing?.health.evidence ?? NOTHING_KNOWN
  const last = checker?.last
  return {
    checks,
    failedInRow,
    goodInRow,
    lastFailure: lastFailure === '' ? null : lastFailure,
    ageMs: last === undefined ? null : Math.round(performance.now() - last.at),
    tookMs: last === undefined ? null : Math.round(last.tookMs * 10) / 10,
  }
}

function passiveOf(standing: Standing | undefined): object {
  const { outcomes, failures, ejectedUntil } = standing?.health.evidence ?? NOTHING_KNOWN
  return { outcomes, failures, ejectedForMs: Math.max(0, Math.round(ejectedUntil - performance.now())) }
}

const NOTHING_KNOWN: HealthEvidence = {
  checks: 0,
  failedInRow: 0,
  goodInRow: 0,
  lastFailure: '',
  outcomes: 0,
  failures: 0,
  ejectedUntil: 0,
}
