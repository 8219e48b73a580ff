/**
 * Lets a user's own TypeScript and JavaScript files `import ... from 'sluice'` wherever they lie: the name stands for
 * the very package that is running, so that its types and registries are not there twice. Imported for its effect.
 */
import { registerHooks } from 'node:module'

/** Marks the import of a configuration, whose format must not depend on the nearest package.json. */
export const CONFIG_QUERY = 'sluice-config'

const running = new URL(import.meta.url)
/** Run from sources this is TypeScript, from the published package JavaScript. */
export const SELF = new URL(running.pathname.endsWith('.ts') ? '../index.ts' : '../index.js', running).href

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'sluice') return next(SELF, context)
    const resolved = next(specifier, context)
    const typed = resolved.url.includes(`.ts?${CONFIG_QUERY}=`)
    return typed ? { ...resolved, format: 'module-typescript' } : resolved
  },
})
