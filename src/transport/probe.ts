/**
 * One check of a backend over the wire: an HTTP request and what its answer must be, or a TCP connection. On a connection
 * of its own that is kept: a check never waits for a place among requests, and never takes one from them.
 */
import { connect } from 'node:net'

import type { ActiveSettings } from '../config/settings.ts'
import type { Backend } from '../core/backend.ts'
import type { CheckResult, Probe } from '../core/checker.ts'
import type { Call, CallLimits, Connection, SecureOptions } from './connection.ts'
import { Connections } from './connections.ts'
import { isOurOwn, type AttemptError } from './failure.ts'
import { fieldsOf, type ResponseHead } from './response-head.ts'

/** As much of an answer as is looked at; a check that asks for more is answered with the wrong page. */
const MAX_CONTENT = 65_536
/** The answer's field by which a backend says how it is. */
const STATUS_FIELD = 'x-health-status'

export class HttpProbe implements Probe {
  readonly #settings: ActiveSettings
  readonly #secure: SecureOptions | undefined
  readonly #connections = new Map<Backend, Connections>()
  /** What the last check of each went over. */
  readonly #last = new WeakMap<Backend, Connection>()

  constructor(settings: ActiveSettings, secure: SecureOptions | undefined) {
    this.#settings = settings
    this.#secure = secure
  }

  async check(backend: Backend, signal: AbortSignal): Promise<CheckResult | undefined> {
    const connections = this.#connectionsTo(backend)
    return new Promise((resolve) => {
      const call = new CheckCall(this.#settings, backend.url.host, (result) => {
        signal.removeEventListener('abort', giveUp)
        // What was not read to its end would be the next check's answer.
        connections.cancel(call)
        const connected = this.#isNew(backend, call.connection)
        resolve(result?.ok === true ? { ...result, connected } : result)
      })
      const giveUp = (): void => {
        connections.cancel(call)
        resolve({ ok: false, reason: 'given up' })
      }
      signal.addEventListener('abort', giveUp, { once: true })
      connections.send(call)
    })
  }

  /** No connection is left. */
  stop(): void {
    for (const connections of this.#connections.values()) connections.destroy()
    this.#connections.clear()
  }

  #isNew(backend: Backend, connection: Connection | undefined): boolean {
    if (connection === undefined || this.#last.get(backend) === connection) return false
    this.#last.set(backend, connection)
    return true
  }

  #connectionsTo(backend: Backend): Connections {
    let connections = this.#connections.get(backend)
    if (connections === undefined) {
      const { timeoutMs, intervalMs } = this.#settings
      const times = { connectMs: timeoutMs, tlsMs: timeoutMs, queueMs: timeoutMs, idleMs: 2 * intervalMs }
      connections = new Connections(backend.url, { max: 1, pending: 1, ...times, secure: this.#secure })
      this.#connections.set(backend, connections)
    }
    return connections
  }
}

class CheckCall implements Call {
  connection: Connection | undefined
  sentAt = 0
  servedAt = 0
  writtenAt = 0
  readonly method: string
  readonly head: string
  readonly body = undefined
  readonly repeatable = true
  readonly recycles = false
  readonly upgrade = ''
  readonly limits: CallLimits
  readonly headBy = Infinity
  readonly abandoned = false
  readonly #settings: ActiveSettings
  readonly #done: (result: CheckResult | undefined) => void
  #head: ResponseHead | undefined
  #content = ''

  constructor(settings: ActiveSettings, backendHost: string, done: (result: CheckResult | undefined) => void) {
    const { method, path, host, headers, timeoutMs } = settings
    this.#settings = settings
    this.#done = done
    this.method = method
    this.limits = { headersMs: timeoutMs, bodyMs: timeoutMs, clientMs: timeoutMs, tunnelMs: timeoutMs }
    const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    this.head = `${method} ${path} HTTP/1.1\r\nHost: ${host ?? backendHost}\r\nUser-Agent: sluice-check\r\n${fields}\r\n`
  }

  onSent(): void {}

  onInformation(): void {}

  onUpgrade(): undefined {
    return undefined
  }

  onHead(head: ResponseHead): void {
    this.#head = head
  }

  onData(chunk: Buffer): boolean {
    this.#content += chunk.toString('latin1')
    if (this.#content.length > MAX_CONTENT) this.#judge()
    return true
  }

  onEnd(_trailers: string, last?: Buffer): void {
    if (last !== undefined) this.#content += last.toString('latin1')
    this.#judge()
  }

  onWhole(head: ResponseHead, content: string): void {
    this.#head = head
    this.#content = content
    this.#judge()
  }

  onFailure(error: AttemptError): void {
    this.#done(error.kind === 'no-means' ? undefined : { ok: false, reason: error.message })
  }

  #judge(): void {
    const { expect, body } = this.#settings
    const { status, lines } = this.#head ?? { status: 0, lines: '' }
    if (!expect.some(([from, to]) => status >= from && status <= to)) {
      this.#done({ ok: false, reason: `answered ${status}` })
    } else if (body !== undefined && !this.#content.includes(body)) {
      this.#done({ ok: false, reason: `answered ${status} without the expected content` })
    } else this.#done({ ok: true, degraded: saysDegraded(fieldsOf(lines)), connected: false })
  }
}

function saysDegraded(fields: readonly string[]): boolean {
  const at = fields.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === STATUS_FIELD)
  return at !== -1 && fields[at + 1]?.toLowerCase() === 'degraded'
}

/** Whether somebody accepts connections; closed at once. */
export class TcpProbe implements Probe {
  async check({ url }: Backend, signal: AbortSignal): Promise<CheckResult | undefined> {
    const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
    return new Promise((resolve) => {
      const socket = connect({ host, port, signal })
      socket.once('connect', () => {
        socket.destroy()
        resolve({ ok: true, degraded: false, connected: true })
      })
      socket.once('error', (error) =>
        resolve(
          isOurOwn(error) ? undefined : { ok: false, reason: error.message || String(Reflect.get(error, 'code')) },
        ),
      )
    })
  }

  stop(): void {}
}

export function probeFor(settings: ActiveSettings, secure: SecureOptions | undefined): HttpProbe | TcpProbe {
  return settings.type === 'tcp' ? new TcpProbe() : new HttpProbe(settings, secure)
}
