/** Files of every kind, and those that cannot be read. */
// oxlint-disable no-await-in-loop -- one file after the other: modules are loaded in turn
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import { checkConfig, ConfigError, formatProblem } from '../../src/config/check.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'

const YAML = 'pools: { web: { backends: ["http://127.0.0.1:1"] } }\n'
const JSON_TEXT = '{ "pools": { "web": { "backends": ["http://127.0.0.1:1"] } } }'
const MODULE = 'export default { pools: { web: { backends: ["http://127.0.0.1:1"] } } }'

async function messageOf(file: string): Promise<string> {
  try {
    await loadConfig(file, {})
  } catch (error) {
    return error instanceof ConfigError ? error.message : `not a ConfigError: ${String(error)}`
  }
  return 'no error'
}

void t.test('every kind of file', async (test) => {
  const files: Record<string, string> = {
    'a.yaml': YAML,
    'a.yml': YAML,
    'bom.yaml': `\uFEFF${YAML}`,
    'windows.yaml': 'pools:\r\n  web:\r\n    backends:\r\n      - http://127.0.0.1:1\r\n',
    'a.json': JSON_TEXT,
    'bom.json': `\uFEFF${JSON_TEXT}`,
    'a.ts': `const port: number = 1\nexport default { pools: { web: { backends: [\`http://127.0.0.1:\${port}\`] } } }`,
    'a.js': MODULE,
    'a.mjs': MODULE,
    'function.mjs': MODULE.replace('default', 'default () => (').concat(')'),
    'async.ts': MODULE.replace('default', 'default async () => (').concat(')'),
    'old.js': MODULE.replace('export default', 'module.exports ='),
  }
  const folder = test.testdir({ ...files, 'package.json': '{}' })
  for (const [name, content] of Object.entries(files)) {
    const { settings, warnings, hash } = await loadConfig(join(folder, name), {})
    test.equal(settings.pools.get('web')?.backends[0]?.id, '127.0.0.1:1', name)
    test.same(warnings, [])
    test.equal(hash, createHash('sha256').update(content).digest('hex').slice(0, 12))
  }
})

void t.test('a changed file is read afresh, modules too', async (test) => {
  const folder = test.testdir({ 'package.json': '{}' })
  for (const name of ['a.ts', 'a.mjs', 'old.js', 'a.yaml']) {
    for (const port of ['1', '2']) {
      const text =
        name === 'a.yaml' ? YAML : name === 'old.js' ? MODULE.replace('export default', 'module.exports =') : MODULE
      writeFileSync(join(folder, name), text.replace(':1"', `:${port}"`))
      const { settings } = await loadConfig(join(folder, name), {})
      test.equal(settings.pools.get('web')?.backends[0]?.id, `127.0.0.1:${port}`, name)
    }
  }
})

void t.test('files that cannot be read are one line', async (test) => {
  const folder = test.testdir({ 'a.toml': '', 'folder.yaml': {}, plain: {} })
  test.equal(await messageOf(join(folder, 'no.yaml')), `${join(folder, 'no.yaml')}: cannot be read: no such file`)
  test.equal(await messageOf(join(folder, 'no.ts')), `${join(folder, 'no.ts')}: cannot be read: no such file`)
  test.match(await messageOf(join(folder, 'folder.yaml')), /: cannot be read: it is a folder$/)
  test.match(await messageOf(join(folder, 'plain')), /: cannot be read: it is a folder$/)
  test.match(await messageOf(join(folder, 'a.toml')), /: cannot be read: expected a name that ends in \.yaml/)
  test.match(await messageOf(join(folder, 'a.toml/b.yaml')), /: cannot be read: a part of its path is not a folder$/)
  test.match(await messageOf(`${'x'.repeat(5000)}.yaml`), /: cannot be read: its name is too long$/)
  test.match(await messageOf('a\0.yaml'), /^a\\u0000\.yaml: cannot be read: /)
})

void t.test('the file is named as the user typed it', async (test) => {
  const file = join(test.testdir({ 'a.yaml': 'pools: 1' }), 'a.yaml')
  const typed = relative(process.cwd(), file)
  test.ok((await messageOf(typed)).startsWith(`${typed}:1:8: pools: `))
})

void t.test('plugins lie relative to the file', async (test) => {
  const folder = test.testdir({ 'mine.ts': '', 'a.yaml': `${YAML}plugins: [./mine.ts, "@scope/package"]` })
  const { settings } = await loadConfig(join(folder, 'a.yaml'), {})
  test.same(
    settings.plugins.map((plugin) => plugin.path),
    [join(folder, 'mine.ts'), '@scope/package'],
  )
})

const tls = (name: string) => `listen: { tls: { cert: certs/${name}.pem, key: certs/${name}.key } }\n`

void t.test('certificates lie relative to the file, and the check sees them as the start does', async (test) => {
  const folder = test.testdir({ 'good.yaml': YAML + tls('server'), 'bad.yaml': YAML + tls('gone'), certs: {} })
  for (const name of ['server.pem', 'server.key']) {
    cpSync(join(import.meta.dirname, '../helpers/certificates', name), join(folder, 'certs', name))
  }
  const { settings } = await loadConfig(join(folder, 'good.yaml'), {})
  test.equal(settings.listen.tls?.key, readFileSync(join(folder, 'certs/server.key'), 'utf8'))
  const { problems = [] } = checkConfig(await readConfig(join(folder, 'bad.yaml'), {}))
  test.same(
    problems.map((problem) => problem.message),
    ['cannot read "certs/gone.pem": no such file', 'cannot read "certs/gone.key": no such file'],
  )
  test.equal(await messageOf(join(folder, 'bad.yaml')), problems.map(formatProblem).join('\n'))
})

void t.test('what modules throw is one line each', async (test) => {
  const folder = test.testdir({
    'text.mjs': 'throw "some text"',
    'nothing.mjs': 'throw undefined',
    'number.mjs': 'const e = new Error(); e.message = 5; throw e',
    'syntax.ts': 'export default {\n  pools: { web },,\n}\n',
    'import.ts': 'import "./nowhere.ts"\nexport default {}',
    'undefined.ts': 'export default undefined',
    'promise.mjs': 'export default Promise.reject(new Error("later"))',
  })
  test.match(await messageOf(join(folder, 'text.mjs')), /text\.mjs:1:1: import: the file threw "some text"$/)
  test.match(await messageOf(join(folder, 'syntax.ts')), /syntax\.ts:2:1: import: SyntaxError: Unexpected token `,`/)
  test.match(await messageOf(join(folder, 'nothing.mjs')), /the file threw nothing$/)
  test.match(await messageOf(join(folder, 'number.mjs')), /number\.mjs:1:\d+: import: Error: 5$/)
  test.match(await messageOf(join(folder, 'import.ts')), /import\.ts:1:1: import: Error: Cannot find module/)
  test.match(await messageOf(join(folder, 'undefined.ts')), /default: expected a default export/)
  test.match(await messageOf(join(folder, 'promise.mjs')), /import: Error: later$/)
})

void t.test('JSON that YAML cannot place is still good, and errors in it stand at the beginning', async (test) => {
  const key = 'k'.repeat(2000)
  const text = `{ "pools": { "web": { "backends": ["http://127.0.0.1:1"], "algorithm": { "type": "x", "${key}": 1 } } } }`
  const folder = test.testdir({ 'good.json': text, 'bad.json': text.replace('"type"', '"typ"') })
  const { settings } = await loadConfig(join(folder, 'good.json'), {})
  test.same(settings.pools.get('web')?.algorithm.options, { [key]: 1 })
  test.match(await messageOf(join(folder, 'bad.json')), /bad\.json:1:\d+: pools\.web\.algorithm\.type: missing/)
})

void t.test("a user's file imports 'sluice' wherever it lies, and gets the package that runs", async (test) => {
  const root = join(import.meta.dirname, '../..')
  const folder = test.testdir({ user: {}, package: { 'package.json': '{ "type": "module" }' } })
  const source = join(folder, 'package/src')
  mkdirSync(source)
  for (const room of ['config', 'core']) cpSync(join(root, 'src', room), join(source, room), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(folder, 'package/node_modules'))
  writeFileSync(join(source, 'index.ts'), `export { defineConfig } from './config/define.ts'\n`)
  const file = join(folder, 'user/config.ts')
  writeFileSync(file, `import { defineConfig } from 'sluice'\n${MODULE.replace('default', 'default defineConfig(')})`)
  const script = `import { loadConfig } from ${JSON.stringify(join(source, 'config/load.ts'))}
    console.log((await loadConfig(${JSON.stringify(file)})).settings.pools.get('web').backends[0].id)`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  test.equal(output.trim(), '127.0.0.1:1')
})
