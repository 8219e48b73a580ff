/**
 * The published package, as somebody gets it: packed, installed into an empty folder, run, imported and type-checked.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  existsSync,
  cpSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

import { type Test, test } from 'tap'

import { ask, backend, outsideFolder, UNSET, ROOT, run, Running, start } from '../helpers/process.ts'

const PACKAGE_LIMIT = 5_000_000

async function succeed(command: readonly string[], cwd: string): Promise<string> {
  const child: ChildProcess = spawn('env', [...UNSET, ...command], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const code = await new Promise((done, failed) => {
    child.once('error', failed)
    child.once('close', done)
  })
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${String(code)}:\n${output}${errors}`)
  return output
}

/** Packs the repository and installs the tarball into an empty folder, once for all tests here. */
async function install(t: Test): Promise<string> {
  const folder = outsideFolder(t)
  const tarballs = outsideFolder(t)
  await succeed(['npm', 'pack', '--silent', '--pack-destination', tarballs], ROOT)
  const [tarball = ''] = readdirSync(tarballs)
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  const quick = ['--omit=dev', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  await succeed(['npm', 'install', ...quick, join(tarballs, tarball)], folder)
  return folder
}

void test('the package', async (suite) => {
  const folder = await install(suite)
  const modules = join(folder, 'node_modules')
  const bin = join(modules, 'sluice/bin/sluice.js')

  await suite.test('is small, brings no Node and no TypeScript to strip', async (t) => {
    const files = globSync('**/*', { cwd: join(modules, 'sluice') })
    const sizes = files.map((file) => statSync(join(modules, 'sluice', file))).filter((stat) => stat.isFile())
    t.ok(sizes.reduce((sum, { size }) => sum + size, 0) < PACKAGE_LIMIT, 'under 5 MB unpacked')
    t.same(
      files.filter((file) => /\.[cm]?tsx?$/.test(file) && !file.endsWith('.d.ts')),
      [],
    )
    t.ok(files.includes('README.md') && files.includes('LICENSE') && files.includes('CHANGELOG.md'))
    t.same(
      readdirSync(modules).filter((name) => /^node-(bin-)?(linux|darwin|win)/.test(name)),
      [],
    )
    t.notOk(readdirSync(modules).includes('typescript'))
    t.notOk(readdirSync(join(modules, '.bin')).includes('node'))
  })

  await suite.test('its command line, with every kind of file, and plugins in TypeScript', async (t) => {
    const url = await backend(t, 'here')
    const config = `{ listen: { port: 0 }, admin: { port: 0 }, pools: { web: { backends: ['${url}'] } } }`
    writeFileSync(join(folder, 'gateway.yaml'), `${config}\n`)
    writeFileSync(
      join(folder, 'gateway.ts'),
      `import { defineConfig, type Config } from 'sluice'
const config: Config = defineConfig({ ...(${config} as const), plugins: ['./plugin.ts'] })
export default config\n`,
    )
    writeFileSync(
      join(folder, 'plugin.ts'),
      `import { ConfigError, type AlgorithmFactory } from 'sluice'
import type { FastifyInstance } from 'fastify'
const mine: AlgorithmFactory = () => ({ pick: ([first]) => first as never })
export default async (app: FastifyInstance): Promise<void> => {
  app.algorithms.register('mine', mine)
  app.addHook('onRequest', async (_request, reply) => void reply.header('x-plugin', ConfigError.name))
}\n`,
    )
    const sluice = join(modules, '.bin/sluice')
    const checked = await succeed(['npx', '--no-install', 'sluice', 'check', 'gateway.yaml', '--strict'], folder)
    t.equal(checked, 'gateway.yaml: the configuration is valid (1 route, 1 pool)\n')
    t.equal(await succeed([sluice, 'schema'], folder), readFileSync(join(modules, 'sluice/config/schema.json'), 'utf8'))
    for (const file of ['prometheus/alerts.yml', 'grafana/dashboard.json'])
      t.ok(existsSync(join(modules, 'sluice/config', file)), file)
    for (const file of ['gateway.yaml', 'gateway.ts']) {
      const running = start(t, ['run', '--config', file], { bin, cwd: folder, plain: true })
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      const { url: served, admin } = await running.serving()
      // oxlint-disable-next-line no-await-in-loop
      const { body, headers } = await ask(served)
      t.equal(body, 'here')
      t.equal(headers['x-plugin'], file === 'gateway.ts' ? 'ConfigError' : undefined)
      // oxlint-disable-next-line no-await-in-loop
      t.equal((await ask(`${admin}/readyz`)).status, 200)
      // oxlint-disable-next-line no-await-in-loop
      t.match((await ask(`${admin}/`)).body, /^<!doctype html>[^]*class PoolList/, 'the dashboard is in it')
      running.signal('SIGTERM')
      // oxlint-disable-next-line no-await-in-loop
      t.match(await running.ended, { code: 0, stderr: '' })
    }
    t.equal((await run(t, ['check', 'nowhere.yaml'], { bin, cwd: folder, plain: true })).code, 1)
  })

  await suite.test('its library: the examples run as they are', async (t) => {
    const url = await backend(t, (request, answer) => answer.end(request.url))
    const api = await backend(t, (request, answer) => answer.end(`api ${request.url}`))
    for (const name of ['library.ts', 'mount.ts', 'algorithm-plugin.ts', 'api-key-plugin.ts']) {
      cpSync(join(ROOT, 'config/examples', name), join(folder, name))
    }
    const env = { ...process.env, WEB: url, API: api, REPORTS: url, PORT: '0', ADMIN_PORT: '0' }
    for (const [name, path, answer] of [
      ['library.ts', '/a', '/a'],
      ['library.ts', '/api/a', 'api /a'],
      ['mount.ts', '/reports/a', '/a'],
    ] as const) {
      const running = new Running([], { bin: join(folder, name), cwd: folder, env, plain: true })
      t.teardown(() => running.stop())
      // oxlint-disable-next-line no-await-in-loop -- one process after the other
      const { address } = await running.logged(/^listening$/)
      // oxlint-disable-next-line no-await-in-loop
      t.equal((await ask(`${String(address)}${path}`, { headers: { 'x-user': 'me' } })).body, answer)
      running.signal('SIGTERM')
      // oxlint-disable-next-line no-await-in-loop
      t.match(await running.ended, { code: 0, stderr: '' })
    }
  })

  await suite.test('its types', async (t) => {
    // What a user would have installed as well.
    mkdirSync(join(modules, '@types'))
    symlinkSync(join(ROOT, 'node_modules/@types/node'), join(modules, '@types/node'))
    writeFileSync(
      join(folder, 'wrong.ts'),
      `import { buildGateway, defineConfig, type Algorithm, type Config } from 'sluice'
import schema from 'sluice/schema.json' with { type: 'json' }
export const title: string = schema.title
export const config: Config = defineConfig({
  pools: { web: { backends: ['http://a'] } },
  // @ts-expect-error -- there is no such pool
  routes: [{ path: '/', pool: 'nowhere' }],
})
// @ts-expect-error -- a misspelt key
export const typo: Config = defineConfig({ pools: { web: { backend: ['http://a'] } } })
export const unhealthy: Algorithm = {
  // @ts-expect-error -- candidates have no health
  pick: (candidates) => candidates.find(({ healthy }) => healthy),
}
export const gateway = await buildGateway(config)
gateway.admin?.log.info('typed')
gateway.algorithms.register('x', () => unhealthy)
// @ts-expect-error -- a factory makes an algorithm
gateway.algorithms.register('y', () => 1)
`,
    )
    const page = readFileSync(join(ROOT, 'README.md'), 'utf8')
    for (const [index, [, block = '']] of Array.from(page.matchAll(/^```ts\n(.*?)^```$/gms)).entries()) {
      writeFileSync(join(folder, `readme-${index}.ts`), block)
    }
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: 'es2024',
      module: 'nodenext',
      types: ['node'],
      resolveJsonModule: true,
      // What declarations of ours do not compile must not hide.
      skipLibCheck: false,
    }
    const include = ['*.ts']
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    await t.resolves(succeed([process.execPath, tsc, '-p', folder], folder))
  })
})
