// An algorithm of one's own (config/recipes/algorithm.yaml): a client that names a backend gets it, as long as it may be
// chosen; all others get the first one.
import type { FastifyInstance } from 'fastify'
import type { AlgorithmFactory } from 'sluice'

const onRequest: AlgorithmFactory<{ header?: string }> = ({ header = 'x-backend' }) => ({
  pick(candidates, request) {
    const wanted = request.header(header)
    const picked = candidates.find((candidate) => candidate.id === wanted) ?? candidates[0]
    if (picked === undefined) throw new Error('there is nothing to pick from') // never: the list is not empty
    return picked
  },
})

export default async function algorithmPlugin(app: FastifyInstance): Promise<void> {
  app.algorithms.register('on-request', onRequest)
}
