/**
 * The command line: what each command prints, and the exit code of everything that can be wrong with it.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'

import { BIN, UNSET, ROOT, run, startGateway } from '../helpers/process.ts'

const POOL = 'pools: { web: { backends: ["http://127.0.0.1:9001"] } }\n'
/** Who owns nothing. */
const NOBODY = 65_534

void test('a command line that is wrong: one line, exit code 1', async (t) => {
  const cases: ReadonlyArray<readonly [args: readonly string[], stderr: RegExp]> = [
    [['serve'], /^sluice: unknown command "serve"; known are run, check, diff, schema and top \(/],
    [['run', 'gateway.yaml'], /^sluice: run takes no "gateway\.yaml"; did you mean --config gateway\.yaml\?$/],
    [['check'], /^sluice: check takes one file: sluice check FILE$/],
    [['check', 'a.yaml', 'b.yaml'], /^sluice: check takes one file/],
    [['diff', 'a.yaml'], /^sluice: diff takes two files: sluice diff OLD NEW$/],
    [['diff', 'a.yaml', 'b.yaml', 'c.yaml'], /^sluice: diff takes two files/],
    [['run', '--prot', '1'], /^sluice: Unknown option '--prot'/],
    [['run', '--port'], /^sluice: Option '--port <value>' argument missing/],
    [['run', '--port', '70000'], /^sluice: --port: expected a port from 0 to 65535, got "70000"$/],
    [['run', '--port', '-1'], /^sluice: Option '--port' argument is ambiguous/],
    [['run', '--admin-port', 'x'], /^sluice: --admin-port: expected a port/],
    [['top', 'gateway.yaml'], /^sluice: top takes no "gateway\.yaml"; did you mean --url or --config\?$/],
    [['top', '--interval', 'often'], /^sluice: --interval: expected a duration such as 1s or 500ms, got "often"$/],
    [['top', '--url', 'localhost:9090'], /^sluice: --url: expected something like http:.*, got "localhost:9090"$/],
    [['top', '--token', 'ü'], /^sluice: the token has characters that no header field can carry$/],
    [['run', '--log-level', 'loud'], /^sluice: --log-level: expected trace, .*, got "loud"$/],
  ]
  const tried = cases.map(async ([args, expected]) => {
    const { code, stdout, stderr } = await run(t, args)
    t.equal(code, 1, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr.trimEnd(), expected)
    t.equal(stderr.split('\n').length, 2, 'exactly one line')
  })
  await Promise.all(tried)
})

void test('a file that cannot be read: one line, exit code 1, with run and with check', async (t) => {
  const folder = t.testdir({ 'folder.yaml': {}, 'a.toml': POOL })
  const cases: ReadonlyArray<readonly [file: string, reason: string]> = [
    ['missing.yaml', 'no such file'],
    ['folder.yaml', 'it is a folder'],
    ['a.toml', 'expected a name that ends in .yaml, .yml, .json, .ts, .js or .mjs'],
    ['a.toml/b.yaml', 'a part of its path is not a folder'],
  ]
  for (const [name, reason] of cases) {
    const file = join(folder, name)
    for (const args of [
      ['run', '--config', file],
      ['check', file],
    ]) {
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      const { code, stdout, stderr } = await run(t, args)
      t.same({ code, stdout, stderr }, { code: 1, stdout: '', stderr: `${file}: cannot be read: ${reason}\n` })
    }
  }
})

void test('a file without permission: one line, exit code 1', async (t) => {
  const user = process.getuid?.() === 0 ? { uid: NOBODY } : {}
  const reach = spawnSync('env', [...UNSET, process.execPath, BIN, 'help'], { ...user, cwd: ROOT })
  if (reach.status !== 0) {
    t.comment('the sources are out of reach for anyone but root')
    return
  }
  const file = join(t.testdir({ 'gateway.yaml': POOL }), 'gateway.yaml')
  chmodSync(file, 0)
  const { code, stderr } = await run(t, ['check', file], { ...user, plain: true })
  t.same({ code, stderr }, { code: 1, stderr: `${file}: cannot be read: permission denied\n` })
})

void test('check: valid, with warnings, strict, and every mistake with its place', async (t) => {
  const folder = t.testdir({
    'good.yaml': POOL,
    'warned.yaml': 'pools: { web: { backends: [{ url: "http://127.0.0.1:1", weight: 0 }] } }\n',
    'bad.yaml': 'pools:\n  web:\n    backend: [http://127.0.0.1:1]\nadmin: { port: 8080 }\n',
  })
  const good = join(folder, 'good.yaml')
  t.same(await run(t, ['check', good]), {
    code: 0,
    signal: null,
    stdout: `${good}: the configuration is valid (1 route, 1 pool)\n`,
    stderr: '',
  })
  const warned = join(folder, 'warned.yaml')
  const lenient = await run(t, ['check', warned])
  t.equal(lenient.code, 0)
  t.match(lenient.stderr, /^\S+warned\.yaml:1:27: pools\.web\.backends: the weights .* \(warning\)\n$/)
  t.equal((await run(t, ['check', warned, '--strict'])).code, 1)
  const bad = join(folder, 'bad.yaml')
  const refused = await run(t, ['check', bad])
  t.equal(refused.code, 1)
  t.equal(refused.stdout, '')
  t.match(refused.stderr, `${bad}:3:5: pools.web.backend: `)
  t.match(refused.stderr, `${bad}:4:16: admin.port: `)
  const started = await run(t, ['run', '--config', bad])
  t.same([started.code, started.stderr], [1, refused.stderr], 'BC-06: a real start says the same')
})

void test('an algorithm that does not exist is a mistake in the file', async (t) => {
  const folder = t.testdir({
    'typo.yaml': 'pools:\n  web:\n    algorithm: rond-robin\n    backends: [http://127.0.0.1:1]\n',
    'long.yaml': 'pools:\n  web:\n    algorithm: { type: mine }\n    backends: [http://127.0.0.1:1]\n',
    'option.yaml':
      'pools:\n  web:\n    algorithm: { type: round-robin, speed: 1 }\n    backends: [http://127.0.0.1:1]\n',
    'plugin.yaml': `plugins: [./empty.js]\npools: { web: { algorithm: mine, backends: ["http://127.0.0.1:1"] } }\n`,
    'empty.js': 'export default async () => {}\n',
  })
  const expected = {
    'typo.yaml': ':3:16: pools.web.algorithm: there is no algorithm "rond-robin", did you mean "round-robin"?',
    'long.yaml':
      ':3:24: pools.web.algorithm.type: there is no algorithm "mine", expected one of round-robin, weighted-round-robin',
    'option.yaml':
      ':3:16: pools.web.algorithm: "round-robin" cannot be used like this: it takes no options, but was given speed',
  }
  for (const [name, line] of Object.entries(expected)) {
    const file = join(folder, name)
    for (const args of [
      ['check', file],
      ['run', '--config', file],
    ]) {
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      const { code, stderr } = await run(t, args)
      t.equal(code, 1)
      t.ok(stderr.startsWith(`${file}${line}`), stderr)
      t.equal(stderr.split('\n').length, 2)
    }
  }
  const plugin = join(folder, 'plugin.yaml')
  t.equal((await run(t, ['check', plugin])).code, 0, 'a plugin may register it: only a start can tell')
  const { code, stdout, stderr } = await run(t, ['run', '--config', plugin])
  t.same([code, stdout], [1, ''])
  t.match(stderr, /^\S+plugin\.yaml: pools\.web\.algorithm: Unknown algorithm "mine"\. .*round-robin.*\n$/)
})

void test('diff: in words, as JSON, and nothing', async (t) => {
  const folder = t.testdir({
    'old.yaml': POOL,
    'new.json': JSON.stringify({
      listen: { port: 8081 },
      admin: { token: '${TOKEN}' },
      pools: { web: { backends: [{ url: 'http://127.0.0.1:9001', weight: 3 }], timeouts: { connect: '250ms' } } },
    }),
  })
  const env = { ...process.env, TOKEN: 'a-token' }
  const [before, after] = [join(folder, 'old.yaml'), join(folder, 'new.json')]
  const told = await run(t, ['diff', before, after], { env })
  t.same([told.code, told.stderr], [0, ''])
  t.same(told.stdout.trimEnd().split('\n'), [
    'pool web: timeouts.connect: from 2s to 250ms',
    'backend 127.0.0.1:9001 of pool web: weight: from 1 to 3',
    'listen.port: from 8080 to 8081 (needs a restart)',
    'admin.token: set (not shown) (needs a restart)',
  ])
  const json = await run(t, ['diff', before, after, '--json'], { env })
  t.same([json.code, json.stderr], [0, ''])
  t.same(JSON.parse(json.stdout), {
    pools: [{ pool: 'web', change: 'changed', keys: [{ key: 'timeouts.connect', from: '2s', to: '250ms' }] }],
    backends: [{ pool: 'web', id: '127.0.0.1:9001', change: 'changed', keys: [{ key: 'weight', from: 1, to: 3 }] }],
    routes: [],
    shadowed: [],
    keys: [
      { key: 'listen.port', from: 8080, to: 8081, restart: true },
      { key: 'admin.token', to: '(not shown)', restart: true },
    ],
  })
  const same = await run(t, ['diff', before, before])
  t.same([same.code, same.stdout, same.stderr], [0, 'nothing would change\n', ''])
  const none = await run(t, ['diff', before, before, '--json'])
  t.same(JSON.parse(none.stdout), { pools: [], backends: [], routes: [], shadowed: [], keys: [] })
})

void test('diff: what is wrong with either file is said as check says it', async (t) => {
  const folder = t.testdir({ 'good.yaml': POOL, 'bad.yaml': 'pools:\n  web:\n    backend: [http://127.0.0.1:1]\n' })
  const [good, bad, missing] = ['good.yaml', 'bad.yaml', 'missing.yaml'].map((name) => join(folder, name))
  if (good === undefined || bad === undefined || missing === undefined) throw new Error('three names, three files')
  const checked = await run(t, ['check', bad])
  t.match(checked.stderr, `${bad}:3:5: pools.web.backend: `)
  const unread = `${missing}: cannot be read: no such file\n`
  const cases: ReadonlyArray<readonly [before: string, after: string, stderr: string]> = [
    [good, bad, checked.stderr],
    [bad, good, checked.stderr],
    [missing, bad, `${unread}${checked.stderr}`],
    [bad, missing, `${checked.stderr}${unread}`],
  ]
  for (const [before, after, expected] of cases) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const { code, stdout, stderr } = await run(t, ['diff', before, after])
    t.same({ code, stdout, stderr }, { code: 1, stdout: '', stderr: expected })
  }
})

void test('schema prints what config/schema.json holds', async (t) => {
  const { code, stdout } = await run(t, ['schema'])
  t.equal(code, 0)
  t.equal(stdout, readFileSync(join(ROOT, 'config/schema.json'), 'utf8'))
})

void test('help', async (t) => {
  for (const args of [['help'], ['--help'], ['run', '-h']]) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const { code, stdout } = await run(t, args)
    t.equal(code, 0)
    t.match(stdout, /sluice run \[--config FILE\]/)
    t.match(stdout, /sluice top [^]*--url URL[^]*--once/)
  }
})

void test('--port, --admin-port and --log-level go before the file', async (t) => {
  const config = `listen: { port: 1 }\nadmin: { port: 2 }\nlog: { level: silent }\n${POOL}`
  const { url, admin, process: gateway } = await startGateway(t, config, undefined, ['--log-level', 'info'])
  t.not(url, 'http://127.0.0.1:1')
  t.not(admin, 'http://127.0.0.1:2')
  gateway.signal('SIGTERM')
  t.equal((await gateway.ended).code, 0)
})
