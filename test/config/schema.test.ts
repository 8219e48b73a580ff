/** The schema for editors: complete, up to date, and in agreement with the settings. */
import { Ajv } from 'ajv'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkObject } from '../../src/config/check.ts'
import { configSchema } from '../../src/config/schema.ts'
import { parseDuration, parseSize } from '../../src/config/units.ts'

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly default?: unknown
  readonly description?: string
  readonly writeOnly?: boolean
}

const schema: Schema = configSchema()
const pool = Object.values(schema.properties?.['pools']?.patternProperties ?? {})[0]

void t.test('config/schema.json is up to date', async (test) => {
  const file = join(import.meta.dirname, '../../config/schema.json')
  test.equal(readFileSync(file, 'utf8'), `${JSON.stringify(configSchema(), null, 2)}\n`, 'run `npm run schema`')
})

const withPool = (more: object) => ({ pools: { web: { backends: ['http://a'], ...more } } })

void t.test('any validator can use it', async (test) => {
  const validate = new Ajv({ allowUnionTypes: true }).compile(configSchema())
  test.ok(validate({ pools: { web: { backends: ['http://a', { url: 'http://b' }] } }, admin: false }))
  for (const wrong of [
    {},
    { pools: {} },
    { pools: { web: { backends: [1] } } },
    { pools: { web: { backends: ['http://a'] } }, x: 1 },
  ]) {
    test.notOk(validate(wrong), JSON.stringify(wrong))
  }
  test.notOk(validate(withPool({ timeouts: { connect: '5 parsecs' } })))
  test.ok(validate({ ...withPool({ retry: { on: ['timeout', 503] }, tls: {} }), listen: { via: 'edge:1' } }))
  test.ok(validate({ ...withPool({}), listen: { via: false, tls: { cert: 'a', key: 'b', minVersion: 'TLSv1.3' } } }))
  for (const retry of [false, { on: ['503'] }, { on: 'connect' }, { attempts: 0 }]) {
    test.notOk(validate(withPool({ retry })), JSON.stringify(retry))
  }
  const active = { type: 'tcp', headers: { a: 'b' }, expect: [200, '300-399'], interval: 1 }
  test.ok(validate(withPool({ health: { active, passive: { over: '10s' } }, breaker: { mode: 'observe' }, panic: 1 })))
  test.ok(validate(withPool({ health: { active: { expect: '200' }, passive: false }, breaker: false })))
  for (const expect of [99, 600, '2xx', '200-', [], [[200]], true]) {
    test.notOk(validate(withPool({ health: { active: { expect } } })), JSON.stringify(expect))
  }
  for (const wrong of [{ health: { active: true } }, { health: { passive: true } }, { breaker: true }, { panic: 2 }]) {
    test.notOk(validate(withPool(wrong)), JSON.stringify(wrong))
  }
  for (const listen of [{ via: 'a b' }, { via: 'no' }, { tls: { cert: 'a' } }, { tls: true }]) {
    test.notOk(validate({ ...withPool({}), listen }), JSON.stringify(listen))
  }
})

void t.test('secrets are marked, for editors and for whoever shows a configuration', async (test) => {
  const marked: string[] = []
  const walk = (part: Schema, path: string): void => {
    if (part.writeOnly === true) marked.push(path)
    for (const [key, inside] of Object.entries(part.properties ?? {})) walk(inside, `${path}.${key}`)
    for (const inside of Object.values(part.patternProperties ?? {})) walk(inside, `${path}.NAME`)
  }
  walk(schema, '')
  test.same(marked.toSorted(), [
    '.admin.token',
    '.listen.tls.key',
    '.pools.NAME.tls.key',
    '.tracing.export.headers',
    '.tracing.export.headers.NAME',
  ])
})

void t.test('every key is explained', async (test) => {
  const walk = (part: Schema, path: string): void => {
    for (const [key, inside] of Object.entries(part.properties ?? {})) {
      test.ok(inside.description, `${path}${key}`)
      walk(inside, `${path}${key}.`)
    }
    if (part.items !== undefined) walk(part.items, `${path}[].`)
    for (const inside of Object.values(part.patternProperties ?? {})) walk(inside, `${path}NAME.`)
  }
  walk(schema, '')
})

void t.test('its defaults are those of the settings', async (test) => {
  const { settings } = checkObject(withPool({ health: { active: {} } }), { env: {} })
  if (settings === undefined) throw new Error('the smallest configuration is good')
  const web = settings.pools.get('web')
  const retry = pool?.properties?.['retry']?.properties
  const health = pool?.properties?.['health']?.properties
  const { access, ...log } = schema.properties?.['log']?.properties ?? {}
  const { expect, headers, ...active } = health?.['active']?.properties ?? {}
  const pairs: ReadonlyArray<readonly [Schema | undefined, object | undefined]> = [
    [schema.properties?.['listen'], settings.listen],
    [schema.properties?.['admin'], settings.admin],
    [{ properties: log }, settings.log],
    [access, settings.log.access],
    [schema.properties?.['shutdown'], settings.shutdown],
    [pool?.properties?.['timeouts'], web?.timeouts],
    [pool?.properties?.['connections'], web?.connections],
    [retry?.['budget'], web?.retry.budget],
    [retry?.['backoff'], web?.retry.backoff],
    [{ properties: active }, web?.health.active],
    [health?.['passive'], web?.health.passive],
    [pool?.properties?.['breaker'], web?.breaker],
  ]
  for (const [group, made] of pairs) {
    const values = new Map<string, unknown>(Object.entries(made ?? {}))
    for (const [key, { default: byDefault }] of Object.entries(group?.properties ?? {})) {
      const expected = values.has(`${key}Ms`) ? parseDuration(byDefault) : (parseSize(byDefault) ?? byDefault)
      test.same(values.get(`${key}Ms`) ?? values.get(key), expected, key)
    }
  }
  test.equal(web?.hostHeader, pool?.properties?.['hostHeader']?.default)
  test.equal(web?.algorithm.type, pool?.properties?.['algorithm']?.default)
  test.equal(web?.forwarded, pool?.properties?.['forwarded']?.default)
  test.equal(web?.retry.attempts, retry?.['attempts']?.default)
  test.same([...(web?.retry.on ?? [])], retry?.['on']?.default)
  test.equal(web?.retry.bufferBody, parseSize(retry?.['bufferBody']?.default))
  test.equal(web?.health.strategy, health?.['strategy']?.default)
  test.equal(web?.health.warmupMs, parseDuration(health?.['warmup']?.default))
  test.equal(web?.health.active?.expect[0]?.join('-'), expect?.default)
  test.same(Object.fromEntries(web?.health.active?.headers ?? []), headers?.default)
  test.equal(web?.panic, pool?.properties?.['panic']?.default)
  test.equal(web?.maxBodySize, pool?.properties?.['maxBodySize']?.default)
})
