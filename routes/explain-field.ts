/**
 * X-Sluice-Explain: a trusted proxy that shows the admin token is told, in the answer, how the backend for its request
 * was chosen, who was left out and why, and what became of each attempt. All of it fits a field of 4 KiB.
 */
import type { FastifyInstance } from 'fastify'

import type { Snapshot } from '../plugins/snapshot.ts'
import { isToken } from '../src/admin/token.ts'
import { explainPool } from '../src/core/explanation.ts'
import { EXPLAIN } from '../src/core/fields.ts'
import type { Exchange } from '../src/transport/exchange.ts'
import { candidatesOf, leftOutOf } from './explain.ts'

/** Servers that read this set themselves a limit for a whole head; 8 KiB is common. */
const LONGEST_VALUE = 4096
/** Of a name or a reason; those that always stand there leave more than a third of the value to the lists. */
const LONGEST_TEXT = 240

interface Decision {
  readonly route: {
    readonly path: string
    readonly host: string | null
    readonly methods: readonly string[] | null
  } | null
  readonly pool: string
  readonly algorithm: string
  readonly why: string
  readonly candidates: ReadonlyArray<{ readonly id: string; readonly score: number | null; readonly state: string }>
  readonly leftOut: ReadonlyArray<{ readonly id: string; readonly reason: string }>
}

/**
 * @param token that of the admin listener; '' when there is none, and nobody is told anything
 * @returns to be called before the first attempt, with an exchange whose request has the field
 */
export function explainer(app: FastifyInstance, token: string): (exchange: Exchange) => Exchange['explanation'] {
  return (exchange) => {
    if (!exchange.peer.trusted || !isToken(exchange.header(EXPLAIN), token)) return undefined
    try {
      const decision = decisionFor(exchange, app.snapshot)
      return decision && (() => valueOf(decision, exchange))
    } catch (error) {
      // What a user's own algorithm says of itself may be anything: the request is forwarded all the same.
      app.log.warn({ err: error, pool: exchange.forwarding.pool.name }, 'a request could not be explained')
      return undefined
    }
  }
}

/** All of it is taken as it stands now; undefined when a new configuration has taken the pool away in between. */
function decisionFor(exchange: Exchange, { routes, pools }: Snapshot): Decision | undefined {
  const { forwarding } = exchange
  const entry = pools.get(forwarding.pool.name)
  if (entry?.pool !== forwarding.pool) return undefined
  const route = routes.find((each) => each.forwarding === forwarding)
  const said = explainPool(entry.pool, entry.standings, exchange, performance.now())
  return {
    route: route === undefined ? null : routeOf(route),
    pool: short(forwarding.pool.name),
    algorithm: short(entry.settings.algorithm.type),
    why: short(said.why),
    candidates: candidatesOf(said, entry).map(({ id, score, state }) => ({ id, score, state })),
    leftOut: leftOutOf(said, entry).map(({ id, reason }) => ({ id: short(id), reason: short(reason) })),
  }
}

function routeOf({ path, host, methods }: Snapshot['routes'][number]): Decision['route'] {
  return { path: short(path), host: host === undefined ? null : short(host), methods: methods ?? null }
}

function valueOf({ candidates, leftOut, ...decision }: Decision, { allTries }: Exchange): string {
  const tried = new Set(allTries.map(({ backend }) => backend))
  // What has to be cut is cut at the end: those that matter most come first.
  const ordered = candidates.toSorted((one, other) => Number(tried.has(other.id)) - Number(tried.has(one.id)))
  const lists = {
    candidates: ordered.map(({ id, score, state }) => ({ id: short(id), score, state })),
    leftOut: [...leftOut],
    attempts: allTries.map(({ backend, outcome = null, ms }) => ({ backend: short(backend), outcome, ms })),
  }
  const chosen = allTries[0] === undefined ? null : short(allTries[0].backend)
  const head = { ...decision, chosen }
  const whole = encode({ ...head, ...lists })
  if (whole.length <= LONGEST_VALUE) return whole
  const notShown = { candidates: lists.candidates.length, leftOut: lists.leftOut.length, attempts: allTries.length }
  const frame = encode({ ...head, candidates: [], leftOut: [], attempts: [], notShown })
  shorten(Object.values(lists), LONGEST_VALUE - frame.length)
  notShown.candidates -= lists.candidates.length
  notShown.leftOut -= lists.leftOut.length
  notShown.attempts -= lists.attempts.length
  return encode({ ...head, ...lists, notShown })
}

/** Takes entries off the ends, always from the list that is longest as text, until all of them fit. */
function shorten(lists: ReadonlyArray<object[]>, room: number): void {
  const measured = lists.map((list) => {
    // With the comma.
    const sizes = list.map((entry) => encode(entry).length + 1)
    return { list, sizes, size: sizes.reduce((sum, size) => sum + size, 0) }
  })
  let left = measured.reduce((sum, { size }) => sum + size, 0)
  while (left > room) {
    const longest = measured.reduce((most, each) => (each.size > most.size ? each : most))
    longest.list.pop()
    const size = longest.sizes.pop() ?? 0
    longest.size -= size
    left -= size
  }
}

function short(text: string): string {
  if (text.length <= LONGEST_TEXT && encode(text).length <= LONGEST_TEXT) return text
  let part = text.slice(0, LONGEST_TEXT)
  // A character may become six.
  while (encode(part).length > LONGEST_TEXT - 3) part = part.slice(0, -6)
  return `${part}...`
}

/** JSON in ASCII: a field is bytes to some of those it comes by, and text in different encodings to others. */
function encode(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[^ -~]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
