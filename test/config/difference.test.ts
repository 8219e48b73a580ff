/** What a new configuration would change: all of it, nothing else, in the words of the file, and no secret. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { assert, constantFrom, property, subarray } from 'fast-check'
import { test } from 'tap'
import { checkConfig, checkObject, formatProblem } from '../../src/config/check.ts'
import { type Difference, differenceOf, isEmpty, isSame, keysThatNeedRestart } from '../../src/config/difference.ts'
import { inWords } from '../../src/config/difference-words.ts'
import type { Settings } from '../../src/config/settings.ts'
import { readText } from '../../src/config/text.ts'

const CERTIFICATES = join(import.meta.dirname, '../helpers/certificates')

function read(yaml: string): Settings {
  const source = readText(yaml, { kind: 'yaml', file: 'f', folder: CERTIFICATES, env: {} })
  const { settings, problems } = checkConfig(source)
  if (settings === undefined) throw new Error(problems.map(formatProblem).join('\n'))
  return settings
}

const WEB = 'web: { backends: ["http://127.0.0.1:9001"] }'
const SMALL = `pools: { ${WEB} }`

/** Every key there is, so that a change of each can be tried. */
const FULL = `
listen:
  trustedProxies: [10.0.0.0/8]
  tls: { cert: server.pem, key: server.key }
admin: { token: a-token }
pools:
  web:
    algorithm: { type: mine, key: { header: x-user }, delayMs: 5 }
    backends: ["https://127.0.0.1:9001", { url: "https://127.0.0.1:9002", id: two, weight: 5 }]
    tls: { ca: ca.pem, cert: client.pem, key: client.key, serverName: a.example.com }
    health: { active: { host: b, headers: { authorization: Bearer abc }, body: up } }
  other:
    backends: ["http://127.0.0.1:9003"]
    health: { passive: { over: 30s } }
routes:
  - path: /old/*
    host: shop.example.com
    methods: [GET, POST]
    pool: web
    rewrite: { stripPrefix: /old, addPrefix: /v1 }
    requestHeaders: { set: { authorization: Basic abc }, remove: [x-c] }
    responseHeaders: { set: { x-d: e }, remove: [x-f] }
  - { path: /*, pool: other }
plugins: [{ path: fastify, options: { secret: abc, limits: [1, 2] } }]
`

void test('a configuration does not differ from itself, nor from what differs in its writing only', (t) => {
  t.ok(isEmpty(differenceOf(read(FULL), read(FULL))))
  const long = `
listen: { port: 8080, headersTimeout: 15000 }
pools:
  web:
    algorithm: { type: least-connections }
    maxBodySize: 0B
    backends: [{ url: "http://127.0.0.1:9001/", weight: 1, id: 127.0.0.1:9001 }]
    retry: { on: [504, 503, 502, reset, connect] }
routes: [{ path: /*, pool: web, rewrite: { stripPrefix: / }, requestHeaders: { set: {} } }]
`
  t.ok(isEmpty(differenceOf(read(SMALL), read(long))))
  t.same(inWords(differenceOf(read(SMALL), read(long))), [])
  t.end()
})

void test('the order of backends, routes and pools plays no part, that of plugins does', (t) => {
  const pools = ['a: { backends: ["http://a", "http://b"] }', 'b: { backends: ["http://c"] }']
  const routes = ['{ path: /a, pool: a, methods: [GET, POST] }', '{ path: /b, pool: b }']
  const from = `pools: { ${pools.join(', ')} }\nroutes: [${routes.join(', ')}]\n`
  const turned = from.replace('"http://a", "http://b"', '"http://b", "http://a"').replace('GET, POST', 'POST, GET')
  t.not(turned, from)
  t.ok(isEmpty(differenceOf(read(from), read(turned))))
  const swapped = `routes: [${routes.toReversed().join(', ')}]\npools: { ${pools.toReversed().join(', ')} }\n`
  t.ok(isEmpty(differenceOf(read(from), read(swapped))))
  const plugins = differenceOf(read(`${SMALL}\nplugins: [fastify, tap]`), read(`${SMALL}\nplugins: [tap, fastify]`))
  t.same(keysThatNeedRestart(plugins), ['plugins'])
  t.end()
})

function everyKind(): object {
  return {
    a: [1, { b: new Set([1, 2]) }],
    c: new URL('http://a'),
    d: undefined,
    e: new Date(1),
    f: () => 1,
  }
}

void test('values are compared by what they hold', (t) => {
  const distinct: readonly unknown[] = [0, -1, '0', '', false, null, undefined, [], [1], [[1]], ['1'], {}, { a: 1 }, { a: '1' },
    { a: undefined, b: 1 }, { b: 1, c: 2 }, { a: { b: 1 } }, new Set([1, 2]), new Set([1, 3]), new Set([1]), new URL('http://a'),
    new URL('http://b'), new Map([[1, 2]]), new Map([[1, 3]]), new Date(1), new Date(2), /a/, /b/, () => 1, () => 2, Number.NaN] // prettier-ignore
  for (const [index, one] of distinct.entries()) {
    t.ok(isSame(one, one))
    for (const [at, other] of distinct.entries()) if (at !== index) t.notOk(isSame(one, other), `${index} and ${at}`)
  }
  t.ok(isSame(everyKind(), everyKind()))
  t.ok(isSame(new Set([1, 2]), new Set([2, 1])))
  t.ok(isSame({ a: 1, b: 2 }, { b: 2, a: 1 }))
  t.end()
})

type Step = string | number

/** Text is no change that these can have when they are not there. */
const GROUPS: ReadonlySet<unknown> = new Set(['active', 'rewrite', 'requestHeaders', 'responseHeaders', 'methods'])

/** Copies of a value with one leaf changed each, and where. */
function* variants(value: unknown, path: readonly Step[] = []): Generator<[path: readonly Step[], changed: unknown]> {
  if (value instanceof URL) yield [path, new URL('http://elsewhere:1')]
  else if (value instanceof Set) yield [path, new Set([...value].slice(1))]
  else if (value instanceof Map) {
    for (const [key, item] of value)
      for (const [at, changed] of variants(item, [...path, String(key)])) yield [at, new Map(value).set(key, changed)]
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      for (const [at, changed] of variants(item, [...path, index])) yield [at, value.with(index, changed)]
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value))
      for (const [at, changed] of variants(item, [...path, key])) yield [at, { ...value, [key]: changed }]
  } else if (value !== undefined || !GROUPS.has(path.at(-1))) yield [path, otherLeaf(value)]
}

function otherLeaf(value: unknown): unknown {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  return typeof value === 'string' ? `${value}x` : 'x'
}

function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && 'listen' in value && 'pools' in value
}

function count({ pools, backends, routes, shadowed, keys }: Difference): number {
  const inside = [...pools, ...backends, ...routes].reduce((sum, each) => sum + each.keys.length, 0)
  return inside + shadowed.length + keys.length
}

/** A pool is known by its key in the map; these say which thing it is, so that it is another when they change. */
const NAME = /^pools\.\w+\.name$/
const IDENTITY = /^pools\.\w+\.backends\.\d\.id$|^routes\.\d\.(path|host|methods\.\d)$|(set|headers)\.\d\.0$/

void test('a change of any single key is found, as one change, and can be told', (t) => {
  const full = read(FULL)
  let tried = 0
  for (const [path, changed] of variants(full)) {
    const at = path.join('.')
    if (NAME.test(at)) continue
    if (!isSettings(changed)) throw new Error(`${at}: no settings`)
    const difference = differenceOf(full, changed)
    const lines = inWords(difference)
    if (IDENTITY.test(at)) t.ok(lines.length >= 2, at)
    else t.same([count(difference), lines.length], [1, 1], at)
    t.same(JSON.parse(JSON.stringify(difference)), difference, `${at}: JSON holds all of it`)
    t.notMatch(JSON.stringify(difference), /"[^"]*(?<!delay)Ms["}]/, `${at}: keys as users write them`)
    t.notMatch([JSON.stringify(difference), ...lines].join('\n'), /abc|a-token|-----/, `${at}: no secret`)
    tried++
  }
  t.ok(tried > 100, `${tried} keys`)
  t.end()
})

void test('what comes and what goes mirror each other', (t) => {
  const parts = ['listen: { port: 1 }', 'log: { level: warn }', 'admin: false', 'shutdown: { grace: 1s }']
  const pools = [
    'web: { backends: ["http://a"] }',
    'web: { backends: [{ url: "http://a", weight: 2 }, "http://b"], breaker: false }',
    'web: { backends: ["http://b"], hostHeader: backend }',
  ]
  const turned = { added: 'removed', removed: 'added', changed: 'changed' } as const
  const some = subarray(parts)
  const pool = constantFrom(...pools)
  const mirrored = property(some, pool, some, pool, (oneParts, onePool, otherParts, otherPool) => {
    const one = read(`${oneParts.join('\n')}\npools: { ${onePool} }`)
    const other = read(`${otherParts.join('\n')}\npools: { ${otherPool} }`)
    const there = differenceOf(one, other)
    const back = differenceOf(other, one)
    t.same(
      there.keys.map(({ key, from, to }) => [key, from, to]),
      back.keys.map(({ key, from, to }) => [key, to, from]),
    )
    const things = there.backends.map(({ id, change }) => `${id} ${change}`)
    t.same(things.toSorted(), back.backends.map(({ id, change }) => `${id} ${turned[change]}`).toSorted())
    t.equal(isEmpty(there), onePool === otherPool && oneParts.join() === otherParts.join())
    return t.passing()
  })
  assert(mirrored)
  t.end()
})

const WORDS: ReadonlyArray<readonly [name: string, from: string, to: string, lines: readonly string[]]> = [
  [
    'quantities have their units, lists are whole',
    `pools: { web: { backends: ["http://127.0.0.1:9001"], timeouts: { connect: 2s } } }`,
    `pools: { web: { backends: ["http://127.0.0.1:9001"], timeouts: { connect: 250ms }, maxBodySize: 1MiB,
       retry: { attempts: 3, on: [connect], bufferBody: 0 }, hostHeader: backend } }`,
    [
      'pool web: hostHeader: from preserve to backend',
      'pool web: timeouts.connect: from 2s to 250ms',
      'pool web: maxBodySize: from 0B to 1MiB',
      'pool web: retry.attempts: from 2 to 3',
      'pool web: retry.on: from [502, 503, 504, connect, reset] to [connect]',
      'pool web: retry.bufferBody: from 64KiB to 0B',
    ],
  ],
  [
    'algorithms, with and without options',
    `pools: { web: { backends: ["http://a"] }, b: { backends: ["http://a"], algorithm: { type: m, a: 1, decayMs: 5 } } }
routes: [{ path: /a, pool: web }, { path: /b, pool: b }]`,
    `pools: { web: { backends: ["http://a"], algorithm: { type: m, key: { ip: true } } }, b: { backends: ["http://a"], algorithm: { type: m, b: 2, decayMs: 6 } } }
routes: [{ path: /a, pool: web }, { path: /b, pool: b }]`,
    [
      'pool web: algorithm: from least-connections to { type: m, key: { ip: true } }',
      'pool b: algorithm.a: no longer set (was 1)',
      'pool b: algorithm.decayMs: from 5 to 6',
      'pool b: algorithm.b: set to 2',
    ],
  ],
  [
    'what is switched off and on',
    `admin: false\npools: { web: { backends: ["http://a"], health: { active: { path: /up, expect: 200, headers: { aMs: b } }, passive: { over: 30s } } } }`,
    `pools: { web: { backends: ["http://a"], breaker: false, health: { passive: { window: 50 } } } }`,
    [
      'pool web: health.active: no longer set (was { type: http, path: /up, method: GET, headers: { aMs: (not shown) }, expect: [200], interval: 5s, timeout: 2s, fall: 3, rise: 2 })', // prettier-ignore
      'pool web: health.passive.window: set to 50',
      'pool web: health.passive.over: no longer set (was 30s)',
      'pool web: breaker: from { mode: enforce, minimum: 20, failureRate: 0.5, slowCallRate: 0.8, halfOpen: 3, window: 10s, slowCall: 0ms, open: 5s, maxOpen: 1m } to false', // prettier-ignore
      'admin: from false to { host: 127.0.0.1, port: 9090, hosts: [] } (needs a restart)',
    ],
  ],
  [
    'pools and backends that come and go',
    `pools: { web: { backends: ["http://a", { url: "http://b", id: two }, "http://c"] }, old: { backends: ["http://x"] } }
routes: [{ path: /a, pool: web }, { path: /b, pool: old }]`,
    `pools: { web: { backends: ["http://a", { url: "https://b:1", id: two, weight: 2.5 }, { url: "http://d", weight: 0 }] }, "the new": { backends: ["http://y", "http://z"] } }
routes: [{ path: /a, pool: web }, { path: /b, pool: the new }]`,
    [
      'pool old: removed (algorithm least-connections, backends [http://x])',
      'pool "the new": added (algorithm least-connections, backends [http://y, http://z])',
      'backend two of pool web: url: from http://b to https://b:1',
      'backend two of pool web: weight: from 1 to 2.5',
      'backend c:80 of pool web: removed (url http://c, weight 1)',
      'backend d:80 of pool web: added (url http://d, weight 0)',
      'route /b: pool: from old to "the new"',
    ],
  ],
  [
    'routes',
    `pools: { ${WEB} }
routes:
  - { path: /a, pool: web }
  - { path: /b, host: SHOP.example.com, methods: [post, GET], pool: web, rewrite: { stripPrefix: /b } }
  - { path: /c, pool: web, requestHeaders: { set: { x-a: b }, remove: [x-c] }, responseHeaders: { set: { x-d: e } } }`,
    `pools: { ${WEB} }
routes:
  - { path: /a/*, pool: web, rewrite: { addPrefix: /v1 }, requestHeaders: { set: { x-a: b } } }
  - { path: /b, host: shop.example.com, methods: [GET, POST], pool: web, rewrite: { addPrefix: /v2 } }
  - { path: /c, pool: web, requestHeaders: { set: { x-a: c, x-b: d } }, responseHeaders: { set: { x-d: f } } }`,
    [
      'route /a: removed (pool web)',
      'route GET, POST shop.example.com/b: rewrite.stripPrefix: from /b to ""',
      'route GET, POST shop.example.com/b: rewrite.addPrefix: from "" to /v2',
      'route /c: requestHeaders.set.x-a: changed (not shown)',
      'route /c: requestHeaders.set.x-b: set (not shown)',
      'route /c: requestHeaders.remove: from [x-c] to []',
      'route /c: responseHeaders.set.x-d: from e to f',
      'route /a/*: added (pool web, rewrite.addPrefix /v1, requestHeaders.set.x-a (not shown))',
    ],
  ],
  [
    'the rest of the file, and what needs a restart',
    SMALL,
    `listen: { port: 8081, keepAlive: 1m, trustedProxies: [10.0.0.0/8, "::1"], via: false }
admin: { token: abc }
log: { level: debug, access: false }
shutdown: { grace: 1500ms }
plugins: [fastify]
${SMALL}`,
    [
      'listen.port: from 8080 to 8081 (needs a restart)',
      'listen.trustedProxies: from [] to [10.0.0.0/8, ::1] (needs a restart)',
      'listen.via: from true to false (needs a restart)',
      'listen.keepAlive: from 75s to 1m (needs a restart)',
      'admin.token: set (not shown) (needs a restart)',
      'log.level: from info to debug',
      'log.access: from { sample: 1, query: keep, slow: 0ms, headers: [] } to false',
      'shutdown.grace: from 30s to 1500ms',
      'plugins: from [] to [fastify] (needs a restart)',
    ],
  ],
]

for (const [name, from, to, lines] of WORDS) {
  void test(`in words: ${name}`, (t) => {
    t.same(inWords(differenceOf(read(from), read(to))), lines)
    t.end()
  })
}

function restart(from: Settings, to: Settings): readonly string[] {
  return keysThatNeedRestart(differenceOf(from, to))
}

void test('what needs a restart is named, and nothing else is', (t) => {
  const tls = (cert: string, more = '') => `listen: { tls: { cert: ${cert}.pem, key: ${cert}.key${more} } }\n${SMALL}`
  const server = read(tls('server'))
  const renewed = differenceOf(server, read(tls('other')))
  t.same(keysThatNeedRestart(renewed), [])
  t.same(inWords(renewed), ['listen.tls.cert: changed (not shown)', 'listen.tls.key: changed (not shown)'])
  t.same(restart(server, read(tls('server', ', minVersion: TLSv1.3'))), ['listen.tls.minVersion'])
  t.same(restart(read(SMALL), server), ['listen.tls'])
  t.same(restart(server, read(SMALL)), ['listen.tls'])
  const other = `pools: { web: { backends: ["http://b"], panic: 0.5 } }
routes: [{ path: /b, pool: web }]
log: { level: warn }
shutdown: { delay: 1s }`
  t.same(restart(read(SMALL), read(other)), [])
  t.same(restart(read(SMALL), read(`admin: false\n${SMALL}`)), ['admin'])
  const marked = differenceOf(read(SMALL), read(`admin: { port: 1 }\nlog: { level: warn }\n${SMALL}`)).keys
  t.same(marked, [
    { key: 'admin.port', from: 9090, to: 1, restart: true },
    { key: 'log.level', from: 'info', to: 'warn' },
  ])
  t.end()
})

void test('secrets are not shown, whether they come, change or go', (t) => {
  const full = FULL.replaceAll('server.', 'other.')
  const texts = ['ca.pem', 'client.pem', 'client.key', 'server.pem', 'server.key', 'other.pem', 'other.key'].map(
    (name) => JSON.stringify(readFileSync(join(CERTIFICATES, name), 'utf8')).slice(40, 90),
  )
  const changed = full.replaceAll('abc', 'xyz').replace('a-token', 'z-token').replace('client.pem', 'other.pem')
  const bare = `pools: { web: { backends: ["https://127.0.0.1:9001"] }, other: { backends: ["http://127.0.0.1:9003"] } }
routes: [{ path: /old/*, host: shop.example.com, methods: [GET, POST], pool: web }, { path: /*, pool: other }]`
  const all = [FULL, changed.replace('client.key', 'other.key'), bare].map(read)
  for (const from of all) {
    for (const to of all) {
      const difference = differenceOf(from, to)
      const said = `${JSON.stringify(difference)}\n${inWords(difference).join('\n')}`
      for (const secret of ['abc', 'xyz', 'a-token', 'z-token', 'PRIVATE', ...texts]) t.notOk(said.includes(secret))
      t.equal(said.includes('admin.token'), from !== to)
      t.equal(said.includes('requestHeaders.set.authorization'), from !== to)
    }
  }
  const token = (word: string) => read(`admin: { token: "${word}" }\n${SMALL}`)
  t.same(inWords(differenceOf(token('a'), token('b'))), ['admin.token: changed (not shown) (needs a restart)'])
  t.same(inWords(differenceOf(token('a'), token(''))), ['admin.token: no longer set (not shown) (needs a restart)'])
  const options = (word: string) => read(`plugins: [{ path: fastify, options: { key: ${word} } }]\n${SMALL}`)
  t.same(inWords(differenceOf(options('abc'), options('xyz'))), [
    'plugins[0].options: changed (not shown) (needs a restart)',
  ])
  t.end()
})

function withRoutes(...lines: readonly string[]): Settings {
  return read(`pools: { ${WEB} }\nroutes: [${lines.map((line) => `{ ${line}, pool: web }`).join(', ')}]`)
}

void test('a route that loses requests to a new one is named, once', (t) => {
  const all = 'path: "/u/:id"'
  const reads = 'path: "/u/:name", methods: [HEAD, GET]'
  const before = withRoutes(all)
  const after = withRoutes(all, reads)
  const difference = differenceOf(before, after)
  t.same(difference.shadowed, [
    { route: { path: '/u/:id' }, methods: ['GET', 'HEAD'], to: [{ path: '/u/:name', methods: ['GET', 'HEAD'] }] },
  ])
  t.same(inWords(difference), [
    'route GET, HEAD /u/:name: added (pool web)',
    'route /u/:id: no longer reached by GET, HEAD requests, which go to "GET, HEAD /u/:name"',
  ])
  t.same(differenceOf(after, withRoutes(all, reads, 'path: /x')).shadowed, [], 'not what was so before')
  const more = differenceOf(after, withRoutes(all, reads, 'path: "/u/:id", methods: [PUT]')).shadowed
  t.same(more, [{ route: { path: '/u/:id' }, methods: ['PUT'], to: [{ path: '/u/:id', methods: ['PUT'] }] }])
  t.same(differenceOf(before, withRoutes(all, `host: a.example.com, ${reads}`)).shadowed, [], 'another host')
  t.same(differenceOf(before, withRoutes(all, 'path: /u/x, methods: [GET]')).shadowed, [], 'another path')
  t.same(differenceOf(withRoutes(reads), after).shadowed[0]?.methods, ['GET', 'HEAD'], 'also when it is new itself')
  t.same(differenceOf(after, before).shadowed, [])
  t.end()
})

function withOptions(options: object): Settings {
  const config = { pools: { web: { backends: ['http://a'], algorithm: { type: 'mine', options } } } }
  const { settings: made, problems } = checkObject(config, { env: {} })
  if (made === undefined) throw new Error(problems.map(formatProblem).join('\n'))
  return made
}

void test('options made in code: read twice they are the same, changed they are not', (t) => {
  const made = () => withOptions({ key: (name: string) => name, at: new Date(5), list: [{ a: /x/ }], none: null })
  t.ok(isEmpty(differenceOf(made(), made())))
  const other = withOptions({ key: (name: string) => `${name}!`, at: new Date(6), list: [{ a: /y/ }], none: 0 })
  t.same(inWords(differenceOf(made(), other)), [
    'pool web: algorithm.options.key: changed (not shown)',
    'pool web: algorithm.options.at: changed (not shown)',
    'pool web: algorithm.options.list: changed (not shown)',
    'pool web: algorithm.options.none: from null to 0',
  ])
  t.end()
})

void test('nothing in a name or value breaks a line or passes for something else', (t) => {
  const id = `pools: { web: { backends: [{ url: "http://127.0.0.1:9001", id: "two: removed" }] } }`
  t.match(inWords(differenceOf(read(SMALL), read(id))), [/127/, /^backend "two: removed" of pool web: added/])
  const option = (text: string) =>
    read(`pools: { web: { backends: ["http://a"], algorithm: { type: m, key: { "${text}": "${text}" } } } }`)
  t.same(inWords(differenceOf(option('a'), option('b\\nc\\u2028\\e[31m'))), [
    'pool web: algorithm.key.a: no longer set (was a)',
    String.raw`pool web: algorithm.key["b\nc\u2028\u001b[31m"]: set to "b\nc\u2028\u001b[31m"`,
  ])
  const whole = read('pools: { web: { backends: ["http://a"], algorithm: { type: m, "x\\ny": z } } }')
  const plain = read('pools: { web: { backends: ["http://a"] } }')
  t.same(inWords(differenceOf(plain, whole)), [
    String.raw`pool web: algorithm: from least-connections to { type: m, x\u000ay: z }`,
  ])
  t.end()
})
