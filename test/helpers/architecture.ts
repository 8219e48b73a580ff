/**
 * The rules of who may import whom, and what the core must not touch, read off the text of source files.
 */
import { posix } from 'node:path'

/** The further down, the less it knows of the rest. A file may import from its own layer and from those below. */
const LAYERS: ReadonlyArray<readonly [layer: string, files: RegExp]> = [
  ['entry', /^(?:bin\/|src\/(?:server|index|version)\.ts$|src\/cli[./])/],
  ['top', /^src\/top\//],
  ['app', /^src\/(?!errors\.)[^/]+\.ts$/],
  ['testing', /^src\/testing\//],
  ['routes', /^routes\/(?!dashboard\/)/],
  ['plugins', /^plugins\//],
  ['admin', /^src\/admin\//],
  ['metrics', /^src\/metrics\//],
  ['log', /^src\/log\//],
  ['tracing', /^src\/tracing\//],
  ['transport', /^src\/transport\//],
  ['config', /^src\/config\//],
  ['routing', /^src\/routing\//],
  ['errors', /^src\/errors\.ts$/],
  ['core', /^src\/core\//],
  // What runs in a browser.
  ['page', /^routes\/dashboard\//],
]

/** They import nothing outside themselves. */
const CLOSED: ReadonlySet<string> = new Set(['core', 'page'])

/** Side by side: each of them can be understood, tested and replaced without the others. */
const PEERS: ReadonlySet<string> = new Set(['transport', 'config', 'routing'])

/** The one thing that the peers share, and as a type only. */
const SETTINGS = 'src/config/settings.ts'

/** A client of the admin listener, of which it knows what it is told, and how the configuration writes quantities. */
const CLIENT = 'top'
const SHARED_WITH_CLIENT: ReadonlySet<string> = new Set(['src/config/units.ts'])

/** In the core, time and chance are arguments, and nothing is done later except by the clock it is given. */
const BANNED_IN_CORE =
  /\b(?:Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process|globalThis|Math\s*\.\s*random)\b/g

const VAGUE_NAME = /(?:^|\/)[^/]*\b(?:utils?|helpers?|managers?)\b[^/]*(?:\/|$)/i

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}

/** What is wrong with a file, one sentence each; `path` is from the root of the repository, with forward slashes. */
export function violations(path: string, source: string): string[] {
  const layer = layerOf(path)
  const found: string[] = []
  if (layer === undefined) found.push(`${path} is in no layer`)
  if (VAGUE_NAME.test(path)) found.push(`${path} has a name that says nothing`)
  for (const each of importsOf(source)) {
    const reason = layer === undefined ? undefined : whyNot(path, layer, each)
    if (reason !== undefined) found.push(`${path} imports ${each.specifier}: ${reason}`)
  }
  if (layer === 'core') {
    for (const [word] of codeOf(source).matchAll(BANNED_IN_CORE))
      found.push(`${path} uses ${word}, which the core must not`)
  }
  return found
}

function whyNot(path: string, layer: string, { specifier, typeOnly }: Import): string | undefined {
  const closed = CLOSED.has(layer) ? `the ${layer} imports nothing outside itself` : undefined
  if (!specifier.startsWith('.')) return closed
  const target = posix.join(posix.dirname(path), specifier)
  if (target === 'package.json') return closed
  if (target.startsWith('test/')) return 'nothing imports tests'
  const targetLayer = layerOf(target)
  if (targetLayer === undefined) return 'it is in no layer'
  if (targetLayer === layer) return undefined
  if (layer === CLIENT && !typeOnly && !SHARED_WITH_CLIENT.has(target)) return `${layer} is a client of the gateway`
  if (closed !== undefined) return closed
  if (PEERS.has(layer) && PEERS.has(targetLayer)) {
    return target === SETTINGS && typeOnly ? undefined : `${layer} and ${targetLayer} do not know each other`
  }
  return rank(targetLayer) > rank(layer) ? undefined : `${targetLayer} is above ${layer}`
}

function layerOf(path: string): string | undefined {
  return LAYERS.find(([, files]) => files.test(path))?.[0]
}

function rank(layer: string): number {
  return LAYERS.findIndex(([name]) => name === layer)
}

/** Static imports and re-exports begin a line, as the formatter has them; dynamic ones and types stand anywhere. */
function importsOf(source: string): Import[] {
  const text = source.replaceAll(/\/\*[\s\S]*?\*\//g, '')
  const fixed = text.matchAll(/^(?:import|export)\b(\s+type\b)?(?:[^'"`;=()]*?\bfrom)?\s*['"]([^'"\n]+)['"]/gm)
  const dynamic = text.matchAll(/\b(?:import|require)\s*\(\s*['"`]([^'"`\n]+)['"`]/g)
  return [
    ...Array.from(fixed, ([, type, specifier]) => ({ specifier: specifier ?? '', typeOnly: type !== undefined })),
    ...Array.from(dynamic, ([, specifier]) => ({ specifier: specifier ?? '', typeOnly: false })),
  ]
}

/** Without comments and literals, except for the code inside templates. */
function codeOf(source: string): string {
  const words = /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
  return source.replaceAll(words, (part) =>
    part.startsWith('`') ? Array.from(part.matchAll(/\$\{([^}]*)\}/g), ([, code]) => code).join(' ; ') : ' ',
  )
}
