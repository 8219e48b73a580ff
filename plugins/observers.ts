/**
 * `app.observers`: who wants to know that a request has ended, however it did. Told from the 'close' of the client's
 * response, the only event that follows every ending: Fastify's onResponse would miss those that were broken off.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import type { ErrorCode } from '../src/errors.ts'
import type { Exchange } from '../src/transport/exchange.ts'
import type { Peer, Peers } from '../src/transport/peer.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly observers: Observer[]
  }

  interface FastifyRequest {
    /** On the clock of `performance.now()`. */
    startedAt: number
    /** Whether its response has closed. */
    over: boolean
    /** Who is at the other end: of an HTTP/2 connection, nobody knows once it has closed. */
    peer: Peer | null
    /** The answer of Sluice's own that it got before it became an exchange, if it did. */
    refusal: ErrorCode | null
  }
}

export interface Observer {
  /** @param ms how long it took */
  exchange?(exchange: Exchange, ms: number): void
  /** It never became an exchange: it was refused, a plugin answered, or its client left before. */
  request?(request: FastifyRequest, reply: FastifyReply, ms: number): void
  /** It never became a request: it was no HTTP that could be read. */
  unreadable?(unreadable: Unreadable): void
}

export interface Unreadable {
  readonly requestId: string
  /** The address it came from. */
  readonly client: string | undefined
  readonly status: number
  readonly code: ErrorCode
  /** What was wrong, in a word of the parser's or a few of ours. */
  readonly reason: string | undefined
}

/** For what is answered before there is a request, or without one. The admin listener has nobody to tell it to. */
export function tellUnreadable(app: FastifyInstance, unreadable: Unreadable): void {
  if (app.hasDecorator('observers')) for (const observer of app.observers) observer.unreadable?.(unreadable)
}

export interface ObserversOptions {
  readonly peers: Peers
}

export default fp<ObserversOptions>(
  (app, { peers }, done) => {
    const observers: Observer[] = []
    app.decorate('observers', observers)
    app.decorateRequest('startedAt', 0)
    app.decorateRequest('over', false)
    app.decorateRequest('peer', null)
    app.decorateRequest('refusal', null)
    // Before the hooks of users' plugins, which may answer by themselves.
    app.addHook('onRequest', (request, reply, next) => {
      request.startedAt = performance.now()
      request.peer = peers.of(request.raw)
      reply.raw.on('close', () => end(request, reply))
      next()
    })
    done()

    function end(request: FastifyRequest, reply: FastifyReply): void {
      // Who answers an HTTP/2 request that is gone has it close once more.
      if (request.over) return
      request.over = true
      const ms = performance.now() - request.startedAt
      const { exchange } = request
      if (exchange === null) for (const observer of observers) observer.request?.(request, reply, ms)
      else {
        exchange.onClose?.(exchange)
        for (const observer of observers) observer.exchange?.(exchange, ms)
      }
    }
  },
  { name: 'sluice-observers' },
)
