/**
 * `app.events`: what has changed in the gateway by itself - health, breakers, pools in need, overload - each as one event with its
 * cause, in the log and in a list of the latest.
 */
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    readonly events: Events
  }
}

export interface GatewayEvent {
  /** Counted from 1. */
  readonly id: number
  /** ISO 8601. */
  readonly at: string
  readonly what: 'health' | 'breaker' | 'check' | 'pool' | 'reload' | 'weight' | 'overload'
  /** undefined for what concerns the gateway as a whole. */
  readonly pool?: string
  /** undefined for what concerns the pool as a whole. */
  readonly backend?: string
  readonly from: string
  readonly to: string
  readonly cause: string
}

/** How many are remembered. */
const REMEMBERED = 1000
/** What an operator should look at: in the log these are warnings. */
const BAD: ReadonlySet<string> = new Set([
  'unhealthy',
  'degraded',
  'open',
  'empty',
  'panic',
  'overdue',
  'refused',
  'overloaded',
])

export class Events {
  readonly #latest: GatewayEvent[] = []
  #count = 0
  readonly #listeners = new Set<(event: GatewayEvent) => void>()

  /** The oldest first. */
  get latest(): readonly GatewayEvent[] {
    return this.#latest
  }

  emit(event: Omit<GatewayEvent, 'at' | 'id'>): void {
    const complete = { id: ++this.#count, at: new Date().toISOString(), ...event }
    this.#latest.push(complete)
    if (this.#latest.length > REMEMBERED) this.#latest.shift()
    for (const listener of this.#listeners) listener(complete)
  }

  /** @returns ends it */
  listen(listener: (event: GatewayEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}

export default fp(
  (app, _options, done) => {
    const events = new Events()
    app.decorate('events', events)
    events.listen(({ at: _at, id: _id, ...event }) => {
      const message = `${sentenceOf(event)}: ${event.cause}`
      if (BAD.has(event.to)) app.log.warn(event, message)
      else app.log.info(event, message)
    })
    done()
  },
  { name: 'sluice-events' },
)

function sentenceOf({ what, pool, backend, to }: Omit<GatewayEvent, 'at' | 'id'>): string {
  if (what === 'overload') return `the gateway is ${to === 'normal' ? 'no longer overloaded' : to}`
  if (pool === undefined) return to === 'refused' ? 'a configuration is refused' : `configuration ${to} is in force`
  if (what === 'weight') return `backend ${backend} of pool ${pool} has weight ${to}`
  const subject = backend === undefined ? `pool ${pool}` : `backend ${backend} of pool ${pool}`
  return `${subject} is ${to} (${what})`
}
