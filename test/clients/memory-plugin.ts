/**
 * A user's plugin: tells, at /memory, how much memory the process holds. Garbage does not count: how much of it lies about
 * depends on everything but the length of a transfer.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { FastifyInstance } from 'fastify'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

export default function memory(app: FastifyInstance, _options: object, done: () => void): void {
  app.get('/memory', () => {
    if (typeof collect !== 'function') throw new Error('there is no way to collect garbage')
    collect()
    return process.memoryUsage()
  })
  done()
}
