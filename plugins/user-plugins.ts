/**
 * The user's own Fastify plugins, from the configuration file: registered before the routes, in the order they are
 * named, at the root, so that their hooks and decorators hold for all traffic.
 */
import { pathToFileURL } from 'node:url'
import { isAbsolute } from 'node:path'

import type { FastifyPluginCallback } from 'fastify'
import fp from 'fastify-plugin'

// oxlint-disable-next-line import/no-unassigned-import -- lets the plugins import from 'sluice'
import '../src/config/self.ts'
import type { PluginSettings } from '../src/config/settings.ts'

export interface UserPluginOptions {
  readonly plugins: readonly PluginSettings[]
}

export default fp<UserPluginOptions>(
  async (app, options) => {
    for (const { path, options: pluginOptions } of options.plugins) {
      // oxlint-disable-next-line no-await-in-loop -- in their order, so that one can build on another
      const plugin = await importPlugin(path)
      // oxlint-disable-next-line no-await-in-loop
      await app.register(fp(plugin, { encapsulate: false }), pluginOptions)
    }
  },
  { name: 'sluice-user-plugins' },
)

function isPlugin(value: unknown): value is FastifyPluginCallback {
  return typeof value === 'function'
}

async function importPlugin(path: string): Promise<FastifyPluginCallback> {
  const module: { default?: unknown } = await import(isAbsolute(path) ? pathToFileURL(path).href : path)
  if (!isPlugin(module.default)) throw new Error(`Plugin ${path}: its default export is not a function`)
  return module.default
}
