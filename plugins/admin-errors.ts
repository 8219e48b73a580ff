/**
 * What the admin listener answers when a call fails, in the form of src/errors.ts. Its callers are operators: they are
 * told what is wrong with their call.
 */
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { errorBody, isUnread, sendError, SluiceError, statusOf } from '../src/errors.ts'
import { lingerOnClose } from '../src/transport/peer.ts'

export interface AdminErrorOptions {
  readonly log: FastifyBaseLogger
}

/**
 * How many refused clients at once may go on sending until they have seen the answer. One at a time is an operator; to
 * read what a thousand send would cost the traffic its processor.
 */
const LINGERING = 4

export default fp<AdminErrorOptions>(
  (app, { log }, done) => {
    let lingering = 0
    app.setErrorHandler((error, request, reply) => {
      if (error instanceof SluiceError) return refuse(error, request, reply)
      const status = statusOf(error)
      if (status === 413) return refuse(new SluiceError('SLUICE_BODY_TOO_LARGE'), request, reply)
      if (status < 500 && error instanceof Error)
        return reply.code(status).send(errorBody(status, 'SLUICE_BAD_REQUEST', error.message, request.id))
      log.error({ requestId: request.id, err: error }, 'an admin call failed')
      return refuse(new SluiceError('SLUICE_INTERNAL'), request, reply)
    })
    done()

    function refuse(error: SluiceError, request: FastifyRequest, reply: FastifyReply): void {
      const { socket } = request.raw
      if (isUnread(request.raw) && lingering < LINGERING) {
        lingering++
        socket.once('close', () => lingering--)
        lingerOnClose(socket)
      }
      sendError(error, request, reply)
    }
  },
  { name: 'sluice-admin-errors' },
)
