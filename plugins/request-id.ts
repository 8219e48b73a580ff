/**
 * Every response carries x-request-id, whoever gives it: the backend, a hook that refuses, a plugin's own route.
 */
import fp from 'fastify-plugin'

import { REQUEST_ID } from '../src/core/fields.ts'

export default fp(
  (app, _options, done) => {
    app.addHook('onRequest', (request, reply, next) => {
      reply.header(REQUEST_ID, request.id)
      next()
    })
    done()
  },
  { name: 'sluice-request-id' },
)
