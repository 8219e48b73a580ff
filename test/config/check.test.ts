/** What a good configuration becomes, what is only warned about, and that size and strange input do no harm. */
import t from 'tap'
import { checkConfig, checkObject, ConfigError, formatProblem } from '../../src/config/check.ts'
import { editDistance, nearest } from '../../src/core/nearest.ts'
import type { Config, RetryConfig } from '../../src/config/schema.ts'
import { readText } from '../../src/config/text.ts'

const web = { backends: ['http://127.0.0.1:9001'] }

function settingsOf(config: Config) {
  const { settings, problems } = checkObject(config, { folder: '/nowhere', env: {} })
  if (settings === undefined) throw new ConfigError(problems)
  return settings
}

function linesFor(config: unknown): readonly string[] {
  const { problems = [] } = checkObject(config, { env: {} })
  return problems.map(formatProblem)
}

function warningsOf(text: string): readonly string[] {
  return checkConfig(readText(text, { kind: 'yaml', file: 'f', folder: '/', env: {} })).warnings.map(formatProblem)
}

void t.test('the smallest configuration, with every default', async (test) => {
  test.strictSame(settingsOf({ pools: { web } }), {
    listen: {
      host: '0.0.0.0',
      port: 8080,
      trustedProxies: [],
      headersTimeoutMs: 15_000,
      bodyTimeoutMs: 30_000,
      keepAliveMs: 75_000,
      maxHeaderSize: 16_384,
      maxConnections: 0,
      tls: undefined,
      via: true,
    },
    admin: { host: '127.0.0.1', port: 9090, token: '', hosts: [] },
    log: { level: 'info', access: { sample: 1, slowMs: 0, query: 'keep', headers: [] } },
    tracing: { propagate: true, accept: 'everyone', sample: 1, export: undefined },
    shutdown: { delayMs: 0, graceMs: 30_000 },
    reload: { watch: true, drainMs: 300_000, keep: 10, save: false, guard: undefined },
    overload: { eventLoopDelayMs: 1000, eventLoopUtilization: 1, heap: 0.9, rss: 0.9, retryAfterMs: 1000 },
    pools: new Map([
      [
        'web',
        {
          name: 'web',
          algorithm: { type: 'least-connections', options: {} },
          backends: [{ id: '127.0.0.1:9001', url: new URL('http://127.0.0.1:9001'), weight: 1 }],
          hostHeader: 'preserve',
          forwarded: false,
          timeouts: {
            connectMs: 2000,
            tlsMs: 2000,
            headersMs: 15_000,
            bodyMs: 30_000,
            totalMs: 60_000,
            tunnelMs: 3_600_000,
          },
          connections: { max: 128, pending: 256, queueMs: 1000, idleMs: 4000 },
          tls: undefined,
          linkLocal: false,
          maxBodySize: 0,
          retry: {
            attempts: 2,
            on: new Set(['connect', 'reset', 502, 503, 504]),
            budget: { ratio: 0.2, minimum: 3 },
            backoff: { baseMs: 25, maxMs: 250 },
            bufferBody: 65_536,
          },
          health: {
            strategy: 'graded',
            active: undefined,
            passive: {
              window: 100,
              minimum: 20,
              degrade: 0.3,
              eject: 0.5,
              recover: 0.1,
              ejectionMs: 30_000,
              maxEjected: 0.5,
            },
            warmupMs: 0,
          },
          breaker: {
            mode: 'enforce',
            windowMs: 10_000,
            minimum: 20,
            failureRate: 0.5,
            slowCallMs: 0,
            slowCallRate: 0.8,
            openMs: 5000,
            maxOpenMs: 60_000,
            halfOpen: 3,
          },
          panic: 0,
        },
      ],
    ]),
    routes: [
      {
        path: '/*',
        host: undefined,
        methods: undefined,
        pool: 'web',
        rewrite: undefined,
        requestHeaders: undefined,
        responseHeaders: undefined,
      },
    ],
    plugins: [],
  })
})

void t.test('ids, ports and hosts of backends', async (test) => {
  const backends = ['http://127.0.0.1', 'https://API.example.com/', 'http://[::1]:81', { url: 'http://b:1', id: 'two' }]
  const pool = settingsOf({ pools: { web: { backends } } }).pools.get('web')
  test.same(
    pool?.backends.map((backend) => backend.id),
    ['127.0.0.1:80', 'api.example.com:443', '[::1]:81', 'two'],
  )
  test.same(settingsOf({ pools: { web: { ...web, hostHeader: '[::1]:80' } } }).pools.get('web')?.hostHeader, '[::1]:80')
})

void t.test('routes in their normal form', async (test) => {
  const [route] = settingsOf({
    pools: { web },
    routes: [
      {
        path: '/old/*',
        host: '*.Bücher.example',
        methods: ['get', 'GET', 'Post'],
        pool: 'web',
        rewrite: { stripPrefix: '/old/', addPrefix: '/v1' },
        requestHeaders: { set: { 'X-A': 'b' }, remove: ['X-C', 'x-c'] },
        responseHeaders: { set: {} },
      },
    ],
  }).routes
  test.strictSame(route, {
    path: '/old/*',
    host: '*.xn--bcher-kva.example',
    methods: ['GET', 'POST'],
    pool: 'web',
    rewrite: { stripPrefix: '/old', addPrefix: '/v1' },
    requestHeaders: { set: [['X-A', 'b']], remove: ['x-c'] },
    responseHeaders: undefined,
  })
})

function retryOf(retry: RetryConfig) {
  return settingsOf({ pools: { web: { ...web, retry } } }).pools.get('web')?.retry
}

void t.test('retries: each key alone, and their bounds', async (test) => {
  const byDefault = retryOf({})
  test.strictSame(retryOf({ attempts: 1 }), { ...byDefault, attempts: 1 })
  test.strictSame(retryOf({ attempts: 10 }), { ...byDefault, attempts: 10 })
  test.strictSame(retryOf({ on: [] }), { ...byDefault, on: new Set() })
  test.strictSame(retryOf({ on: ['timeout', 429, 500, 429] }), { ...byDefault, on: new Set(['timeout', 429, 500]) })
  test.strictSame(retryOf({ budget: { ratio: 0 } }), { ...byDefault, budget: { ratio: 0, minimum: 3 } })
  test.strictSame(retryOf({ budget: { ratio: 1, minimum: 10_000 } })?.budget, { ratio: 1, minimum: 10_000 })
  test.strictSame(retryOf({ backoff: { max: '1s' } }), { ...byDefault, backoff: { baseMs: 25, maxMs: 1000 } })
  test.strictSame(retryOf({ backoff: { base: 0, max: 0 } })?.backoff, { baseMs: 0, maxMs: 0 })
  test.strictSame(retryOf({ bufferBody: 0 }), { ...byDefault, bufferBody: 0 })
})

void t.test('one list of conditions is not shared between pools', async (test) => {
  const { pools } = settingsOf({
    pools: { web, other: web },
    routes: [
      { path: '/', pool: 'web' },
      { path: '/o', pool: 'other' },
    ],
  })
  test.not(pools.get('web')?.retry.on, pools.get('other')?.retry.on)
})

const viaOf = (via: string | boolean) => settingsOf({ pools: { web }, listen: { via } }).listen.via

void t.test('the name in Via', async (test) => {
  for (const good of [true, false, 'edge-1', 'edge.example.com:8080', "!#$%&'*+-.^_`|~1aZ", 'x'.repeat(128)]) {
    test.equal(viaOf(good), good)
  }
  const bad = [
    '',
    ':80',
    'a b',
    'a,b',
    'a:b',
    'a:',
    'a:1:2',
    '[::1]',
    'a/b',
    'é',
    'a\n',
    'x'.repeat(129),
    'true',
    'Off',
    'no',
  ]
  for (const via of bad) {
    test.match(
      linesFor({ pools: { web }, listen: { via } }),
      [/^listen\.via: expected true, false or a name such as/],
      via,
    )
  }
})

void t.test('timeouts of tunnels and handshakes, and the Forwarded field', async (test) => {
  const pool = { ...web, forwarded: true, timeouts: { tls: 1, tunnel: '0s' } }
  const made = settingsOf({ pools: { web: pool } }).pools.get('web')
  test.equal(made?.forwarded, true)
  test.match(made?.timeouts, { tlsMs: 1, tunnelMs: 0, connectMs: 2000 })
})

const call = () => 1

void t.test('what plugins and algorithms get is handed on in ordinary objects', async (test) => {
  const made = new Map([[1, 2]])
  const options: Record<string, unknown> = JSON.parse('{ "__proto__": { "deep": [{}] } }')
  const settings = settingsOf({
    pools: { web },
    plugins: [{ path: 'package', options: { ...options, made, call } }, './x'].slice(0, 1),
  })
  const given = settings.plugins[0]?.options ?? {}
  test.equal(given['made'], made)
  test.equal(given['call'], call)
  test.equal(Object.getPrototypeOf(given), Object.prototype)
  test.equal(Object.getPrototypeOf(Object.getOwnPropertyDescriptor(given, '__proto__')?.value), Object.prototype)
})

const onePool = (weight = 1) => `pools:\n  a: { backends: [{ url: "http://a", weight: ${weight} }] }\n`

const retrying = (backoff: string) => `pools: { a: { backends: ["http://a"], retry: { backoff: ${backoff} } } }`

void t.test('warnings', async (test) => {
  test.same(warningsOf(onePool()), [])
  test.same(warningsOf(onePool(0)), [
    'f:2:18: pools.a.backends: the weights of all backends are 0, so no request can be served',
  ])
  test.same(warningsOf(`${onePool()}  b: { backends: ["http://b"] }\nroutes: [{ path: /*, pool: a }]`), [
    'f:3:3: pools.b: no route leads to this pool',
  ])
  test.same(warningsOf(`${onePool()}routes:\n  - { path: /, pool: a }\n  - { path: /, methods: [GET], pool: a }`), [
    'f:4:5: routes[0]: partly shadowed: GET on this path goes to other routes, the first of them routes[1] (line 5)',
  ])
  test.same(warningsOf('pools: { a: { backends: ["http://a"], hostHeader: preserv } }'), [
    'f:1:51: pools.a.hostHeader: "preserv" is sent to backends as it is; did you mean "preserve"?',
  ])
  test.same(warningsOf(retrying('{ base: 250ms }')), [], 'equal')
  test.same(warningsOf(retrying('{ base: 251ms }')), [
    'f:1:65: pools.a.retry.backoff.base: base (251ms) is longer than max (250ms), so no wait exceeds 250ms',
  ])
  test.same(warningsOf(`${onePool()}admin:\n  host: 0.0.0.0`), [
    'f:4:9: admin.host: the admin listener can be reached from other machines and asks for no token',
  ])
  test.same(warningsOf(`${onePool()}admin: { host: 0.0.0.0, token: t }`), [])
})

void t.test('one port for both listeners', async (test) => {
  const clash = (listen: object, admin: object) => linesFor({ pools: { web }, listen, admin }).length
  test.equal(clash({ port: 9090 }, {}), 1, 'every address')
  test.equal(clash({ port: 9090, host: '127.0.0.1' }, { host: 'localhost' }), 1)
  test.equal(clash({ port: 9090, host: '10.0.0.1' }, {}), 0, 'different addresses')
  test.equal(clash({ port: 0 }, { port: 0 }), 0, 'any free port')
  test.same(linesFor({ pools: { web }, listen: { port: 9090 }, admin: false }), [])
})

void t.test('anchors and merge keys', async (test) => {
  const text = `
pools:
  a: &a
    backends: &list [http://a]
    timeouts: { connect: 1s }
  b: { <<: *a, hostHeader: backend, backends: *list, timeouts: { total: 0s } }
routes: [{ path: /a, pool: a }, { path: /b, pool: b }]`
  const { settings } = checkConfig(readText(text, { kind: 'yaml', file: 'f', folder: '/', env: {} }))
  const b = settings?.pools.get('b')
  test.equal(b?.backends[0]?.id, 'a:80')
  test.equal(b?.hostHeader, 'backend')
  test.match(b?.timeouts, { connectMs: 2000, totalMs: 0 })
})

void t.test('objects have no file and no line', async (test) => {
  test.same(linesFor({ pools: { web }, lisen: {} }), ['lisen: unknown key "lisen", did you mean "listen"?'])
  test.same(linesFor(undefined), ['expected keys such as pools and routes, got nothing: it is empty'])
  test.same(linesFor({ pools: { web }, admin: undefined, routes: undefined }), [], 'undefined is not there')
})

void t.test('objects that are not data', async (test) => {
  const circular: Record<string, unknown> = { pools: { web } }
  circular['log'] = circular
  test.match(linesFor(circular), ['log: contains itself'])
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  test.match(linesFor({ pools: { web }, plugins: deep })[0], /nested more than 64 levels deep/)
  let wide: unknown[] = []
  for (let i = 0; i < 40; i++) wide = [wide, wide]
  test.match(linesFor({ pools: { web }, plugins: [{ path: 'p', options: { wide } }] }), [
    'cannot be read: it is too large',
  ])
  const throwing = {
    get onePool() {
      throw new Error('no\nwhere')
    },
  }
  test.same(linesFor(throwing), ['cannot be read: no\\u000awhere'])
  test.match(linesFor({ pools: new Map() })[0], /^pools: expected a plain object/)
  test.match(
    linesFor(
      new Proxy(
        {},
        {
          ownKeys: () => {
            throw 'x'
          },
        },
      ),
    ),
    ['cannot be read: "x"'],
  )
})

void t.test('names from Object.prototype are names like others', async (test) => {
  const pools = JSON.parse('{ "__proto__": { "backends": ["http://a"] }, "constructor": { "backends": ["http://b"] } }')
  const routes = [
    { path: '/a', pool: '__proto__' },
    { path: '/b', pool: 'constructor' },
  ]
  const { pools: made } = settingsOf({ pools, routes })
  test.same([...made.keys()], ['__proto__', 'constructor'])
  test.equal(({} as Record<string, unknown>)['backends'], undefined)
})

void t.test('a ConfigError says everything', async (test) => {
  const problem = { file: 'a.yaml', line: 3, column: 7, path: 'listen.port', message: 'wrong' }
  const error = new ConfigError([problem, { path: '', message: 'a\nb' }])
  test.equal(error.message, 'a.yaml:3:7: listen.port: wrong\na\\u000ab')
  test.equal(error.code, 'SLUICE_CONFIG')
  test.equal(error.problems.length, 2)
})

void t.test('suggestions only when they are near', async (test) => {
  test.equal(editDistance('abcd', 'acbd'), 1, 'a swap is one slip')
  test.equal(editDistance('', 'abc'), 3)
  test.equal(nearest('bakends', ['backends', 'hostHeader']), 'backends')
  test.equal(nearest('POOLS', ['pools']), 'pools')
  test.equal(nearest('health', ['backends', 'hostHeader']), undefined)
  test.equal(nearest('a', ['xyz']), undefined)
})

void t.test(
  'the work grows no faster than the configuration: 10,000 routes against 2,000, good or bad',
  async (test) => {
    const names = Array.from({ length: 1000 }, (_, i) => `pool-${i}`)
    const pools = Object.fromEntries(names.map((name, i) => [name, { backends: [`http://10.0.0.1:${i + 1}`] }]))
    const cost = (count: number, suffix: string): number => {
      const routes = Array.from({ length: count }, (_, i) => ({
        path: `/a${i}/*`,
        pool: `${names[i % 1000]}${suffix}`,
      }))
      const before = process.cpuUsage()
      const { problems = [] } = checkObject({ pools, routes }, { env: {} })
      const { user, system } = process.cpuUsage(before)
      test.equal(problems.length, suffix === '' ? 0 : count)
      return user + system
    }
    for (const suffix of ['', '-typo']) {
      cost(2000, suffix)
      const ratio = cost(10_000, suffix) / cost(2000, suffix)
      // Five times as many; every one compared with every other would be 25.
      test.ok(ratio < 15, `${ratio.toFixed(1)} times the work`)
    }
  },
)
