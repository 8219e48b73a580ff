/** Whatever is done to a file, it becomes settings or lines of a known form: never another error. */
import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkConfig, checkObject, formatProblem } from '../../src/config/check.ts'
import type { Config } from '../../src/config/schema.ts'
import { readText } from '../../src/config/text.ts'

/** A certificate on one line, as JSON and YAML write it in quotes. */
const CA = readFileSync(join(import.meta.dirname, '../helpers/certificates/ca.pem'), 'utf8').replaceAll('\n', '\\n')

const YAML = `# a comment
listen: { host: 0.0.0.0, port: 8080, trustedProxies: [10.0.0.0/8], headersTimeout: 15s, maxHeaderSize: 16KiB, via: edge-1 }
admin:
  token: \${TOKEN:-x}
log: { level: info, access: true }
pools:
  web: &web
    algorithm: { type: consistent-hash, key: { header: x-user } }
    backends:
      - http://127.0.0.1:9001
      - { url: "http://[::1]:9002", id: two, weight: 2.5 }
    timeouts: { connect: 2s, total: 0s }
    tls: { ca: "${CA}", serverName: a.example.com }
    retry: { attempts: 3, on: [connect, 503], budget: { ratio: 0.2 }, backoff: { base: 25ms, max: 1s } }
    health: { active: { path: /up, expect: [200, 300-399], headers: { x-a: b }, interval: 1s }, passive: { over: 10s } }
    breaker: { mode: observe, open: 1s }
    maxBodySize: 1MiB
  other: { <<: *web, hostHeader: backend }
routes:
  - { path: /a/:id, host: "*.example.com", methods: [GET, POST], pool: web }
  - { path: /old/*, pool: other, rewrite: { stripPrefix: /old }, requestHeaders: { set: { x-a: b }, remove: [x-c] } }
plugins: []
`
const JSON_TEXT = JSON.stringify(
  {
    listen: { port: 1 },
    pools: { web: { backends: ['http://a', { url: 'http://b', weight: 0 }] } },
    routes: [{ path: '/*', pool: 'web' }],
  },
  null,
  2,
)
const PIECES = ['{', '}', '[', ']', ':', ': ', ',', '"', "'", '\n', '  ', '\t', '- ', '&a ', '*a', '*web', '<<: ', '|', '>', '!!', '#', '%', '\0',
  '${', '}', '$${', '~', '.nan', '-.inf', '1e999', '0', '-1', 'null', 'true', '__proto__', 'constructor', 'toString', '/', '*', '?', '---\n', '\\', '\u2028', '\uD800', 'é', '@'] // prettier-ignore

const edit = fc.record({
  at: fc.nat({ max: 5000 }),
  remove: fc.nat({ max: 12 }),
  insert: fc.oneof(fc.constantFrom('', ...PIECES), fc.string({ maxLength: 4 })),
})

function edited(text: string, edits: ReadonlyArray<{ at: number; remove: number; insert: string }>): string {
  return edits.reduce((result, { at, remove, insert }) => {
    const start = at % (result.length + 1)
    return result.slice(0, start) + insert + result.slice(start + remove)
  }, text)
}

function assertWellFormed(text: string, kind: 'yaml' | 'json'): void {
  const { settings, problems } = checkConfig(readText(text, { kind, file: 'f.x', folder: '/', env: {} }))
  if (settings !== undefined) return
  const last = text.split('\n').length
  if (problems.length === 0) throw new Error('neither settings nor problems')
  for (const problem of problems) {
    const line = formatProblem(problem)
    if (!/^f\.x:[1-9]\d*:[1-9]\d*: \S.*: \S.*$/.test(line)) throw new Error(`not well formed: ${line}`)
    if ((problem.line ?? 0) > last) throw new Error(`beyond the end: ${line}`)
  }
}

for (const [kind, text] of [
  ['yaml', YAML],
  ['json', JSON_TEXT],
] as const) {
  void t.test(`edits of ${kind}`, async (test) => {
    test.doesNotThrow(() => assertWellFormed(text, kind))
    const edits = fc.array(edit, { minLength: 1, maxLength: 4 })
    const property = fc.property(edits, (list) => assertWellFormed(edited(text, list), kind))
    test.doesNotThrow(() => fc.assert(property, { seed: 20_240, numRuns: 2000, interruptAfterTimeLimit: 8000 }))
  })
}

void t.test('any value in any place of an object', async (test) => {
  const good: Config = {
    listen: { port: 1, trustedProxies: [], tls: { cert: 'none.pem', key: 'none.key' }, via: true },
    pools: {
      web: {
        backends: ['http://a', { url: 'http://b' }],
        timeouts: {},
        algorithm: { type: 'x' },
        tls: {},
        retry: { on: [503] },
        health: { active: { expect: [200], headers: {} }, passive: { window: 50 } },
        breaker: { open: 1000 },
      },
    },
    routes: [{ path: '/*', pool: 'web', methods: ['GET'], rewrite: {}, requestHeaders: { set: {}, remove: [] } }],
    plugins: [{ path: 'p', options: {} }],
  }
  // `fc.anything` in every list and under every key of the good one, and in its place as a whole.
  const keys = [
    'listen',
    'admin',
    'log',
    'pools',
    'routes',
    'plugins',
    'web',
    'backends',
    'timeouts',
    'type',
    'path',
    'set',
    'via',
    'tls',
    'cert',
    'key',
    'retry',
    'on',
  ]
  const anything = fc.anything({ withBigInt: true, withMap: true, withDate: true, withSparseArray: true })
  const place = fc.oneof(fc.constantFrom(...keys, '0', '1', ''), fc.string())
  const property = fc.property(place, anything, (key, value) => {
    const replaced: unknown = JSON.parse(JSON.stringify(good), (at, item: unknown) => (at === key ? value : item))
    const [pools, routes] = [{ [key]: value }, [value]]
    for (const config of [replaced, { ...good, [key]: value }, { ...good, pools }, { ...good, routes }, value]) {
      const { settings, problems = [] } = checkObject(config, { env: {} })
      if (settings === undefined && problems.length === 0) throw new Error('neither settings nor problems')
      if (/[\n\r]/.test(problems.map(formatProblem).join(''))) throw new Error('more than one line')
    }
  })
  test.doesNotThrow(() => fc.assert(property, { seed: 20_241, numRuns: 600, interruptAfterTimeLimit: 8000 }))
})
