// A Fastify plugin for a gateway (config/recipes/plugin.yaml): lets in only requests that carry one of the keys. Its
// hooks hold for all traffic, and run before a backend is chosen.
import type { FastifyInstance } from 'fastify'

export interface ApiKeyOptions {
  readonly keys: readonly string[]
}

export default async function apiKey(app: FastifyInstance, options: ApiKeyOptions): Promise<void> {
  app.addHook('onRequest', async (request, reply) => {
    const key = request.headers['x-api-key']
    if (typeof key === 'string' && options.keys.includes(key)) return undefined
    return reply.code(401).send({ statusCode: 401, error: 'Unauthorized', message: 'This needs an x-api-key' })
  })
}
