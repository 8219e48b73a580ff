/**
 * The operator's hand: weight and state of one backend, until the configuration says something else of its weight, or the
 * hand is taken off again.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { describeBackend } from './admin.ts'
import type { Hand } from '../src/core/standing.ts'
import { errorBody } from '../src/errors.ts'

export interface BackendsOptions {
  readonly gateway: FastifyInstance
}

interface Patch {
  readonly Params: { readonly pool: string; readonly id: string }
}

/** What of a backend can be changed; undefined for what stays. */
interface Change {
  readonly weight: number | undefined
  readonly state: Hand | undefined
}

const HANDS: readonly Hand[] = ['auto', 'draining', 'disabled']
/** As in the configuration. */
const MOST_WEIGHT = 1_000_000

export default function backends(app: FastifyInstance, { gateway }: BackendsOptions, done: () => void): void {
  app.patch<Patch>('/pools/:pool/backends/:id', (request, reply) => {
    const { pool: name, id } = request.params
    const entry = gateway.snapshot.pools.get(name)
    const member = entry?.pool.members.find((each) => each.id === id)
    if (entry === undefined || member === undefined) {
      const what = entry === undefined ? 'no such pool' : 'no such backend in this pool'
      return refuse(request, reply, 404, 'SLUICE_NOT_FOUND', `There is ${what}`)
    }
    const change = changeOf(request.body)
    if (typeof change === 'string') return refuse(request, reply, 400, 'SLUICE_BAD_REQUEST', change)
    const { weight, state } = change
    if (weight !== undefined && weight !== member.configuredWeight) {
      const from = member.configuredWeight
      entry.pool.setWeight(id, weight)
      gateway.events.emit({
        what: 'weight',
        pool: name,
        backend: id,
        from: `${from}`,
        to: `${weight}`,
        cause: 'by hand',
      })
    }
    const standing = entry.standings.of(member)
    if (state !== undefined && standing !== undefined) standing.hand = state
    return reply.send(describeBackend(member, entry))
  })
  done()
}

/** @returns what is wrong, in words, if so */
function changeOf(body: unknown): Change | string {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return EXPECTED
  const { weight, state, ...rest }: { weight?: unknown; state?: unknown } = body
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) return `Unknown key ${JSON.stringify(unknown)}; ${EXPECTED}`
  if (weight === undefined && state === undefined) return EXPECTED
  if (weight !== undefined && !isWeight(weight)) return `Expected a weight from 0 to ${MOST_WEIGHT}`
  const hand = HANDS.find((each) => each === state)
  if (state !== undefined && hand === undefined) return `Expected a state of ${HANDS.join(', ')}`
  return { weight, state: hand }
}

const EXPECTED = 'Expected { "weight": 3 }, or { "state": "draining" }, "disabled" or "auto", as JSON'

function isWeight(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= MOST_WEIGHT
}

function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  code: string,
  message: string,
): FastifyReply {
  return reply.code(status).send(errorBody(status, code, message, request.id))
}
