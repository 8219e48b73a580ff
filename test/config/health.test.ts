/** Health, breakers and panic: what the written form becomes, and where the bounds between keys lie. */
import * as fc from 'fast-check'
import t from 'tap'
import { checkConfig, checkObject, ConfigError, formatProblem } from '../../src/config/check.ts'
import { statusRanges } from '../../src/config/health.ts'
import type { ActiveConfig, BreakerConfig, HealthConfig, PassiveConfig, PoolConfig } from '../../src/config/schema.ts'
import type { PoolSettings } from '../../src/config/settings.ts'
import { readText } from '../../src/config/text.ts'
import type { BreakerRules } from '../../src/core/breaker.ts'
import type { HealthRules } from '../../src/core/health.ts'

function check(more: object) {
  return checkObject({ pools: { web: { backends: ['http://127.0.0.1:1'], ...more } } }, { env: {} })
}

function poolOf(more: Partial<PoolConfig>): PoolSettings {
  const { settings, problems } = check(more)
  const pool = settings?.pools.get('web')
  if (pool === undefined) throw new ConfigError(problems ?? [])
  return pool
}

const errors = (more: object) => (check(more).problems ?? []).map(formatProblem)
const warnings = (more: object) => check(more).warnings.map(formatProblem)

const healthOf = (health: HealthConfig) => poolOf({ health }).health
const activeOf = (active: ActiveConfig) => healthOf({ active }).active
const expectOf = (expect: NonNullable<ActiveConfig['expect']>) => activeOf({ expect })?.expect
const passiveOf = (passive: PassiveConfig) => healthOf({ passive }).passive
const breakerOf = (breaker: BreakerConfig) => poolOf({ breaker }).breaker

/** The only line there is: a pattern for a list would be content with more. */
function only(lines: readonly string[]): string {
  const [line = ''] = lines
  return lines.length === 1 ? line : `${lines.length} lines`
}

const activeWarnings = (active: object) => warnings({ health: { active } })
const activeErrors = (active: object) => errors({ health: { active } })
const passiveErrors = (passive: object) => errors({ health: { passive } })
const breakerErrors = (breaker: object) => errors({ breaker })

const ACTIVE = {
  type: 'http',
  path: '/health',
  method: 'GET',
  host: undefined,
  headers: [],
  expect: [[200, 399]],
  body: undefined,
  intervalMs: 5000,
  timeoutMs: 2000,
  fall: 3,
  rise: 2,
}

void t.test('checks: off, all defaults, and each key alone', async (test) => {
  test.equal(healthOf({}).active, undefined)
  test.strictSame(activeOf({}), ACTIVE)
  test.strictSame(activeOf({ type: 'tcp' }), { ...ACTIVE, type: 'tcp' })
  test.strictSame(activeOf({ path: '/up?deep=1' }), { ...ACTIVE, path: '/up?deep=1' })
  test.strictSame(activeOf({ method: 'head' }), { ...ACTIVE, method: 'HEAD' })
  test.strictSame(activeOf({ method: 'PURGE-x!' })?.method, 'PURGE-X!', 'any token')
  test.strictSame(activeOf({ host: 'a.example.com:81' }), { ...ACTIVE, host: 'a.example.com:81' })
  const headers = [
    ['X-A', 'b'],
    ['authorization', 'Bearer c'],
  ]
  test.strictSame(activeOf({ headers: { 'X-A': 'b', authorization: 'Bearer c' } }), { ...ACTIVE, headers })
  test.strictSame(activeOf({ body: 'up' }), { ...ACTIVE, body: 'up' })
  test.strictSame(activeOf({ interval: '1m' }), { ...ACTIVE, intervalMs: 60_000 })
  test.strictSame(activeOf({ timeout: 1 }), { ...ACTIVE, timeoutMs: 1 })
  test.strictSame(activeOf({ fall: 1000 }), { ...ACTIVE, fall: 1000 })
  test.strictSame(activeOf({ rise: 1 }), { ...ACTIVE, rise: 1 })
})

void t.test('expected statuses: one, a range, a list', async (test) => {
  test.strictSame(expectOf(200), [[200, 200]])
  test.strictSame(expectOf('204'), [[204, 204]])
  test.strictSame(expectOf('100-599'), [[100, 599]])
  test.strictSame(expectOf('200-200'), [[200, 200]])
  test.strictSame(expectOf([200, '204', '300-399']), [
    [200, 200],
    [204, 204],
    [300, 399],
  ])
  for (const bad of [
    99,
    600,
    200.5,
    -200,
    '',
    '99',
    '600',
    '2xx',
    '200-',
    '-200',
    '200 - 299',
    '200,204',
    '200-300-400',
    '0200',
  ]) {
    test.match(only(activeErrors({ expect: bad })), /active\.expect: expected a status from 100 to 599/, String(bad))
    test.match(only(activeErrors({ expect: [200, bad] })), /active\.expect\[1\]: expected a status/, `[200, ${bad}]`)
  }
  test.match(
    only(activeErrors({ expect: [[200]] })),
    /active\.expect\[0\]: expected a status from 100 to 599, .* got a list/,
  )
  test.match(
    only(activeErrors({ expect: '201-200' })),
    /active\.expect: expected a range that begins with the lower status/,
  )
})

void t.test('every good status and range is read back as it was written', async (test) => {
  const status = fc.integer({ min: 100, max: 599 })
  const range = fc.tuple(status, status).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
  const property = fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), (ranges) => {
    const written = ranges.map(([from, to]) => (from === to ? from : `${from}-${to}`))
    test.strictSame(statusRanges(written), ranges)
    test.strictSame(activeErrors({ expect: written }), [])
  })
  test.doesNotThrow(() => fc.assert(property, { seed: 5, numRuns: 50 }))
})

void t.test('what a file says, also by way of the environment', async (test) => {
  const text = `
pools:
  web:
    backends: [http://127.0.0.1:1]
    health: { active: { expect: "\${EXPECT}", fall: "\${FALL}" }, passive: "\${PASSIVE}", warmup: 1s }
    breaker: "\${BREAKER:-false}"
    panic: "\${PANIC}"`
  const env = { EXPECT: '204', FALL: '5', PASSIVE: 'false', PANIC: '0.5' }
  const { settings } = checkConfig(readText(text, { kind: 'yaml', file: 'f', folder: '/', env }))
  const web = settings?.pools.get('web')
  test.strictSame(web?.health, {
    strategy: 'graded',
    active: { ...ACTIVE, expect: [[204, 204]], fall: 5 },
    passive: undefined,
    warmupMs: 1000,
  })
  test.equal(web?.breaker, undefined)
  test.equal(web?.panic, 0.5)
})

void t.test('a missing variable is the only thing that is said of its key', async (test) => {
  const text = `
pools:
  web:
    backends: [http://127.0.0.1:1]
    health: { active: { interval: "\${GONE}", timeout: 9s }, passive: { minimum: "\${GONE}", window: 9, eject: "\${GONE}" } }
    breaker: { open: 2m, maxOpen: "\${GONE}" }`
  const { problems = [], warnings: warned } = checkConfig(
    readText(text, { kind: 'yaml', file: 'f', folder: '/', env: {} }),
  )
  test.same(
    problems.map(({ path }) => path),
    [
      'pools.web.health.active.interval',
      'pools.web.health.passive.minimum',
      'pools.web.health.passive.eject',
      'pools.web.breaker.maxOpen',
    ],
  )
  test.same(warned, [])
})

void t.test('a check that only connects has nothing to ask for', async (test) => {
  const asked = { path: '/', method: 'GET', host: 'a', headers: {}, expect: 200, body: 'up' }
  for (const [key, value] of Object.entries(asked)) {
    test.match(
      only(activeErrors({ type: 'tcp', [key]: value })),
      new RegExp(`^pools\\.web\\.health\\.active\\.${key}: makes no sense with type tcp`),
    )
    test.same(activeErrors({ type: 'http', [key]: value }), [], key)
  }
  const { type, intervalMs, fall } = activeOf({ type: 'tcp', interval: '9s', timeout: '1s', fall: 1, rise: 1 }) ?? {}
  test.strictSame([type, intervalMs, fall], ['tcp', 9000, 1])
})

void t.test('a check that cannot be sent as it is', async (test) => {
  for (const path of ['', 'health', 'http://a/health', '*', '/a b', '/a\r\nx: y', '/é', '/#a', '/a\u007f']) {
    test.match(only(activeErrors({ path })), /^pools\.web\.health\.active\.path: expected a path/, JSON.stringify(path))
  }
  for (const method of ['', 'GET ', 'G\r\nET', 'GÉT', 'CONNECT', 'connect']) {
    test.match(only(activeErrors({ method })), /active\.method: expected a method such as/, JSON.stringify(method))
  }
  for (const host of ['', 'a b', 'a/b', 'a:0', 'a:b', 'a@b', 'a\r\nx: y', 'é.example']) {
    test.match(only(activeErrors({ host })), /active\.host: expected a host such as/, JSON.stringify(host))
  }
  test.match(only(activeErrors({ headers: { HOST: 'a' } })), /"HOST" cannot be changed here; use active\.host$/)
  for (const name of ['', 'a b', 'a:', 'Content-Length', 'connection', 'te']) {
    test.match(only(activeErrors({ headers: { [name]: 'a' } })), /field/, name)
  }
  test.match(only(activeErrors({ headers: { a: 'b\n' } })), /expected a value without control characters/)
  test.match(only(activeErrors({ headers: { a: '1', A: '2' } })), /the field "A" is already set in another case/)
})

void t.test('checks: what is only warned about', async (test) => {
  test.same(activeWarnings({ interval: '2s' }), [], 'as long as the default timeout')
  test.same(activeWarnings({ interval: '1999ms' }), [
    'pools.web.health.active.interval: timeout (2s) is longer than interval (1999ms), so a check that hangs delays the next one',
  ])
  test.same(activeWarnings({ timeout: '5s' }), [])
  test.match(
    only(activeWarnings({ timeout: 5001 })),
    /active\.timeout: timeout \(5001ms\) is longer than interval \(5s\)/,
  )
  test.match(only(activeWarnings({ type: 'tcp', timeout: '6s' })), /is longer than interval/)
  test.same(activeWarnings({ method: 'HEAD' }), [])
  test.match(only(activeWarnings({ method: 'head', body: 'up' })), /active\.body: an answer to HEAD has no body/)
})

const PASSIVE = {
  window: 100,
  minimum: 20,
  degrade: 0.3,
  eject: 0.5,
  recover: 0.1,
  ejectionMs: 30_000,
  maxEjected: 0.5,
}

void t.test('passive: on, off, and each key alone', async (test) => {
  test.strictSame(healthOf({}).passive, PASSIVE)
  test.equal(healthOf({ passive: false }).passive, undefined)
  test.strictSame(passiveOf({}), PASSIVE)
  test.strictSame(passiveOf({ window: 100_000 }), { ...PASSIVE, window: 100_000 })
  test.strictSame(passiveOf({ over: '10s' }), { ...PASSIVE, window: { overMs: 10_000 } })
  test.strictSame(passiveOf({ over: 1, window: 50 }), { ...PASSIVE, window: { overMs: 1 } })
  test.strictSame(passiveOf({ minimum: 1 }), { ...PASSIVE, minimum: 1 })
  test.strictSame(passiveOf({ degrade: 0.2 }), { ...PASSIVE, degrade: 0.2 })
  test.strictSame(passiveOf({ eject: 1 }), { ...PASSIVE, eject: 1 })
  test.strictSame(passiveOf({ recover: 0 }), { ...PASSIVE, recover: 0 })
  test.strictSame(passiveOf({ ejection: '1m' }), { ...PASSIVE, ejectionMs: 60_000 })
  test.strictSame(passiveOf({ maxEjected: 0 }), { ...PASSIVE, maxEjected: 0 })
})

void t.test('passive: bounds that are in order, and one beyond', async (test) => {
  test.same(passiveErrors({ window: 20 }), [], 'equal')
  test.same(passiveErrors({ window: 19 }), ['pools.web.health.passive.window: expected at least minimum (20), got 19'])
  test.same(passiveErrors({ minimum: 101 }), [
    'pools.web.health.passive.minimum: expected at most window (100), got 101',
  ])
  test.same(passiveErrors({ minimum: 101, over: '1s' }), [], 'a time holds any number')
  test.match(only(warnings({ health: { passive: { over: '1s', window: 50 } } })), /passive\.window: this has no effect/)
  test.same(warnings({ health: { passive: { over: '1s' } } }), [])
  test.same(passiveErrors({ recover: 0.2, degrade: 0.2, eject: 0.2 }), [], 'equal')
  test.same(passiveErrors({ degrade: 0.51 }), [
    'pools.web.health.passive.degrade: expected at most eject (0.5), got 0.51',
  ])
  test.same(passiveErrors({ degrade: 0.09 }), [
    'pools.web.health.passive.degrade: expected at least recover (0.1), got 0.09',
  ])
  test.same(passiveErrors({ recover: 0.31 }), [
    'pools.web.health.passive.recover: expected at most degrade (0.3), got 0.31',
  ])
  test.same(passiveErrors({ eject: 0.29 }), [
    'pools.web.health.passive.eject: expected at least degrade (0.3), got 0.29',
  ])
  test.match(
    only(passiveErrors({ degrade: 50 })),
    /passive\.degrade: expected a number from 0 to 1, such as 0\.3, got 50$/,
  )
})

const BREAKER = {
  mode: 'enforce',
  windowMs: 10_000,
  minimum: 20,
  failureRate: 0.5,
  slowCallMs: 0,
  slowCallRate: 0.8,
  openMs: 5000,
  maxOpenMs: 60_000,
  halfOpen: 3,
}

void t.test('breaker: on, off, and each key alone', async (test) => {
  test.strictSame(poolOf({}).breaker, BREAKER)
  test.equal(breakerOf(false), undefined)
  test.strictSame(breakerOf({}), BREAKER)
  test.strictSame(breakerOf({ mode: 'observe' }), { ...BREAKER, mode: 'observe' })
  test.strictSame(breakerOf({ window: 1 }), { ...BREAKER, windowMs: 1 })
  test.strictSame(breakerOf({ minimum: 1 }), { ...BREAKER, minimum: 1 })
  test.strictSame(breakerOf({ failureRate: 1 }), { ...BREAKER, failureRate: 1 })
  test.strictSame(breakerOf({ slowCall: '1.5s' }), { ...BREAKER, slowCallMs: 1500 })
  test.strictSame(breakerOf({ slowCallRate: 0.001 }), { ...BREAKER, slowCallRate: 0.001 })
  test.strictSame(breakerOf({ open: 1 }), { ...BREAKER, openMs: 1 })
  test.strictSame(breakerOf({ maxOpen: '1h' }), { ...BREAKER, maxOpenMs: 3_600_000 })
  test.strictSame(breakerOf({ halfOpen: 1000 }), { ...BREAKER, halfOpen: 1000 })
})

void t.test('breaker: bounds, and one beyond', async (test) => {
  for (const key of ['failureRate', 'slowCallRate']) {
    for (const bad of [0, -0.1, 1.01, '50%', NaN]) {
      test.match(
        only(breakerErrors({ [key]: bad })),
        /Rate: expected a number above 0 and up to 1, such as 0\./,
        `${key} ${bad}`,
      )
    }
  }
  for (const key of ['window', 'open', 'maxOpen']) {
    test.match(only(breakerErrors({ [key]: 0 })), new RegExp(`breaker\\.${key}: expected a duration of at least 1ms`))
  }
  test.match(only(breakerErrors({ halfOpen: 0 })), /halfOpen: expected a whole number from 1 to 1000, got 0/)
  test.match(only(breakerErrors({ halfOpen: 1001 })), /halfOpen: expected a whole number from 1 to 1000, got 1001/)
  test.same(breakerErrors({ maxOpen: '5s' }), [], 'equal')
  test.same(breakerErrors({ maxOpen: 4999 }), ['pools.web.breaker.maxOpen: expected at least open (5s), got 4999ms'])
  test.same(breakerErrors({ open: '61s' }), ['pools.web.breaker.open: expected at most maxOpen (1m), got 61s'])
})

void t.test('strategy, warm-up and panic', async (test) => {
  for (const strategy of ['graded', 'any', 'all'] as const) test.equal(healthOf({ strategy }).strategy, strategy)
  test.equal(healthOf({ warmup: '2m' }).warmupMs, 120_000)
  for (const panic of [0, 0.5, 1]) test.equal(poolOf({ panic }).panic, panic)
  test.match(only(errors({ panic: 1.01 })), /^pools\.web\.panic: expected a number from 0 to 1/)
})

void t.test('none of it is switched on or off by a word that does not say how', async (test) => {
  test.same(activeErrors({}), [])
  for (const active of [true, false]) {
    test.match(
      only(errors({ health: { active } })),
      /active: expected keys such as type and path; \{\} for all defaults/,
    )
  }
  test.match(only(errors({ health: { passive: true } })), /passive: expected false, or keys such as/)
  test.match(only(errors({ breaker: true })), /breaker: expected false, or keys such as/)
  test.match(only(errors({ health: false })), /health: expected keys such as/)
})

void t.test('the settings are rules that the core takes as they are', async (test) => {
  const rules: HealthRules = healthOf({ active: {} })
  const breaker: BreakerRules | undefined = breakerOf({})
  // And back: nothing that the core asks for is missing in the settings.
  const settings: BreakerRules | undefined = breaker
  test.strictSame([rules.strategy, settings?.mode], ['graded', 'enforce'])
})
