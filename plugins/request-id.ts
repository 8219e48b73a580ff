/**
 * Every response carries x-request-id, whoever gives it: the backend, a hook that refuses, a plugin's own route.
 */
import fp from 'fastify-plugin'

export default fp(
  (app, _options, done) => {
    app.addHook('onRequest', (request, reply, next) => {
      reply.header('x-request-id', request.id)
      next()
    })
    done()
  },
  { name: 'sluice-request-id' },
)
