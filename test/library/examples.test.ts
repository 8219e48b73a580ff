/**
 * The examples and recipes that users are shown, each of them run.
 */
import { cpSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { type Test, test } from 'tap'

import { ERRORS } from '../../src/errors.ts'
import { ask, backend, outsideFolder, ROOT, run, Running, startGateway } from '../helpers/process.ts'

/** Runs an example as it is, but for the name `sluice`, which in this repository is no installed package. */
function startExample(t: Test, name: string, env: Readonly<Record<string, string>>): Running {
  const self = pathToFileURL(join(ROOT, 'src/config/self.ts')).href
  const options = { bin: `--import=${self}`, env: { ...process.env, ...env } }
  const running = new Running([join(ROOT, 'config/examples', name)], options)
  t.teardown(() => running.stop())
  return running
}

async function stopped(running: Running): Promise<object> {
  running.signal('SIGTERM')
  const { code, stderr } = await running.ended
  return { code, stderr }
}

void test('library.ts: the gateway inside a program', async (t) => {
  const web = await backend(t, (request, answer) => answer.end(`web ${request.url}`))
  const api = await backend(t, (request, answer) => answer.end(`api ${request.url}`))
  const running = startExample(t, 'library.ts', { WEB: web, API: api, PORT: '0', ADMIN_PORT: '0' })
  const { address, admin } = await running.logged(/^listening$/)
  const { headers, body } = await ask(`${String(address)}/a?b=1`)
  t.equal(body, 'web /a?b=1')
  t.equal(headers['x-served-by'], 'my-gateway', 'its hooks hold')
  for (let n = 0; n < 3; n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.equal((await ask(`${String(address)}/api/a`)).body, 'api /a', 'its algorithm picks')
  }
  t.equal((await ask(`${String(admin)}/readyz`)).status, 200)
  t.same(await stopped(running), { code: 0, stderr: '' })
})

void test('mount.ts: a pool on a route of an application', async (t) => {
  const reports = await backend(t, (request, answer) => {
    request.setEncoding('utf8').on('data', (text: string) => answer.write(text))
    request.on('end', () => answer.end(`${request.method} ${request.url}`))
  })
  const running = startExample(t, 'mount.ts', { REPORTS: reports, PORT: '0' })
  const { address } = await running.logged(/^listening$/)
  const url = String(address)
  const headers = { 'x-user': 'me', 'content-type': 'application/json' }
  t.equal((await ask(url, { headers })).body, '{"hello":"from my own route"}')
  const posted = { method: 'POST', headers, body: '{"a":1}' }
  t.equal((await ask(`${url}/json`, posted)).body, '{"received":{"a":1}}', 'its own bodies are parsed')
  const forwarded = await ask(`${url}/reports/2024?x=1`, posted)
  t.equal(forwarded.body, '{"a":1}POST /2024?x=1', 'forwarded ones are streamed')
  t.equal(forwarded.headers['x-app'], 'mine')
  t.equal((await ask(`${url}/reports/2024`)).status, 401, 'its hooks hold for both')
  t.equal((await ask(`${url}/elsewhere`, { headers })).status, 404)
  t.match((await ask(`${url}/elsewhere`, { headers })).body, 'Route GET:/elsewhere not found', 'and are its own')
  t.same(await stopped(running), { code: 0, stderr: '' })
})

/** A recipe with other backends, beside the examples that it names. */
function recipe(name: string, backends: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(ROOT, 'config/recipes', name), 'utf8')
  for (const [port, url] of Object.entries(backends)) text = text.replaceAll(`http://127.0.0.1:${port}`, url)
  return text.replaceAll('../examples/', `${join(ROOT, 'config/examples')}/`)
}

void test('recipes/plugin.yaml: a plugin with options', async (t) => {
  const [one, two] = [await backend(t, 'one'), await backend(t, 'two')]
  const env = { ...process.env, API_KEY: 'k1' }
  const { url } = await startGateway(t, recipe('plugin.yaml', { 9001: one, 9002: two }), { env })
  t.equal((await ask(url)).status, 401)
  t.equal((await ask(url, { headers: { 'x-api-key': 'k2' } })).status, 401)
  const answers = [1, 2].map(() => ask(url, { headers: { 'x-api-key': 'k1' } }))
  t.same((await Promise.all(answers)).map(({ body }) => body).toSorted(), ['one', 'two'])
})

void test('recipes/algorithm.yaml: an algorithm of a plugin', async (t) => {
  const [blue, green] = [await backend(t, 'blue'), await backend(t, 'green')]
  const { url } = await startGateway(t, recipe('algorithm.yaml', { 9001: blue, 9002: green }))
  for (const [wanted, got] of [
    ['green', 'green'],
    ['blue', 'blue'],
    ['red', 'blue'],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.equal((await ask(url, { headers: { 'x-backend': wanted } })).body, got)
  }
  t.equal((await ask(url)).body, 'blue')
})

void test('every recipe is valid, without a warning', async (t) => {
  const folder = copyOfRecipes(t)
  const files = globSync('*.yaml', { cwd: folder }).toSorted()
  t.ok(files.length >= 8)
  const checked = files.map(async (file) => {
    const { code, stderr } = await run(t, ['check', '--strict', join(folder, file)], { plain: true })
    t.same({ code, stderr }, { code: 0, stderr: '' }, file)
  })
  await Promise.all(checked)
})

/** The recipes beside the examples and certificates that they name. */
function copyOfRecipes(t: Test): string {
  const folder = outsideFolder(t)
  const recipes = join(folder, 'recipes')
  cpSync(join(ROOT, 'config/examples'), join(folder, 'examples'), { recursive: true })
  cpSync(join(ROOT, 'config/recipes'), recipes, { recursive: true })
  cpSync(join(ROOT, 'test/helpers/certificates'), join(recipes, 'tls'), { recursive: true })
  return recipes
}

/** Blocks of YAML in a page, each with what stands in its first line. */
function yamlBlocks(page: string): string[] {
  return Array.from(page.matchAll(/^```yaml\n(.*?)^```$/gms), ([, block = '']) => block)
}

void test('every YAML block of README.md is valid; those that name a recipe are that recipe', async (t) => {
  const blocks = yamlBlocks(readFileSync(join(ROOT, 'README.md'), 'utf8'))
  t.ok(blocks.length >= 8)
  const recipes = copyOfRecipes(t)
  const named = new Map(
    globSync('config/recipes/*.yaml', { cwd: ROOT }).map((file) => {
      return [readFileSync(join(ROOT, file), 'utf8'), basename(file)] as const
    }),
  )
  const shown = new Set<string>()
  const checked = blocks.map(async (block, index) => {
    const name = named.get(block)
    if (name !== undefined) return shown.add(name)
    const file = join(recipes, `block-${index}.yaml`)
    writeFileSync(file, block)
    const { code, stderr } = await run(t, ['check', '--strict', file], { plain: true })
    return t.same({ code, stderr }, { code: 0, stderr: '' }, block)
  })
  await Promise.all(checked)
  t.same(
    [...named.values()].filter((name) => !shown.has(name)),
    [],
    'every recipe is in README.md',
  )
})

void test('README.md names every error code with its status', async (t) => {
  const page = readFileSync(join(ROOT, 'README.md'), 'utf8')
  for (const [code, { status }] of Object.entries(ERRORS)) t.ok(page.includes(`| \`${code}\` | ${status} |`), code)
})
