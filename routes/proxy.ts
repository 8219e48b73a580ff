/**
 * The data path, whole: route, exchange, lease, attempt - and the one place that decides about another attempt.
 */
import { METHODS } from 'node:http'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { sendAttempt } from '../plugins/forward.ts'
import { sendError, SluiceError } from '../src/errors.ts'
import { Attempt } from '../src/transport/attempt.ts'
import { Exchange, hasBody, type ExchangeContext } from '../src/transport/exchange.ts'
import { FAILURES, type AttemptError } from '../src/transport/failure.ts'
import type { Forwarding } from '../src/transport/forwarding.ts'
import { parseTarget, type Target } from '../src/transport/target.ts'

export interface ProxyOptions extends ExchangeContext {
  /** Which route takes a request, if any. */
  readonly find: (request: FastifyRequest, target: Target) => Forwarding | undefined
}

// Tries in all, of which the second is made only if the first cannot have reached its backend.
const ATTEMPTS = 2

// All that Node's parser knows. CONNECT never comes as a request.
const FORWARDED = METHODS.filter((method) => method !== 'CONNECT')

// Async, so that what goes wrong in here, such as a route that a plugin has taken, is the registration's failure.
export default async function proxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  takeBodiesAsTheyAre(app)
  for (const method of FORWARDED)
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  app.route({ method: FORWARDED, url: '/*', exposeHeadRoute: false, handler: handle })
  // Mounted below a prefix: '/*' begins with the slash behind it.
  if (app.prefix !== '') app.route({ method: FORWARDED, url: '', exposeHeadRoute: false, handler: handle })

  function handle(request: FastifyRequest, reply: FastifyReply): void {
    const target = parseTarget(request.raw.url ?? '')
    // Node's parser lets HTTP/0.9 and HTTP/2.0 through, too.
    if (target === undefined || request.raw.httpVersionMajor !== 1) throw new SluiceError('SLUICE_BAD_REQUEST')
    const forwarding = options.find(request, target)
    if (forwarding === undefined) throw new SluiceError('SLUICE_NO_ROUTE')
    const exchange = new Exchange(request, reply, target, forwarding, options, hasSendHooks(request))
    request.exchange = exchange
    // While hooks took their time, the client may have left.
    if (reply.raw.destroyed) return end(exchange)
    reply.raw.on('close', () => end(exchange))
    // Of pipelined requests only the first has the connection: one client holds one place at a time.
    if (reply.raw.socket === null) reply.raw.once('socket', () => attempt(exchange))
    else attempt(exchange)
  }

  function attempt(exchange: Exchange): void {
    const { pool, connections } = exchange.forwarding
    const lease = pool.acquire(exchange, exchange.tried)
    if (lease === undefined) return refuse(exchange, new SluiceError('SLUICE_NO_BACKEND'))
    try {
      exchange.attempt = new Attempt(exchange, lease, connections.get(lease.member), failed)
    } catch (error) {
      lease.release('failed')
      return refuse(exchange, error instanceof SluiceError ? error : new SluiceError('SLUICE_BAD_REQUEST'))
    }
    exchange.attempts++
    sendAttempt(exchange.reply)
  }

  function failed(exchange: Exchange, error: AttemptError): void {
    const { blame, code, unsent } = FAILURES[error.kind]
    exchange.error = { code, reason: error.message }
    // Its 'close' says the rest.
    if (error.kind === 'client-gone') return void exchange.res.destroy()
    if (exchange.begun) return exchange.cut()
    if (exchange.attempt !== undefined) (exchange.tried ??= new Set()).add(exchange.attempt.lease.member)
    const othersLeft = (exchange.tried?.size ?? 0) < exchange.forwarding.pool.candidates.length
    if (blame === 'backend' && unsent && exchange.attempts < ATTEMPTS && othersLeft) attempt(exchange)
    else refuse(exchange, new SluiceError(code))
  }

  function end(exchange: Exchange): void {
    if (exchange.outcome === undefined) {
      exchange.outcome = 'aborted'
      exchange.attempt?.abort()
    }
    for (const observe of app.observers) observe(exchange)
  }
}

function refuse(exchange: Exchange, error: SluiceError): void {
  exchange.error ??= { code: error.code, reason: error.message }
  exchange.outcome = 'refused'
  if (!exchange.res.destroyed) sendError(error, exchange.request, exchange.reply)
}

const MEDIA_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+ *(?:;|$)/

/** Bodies are streams that nobody but the transport reads, whatever their type, and with none too. */
function takeBodiesAsTheyAre(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.addHook('preParsing', (request, _reply, payload, done) => {
    // Fastify answers 415 to what is no media type, and 400 to QUERY without one: not ours to judge.
    // (It judges QUERY even without a body.)
    const judged = hasBody(request.raw) || request.raw.method === 'QUERY'
    if (judged && !MEDIA_TYPE.test(request.raw.headers['content-type'] ?? '')) {
      request.headers = { 'content-type': 'application/octet-stream' }
    }
    done(null, payload)
  })
}

/**
 * Whether hooks of the application want to see what is sent. Fastify keeps that in a route's context and tells nobody;
 * should it keep it elsewhere one day, the slower way through the hooks is the safe one.
 */
function hasSendHooks(request: FastifyRequest): boolean {
  CONTEXT ??= Object.getOwnPropertySymbols(request).find((symbol) => symbol.description === 'fastify.context')
  const context: unknown = CONTEXT === undefined ? undefined : Reflect.get(request, CONTEXT)
  return !(typeof context === 'object' && context !== null && Reflect.get(context, 'onSend') === null)
}

let CONTEXT: symbol | undefined
