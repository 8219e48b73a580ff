/**
 * The admin listener: its calls, its token, and that it is nowhere but on its own port.
 */

import type { ServerResponse } from 'node:http'

import { type Test, test } from 'tap'

import { buildGateway } from '../../src/library.ts'
import type { Config } from '../../src/config/schema.ts'
import { VERSION } from '../../src/package.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { ask, askJson, backend, startGateway } from '../helpers/process.ts'

interface Gateway {
  readonly url: string
  readonly admin: string
}

async function gateway(t: Test, config: Config): Promise<Gateway> {
  const app = await buildGateway({ log: { level: 'silent' }, ...config })
  t.teardown(() => app.close())
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  if (app.admin === undefined) return { url, admin: '' }
  return { url, admin: await app.admin.listen({ port: 0, host: '127.0.0.1' }) }
}

const UNUSED = { pools: { web: { backends: ['http://127.0.0.1:9'] } } }
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

void test('/healthz and /readyz', async (t) => {
  const app = await buildGateway({ log: { level: 'silent' }, ...UNUSED })
  t.teardown(() => app.close())
  const admin = await app.admin?.listen({ port: 0, host: '127.0.0.1' })
  t.same(await askJson(`${admin}/healthz`), { status: 200, body: { status: 'ok' } })
  t.same(await askJson(`${admin}/readyz`), { status: 503, body: { status: 'starting' } }, 'before it listens')
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.same(await askJson(`${admin}/readyz`), { status: 200, body: { status: 'ready' } })
  t.equal((await ask(`${admin}/readyz`, { method: 'HEAD' })).status, 200, 'some orchestrators ask with HEAD')
})

/** What is said of a backend that requests alone tell about. */
function standing(outcomes: number, bad: number): object {
  return {
    breaker: { state: 'closed' },
    health: { active: null, passive: { outcomes, failures: bad, ejectedForMs: 0 } },
  }
}

void test('/status', async (t) => {
  const good = await backend(t, 'here')
  const { url, admin } = await gateway(t, {
    pools: {
      web: { backends: [{ url: good, id: 'one', weight: 5 }] },
      api: { algorithm: { type: 'round-robin' }, backends: ['http://127.0.0.1:1'] },
    },
    routes: [
      { path: '/*', pool: 'web' },
      { path: '/api', pool: 'api' },
    ],
  })
  t.equal((await ask(url)).body, 'here')
  t.equal((await ask(`${url}/api`)).status, 502)
  const { status, body } = await askJson(`${admin}/status`)
  t.equal(status, 200)
  const one = { id: 'one', url: good, weight: 5, effectiveWeight: 5, state: 'healthy', inFlight: 0, requests: 1 }
  const two = { id: '127.0.0.1:1', url: 'http://127.0.0.1:1', weight: 1, effectiveWeight: 1, state: 'healthy' }
  t.match(body, { version: VERSION, startedAt: TIME, config: { hash: /^[0-9a-f]{12}$/, loadedAt: TIME } })
  const refused = { eventLoopDelay: 0, eventLoopUtilization: 0, heap: 0, rss: 0 }
  t.match(body, { overload: { state: 'normal', limit: null, share: 1, refused, heap: Number, rss: Number } })
  t.match(body, { config: { lastReload: { ok: true, at: TIME, error: null } } })
  t.same(Reflect.get(Object(body), 'pools'), {
    web: { algorithm: 'least-connections', backends: [{ ...one, failures: 0, ...standing(1, 0) }] },
    api: { algorithm: 'round-robin', backends: [{ ...two, inFlight: 0, requests: 2, failures: 2, ...standing(2, 2) }] },
  })
  t.same(Object.keys(Object(body)), ['version', 'startedAt', 'config', 'overload', 'pools'])
})

void test('/status counts what is in flight', async (t) => {
  const held: ServerResponse[] = []
  const url = await backend(t, (_request, answer) => {
    held.push(answer)
    answer.write('begun')
  })
  const { url: served, admin } = await gateway(t, { pools: { web: { backends: [url] } } })
  const answer = await fetch(served)
  t.match(await askJson(`${admin}/status`), { body: { pools: { web: { backends: [{ inFlight: 1 }] } } } })
  held[0]?.end('done')
  t.equal(await answer.text(), 'begundone')
})

void test('any other call is answered 404, in the form of the gateway', async (t) => {
  const { admin } = await gateway(t, UNUSED)
  for (const [method, path] of [
    ['GET', '/dashboard'],
    ['GET', '/nothing'],
    ['POST', '/status'],
    ['GET', '//status'],
    ['GET', '/status/'],
  ]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { status, headers, body } = await ask(`${admin}${path}`, { method: method ?? 'GET' })
    t.equal(status, 404, `${method} ${path}`)
    t.match(headers['content-type'], /^application\/json/)
    const { requestId, ...rest }: Record<string, unknown> = JSON.parse(body)
    t.same(rest, { statusCode: 404, error: 'Not Found', code: 'SLUICE_NOT_FOUND', message: 'No such call' })
    t.equal(requestId, headers['x-request-id'])
  }
})

void test('AD-01: it listens on the loopback address unless told otherwise', async (t) => {
  const { admin } = await startGateway(t, 'pools: { web: { backends: ["http://127.0.0.1:9"] } }\n')
  t.match(admin, /^http:\/\/127\.0\.0\.1:\d+$/)
})

void test('AD-02: its calls are never on the data port, however they are written', async (t) => {
  const { url: served } = await gateway(t, { ...UNUSED, routes: [{ path: '/only', pool: 'web' }] })
  for (const path of ['/status', '/healthz', '/readyz', '/metrics', '/admin', '//status', '/%73tatus', '/./status']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { status, body } = await ask(`${served}${path}`)
    t.ok(status === 404 || status === 400, `${path}: ${status}`)
    t.match(JSON.parse(body), { code: /^SLUICE_(NO_ROUTE|BAD_REQUEST)$/ })
  }
  const everything = await backend(t, 'of the backend')
  const { url } = await gateway(t, { pools: { web: { backends: [everything] } } })
  t.equal((await ask(`${url}/status`)).body, 'of the backend', 'a path like any other')
})

void test('AD-03: with a token, every call but /healthz and /readyz needs it; a refusal is logged', async (t) => {
  const config = 'admin: { token: "${TEST_TOKEN}" }\npools: { web: { backends: ["http://127.0.0.1:9"] } }\n'
  const env = { ...process.env, TEST_TOKEN: 'open-sesame' }
  const { admin, process: running } = await startGateway(t, config, { env })
  for (const path of ['/healthz', '/readyz']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.equal((await ask(`${admin}${path}`)).status, 200, `${path} is open`)
  }
  const wrong = [
    undefined,
    'Bearer',
    'Bearer ',
    'Bearer open',
    'Bearer open-sesame 2',
    'Basic open-sesame',
    'open-sesame',
  ]
  for (const authorization of wrong) {
    for (const path of ['/status', '/nothing', '/']) {
      const headers = authorization === undefined ? {} : { authorization }
      // oxlint-disable-next-line no-await-in-loop
      const answer = await ask(`${admin}${path}`, { headers })
      t.equal(answer.status, 401, `${path} with ${authorization}`)
      t.equal(answer.headers['www-authenticate'], 'Bearer')
      t.match(JSON.parse(answer.body), { statusCode: 401, error: 'Unauthorized', code: 'SLUICE_UNAUTHORIZED' })
    }
  }
  const refused = await running.logged(/^admin call without its token$/)
  t.match(refused, { level: 40, client: '127.0.0.1', method: 'GET', path: '/status' })
  const answers = ['Bearer open-sesame', 'bearer open-sesame'].map((authorization) => {
    return ask(`${admin}/status`, { headers: { authorization } })
  })
  for (const { status } of await Promise.all(answers)) t.equal(status, 200)
  t.notOk(
    running.lines.some((line) => line.includes('sesame')),
    'the token is in no log',
  )
})

void test('`admin: false` leaves it out', async (t) => {
  const url = await backend(t, 'here')
  const { url: served, admin } = await gateway(t, { admin: false, pools: { web: { backends: [url] } } })
  t.equal(admin, '')
  t.equal((await ask(served)).body, 'here')
  const running = await startGateway(t, `admin: false\npools: { web: { backends: ["${url}"] } }\n`)
  t.equal(running.admin, '')
  t.notMatch(running.greeting, 'status')
  t.equal((await ask(running.url)).body, 'here')
})

void test('it closes with the gateway', async (t) => {
  const app = await buildGateway({ log: { level: 'silent' }, ...UNUSED })
  const admin = await app.admin?.listen({ port: 0, host: '127.0.0.1' })
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.close()
  await t.rejects(ask(`${admin}/healthz`), { code: 'ECONNREFUSED' })
})

void test('of thousands of mistakes in a refused configuration, the status tells a few, and how many there are', async (t) => {
  const all = await startWithAdmin(t)
  const pools = Object.fromEntries(
    Array.from({ length: 1000 }, (_, n) => [`pool-${n}`, { backends: ['http://a'], no: n }]),
  )
  const options = { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ pools }) }
  const answer = await fetch(`http://127.0.0.1:${all.adminPort}/config`, options)
  t.equal(answer.status, 422)
  await answer.arrayBuffer()
  const { error } = all.app.configuration.lastReload
  t.equal(error?.split('\n').length, 101)
  t.match(error, /\nand \d{3,} more$/)
})
