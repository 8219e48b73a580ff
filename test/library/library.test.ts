/**
 * The library's edges: what is wrong is said where it is called, and nothing of one gateway leaks into another.
 */
import Fastify from 'fastify'
import { test } from 'tap'

import { type AlgorithmFactory, buildGateway, ConfigError, defineConfig, sluice } from '../../src/index.ts'
import { ask, backend, freePorts } from '../helpers/process.ts'

const LOCAL = { port: 0, host: '127.0.0.1' }
const silent = { log: { level: 'silent' } } as const

const last: AlgorithmFactory = () => ({
  pick(candidates) {
    const picked = candidates.at(-1)
    if (picked === undefined) throw new Error('there is nothing to pick from')
    return picked
  },
})

async function problemsOf(work: () => PromiseLike<unknown>): Promise<string[]> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
  return []
}

void test('a configuration that is wrong is refused with every mistake', async (t) => {
  const config = { pools: { web: { backends: ['http://127.0.0.1:1/path'], timeouts: { connect: 'soon' } } } }
  const problems = await problemsOf(() => buildGateway(defineConfig(config)))
  t.equal(problems.length, 2)
  t.match(problems.join('\n'), /^pools\.web\.backends\[0\]: expected a URL without a path/m)
  t.match(problems.join('\n'), /^pools\.web\.timeouts\.connect: /m)
})

void test('an algorithm that nobody has registered is refused when the gateway gets ready', async (t) => {
  const app = await buildGateway({ ...silent, pools: { web: { algorithm: 'round-robbin', backends: ['http://a'] } } })
  t.teardown(() => app.close())
  t.match(await problemsOf(() => app.ready()), [
    /^pools\.web\.algorithm: Unknown algorithm "round-robbin"\. Did you mean "round-robin"\?/,
  ])
})

void test('gateways in one process have nothing in common', async (t) => {
  const urls = [await backend(t, 'one'), await backend(t, 'two')]
  const served = urls.map(async (url) => {
    const app = await buildGateway({ ...silent, admin: false, pools: { web: { backends: [url] } } })
    t.teardown(() => app.close())
    app.algorithms.register('mine', last)
    return await ask(await app.listen(LOCAL))
  })
  t.same(
    (await Promise.all(served)).map(({ body }) => body),
    ['one', 'two'],
  )
})

void test('warnings of a configuration go to the log of the gateway', async (t) => {
  const app = await buildGateway({ ...silent, pools: { web: { backends: [{ url: 'http://a', weight: 0 }] } } })
  t.teardown(() => app.close())
  t.equal((await ask(await app.listen(LOCAL))).status, 503)
})

void test('several pools in one application, each behind its prefix', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const name of ['one', 'two']) {
    // oxlint-disable-next-line no-await-in-loop -- in turn
    const url = await backend(t, (request, answer) => answer.end(`${name} ${request.url}`))
    app.register(sluice, { prefix: `/${name}`, pool: { backends: [url] } })
  }
  const address = await app.listen(LOCAL)
  t.equal((await ask(`${address}/one/a?b`)).body, 'one /one/a?b')
  t.equal((await ask(`${address}/two?c`)).body, 'two /two?c', 'the prefix alone is below it as well')
  t.equal((await ask(`${address}/two/`)).body, 'two /two/')
  t.equal((await ask(`${address}/twofold`)).status, 404)
  t.equal((await ask(`${address}/three`)).status, 404)
  t.notOk(app.hasDecorator('algorithms'), 'nothing of it leaks into the application')
})

void test('a mounted pool: algorithms of the application, and options that are wrong', async (t) => {
  const url = await backend(t, 'picked')
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(sluice, {
    prefix: '/mine',
    pool: { algorithm: 'last', backends: ['http://127.0.0.1:1', url] },
    algorithms: { last },
  })
  t.equal((await ask(`${await app.listen(LOCAL)}/mine`)).body, 'picked')

  const wrong = Fastify()
  t.teardown(() => wrong.close())
  wrong.register(sluice, { prefix: '/x', pool: { backends: [] } })
  t.match(await problemsOf(() => wrong.ready()), [/^pool\.backends: /])

  const unknown = Fastify()
  t.teardown(() => unknown.close())
  unknown.register(sluice, Object.assign({ prefix: '/x/', pool: { backends: [url] } }, { hostHeader: 'backend' }))
  t.match(await problemsOf(() => unknown.ready()), [/^hostHeader: unknown option/, /^prefix: expected no slash/])
})

void test('ids of requests that the application takes from clients forge no line of its log, nor end it', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const app = Fastify({ requestIdHeader: 'x-request-id', logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  const [nowhere = 0] = await freePorts(1)
  await app.register(sluice, { prefix: '/a', pool: { backends: [`http://127.0.0.1:${nowhere}`] } })
  const url = await app.listen(LOCAL)
  const ids = ['a","outcome":"answered', 'a"b', 'a\\']
  await Promise.all(ids.map((id) => ask(`${url}/a/x`, { headers: { 'x-request-id': id } })))
  await app.close()
  const told = lines.map((line): unknown => JSON.parse(line)).filter((line) => Reflect.has(Object(line), 'outcome'))
  const sorted = told.map((line) => String(Reflect.get(Object(line), 'requestId'))).toSorted((a, b) => (a < b ? -1 : 1))
  t.same(
    sorted,
    ids.toSorted((a, b) => (a < b ? -1 : 1)),
  )
  t.ok(told.every((line) => Reflect.get(Object(line), 'outcome') === 'refused'))
})
