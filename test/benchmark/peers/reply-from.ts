/** A plain @fastify/reply-from application: nothing but forwarding, in turn over the backends. */
import replyFrom from '@fastify/reply-from'
import Fastify from 'fastify'

const [port = 0, ...backends] = process.argv.slice(2).map(Number)
const bases = backends.map((each) => `http://127.0.0.1:${each}`)
const app = Fastify()
let turn = 0
await app.register(replyFrom, { disableRequestLogging: true })
app.all('/*', (request, reply) => {
  const base = bases[turn++ % bases.length] ?? ''
  return reply.from(request.url, { getUpstream: () => base })
})
await app.listen({ port, host: '127.0.0.1' })
