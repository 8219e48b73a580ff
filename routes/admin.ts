/**
 * The admin listener's calls: is it alive, does it take traffic, how does everything stand.
 */
import { timingSafeEqual, createHash } from 'node:crypto'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import type { AdminSettings } from '../src/config/settings.ts'
import { errorBody } from '../src/errors.ts'
import type { Member } from '../src/core/member.ts'

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
  for (const [name, { settings, pool }] of gateway.snapshot.pools) {
    pools[name] = { algorithm: settings.algorithm.type, backends: pool.members.map(describe) }
  }
  const loadedAt = config.loadedAt.toISOString()
  return {
    version,
    startedAt: gateway.lifecycle.startedAt.toISOString(),
    config: { hash: config.hash, loadedAt, lastReload: { ok: true, at: loadedAt, error: null } },
    pools,
  }
}

// There are no health checks and no breakers yet: a backend is as healthy as its configuration says, and never shut off.
const UNWATCHED = { breaker: { state: 'closed' }, health: { active: null, passive: null } }

function describe({ id, url, weight, inFlight, requests, failures }: Member): object {
  const counters = { inFlight, requests, failures }
  return { id, url: url.origin, weight, effectiveWeight: weight, state: 'healthy', ...counters, ...UNWATCHED }
}
