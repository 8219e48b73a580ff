/**
 * The way back: one configuration at a time, as many as are kept, and never to what one comes from.
 */
// oxlint-disable no-await-in-loop -- one after the other
import { writeFileSync } from 'node:fs'

import { type Test, test } from 'tap'

import { hashOf } from '../../src/config/text.ts'
import { ask, backend } from '../helpers/process.ts'
import { type Live, live, poolOf } from '../helpers/reload.ts'

/** Configurations that lead to the first, second, ... backend, which answers with its number. */
async function configurations(t: Test, count: number, keep: number): Promise<readonly string[]> {
  const urls = await Promise.all(Array.from({ length: count }, (_, index) => backend(t, String(index))))
  return urls.map((url) => poolOf([url], `reload: { keep: ${keep} }`))
}

async function back(gateway: Live): Promise<number> {
  return (await gateway.call('/rollback', { method: 'POST' })).status
}

async function answers(gateway: Live): Promise<string> {
  return (await ask(gateway.url)).body
}

void test('back, and back again, and then there is nowhere to go', async (t) => {
  const [first = '', ...others] = await configurations(t, 3, 10)
  const gateway = await live(t, first)
  const refused = await gateway.call('/rollback', { method: 'POST' })
  t.match([refused.status, JSON.parse(refused.body)], [409, { code: 'SLUICE_NO_ROLLBACK' }], 'at the beginning')
  t.equal((await gateway.put('pools: 1')).status, 422)
  t.equal(await back(gateway), 409, 'after a bad one')
  for (const text of others) await gateway.put(text)
  t.equal((await gateway.put('pools: 1')).status, 422)
  t.equal((await gateway.put(`${others.at(-1)} # a comment`)).status, 200)
  t.equal(await answers(gateway), '2')
  t.equal(await back(gateway), 200)
  t.equal(await answers(gateway), '1', 'neither the bad one nor the one that changed nothing counts')
  t.equal(await back(gateway), 200)
  t.equal(await answers(gateway), '0')
  t.match(await gateway.lastReload(), { hash: hashOf(first), ok: true })
  t.equal(await back(gateway), 409)
  writeFileSync(gateway.file, others[0] ?? '')
  gateway.process.signal('SIGHUP')
  await gateway.process.logged(/: SIGHUP, in /)
  t.equal(await back(gateway), 200, 'and so on')
  t.equal(await answers(gateway), '0')
})

void test('no more are kept than reload.keep says, and the way back loses none of them', async (t) => {
  const [first = '', ...others] = await configurations(t, 6, 3)
  const gateway = await live(t, first)
  for (const text of others) await gateway.put(text)
  const way: string[] = []
  while ((await back(gateway)) === 200) way.push(await answers(gateway))
  t.same(way, ['4', '3', '2'])
})

void test('keep: 0 keeps none, and what was kept is forgotten', async (t) => {
  const [first = '', second = '', third = ''] = await configurations(t, 3, 2)
  const gateway = await live(t, first)
  await gateway.put(second)
  await gateway.put(third.replace('keep: 2', 'keep: 0'))
  t.equal(await back(gateway), 409)
  t.equal(await answers(gateway), '2')
})

void test('many who go back at the same time go back as often', async (t) => {
  const [first = '', ...others] = await configurations(t, 5, 10)
  const gateway = await live(t, first)
  for (const text of others) await gateway.put(text)
  t.same(await Promise.all([back(gateway), back(gateway), back(gateway)]), [200, 200, 200])
  t.equal(await answers(gateway), '1')
  t.equal(await back(gateway), 200)
  t.equal(await answers(gateway), '0')
  t.equal(await back(gateway), 409)
})
