/** A plain @fastify/reply-from application: nothing but forwarding, in turn over the backends. */
import replyFrom from '@fastify/reply-from'
import Fastify from 'fastify'

import { makeServer, nextBase, port } from './application.ts'

const app = Fastify({ serverFactory: (handler) => makeServer(handler) })
await app.register(replyFrom, { disableRequestLogging: true })
// Bodies are forwarded as they come.
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
app.all('/*', (request, reply) => {
  const base = nextBase()
  return reply.from(request.url, { getUpstream: () => base })
})
await app.listen({ port, host: '127.0.0.1', backlog: 4096 })
