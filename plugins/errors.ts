/**
 * The answers that Sluice gives itself, in one form (src/errors.ts), wherever in the gateway they arise.
 */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { sendError, SluiceError } from '../src/errors.ts'

function logRefusal(error: SluiceError, request: FastifyRequest): void {
  const { id, method, ip, url } = request
  request.log.info({ requestId: id, client: ip, method, path: url, code: error.code }, 'request refused')
}

export default fp(
  (app, _options, done) => {
    app.setErrorHandler((error, request, reply) => {
      if (!(error instanceof SluiceError)) return reply.send(error)
      // What never became an exchange is in no access log.
      if (request.exchange === null) logRefusal(error, request)
      return sendError(error, request, reply)
    })
    done()
  },
  { name: 'sluice-errors' },
)
