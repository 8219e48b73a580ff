/**
 * The guard of reloads in front of backends that fail or do not: what it undoes, what it leaves, and that it stops there.
 */
// oxlint-disable no-await-in-loop -- one request after the other
import { type Test, test } from 'tap'

import { hashOf } from '../../src/config/text.ts'
import { ask, backend } from '../helpers/process.ts'
import { type Live, live, poolOf } from '../helpers/reload.ts'

const GUARD = 'reload: { guard: { window: 10m, errorRate: 0.1, minimum: 20 } }\nlog: { access: false }\n'

interface Fleet {
  readonly good: string
  readonly other: string
  readonly bad: string
  /** From now on the good ones fail as well. */
  readonly fail: () => void
}

async function fleet(t: Test): Promise<Fleet> {
  let status = 200
  const good = await backend(t, (_request, answer) => answer.writeHead(status).end('good'))
  const other = await backend(t, (_request, answer) => answer.writeHead(status).end('other'))
  const bad = await backend(t, (_request, answer) => answer.writeHead(500).end('bad'))
  const fail = (): void => void (status = 500)
  return { good, other, bad, fail }
}

/** @returns how many of them failed */
async function requests(gateway: Live, count: number): Promise<number> {
  let failed = 0
  for (let index = 0; index < count; index++) if ((await ask(gateway.url)).status >= 500) failed++
  return failed
}

async function put(t: Test, gateway: Live, text: string): Promise<string> {
  t.equal((await gateway.put(text)).status, 200)
  t.equal((await gateway.next())['to'], hashOf(text))
  return hashOf(text)
}

void test('a reload that points half of the traffic to failing backends is undone, and it is said why', async (t) => {
  const { good, bad, fail } = await fleet(t)
  const text = poolOf([good], GUARD)
  const gateway = await live(t, text)
  t.equal(await requests(gateway, 30), 0)
  const broken = await put(t, gateway, poolOf([good, bad], GUARD))
  t.equal(await requests(gateway, 20), 10)
  const line = await gateway.next()
  t.match(line, { from: broken, to: hashOf(text), what: 'reload' })
  t.match(
    line['cause'],
    /^the guard of reloads: 10 of 20 requests failed since, 0 % before, in [\d.]+ ms: backend .*removed/,
  )
  t.equal(await requests(gateway, 20), 0, 'as it was')
  t.match(await gateway.lastReload(), { hash: hashOf(text), ok: true })
  t.equal((await gateway.call('/rollback', { method: 'POST' })).status, 409, 'what it left is no place to go back to')

  fail()
  t.equal(await requests(gateway, 50), 50, 'what fails after that is not its business')
  await put(t, gateway, `${text}# the end`)
  t.equal(gateway.told, 3)
})

void test('a good reload stays, also when a few requests fail', async (t) => {
  const { good, other, bad } = await fleet(t)
  const gateway = await live(t, poolOf([good], GUARD))
  await requests(gateway, 20)
  const next = await put(t, gateway, poolOf([good, other], GUARD))
  t.equal(await requests(gateway, 50), 0)
  const all = [...Array.from({ length: 19 }, () => other), bad].map((url, index) => ({ url, id: `b${index}` }))
  const pool = poolOf([], GUARD).replace('backends: []', `backends: ${JSON.stringify(all)}`)
  const last = await put(t, gateway, pool)
  t.equal(await requests(gateway, 60), 3, 'less than it takes')
  t.match(await put(t, gateway, `${pool}# the end`), /./)
  t.match([next, last, gateway.told], [/./, /./, 3])
})

void test('a fleet that failed before is no reason', async (t) => {
  const { good, other, bad } = await fleet(t)
  const gateway = await live(t, poolOf([good, bad], GUARD))
  t.equal(await requests(gateway, 40), 20)
  await put(t, gateway, poolOf([other, bad], GUARD))
  t.equal(await requests(gateway, 60), 30)
  await put(t, gateway, poolOf([good, bad], `${GUARD}# the end`))
  t.equal(gateway.told, 2)
})

void test('a guard that comes with a reload does not know how it was, and judges from the next one on', async (t) => {
  const { good, other, bad } = await fleet(t)
  const gateway = await live(t, poolOf([good, bad], 'log: { access: false }\n'))
  t.equal(await requests(gateway, 40), 20)
  const guarded = await put(t, gateway, poolOf([other, bad], GUARD))
  t.equal(await requests(gateway, 60), 30)
  await put(t, gateway, poolOf([bad], GUARD))
  t.equal(await requests(gateway, 20), 20)
  t.match(await gateway.next(), { to: guarded, cause: /^the guard of reloads: 20 of 20 .* 50 % before/ })
  t.equal(gateway.told, 3)
})
