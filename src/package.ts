/**
 * The package itself: where it lies and which version it is, for its sources and for what is built from them.
 */
import { existsSync, readFileSync } from 'node:fs'

const beside = new URL('../', import.meta.url)

/** The folder with package.json: one up from `src`, two up from `dist/src`. */
export const ROOT = existsSync(new URL('package.json', beside)) ? beside : new URL('../', beside)

const description: unknown = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8'))

export const VERSION = String(Reflect.get(Object(description), 'version'))
