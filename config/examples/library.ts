// The gateway inside a program of one's own. A route to a pool that is not there does not compile.
//
//   WEB=http://127.0.0.1:9001 API=http://127.0.0.1:9002 node library.ts
import { buildGateway, defineConfig } from 'sluice'

const { WEB = 'http://127.0.0.1:9001', API = 'http://127.0.0.1:9002', PORT = '8080', ADMIN_PORT = '9090' } = process.env

const app = await buildGateway(
  defineConfig({
    log: { level: 'warn' },
    pools: {
      web: { backends: [WEB] },
      api: { algorithm: 'always-first', backends: [API, WEB] },
    },
    routes: [
      { path: '/*', pool: 'web' },
      { path: '/api/*', pool: 'api', rewrite: { stripPrefix: '/api' } },
    ],
  }),
)

// It is a Fastify application: hooks, decorators and plugins work as everywhere, until it is ready.
app.algorithms.register('always-first', () => ({
  pick(candidates) {
    const [first] = candidates
    if (first === undefined) throw new Error('there is nothing to pick from')
    return first
  },
}))
app.addHook('onRequest', async (_request, reply) => {
  reply.header('x-served-by', 'my-gateway')
})

const address = await app.listen({ port: Number(PORT), host: '127.0.0.1' })
// The admin listener is an application of its own, and closes with the gateway.
const admin = await app.admin?.listen({ port: Number(ADMIN_PORT), host: '127.0.0.1' })
process.once('SIGTERM', () => void app.close())
console.log(JSON.stringify({ msg: `listening`, address, admin }))
