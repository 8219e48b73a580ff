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
      try {
        // oxlint-disable-next-line no-await-in-loop -- in their order, so that one can build on another
        const plugin = await importPlugin(path)
        // oxlint-disable-next-line no-await-in-loop
        await app.register(isWrapped(plugin) ? plugin : fp(plugin), pluginOptions)
      } catch (error) {
        // Whatever was thrown, be it null: a gateway without a plugin it was told to have must not start.
        throw new Error(`plugin ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
      }
    }
  },
  { name: 'sluice-user-plugins' },
)

/** By fastify-plugin: it has a name and dependencies of its own then, which a second wrapping would lose. */
function isWrapped(plugin: FastifyPluginCallback): boolean {
  return Reflect.get(plugin, Symbol.for('skip-override')) === true
}

function isPlugin(value: unknown): value is FastifyPluginCallback {
  return typeof value === 'function'
}

async function importPlugin(path: string): Promise<FastifyPluginCallback> {
  const module: { default?: unknown } = await import(isAbsolute(path) ? pathToFileURL(path).href : path)
  if (!isPlugin(module.default)) throw new Error('its default export is not a function')
  return module.default
}
