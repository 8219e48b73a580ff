/**
 * One route for every method and path, whose bodies nobody reads but the transport. Which pool a request goes to is
 * looked up in a table of our own: Fastify's routes cannot change while it runs.
 */
import { METHODS } from 'node:http'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { hasBody } from '../src/transport/wire.ts'

// All that Node's parser knows. CONNECT never comes as a request.
const FORWARDED = METHODS.filter((method) => method !== 'CONNECT')

export function catchAll(app: FastifyInstance, handler: (request: FastifyRequest, reply: FastifyReply) => void): void {
  takeBodiesAsTheyAre(app)
  for (const method of FORWARDED)
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  app.route({ method: FORWARDED, url: '/*', exposeHeadRoute: false, handler })
  // Mounted below a prefix: '/*' begins with the slash behind it.
  if (app.prefix !== '') app.route({ method: FORWARDED, url: '', exposeHeadRoute: false, handler })
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
export function hasSendHooks(request: FastifyRequest): boolean {
  CONTEXT ??= Object.getOwnPropertySymbols(request).find((symbol) => symbol.description === 'fastify.context')
  const context: unknown = CONTEXT === undefined ? undefined : Reflect.get(request, CONTEXT)
  return !(typeof context === 'object' && context !== null && Reflect.get(context, 'onSend') === null)
}

let CONTEXT: symbol | undefined
