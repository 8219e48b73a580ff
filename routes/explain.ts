/**
 * GET /explain: what would become of a request that one describes, and why: the route, who could be chosen, who is left
 * out, who would be chosen. It changes nothing. Of the described fields and parameters only the names are repeated.
 */
import type { FastifyInstance } from 'fastify'

import type { Route, Snapshot } from '../plugins/snapshot.ts'
import { describedRequest, type DescribedRequest } from '../src/admin/described-request.ts'
import { explainPool, type PoolExplanation } from '../src/core/explanation.ts'
import { ERRORS, type ErrorCode } from '../src/errors.ts'
import type { PoolEntry } from '../src/transport/pool-entry.ts'
import { Peers } from '../src/transport/peer.ts'
import { leavesPrefix, rewritePath, SERVER_WIDE } from '../src/transport/target.ts'
import { findRoute } from './find-route.ts'

export interface ExplainOptions {
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
}

export default function explain(app: FastifyInstance, { gateway }: ExplainOptions, done: () => void): void {
  const peers = new Peers([])
  app.get('/explain', ({ query, raw }) => explained(gateway.snapshot, describedRequest(query, peers.of(raw).ip)))
  done()
}

function explained(snapshot: Snapshot, request: DescribedRequest): object {
  const route = findRoute(snapshot, request.method, request.host, request.target)
  const entry = route === undefined ? undefined : snapshot.pools.get(route.pool)
  if (route === undefined || entry === undefined) {
    return { ...NOTHING, request: echo(request), ...refusal('SLUICE_NO_ROUTE', whyNoRoute(snapshot, request)) }
  }
  const said = explainPool(entry.pool, entry.standings, request, performance.now())
  const { path, host, methods, pool } = route
  return {
    ...NOTHING,
    request: echo(request),
    route: { path, host: host ?? null, methods: methods ?? null },
    pool,
    algorithm: entry.settings.algorithm.type,
    score: said.scoreMeans ?? null,
    panic: said.panic,
    candidates: candidatesOf(said, entry),
    leftOut: leftOutOf(said, entry),
    ...outcome(route, request, said),
  }
}

/** What is always there, so that whoever reads it need not look. */
const NOTHING = {
  request: null,
  route: null,
  pool: null,
  algorithm: null,
  score: null,
  panic: false,
  candidates: [],
  leftOut: [],
  chosen: null,
  reason: null,
  answer: null,
}

function echo({ method, host, path, query, ip, headerNames }: DescribedRequest): object {
  const parameters = [...new Set(new URLSearchParams(query).keys())]
  return { method, host: host ?? null, path, query: parameters, ip, headers: headerNames }
}

/** What the gateway would answer itself. */
function refusal(code: ErrorCode, reason: string): object {
  return { chosen: null, reason, answer: { statusCode: ERRORS[code].status, code } }
}

function outcome(route: Route, request: DescribedRequest, { candidates, chosen, why }: PoolExplanation): object {
  const unsafe = whyUnsafe(route, request)
  if (unsafe !== undefined) return refusal('SLUICE_BAD_REQUEST', unsafe)
  if (candidates.length === 0) return refusal('SLUICE_NO_BACKEND', why)
  if (chosen === undefined) return { chosen: null, reason: `${why}: whom, cannot be told beforehand` }
  return { chosen: { id: chosen.id, why } }
}

function whyUnsafe({ forwarding, rewrite }: Route, { path }: DescribedRequest): string | undefined {
  if (leavesPrefix(path, forwarding.prefix)) return 'The path leads out of what the route is for'
  if (rewrite === undefined || path === SERVER_WIDE || rewritePath(path, rewrite) !== undefined) return undefined
  return `The path does not begin with ${rewrite.stripPrefix}, letter by letter, which the route takes off`
}

export function candidatesOf({ candidates }: PoolExplanation, { standings }: PoolEntry) {
  return candidates.map(({ member, score, notes }) => ({
    id: member.id,
    state: standings.stateOf(member),
    weight: member.configuredWeight,
    effectiveWeight: member.weight,
    inFlight: member.inFlight,
    score: score === undefined ? null : Number(score.toPrecision(6)),
    notes,
  }))
}

export function leftOutOf({ leftOut }: PoolExplanation, { standings }: PoolEntry) {
  return leftOut.map(({ member, reason }) => {
    return { id: member.id, state: standings.stateOf(member), reason }
  })
}

/** Looked at when nothing matches: more would not help a reader, and a look-up for each of ten thousand takes its time. */
const MOST_HOSTS = 1000
const MOST_TOLD = 10

/** If only the method or only the host was wrong, it says which would have been right. */
function whyNoRoute(snapshot: Snapshot, request: DescribedRequest): string {
  const { method, host, target } = request
  const methods = [...new Set(snapshot.routes.flatMap((route) => route.methods ?? []))]
  const right = methods.filter((each) => findRoute(snapshot, each, host, target) !== undefined)
  if (right.length > 0) return `No route takes ${method} for this path and host; routes take ${listed(right)}`
  const hosts = [...new Set(snapshot.routes.flatMap((route) => route.host ?? []))].slice(0, MOST_HOSTS)
  const others = hosts.filter((each) => findRoute(snapshot, method, each.replace('*', 'any'), target) !== undefined)
  if (others.length === 0) return 'No route matches this path'
  return `No route matches this path for ${host ?? 'a request without a host'}; routes for ${listed(others)} do`
}

function listed(names: readonly string[]): string {
  const more = names.length > MOST_TOLD ? [`${names.length - MOST_TOLD} more`] : []
  return [...names.slice(0, MOST_TOLD), ...more].join(', ')
}
