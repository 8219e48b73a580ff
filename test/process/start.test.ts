/**
 * How the process starts: what it says, and what it says when it cannot.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { type Test, test } from 'tap'

import { ask, backend, freePorts, ROOT, run, start, startGateway, takenPort } from '../helpers/process.ts'

const POOL = 'pools: { web: { backends: ["http://127.0.0.1:9"] } }\n'

void test('stdout is one JSON object a line, and one of them at start says what it serves', async (t) => {
  const url = await backend(t, 'here')
  const gateway = await startGateway(
    t,
    `pools: { a: { backends: ["${url}"] }, b: { backends: ["${url}", "http://127.0.0.1:9"] } }
routes: [{ path: /*, pool: a }, { path: /b, pool: b }]
`,
  )
  t.equal(gateway.process.lines.length, 1)
  const [first = ''] = gateway.process.lines
  const line: unknown = JSON.parse(first)
  t.match(line, { level: 30, time: Number, pid: gateway.process.child.pid })
  const { greeting, url: served, admin } = gateway
  const port = new URL(served).port
  const file = greeting.split(' ')[2] ?? ''
  t.match(file, /gateway\.yaml$/)
  t.equal(
    greeting,
    `sluice serves ${file} on http://0.0.0.0:${port}; 2 routes, 2 pools, 3 backends; status at ${admin}/status`,
  )
  await ask(served)
  gateway.process.signal('SIGTERM')
  const { stdout, stderr } = await gateway.process.ended
  t.equal(stderr, '')
  const lines = stdout.trimEnd().split('\n')
  t.ok(lines.length >= 4, 'the start, a request, stopping, stopped')
  for (const text of lines) t.type(JSON.parse(text), 'object')
})

void test('warnings are in the log', async (t) => {
  const config = 'pools: { web: { backends: [{ url: "http://127.0.0.1:9", weight: 0 }] } }\n'
  const { process } = await startGateway(t, config)
  t.match((await process.logged(/weights of all backends are 0/))['level'], 40)
})

void test('a taken port, of either listener: one line, exit code 2', async (t) => {
  const port = await takenPort(t, '0.0.0.0')
  const file = join(t.testdir({ 'gateway.yaml': POOL }), 'gateway.yaml')
  const cases = [
    { listen: port, admin: 0, stderr: `sluice: cannot listen on 0.0.0.0:${port} (listen): the port is taken\n` },
    { listen: 0, admin: port, stderr: `sluice: cannot listen on 127.0.0.1:${port} (admin): the port is taken\n` },
  ]
  for (const { listen, admin, stderr } of cases) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const ended = await run(t, ['run', '-c', file, '--port', String(listen), '--admin-port', String(admin)])
    t.same(ended, { code: 2, signal: null, stdout: '', stderr })
  }
})

void test('an address that is not ours, a host that does not exist: one line, exit code 2', async (t) => {
  for (const host of ['192.0.2.1', 'no-such-host.invalid']) {
    const config = `listen: { host: ${host}, port: 0 }\nadmin: false\n${POOL}`
    const file = join(t.testdir({ 'gateway.yaml': config }), 'gateway.yaml')
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const { code, stderr } = await run(t, ['run', '-c', file])
    t.equal(code, 2)
    t.match(stderr, new RegExp(`^sluice: cannot listen on ${host}:0 \\(listen\\): [^\\n]+\\n$`))
  }
})

void test('a plugin that fails: one line, exit code 2, whatever it has left open', async (t) => {
  const plugins: Readonly<Record<string, readonly [code: string, reason: string]>> = {
    'throws.js': [`export default async () => { throw new Error('no database\\nmore of it') }`, 'no database'],
    'imports.js': [`import './nowhere.js'\nexport default async () => {}`, 'Cannot find module'],
    'nothing.js': ['export const name = 1', 'its default export is not a function'],
    'open.ts': [
      `export default async (app: { get: Function }): Promise<void> => { setInterval(() => {}, 60_000); throw new Error('late') }`,
      'late',
    ],
    'syntax.js': ['export default async () => {', 'Unexpected end of input'],
    'ready.js': [`export default async (app) => { app.addHook('onReady', async () => { throw 'text' }) }`, 'text'],
  }
  const files = Object.fromEntries(Object.entries(plugins).map(([name, [code]]) => [name, code]))
  const folder = t.testdir({ 'package.json': '{ "type": "module" }', ...files })
  const ended = Object.entries(plugins).map(async ([name, [, reason]]) => {
    const file = join(folder, `${name}.yaml`)
    writeFileSync(file, `listen: { port: 0 }\nadmin: false\n${POOL}plugins: [./${name}]\n`)
    const { code, stdout, stderr } = await run(t, ['run', '-c', file])
    t.equal(code, 2, name)
    t.equal(stdout, '')
    t.match(stderr, /^sluice: cannot start: [^\n]+\n$/)
    t.ok(stderr.includes(reason), stderr)
  })
  await Promise.all(ended)
})

/** What `npm start` runs, on ports that are free. */
async function demo(t: Test, ports: readonly number[]): Promise<string> {
  const read = (name: string): string => {
    const text = readFileSync(join(ROOT, 'config', name), 'utf8')
    return text.replaceAll(/\b900([123])\b/g, (_, digit: string) => String(ports[Number(digit) - 1]))
  }
  const folder = t.testdir({
    'package.json': '{ "type": "module" }',
    'gateway.yaml': read('gateway.yaml'),
    'demo-backends.js': read('demo-backends.js'),
  })
  return join(folder, 'gateway.yaml')
}

void test('the demo: three backends in turn, and what to try next', async (t) => {
  const ports = await freePorts(3)
  const file = await demo(t, ports)
  const gateway = start(t, ['run', '-c', file, '--port', '0', '--admin-port', '0'])
  const { url, greeting } = await gateway.serving()
  t.match(greeting, /1 route, 1 pool, 3 backends/)
  const names: string[] = []
  for (let n = 0; n < 6; n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- in turn
    const { status, headers, body } = await ask(`${url}/any/path?q=${n}`)
    t.equal(status, 200)
    t.match(body, /Try next:\n {2}curl/)
    names.push(String(headers['x-backend']))
  }
  t.same(names.slice(0, 3).toSorted(), ports.map((port) => `demo-${port}`).toSorted())
  t.same(names.slice(3), names.slice(0, 3), 'in turn')
  const echo = await ask(`${url}/echo?x=%2F`, { method: 'POST', body: 'hello', headers: { 'x-mine': 'yes' } })
  t.match(echo.body, /^POST \/echo\?x=%2F\n[^]*x-mine: yes\n[^]*\n\nhello$/i)
  gateway.signal('SIGTERM')
  t.equal((await gateway.ended).code, 0)
})

void test('the demo, a backend of which finds its port taken: one line, exit code 2', async (t) => {
  const port = await takenPort(t)
  const [second = 0, third = 0] = await freePorts(2)
  const file = await demo(t, [port, second, third])
  t.equal((await run(t, ['check', file, '--strict'])).code, 0, 'BC-06: that a port is taken is nothing of the file')
  const { code, stdout, stderr } = await run(t, ['run', '-c', file, '--port', '0', '--admin-port', '0'])
  const reason = `the demo backend on 127.0.0.1:${port} cannot listen: the port is taken`
  t.same({ code, stdout }, { code: 2, stdout: '' })
  t.match(stderr, /^sluice: cannot start: plugin \/[^\n]*: the demo[^\n]*\n$/)
  t.ok(stderr.endsWith(`: ${reason}\n`))
})

void test('a plugin that takes the route for everything, or throws nothing at all: one line, exit code 2', async (t) => {
  const folder = t.testdir({
    'package.json': '{ "type": "module" }',
    'all.js': `export default async (app) => { app.get('/*', async () => 'mine') }`,
    'null.js': 'throw null',
    'all.yaml': `${POOL}plugins: [./all.js]\n`,
    'null.yaml': `${POOL}plugins: [./null.js]\n`,
  })
  for (const file of ['all.yaml', 'null.yaml']) {
    // oxlint-disable-next-line no-await-in-loop -- two processes at once are slower
    const { code, stderr } = await run(t, ['run', '-c', join(folder, file), '--port', '0', '--admin-port', '0'])
    t.equal(code, 2, file)
    t.match(stderr, /^sluice: cannot start: [^\n]+\n$/, file)
  }
})

void test('plugins keep the names and dependencies that fastify-plugin gave them', async (t) => {
  const folder = t.testdir({
    'package.json': '{ "type": "module" }',
    'one.js': `const one = async () => {}
one[Symbol.for('skip-override')] = true
one[Symbol.for('plugin-meta')] = { name: 'one' }
export default one`,
    'two.js': `const two = async () => {}
two[Symbol.for('skip-override')] = true
two[Symbol.for('plugin-meta')] = { name: 'two', dependencies: ['missing'] }
export default two`,
    'gateway.yaml': `${POOL}plugins: [./one.js, ./two.js]\n`,
  })
  const { code, stderr } = await run(t, ['run', '-c', join(folder, 'gateway.yaml'), '--port', '0', '--admin-port', '0'])
  t.equal(code, 2)
  t.match(stderr, /plugin \/[^\n]*two\.js: [^\n]*missing/)
})

void test('BC-06: check has no side effect', async (t) => {
  const folder = t.testdir({
    'package.json': '{ "type": "module" }',
    'plugin.js': `import { writeFileSync } from 'node:fs'\nwriteFileSync(new URL('ran', import.meta.url), '')\nexport default async () => {}`,
    'gateway.yaml': `${POOL}plugins: [./plugin.js]\n`,
  })
  t.equal((await run(t, ['check', join(folder, 'gateway.yaml')])).code, 0)
  t.throws(() => readFileSync(join(folder, 'ran')), { code: 'ENOENT' }, 'no plugin was loaded')
})

void test('BC-04: a backend whose name does not resolve is no reason not to start', async (t) => {
  const { url, process } = await startGateway(t, 'pools: { web: { backends: ["http://no-such-host.invalid"] } }\n')
  const { status, body } = await ask(url)
  t.ok(status === 502 || status === 504, body)
  t.notMatch(body, /no-such-host/)
  process.signal('SIGTERM')
  t.equal((await process.ended).code, 0)
})
