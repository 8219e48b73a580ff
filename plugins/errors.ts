/**
 * The answers that Sluice gives itself, in one form (src/errors.ts), wherever in the gateway they arise.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { sendError, SluiceError, statusOf } from '../src/errors.ts'

export interface ErrorOptions {
  /** What to do with errors that are not Sluice's own: answer for them, or leave them to the application around. */
  readonly others: 'answer' | 'leave'
}

export default fp<ErrorOptions>(
  (app, options, done) => {
    app.setErrorHandler((error, request, reply) => {
      if (error instanceof SluiceError) {
        // What never became an exchange is in no access log.
        if (request.exchange === null) logRefusal(error, request)
        return sendError(error, request, reply)
      }
      if (options.others === 'leave') throw error
      if (statusOf(error) < 500) return reply.send(error)
      // The words of a plugin's error are for the log: they may name anything.
      app.log.error({ requestId: request.id, err: error }, 'a plugin failed')
      return sendError(new SluiceError('SLUICE_INTERNAL'), request, reply)
    })
    done()

    function logRefusal({ code }: SluiceError, { id, method, ip, url }: FastifyRequest): void {
      const path = url.split('?', 1)[0]
      app.log.info({ requestId: id, client: ip, method, path, code }, 'request refused')
    }
  },
  { name: 'sluice-errors' },
)
