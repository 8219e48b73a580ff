/**
 * Why a pool would choose as it would: who can be chosen, who is left out and for what reason, and what the algorithm
 * makes of it. It only looks: nothing is counted, no turn is taken, no trial is let in and no number drawn.
 */
import type { Explanation, RequestInfo } from './algorithms/algorithm.ts'
import type { Member } from './member.ts'
import type { Pool } from './pool.ts'
import type { Standing, Standings } from './standing.ts'

export interface PoolExplanation {
  /** Whether so few can be used that all are, whatever is held against them. */
  readonly panic: boolean
  readonly candidates: readonly CandidateExplanation[]
  readonly leftOut: readonly LeftOut[]
  /** undefined when there is nobody to choose, or chance decides; `why` says so. */
  readonly chosen: Member | undefined
  readonly why: string
  /** What a score is, if there are any. */
  readonly scoreMeans: string | undefined
}

export interface CandidateExplanation {
  readonly member: Member
  readonly score: number | undefined
  /** What is particular about it. */
  readonly notes: readonly string[]
}

export interface LeftOut {
  readonly member: Member
  readonly reason: string
}

/** @param now on the clock of the pool */
export function explainPool(pool: Pool, standings: Standings, request: RequestInfo, now: number): PoolExplanation {
  const { candidates, members } = pool
  const panic = pool.supply === 'panic'
  const chosen = new Set(candidates)
  const leftOut = members.filter((member) => !chosen.has(member))
  const said = candidates.length === 0 ? NOBODY : ask(pool, request)
  return {
    panic,
    candidates: candidates.map((member) => ({
      member,
      score: said.scores?.get(member),
      notes: notesOn(member, standings.of(member), said, now),
    })),
    leftOut: leftOut.map((member) => ({ member, reason: reasonAgainst(member, standings.of(member), now) })),
    chosen: said.picks,
    why: panic ? `${said.how}; so few backends can be used that all of them are` : said.how,
    scoreMeans: said.scoreMeans,
  }
}

const NOBODY: Explanation<Member> = { picks: undefined, how: 'No backend can be chosen' }
const SILENT: Explanation<Member> = { picks: undefined, how: 'The algorithm decides by itself and does not say how' }

/** A user's own algorithm may explain itself badly, or fail to; that is no reason to leave out the rest. */
function ask(pool: Pool, request: RequestInfo): Explanation<Member> {
  try {
    const said = pool.algorithm.explain?.(pool.candidates, request) ?? SILENT
    if (said.picks === undefined || pool.candidates.includes(said.picks)) return said
    return { ...said, picks: undefined, how: `${said.how}; it names a backend that is no candidate` }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { picks: undefined, how: `The algorithm failed to explain itself: ${message}` }
  }
}

type Objection = (member: Member, standing: Standing | undefined, now: number) => string | undefined

/** What can keep a member from being chosen, in the order in which it is told. */
const OBJECTIONS: readonly Objection[] = [
  ({ configuredWeight }) => (configuredWeight === 0 ? 'its weight is 0' : undefined),
  (_member, standing) => handAgainst(standing),
  (_member, standing, now) => healthAgainst(standing, now),
  (_member, standing, now) => breakerAgainst(standing, now),
]

function reasonAgainst(member: Member, standing: Standing | undefined, now: number): string {
  return objectionsTo(member, standing, now).join('; and ') || 'it is not available'
}

function objectionsTo(member: Member, standing: Standing | undefined, now: number): string[] {
  return OBJECTIONS.map((objection) => objection(member, standing, now)).filter((reason) => reason !== undefined)
}

function handAgainst(standing: Standing | undefined): string | undefined {
  return standing === undefined || standing.hand === 'auto' ? undefined : `it is ${standing.hand}, by hand`
}

function healthAgainst(standing: Standing | undefined, now: number): string | undefined {
  if (standing === undefined || standing.health.share > 0) return undefined
  const { health } = standing
  const { ejectedUntil } = health.evidence
  const left = ejectedUntil > now ? `; it is ejected for another ${seconds(ejectedUntil - now)}` : ''
  return `it is ${health.state}: ${health.cause}${left}`
}

function breakerAgainst(standing: Standing | undefined, now: number): string | undefined {
  const breaker = standing?.breaker
  if (breaker === undefined || breaker.admits) return undefined
  const { state, openUntil, trials, cause } = breaker
  return openUntil === undefined
    ? `its breaker is ${state}, with all places for trials (${trials}) taken`
    : `its breaker is ${state} for another ${seconds(openUntil - now)}: ${cause}`
}

/** In need, those are candidates that would be left out otherwise. */
function notesOn(
  member: Member,
  standing: Standing | undefined,
  said: Explanation<Member>,
  now: number,
): readonly string[] {
  const notes = objectionsTo(member, standing, now)
  if (standing !== undefined) {
    const { health, breaker } = standing
    const { share, state, cause } = health
    if (share > 0 && share < 1) notes.push(`it is ${state}, with ${share * 100} % of its weight: ${cause}`)
    // Open and admitting all the same: it only observes.
    if (breaker?.admits === true && breaker.state === 'open') notes.push('its breaker is open, but only observes')
    if (breaker?.admits === true && breaker.state === 'half-open') notes.push('its breaker is half-open: a trial')
  }
  const note = said.notes?.get(member)
  return note === undefined ? notes : [...notes, note]
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)} s`
}
