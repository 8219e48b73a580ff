/**
 * `app.algorithms`: the algorithms that pools can use. Users' plugins register their own here, before the application
 * is ready.
 */
import fp from 'fastify-plugin'

import { builtInAlgorithms } from '../src/core/algorithms/built-in.ts'
import type { AlgorithmRegistry } from '../src/core/algorithms/registry.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly algorithms: AlgorithmRegistry
  }
}

export default fp(
  (app, _options, done) => {
    app.decorate('algorithms', builtInAlgorithms())
    done()
  },
  { name: 'sluice-algorithms' },
)
