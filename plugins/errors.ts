/**
 * The answers that Sluice gives itself, in one form (src/errors.ts), wherever in the gateway they arise.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { sendError, SluiceError, statusOf } from '../src/errors.ts'

export interface ErrorOptions {
  /** What to do with errors that are not Sluice's own: answer for them, or leave them to the application around. */
  readonly others: 'answer' | 'leave'
}

export default fp<ErrorOptions>(
  (app, options, done) => {
    app.setErrorHandler((error, request, reply) => {
      if (error instanceof SluiceError) return refuse(error, request, reply)
      if (options.others === 'leave') throw error
      if (statusOf(error) < 500) return reply.send(error)
      // The words of a plugin's error are for the log: they may name anything.
      app.log.error({ requestId: request.id, err: error }, 'a plugin failed')
      return refuse(new SluiceError('SLUICE_INTERNAL'), request, reply)
    })
    done()
  },
  { name: 'sluice-errors', dependencies: ['sluice-observers'] },
)

function refuse(error: SluiceError, request: FastifyRequest, reply: FastifyReply): void {
  request.refusal = error.code
  sendError(error, request, reply)
}
