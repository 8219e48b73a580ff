/**
 * The connections to one backend: the one used last is used next, their number is bounded, and so is the queue in
 * front of them, whose places expire.
 */
import { Connection, type Call, type ConnectionOwner, type SecureOptions } from './connection.ts'
import { AttemptError } from './failure.ts'

export interface ConnectionSettings {
  /** Connections at most. */
  readonly max: number
  /** Calls that may wait for one. */
  readonly pending: number
  /** How long a call waits. */
  readonly queueMs: number
  /** How long a connection may lie idle. */
  readonly idleMs: number
  readonly connectMs: number
  /** For the TLS handshake, once connected. */
  readonly tlsMs: number
  /** How https backends are verified; undefined for http. */
  readonly secure: SecureOptions | undefined
}

// A backend counts its idle time from another moment than we do: leave the bytes a second to travel.
const KEEP_ALIVE_MARGIN_MS = 1000

export class Connections implements ConnectionOwner {
  readonly url: URL
  /** The URL's, which makes it anew whenever it is asked. */
  readonly host: string
  session: Buffer | undefined
  #settings: ConnectionSettings
  readonly #open = new Set<Connection>()
  /**
   * The top of a stack, the freshest, so that the others can fall idle and close. Each knows its neighbours: an array
   * would be two places more in memory to go to, which for thousands of backends are in no cache, and be searched for
   * whoever closes.
   */
  #idle: Connection | undefined
  /** In the order they came, each with the time at which it has waited long enough. */
  readonly #waiting = new Map<Call, number>()
  #queueTimer: NodeJS.Timeout | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #retired = false
  #whenGone: (() => void) | undefined
  #closed = false
  #whyClosed = ''

  constructor(url: URL, settings: ConnectionSettings) {
    this.url = url
    this.host = url.host
    this.#settings = settings
  }

  get connectMs(): number {
    return this.#settings.connectMs
  }

  get tlsMs(): number {
    return this.#settings.tlsMs
  }

  get secure(): SecureOptions | undefined {
    return this.#settings.secure
  }

  /** Other limits. Connections that are more than there may be now are closed as they become free. */
  adopt(settings: ConnectionSettings): void {
    this.#settings = settings
    while (this.#open.size < settings.max) {
      const next = this.#dequeue()
      if (next === undefined) return
      this.#connect(next)
    }
  }

  /** Serves `call` as soon as a connection is free; its own methods tell what became of it. */
  send(call: Call): void {
    if (this.#closed) return call.onFailure(new AttemptError('reset', this.#whyClosed))
    const connection = this.#takeIdle()
    if (connection !== undefined) connection.serve(call)
    else if (this.#open.size < this.#settings.max) this.#connect(call)
    else if (this.#waiting.size >= this.#settings.pending) {
      call.onFailure(new AttemptError('queue-full', `${this.#waiting.size} requests wait already`))
    } else this.#enqueue(call)
  }

  /** Gives up a call: takes it out of the queue, or closes the connection that serves it. */
  cancel(call: Call): void {
    if (!this.#waiting.delete(call)) call.connection?.cancel(call)
  }

  /**
   * Its backend gets nothing new: what lies idle is closed now, the rest as soon as its call has ended.
   *
   * @param whenGone called when nothing is left
   */
  retire(whenGone?: () => void): void {
    this.#retired = true
    this.#whenGone = whenGone
    clearTimeout(this.#idleTimer)
    for (const connection of this.#open) if (connection.idle) connection.destroy()
    this.#lookWhetherGone()
  }

  /** Closes everything at once; calls under way fail, for the reason given. */
  destroy(reason = 'the gateway is stopping'): void {
    this.#closed = true
    this.#whyClosed = reason
    clearTimeout(this.#queueTimer)
    clearTimeout(this.#idleTimer)
    for (const connection of this.#open) connection.abandon(reason)
    // No backend has seen them, and what they wait for will not come: another backend may take them.
    for (const call of this.#waiting.keys()) {
      this.#waiting.delete(call)
      call.onFailure(new AttemptError('queue-full', reason))
    }
    this.#lookWhetherGone()
  }

  #lookWhetherGone(): void {
    if (!this.#retired || this.#open.size + this.#waiting.size > 0) return
    this.#whenGone?.()
    this.#whenGone = undefined
  }

  onFree(connection: Connection, keepAliveMs: number | undefined): void {
    const { idleMs, max } = this.#settings
    if (this.#open.size > max) return connection.destroy()
    const next = this.#dequeue()
    if (next !== undefined) return connection.serve(next)
    const keepMs = keepAliveMs === undefined ? idleMs : Math.min(idleMs, keepAliveMs - KEEP_ALIVE_MARGIN_MS)
    if (this.#retired || this.#closed || keepMs <= 0) return connection.destroy()
    connection.idleUntil = performance.now() + keepMs
    this.#push(connection)
    this.#idleTimer ??= setTimeout(() => this.#closeIdle(), keepMs).unref()
  }

  onClosed(connection: Connection, repeat: Call | undefined): void {
    this.#open.delete(connection)
    this.#remove(connection)
    if (this.#closed) {
      repeat?.onFailure(new AttemptError('reset', this.#whyClosed))
      return this.#lookWhetherGone()
    }
    const next = repeat ?? (this.#open.size < this.#settings.max ? this.#dequeue() : undefined)
    if (next !== undefined) this.#connect(next)
    else this.#lookWhetherGone()
  }

  #connect(call: Call): void {
    this.#open.add(new Connection(this, call))
  }

  #takeIdle(): Connection | undefined {
    const now = this.#idle === undefined ? 0 : performance.now()
    for (let top = this.#idle; top !== undefined; top = this.#idle) {
      this.#remove(top)
      if (top.idle && top.idleUntil > now) return top
      top.destroy()
    }
    return undefined
  }

  #push(connection: Connection): void {
    const top = this.#idle
    connection.below = top
    if (top !== undefined) top.above = connection
    this.#idle = connection
  }

  /** Takes it out of the stack, if it is there. */
  #remove(connection: Connection): void {
    const { above, below } = connection
    if (above !== undefined) above.below = below
    else if (this.#idle === connection) this.#idle = below
    if (below !== undefined) below.above = above
    connection.above = connection.below = undefined
  }

  #enqueue(call: Call): void {
    const { queueMs } = this.#settings
    this.#waiting.set(call, performance.now() + queueMs)
    this.#queueTimer ??= setTimeout(() => this.#expireWaiting(), queueMs).unref()
  }

  #dequeue(): Call | undefined {
    for (const call of this.#waiting.keys()) {
      this.#waiting.delete(call)
      return call
    }
    return undefined
  }

  #expireWaiting(): void {
    this.#queueTimer = undefined
    const now = performance.now()
    for (const [call, until] of this.#waiting) {
      if (until > now) {
        this.#queueTimer = setTimeout(() => this.#expireWaiting(), Math.ceil(until - now)).unref()
        return
      }
      this.#waiting.delete(call)
      call.onFailure(new AttemptError('queue-timeout', `no free connection within ${this.#settings.queueMs} ms`))
    }
  }

  #closeIdle(): void {
    this.#idleTimer = undefined
    const now = performance.now()
    let next = Infinity
    for (const connection of this.#open) {
      if (!connection.idle) continue
      if (connection.idleUntil <= now) connection.destroy()
      else next = Math.min(next, connection.idleUntil)
    }
    if (next < Infinity) this.#idleTimer = setTimeout(() => this.#closeIdle(), Math.ceil(next - now)).unref()
  }
}
