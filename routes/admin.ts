/**
 * The admin listener's calls: is it alive, does it take traffic, how does everything stand.
 */
import { timingSafeEqual, createHash } from 'node:crypto'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import type { AdminSettings } from '../src/config/settings.ts'
import { errorBody } from '../src/errors.ts'
import type { Checker } from '../src/core/checker.ts'
import type { HealthEvidence } from '../src/core/health.ts'
import type { Member } from '../src/core/member.ts'
import type { Standing } from '../src/core/standing.ts'
import type { PoolEntry } from '../src/transport/forwarding.ts'

export interface AdminOptions {
  readonly settings: AdminSettings
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
  readonly version: string
  readonly config: { readonly hash: string; readonly loadedAt: Date }
}

export default function admin(app: FastifyInstance, options: AdminOptions, done: () => void): void {
  const { gateway, settings } = options
  app.addHook('onRequest', (request, reply, next) => {
    reply.header('x-request-id', request.id)
    if (OPEN.has(request.routeOptions.url ?? '') || authorized(request, settings.token)) next()
    else refuse(request, reply)
  })
  app.setNotFoundHandler((request, reply) => {
    reply.code(404).send(problem(404, 'SLUICE_NOT_FOUND', request))
  })
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', (_request, reply: FastifyReply) => {
    const { state } = gateway.lifecycle
    return reply.code(state === 'ready' ? 200 : 503).send({ status: state })
  })
  app.get('/status', () => status(options))
  done()

  function refuse(request: FastifyRequest, reply: FastifyReply): void {
    gateway.log.warn({ client: request.ip, method: request.method, path: request.url }, 'admin call without its token')
    const body = problem(401, 'SLUICE_UNAUTHORIZED', request)
    reply.header('www-authenticate', 'Bearer').code(401).send(body)
  }
}

/** Orchestrators ask these two without a token. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

function problem(statusCode: number, code: string, request: FastifyRequest): object {
  const message = statusCode === 401 ? 'This call needs Authorization: Bearer with the admin token' : 'No such call'
  return errorBody(statusCode, code, message, request.id)
}

function authorized(request: FastifyRequest, token: string): boolean {
  if (token === '') return true
  const [, given] = /^bearer +(.+)$/i.exec(request.headers.authorization ?? '') ?? []
  // Digests are of one length, so that the time of comparing says nothing about the token's.
  return given !== undefined && timingSafeEqual(digest(given), digest(token))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function status({ gateway, version, config }: AdminOptions): object {
  const pools: Record<string, object> = Object.create(null)
  for (const [name, entry] of gateway.snapshot.pools) {
    const backends = entry.pool.members.map((member) => describe(member, entry))
    pools[name] = { algorithm: entry.settings.algorithm.type, backends }
  }
  const loadedAt = config.loadedAt.toISOString()
  return {
    version,
    startedAt: gateway.lifecycle.startedAt.toISOString(),
    config: { hash: config.hash, loadedAt, lastReload: { ok: true, at: loadedAt, error: null } },
    pools,
  }
}

function describe(member: Member, { standings, checkers, settings }: PoolEntry): object {
  const { id, url, weight, configuredWeight, inFlight, requests, failures } = member
  const standing = standings.of(member)
  const state = standing?.health.state ?? 'healthy'
  return {
    id,
    url: url.origin,
    weight: configuredWeight,
    effectiveWeight: state === 'unhealthy' ? 0 : weight,
    state,
    inFlight,
    requests,
    failures,
    breaker: { state: standing?.breaker?.state ?? 'closed' },
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
