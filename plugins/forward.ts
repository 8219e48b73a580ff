/**
 * `reply.from` with our own transport behind it: @fastify/reply-from takes any object with a `request` function for its
 * client and hands it the headers object that `rewriteRequestHeaders` returned, symbols included. Through that the
 * exchange travels; everything else about a request is the transport's to do (see src/transport).
 */
import replyFrom, { type FastifyReplyFromOptions } from '@fastify/reply-from'
import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'

import type { Exchange, FromCallback } from '../src/transport/exchange.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The exchange that this request is part of, once a route of Sluice's has taken it. */
    exchange: Exchange | null
  }
}

const EXCHANGE = Symbol('sluice.exchange')

interface Carrier {
  readonly headers: { readonly [EXCHANGE]: Exchange }
}

/** What reply.from believes to be its HTTP client. */
const transport = {
  request(options: Carrier, callback: FromCallback): void {
    const exchange = options.headers[EXCHANGE]
    if (exchange.throughHooks) exchange.callback = callback
    exchange.attempt?.send()
  },
}

// One upstream and one source for all requests, so that reply.from's cache of URLs always hits: where a request goes
// and what it asks for is in the exchange. `retryDelay` keeps reply.from from retrying by itself.
const FROM: Parameters<FastifyReply['from']>[1] = {
  queryString: () => '',
  retryDelay: () => null,
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types know no symbols, its code keeps them
  rewriteRequestHeaders: (request) => ({ [EXCHANGE]: request.exchange }) as never,
}

/** Sends the attempt that the exchange holds on its way. */
export function sendAttempt(reply: FastifyReply): void {
  reply.from('/', FROM)
}

export default fp(
  async (app) => {
    app.decorateRequest('exchange', null)
    const options = { base: 'http://sluice.invalid', undici: transport, disableRequestLogging: true }
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it takes anything with a request function
    await app.register(replyFrom, options as unknown as FastifyReplyFromOptions)
  },
  { name: 'sluice-forward' },
)
