/**
 * A gateway on a free port in front of backends that remember what they were asked, for tests over real sockets.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'

import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'

import { buildGateway, type Config, type PoolConfig } from '../../src/index.ts'
import { guarded, portOf, valuesOf, type Answer } from './raw.ts'

export interface Gateway {
  readonly app: FastifyInstance
  readonly port: number
  /** What it would have logged about exchanges that have ended. */
  readonly lines: readonly LogLine[]
  /** The next log line that fits, also one that was written before. */
  line(fits: (line: LogLine) => boolean): Promise<LogLine>
  close(): Promise<void>
}

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error'
  readonly message: string
  readonly status?: number
  readonly outcome: string
  readonly code?: string
  readonly reason?: string
  readonly attempts?: number
}

/** Backends and clients of a test share its event loop: that it is late is theirs as well. */
export const NEVER_LATE: Config['overload'] & object = { eventLoopDelay: 0 }

/** Starts a gateway; `prepare` may add hooks and algorithms before it is ready. */
export async function startGateway(
  t: Test,
  config: Config,
  prepare?: (app: FastifyInstance) => void,
): Promise<Gateway> {
  const app = await buildGateway({
    admin: false,
    log: { level: 'silent' },
    overload: NEVER_LATE,
    ...config,
    listen: { host: '127.0.0.1', port: 0, ...config.listen },
  })
  const log = new LogBook(app)
  prepare?.(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    app.server.closeAllConnections()
    closing ??= app.close()
    await closing
  }
  t.teardown(close)
  const port = portOf(app.server)
  return { app, port, lines: log.lines, line: async (fits) => log.line(fits), close }
}

/** A gateway with one pool, which takes everything. */
export async function gatewayTo(
  t: Test,
  backends: ReadonlyArray<{ readonly url: string } | string>,
  pool: Omit<PoolConfig, 'backends'> = {},
  rest: Omit<Config, 'pools'> = {},
): Promise<Gateway> {
  const urls = backends.map((each) => (typeof each === 'string' ? each : each.url))
  return startGateway(t, { ...rest, pools: { web: { ...pool, backends: urls } } })
}

/** Listens in to the application's log, which is silent. */
class LogBook {
  readonly lines: LogLine[] = []
  #waiting: Array<() => void> = []

  constructor(app: FastifyInstance) {
    for (const level of ['info', 'warn', 'error'] as const) {
      Object.assign(app.log, { [level]: (entry: unknown, message: unknown) => this.#add(level, entry, message) })
    }
    app.accessLog.write = (level, fields, message) => this.#add(level, JSON.parse(`{${fields}}`), message)
  }

  #add(level: LogLine['level'], entry: unknown, message: unknown): void {
    if (typeof entry !== 'object' || entry === null || !('outcome' in entry)) return
    const outcome = String(entry.outcome)
    this.lines.push({ ...entry, outcome, level, message: String(message) })
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async line(fits: (line: LogLine) => boolean): Promise<LogLine> {
    return guarded(this.#find(fits), () => `a log line; there are ${JSON.stringify(this.lines)}`)
  }

  async #find(fits: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const line = this.lines.find(fits)
      if (line !== undefined) return line
      // oxlint-disable-next-line no-await-in-loop -- until it is written
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
  }
}

/** How a pool's backends stand: in flight, requests and failures, all added up. */
export function totals(gateway: Gateway, pool = 'web'): { inFlight: number; requests: number; failures: number } {
  const sum = { inFlight: 0, requests: 0, failures: 0 }
  for (const member of gateway.app.snapshot.pools.get(pool)?.pool.members ?? []) {
    sum.inFlight += member.inFlight
    sum.requests += member.requests
    sum.failures += member.failures
  }
  return sum
}

export interface Recorded {
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingMessage['headers']
  /** All of its content so far. */
  readonly body: () => Buffer
  readonly sha256: () => string
  readonly bytes: () => number
  /** Whether its end has come. */
  readonly complete: () => boolean
  /** Settles when it has ended, one way or the other. */
  readonly over: Promise<void>
}

export interface Backend {
  readonly port: number
  readonly url: string
  readonly requests: readonly Recorded[]
  /** How many connections it has accepted. */
  readonly connections: () => number
  /** How many are open. */
  readonly open: () => number
  /** The n-th request, from 0 on, as soon as it has come. */
  request(n: number): Promise<Recorded>
  /** Waits until no more than `count` connections are open. */
  openAtMost(count: number): Promise<void>
}

export type Handler = (request: IncomingMessage, response: ServerResponse, recorded: Recorded) => void

/** An HTTP backend that remembers every request. Without a handler it answers "ok" when the request is complete. */
export async function backend(t: Test, handler: Handler = answerOk): Promise<Backend> {
  const requests: Recorded[] = []
  const waiting: Array<() => void> = []
  const wake = (): void => {
    for (const each of waiting.splice(0)) each()
  }
  let connections = 0
  let open = 0
  const server = createServer({ maxHeaderSize: 128 * 1024, requireHostHeader: false }, (request, response) => {
    const recorded = record(request)
    requests.push(recorded)
    response.on('error', ignore)
    wake()
    handler(request, response, recorded)
  })
  server.keepAliveTimeout = 60_000
  server.on('connection', (socket) => {
    connections++
    open++
    socket.on('error', ignore)
    socket.on('close', () => {
      open--
      wake()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const port = portOf(server)
  const until = async <T>(ready: () => T | undefined, what: string): Promise<T> => {
    const wait = async (): Promise<T> => {
      for (;;) {
        const result = ready()
        if (result !== undefined) return result
        // oxlint-disable-next-line no-await-in-loop -- until it has happened
        await new Promise<void>((resolve) => void waiting.push(resolve))
      }
    }
    return guarded(wait(), () => `${what}: ${requests.length} requests, ${open} of ${connections} connections open`)
  }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    connections: () => connections,
    open: () => open,
    request: async (n) => until(() => requests[n], `request ${n}`),
    openAtMost: async (count) => {
      await until(() => (open <= count ? true : undefined), `at most ${count} open`)
    },
  }
}

function record(request: IncomingMessage): Recorded {
  const pieces: Buffer[] = []
  const hash = createHash('sha256')
  let bytes = 0
  let digest: string | undefined
  request.on('data', (piece: Buffer) => {
    bytes += piece.length
    hash.update(piece)
    // Large bodies are compared by their digest.
    if (bytes <= 2 ** 24) pieces.push(piece)
  })
  request.on('error', ignore)
  const over = new Promise<void>((resolve) => {
    request.on('close', resolve)
  })
  return {
    method: request.method ?? '',
    url: request.url ?? '',
    rawHeaders: request.rawHeaders,
    headers: request.headers,
    body: () => Buffer.concat(pieces),
    sha256: () => (digest ??= hash.digest('hex')),
    bytes: () => bytes,
    complete: () => request.complete,
    over,
  }
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function answerOk(request: IncomingMessage, response: ServerResponse): void {
  request.on('end', () => response.end('ok'))
}

function ignore(): void {}

/** Names and values of a flat list, those with this name in lower case. */
export function rawValues(raw: readonly string[], name: string): string[] {
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name)
}

/** A port where nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createTcpServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  server.close()
  await once(server, 'close')
  return port
}

/** What the contract says of every answer that Sluice gives itself. */
const STATUS: Readonly<Record<string, readonly [status: number, error: string, retryAfter?: true]>> = {
  SLUICE_NO_ROUTE: [404, 'Not Found'],
  SLUICE_BAD_REQUEST: [400, 'Bad Request'],
  SLUICE_BODY_TOO_LARGE: [413, 'Payload Too Large'],
  SLUICE_CLIENT_TIMEOUT: [408, 'Request Timeout'],
  SLUICE_LOOP: [508, 'Loop Detected'],
  SLUICE_INTERNAL: [500, 'Internal Server Error'],
  SLUICE_NO_BACKEND: [503, 'Service Unavailable', true],
  SLUICE_QUEUE_FULL: [503, 'Service Unavailable', true],
  SLUICE_QUEUE_TIMEOUT: [503, 'Service Unavailable', true],
  SLUICE_CONNECT_FAILED: [502, 'Bad Gateway'],
  SLUICE_RESET: [502, 'Bad Gateway'],
  SLUICE_BAD_RESPONSE: [502, 'Bad Gateway'],
  SLUICE_CONNECT_TIMEOUT: [504, 'Gateway Timeout'],
  SLUICE_HEADERS_TIMEOUT: [504, 'Gateway Timeout'],
  SLUICE_TOTAL_TIMEOUT: [504, 'Gateway Timeout'],
}

/** Words that would tell a client what is behind the gateway. */
const LEAK = /127\.0\.0\.1|localhost|ECONN|EPIPE|ETIMEDOUT|UND_ERR|ERR_|node:|node_modules|\.ts\b|\.js\b|\n\s+at /

/** BF-30: the answer is Sluice's own, with this code, in the form of the contract, and gives nothing away. */
export function isError(t: Test, answer: Answer, code: string, ports: readonly number[] = [], name = code): void {
  const [status = 0, error = '', retryAfter = false] = STATUS[code] ?? []
  const text = answer.body.toString()
  t.equal(answer.status, status, `${name}: status; ${text}`)
  t.match(valuesOf(answer, 'content-type'), ['application/json; charset=utf-8'], `${name}: a type`)
  const body: unknown = text.startsWith('{') ? JSON.parse(text) : {}
  const [id] = valuesOf(answer, 'x-request-id')
  t.match(
    body,
    { statusCode: status, error, code, message: /^[A-Z][^:]+$/, requestId: id ?? 'none' },
    `${name}: the body`,
  )
  t.same(Object.keys(body ?? {}), ['statusCode', 'error', 'code', 'message', 'requestId'], `${name}: no other keys`)
  t.equal(valuesOf(answer, 'x-request-id').length, 1, `${name}: one request id`)
  t.match(id ?? '', /^[A-Za-z0-9._-]{1,128}$/, `${name}: a request id`)
  t.equal(valuesOf(answer, 'retry-after').length, retryAfter ? 1 : 0, `${name}: Retry-After`)
  if (retryAfter) t.match(valuesOf(answer, 'retry-after')[0] ?? '', /^[1-9]\d*$/, `${name}: Retry-After in seconds`)
  const everything = `${answer.head}\n${text}`
  t.notMatch(everything, LEAK, `${name}: gives nothing away`)
  t.notOk(everything.includes(process.cwd()), `${name}: no path`)
  for (const port of ports) t.notOk(text.includes(String(port)) || answer.head.includes(`:${port}`), `${name}: no port`)
}
