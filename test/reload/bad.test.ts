/**
 * Configurations that are no good, whichever way they come: nothing changes, and whoever looks is told where and why -
 * in the log, in the status and in the answer - what `sluice check` says.
 */
// oxlint-disable no-await-in-loop -- one after the other
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'

import { type Test, test } from 'tap'

import { algorithmCheck } from '../../src/algorithm-check.ts'
import { main } from '../../src/cli.ts'
import { checkConfig, ConfigError, formatProblem } from '../../src/config/check.ts'
import { readConfig } from '../../src/config/load.ts'
import { hashOf } from '../../src/config/text.ts'
import { ask, backend, outsideFolder } from '../helpers/process.ts'
import { guarded } from '../helpers/raw.ts'
import { type Live, live, liveWith, poolOf } from '../helpers/reload.ts'

const BROKEN = join(import.meta.dirname, '../config/broken')
const FIXTURES = readdirSync(BROKEN).filter((name) => /^\d\d-.*\.(yaml|json|ts|mjs)$/.test(name))

/** A gateway whose file lies among the broken ones, so that what they name is there, and what it has in force. */
async function among(t: Test, kind: string, more = ''): Promise<{ readonly gateway: Live; readonly before: string }> {
  const folder = join(outsideFolder(t), 'test')
  cpSync(BROKEN, join(folder, 'config/broken'), { recursive: true })
  cpSync(join(import.meta.dirname, '../helpers/certificates'), join(folder, 'helpers/certificates'), {
    recursive: true,
  })
  const file = join(folder, 'config/broken', `gateway${kind}`)
  const url = await backend(t, 'as before')
  const pools = `{ "web": { "backends": ["${url}"] } }`
  const json = `{ "pools": ${pools}${more === '' ? '' : `, ${more}`} }`
  writeFileSync(file, kind === '.yaml' || kind === '.json' ? json : `export default ${json}`)
  const gateway = await liveWith(t, file)
  return { gateway, before: await gateway.inForce() }
}

/** What `sluice check` prints about it. */
async function checked(t: Test, file: string): Promise<readonly string[]> {
  const printed = t.capture(console, 'error', () => undefined)
  const code = await main(['check', file])
  const lines = printed().flatMap(({ args }) => String(args[0]).split('\n'))
  printed.restore()
  t.equal(code, 1, `${file}: check refuses it`)
  return lines.filter((line) => !line.endsWith(' (warning)'))
}

async function unchanged(t: Test, gateway: Live, before: string, lines: readonly string[], name: string) {
  t.match(await gateway.lastReload(), { ok: false, error: lines.join('\n') }, `${name}: the status`)
  t.equal(await gateway.inForce(), before, `${name}: what is in force`)
  t.match(await ask(gateway.url), { status: 200, body: 'as before' }, `${name}: answers`)
}

/** In the log; the status and the answers have all. */
const MOST_LINES = 50

/** The event has the first of them, lines of their own have the others. */
async function isTold(t: Test, gateway: Live, by: string, lines: readonly string[], name: string): Promise<void> {
  const [first = '', ...others] = lines
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  t.equal((await gateway.next()).msg, `a configuration is refused: ${by}: ${first}${more}`, `${name}: the log`)
  for (const line of others.slice(0, MOST_LINES - 1)) {
    const escaped = line.replaceAll(/[^\w\s]/gu, String.raw`\$&`)
    await guarded(gateway.process.logged(new RegExp(`^${escaped}$`)), () => `${name}: ${line}`)
  }
}

for (const kind of ['.yaml', '.json', '.ts', '.mjs']) {
  const fixtures = FIXTURES.filter((name) => extname(name) === kind)

  void test(`BC-03, BC-06: ${fixtures.length} broken ${kind} files, by signal and by call`, async (t) => {
    const { gateway, before } = await among(t, kind, '"reload": { "watch": false }')
    for (const name of fixtures) {
      copyFileSync(join(BROKEN, name), gateway.file)
      const lines = await checked(t, gateway.file)
      gateway.process.signal('SIGHUP')
      await isTold(t, gateway, 'SIGHUP', lines, name)
      await unchanged(t, gateway, before, lines, `${name}: SIGHUP`)
      const { status, body } = await gateway.call('/reload', { method: 'POST' })
      t.match([status, JSON.parse(body)], [422, { code: 'SLUICE_CONFIG_INVALID', message: lines.join('\n') }], name)
      await gateway.next()
      if (kind === '.yaml' || kind === '.json') await isRefused(t, gateway, before, name, lines)
    }
    t.equal(gateway.told, fixtures.length * (kind === '.yaml' || kind === '.json' ? 3 : 2))
  })
}

/** By PUT: the same problems at the same places, of a text that has no name. Relative paths in it are the file's. */
async function isRefused(t: Test, gateway: Live, before: string, name: string, lines: readonly string[]) {
  const type = `application/${extname(name).slice(1)}`
  const content = readFileSync(join(BROKEN, name))
  const nameless = lines.map((line) => line.replace(`${gateway.file}:`, '').replace(/^ /, ''))
  const { status, body } = await gateway.put(content, { 'content-type': type })
  t.match([status, JSON.parse(body)], [422, { code: 'SLUICE_CONFIG_INVALID', message: nameless.join('\n') }], name)
  for (const error of errorsOf(body)) t.match(error, { line: Number, column: Number, message: String }, name)
  t.equal(errorsOf(body).length, lines.length, name)
  await isTold(t, gateway, 'PUT /config', nameless, name)
  await unchanged(t, gateway, before, nameless, `${name}: PUT`)
}

function errorsOf(body: string): readonly unknown[] {
  const { errors }: { readonly errors: readonly unknown[] } = JSON.parse(body)
  return errors
}

/** So many gateways at a time: a change of the file is waited for until it has come to rest. */
const PARTS = 5

void test('BC-03: broken files, by the file itself', { jobs: PARTS }, async (t) => {
  for (const part of Array.from({ length: PARTS }, (_, index) => index)) {
    const fixtures = FIXTURES.filter((name, index) => extname(name) === '.yaml' && index % PARTS === part)
    void t.test(fixtures.join(', '), { buffered: true }, async (each) => {
      const { gateway, before } = await among(each, '.yaml')
      for (const name of fixtures) {
        copyFileSync(join(BROKEN, name), gateway.file)
        const lines = await problemsOf(gateway.file)
        await isTold(each, gateway, 'the file has changed', lines, name)
        await unchanged(each, gateway, before, lines, name)
      }
      each.equal(gateway.told, fixtures.length)
    })
  }
})

async function problemsOf(file: string): Promise<readonly string[]> {
  try {
    const { problems = [] } = checkConfig(await readConfig(file), { algorithms: algorithmCheck() })
    return problems.map(formatProblem)
  } catch (error) {
    return error instanceof ConfigError ? error.message.split('\n') : [String(error)]
  }
}

void test('what needs a restart is refused by name, with all that stands beside it', async (t) => {
  const [one, two] = [await backend(t, 'one'), await backend(t, 'two')]
  const gateway = await live(t, poolOf([one]))
  const before = await gateway.inForce()
  mkdirSync(join(dirname(gateway.file), 'plugins'))
  writeFileSync(join(dirname(gateway.file), 'plugins/mine.js'), 'export default () => undefined')
  const more: ReadonlyArray<readonly [key: string, text: string]> = [
    ['listen.keepAlive', 'listen: { keepAlive: 1s }'],
    ['listen.maxConnections', 'listen: { maxConnections: 7 }'],
    ['listen.trustedProxies', 'listen: { trustedProxies: [10.0.0.0/8] }'],
    ['admin.token', 'admin: { token: a secret }'],
    ['admin', 'admin: false'],
    ['plugins', 'plugins: [./plugins/mine.js]'],
  ]
  for (const [key, text] of more) {
    const { status, body } = await gateway.put(poolOf([two], text))
    t.equal(status, 422, key)
    t.match(errorsOf(body), [{ path: new RegExp(`^${key}`), message: /restart/ }], key)
    t.notMatch(body, 'a secret')
    t.match((await gateway.next()).msg, new RegExp(`refused: PUT /config: ${key}.*: cannot change while`), key)
    t.equal(await gateway.inForce(), before, key)
    t.equal((await ask(gateway.url)).body, 'one', key)
  }
  writeFileSync(gateway.file, poolOf([two], 'log: { access: false }\nlisten: { keepAlive: 1s }'))
  t.match((await gateway.next()).msg, /refused: the file has changed: listen\.keepAlive: cannot change while/)
  t.equal(await gateway.inForce(), before)
})

void test('AD-09: a backend that no one may be led to through the API', async (t) => {
  const gateway = await live(t, poolOf([await backend(t, 'one')]))
  const before = await gateway.inForce()
  const bad = [
    'http://169.254.169.254',
    'http://169.254.169.254:80/',
    'http://[fe80::1]',
    'https://[febf::1]:443',
    'http://[::ffff:169.254.169.254]',
    'http://[::ffff:a9fe:a9fe]',
    'http://[64:ff9b::a9fe:a9fe]',
    'http://2852039166',
    'http://0xa9fea9fe',
    'http://0251.0376.0251.0376',
    'http://169.254.43518',
    'file:///etc/passwd',
    'unix:/run/docker.sock',
    'ftp://127.0.0.1',
    'http+unix://%2Frun',
    'gopher://127.0.0.1:1',
    'http://user:pass@127.0.0.1',
    'http://127.0.0.1/latest/meta-data',
    'http://169。254。169。254',
  ]
  for (const url of bad) {
    const { status, body } = await gateway.put(poolOf([url]))
    t.equal(status, 422, url)
    t.match(errorsOf(body), [{ path: 'pools.web.backends[0]', message: /^expected / }], url)
  }
  t.equal(await gateway.inForce(), before)
  const allowed = poolOf(['http://169.254.1.1']).replace('algorithm:', 'linkLocal: true, algorithm:')
  t.equal((await gateway.put(allowed, {}, '?dryRun=true')).status, 200, 'unless the pool says so')
})

void test('PUT of what is no configuration at all', async (t) => {
  const gateway = await live(t, poolOf([await backend(t, 'one')]))
  const before = await gateway.inForce()
  const good = poolOf(['http://127.0.0.1:9'])
  for (const type of [
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonp',
    'yaml',
  ]) {
    t.equal((await gateway.put(good, { 'content-type': type })).status, 415, type)
  }
  t.equal((await gateway.call('/config', { method: 'PUT', body: good })).status, 415, 'no type')
  t.equal((await gateway.call('/config', { method: 'PUT' })).status, 415, 'nothing at all')

  const refused: ReadonlyArray<readonly [name: string, content: string | Buffer, type: string, errors: object]> = [
    ['nothing', '', 'yaml', [{ path: '', message: /it is empty/ }]],
    ['no UTF-8', Buffer.from(good).fill(0xff, 12, 14), 'yaml', [{ line: 1, column: 13, message: 'not valid UTF-8' }]],
    ['UTF-16', Buffer.from(`\ufeff${good}`, 'utf16le'), 'yaml', [{ line: 1, column: 1, message: 'not valid UTF-8' }]],
    ['a key of objects', `{ "pools": 1, "__proto__": {} }`, 'json', [{}, { path: '__proto__' }]],
    ['YAML as JSON', good, 'json', [{ path: 'syntax', message: /not valid JSON/ }]],
    ['deep', '['.repeat(100_000), 'yaml', [{ path: 'syntax' }]],
    ['deep JSON', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'json', [{ message: /nested/ }]],
  ]
  for (const [name, content, type, errors] of refused) {
    const { status, body } = await gateway.put(content, { 'content-type': `application/${type}` })
    t.equal(status, 422, name)
    t.match(errorsOf(body), errors, name)
  }
  const tooLarge = await gateway.put(`${good}#${'x'.repeat(16 * 1024 ** 2)}`)
  t.match([tooLarge.status, JSON.parse(tooLarge.body)], [413, { code: 'SLUICE_BODY_TOO_LARGE' }])
  t.equal(await gateway.inForce(), before)
  const within = `${good}#`
  t.equal((await gateway.put(within.padEnd(16 * 1024 ** 2, 'x'), {}, '?dryRun=true')).status, 200, 'as much as may be')
})

void test('PUT with If-Match, and PUT that only asks', async (t) => {
  const [one, two] = [poolOf([await backend(t, 'one')]), poolOf([await backend(t, 'two')])]
  const gateway = await live(t, one)
  const before = await gateway.inForce()
  const tag = `"${hashOf(one)}"`
  for (const other of ['"000000000000"', `W/${tag}`, hashOf(one), `"a", W/${tag}, "b"`, '""', '"*"', `${tag}x`]) {
    const { status, body } = await gateway.put(two, { 'if-match': other })
    t.match([status, JSON.parse(body)], [412, { code: 'SLUICE_PRECONDITION_FAILED' }], other)
    t.equal((await gateway.put(two, { 'if-match': other }, '?dryRun=true')).status, 412, other)
  }
  for (const query of ['?dryRun', '?dryRun=1', '?dryRun=TRUE', '?dryrun=true', '?dryRun=true&dryRun=false', '?x=1']) {
    t.equal((await gateway.put(two, {}, query)).status, 400, `${query}: nobody can tell what is meant`)
  }
  const asked = await gateway.put(two, { 'if-match': tag }, '?dryRun=true')
  t.match(
    [asked.status, JSON.parse(asked.body)],
    [200, { hash: hashOf(one), words: [/^backend .*: removed/, /^backend .*: added/] }],
  )
  t.equal((await gateway.put('pools: 1', {}, '?dryRun=true')).status, 422)
  t.match(await gateway.lastReload(), { ok: true, error: null }, 'nothing of that was a change')
  t.equal(await gateway.inForce(), before)
  t.equal(gateway.told, 0)

  for (const [text, match] of [
    [two, tag],
    [one, '*'],
    [two, `"a" , ${tag},"b"`],
  ] as const) {
    const { status, headers } = await gateway.put(text, { 'if-match': match })
    t.match([status, headers.etag], [200, `"${hashOf(text)}"`], match)
  }
  t.equal((await ask(gateway.url)).body, 'two')
  const race = await Promise.all([one, `${one}#`].map((text) => gateway.put(text, { 'if-match': `"${hashOf(two)}"` })))
  t.same(
    race.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 412],
    'of two that know the same, one wins',
  )
})
