/**
 * The gateway as a library.
 */
import type { FastifyInstance } from 'fastify'

import { createGateway } from './app.ts'
import { checkObject, ConfigError } from './config/check.ts'
import { hashOf } from './config/text.ts'
import type { Config } from './config/schema.ts'

/**
 * Builds a gateway. Register plugins and algorithms on it as on any Fastify application, then `listen()`. The admin
 * listener is `app.admin`, an application of its own: it listens when it is told to, and closes with the gateway.
 *
 * @throws {ConfigError} when the configuration is wrong; its `problems` name each mistake
 */
export async function buildGateway(config: Config): Promise<FastifyInstance> {
  const { settings, problems, warnings } = checkObject(config)
  if (settings === undefined) throw new ConfigError(problems)
  const app = await createGateway(settings, { hash: hashOf(JSON.stringify(config)), folder: process.cwd() })
  for (const { path, message } of warnings) app.log.warn(`${path}: ${message}`)
  app.addHook('onListen', (done) => {
    app.lifecycle.state = 'ready'
    done()
  })
  return app
}
