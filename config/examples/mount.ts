// A pool on a route of an application that is there already, beside its own routes and hooks.
//
//   REPORTS=http://127.0.0.1:9001 node mount.ts
import Fastify from 'fastify'
import { sluice } from 'sluice'

const { REPORTS = 'http://127.0.0.1:9001', PORT = '3000' } = process.env

const app = Fastify()

// The application's hooks hold for what is forwarded, too.
app.addHook('onRequest', async (request, reply) => {
  if (request.headers['x-user'] === undefined) return reply.code(401).send({ error: 'who are you?' })
  reply.header('x-app', 'mine')
  return undefined
})

app.get('/', () => ({ hello: 'from my own route' }))
// Bodies of the application's own routes are parsed as ever; those of forwarded requests are streamed.
app.post('/json', (request) => ({ received: request.body }))

await app.register(sluice, {
  prefix: '/reports',
  pool: { backends: [REPORTS], timeouts: { headers: '5s' } },
  rewrite: { stripPrefix: '/reports' },
})

const address = await app.listen({ port: Number(PORT), host: '127.0.0.1' })
process.once('SIGTERM', () => void app.close())
console.log(JSON.stringify({ msg: 'listening', address }))
