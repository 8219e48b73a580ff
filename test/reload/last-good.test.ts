/**
 * The copy of the last configuration that worked.
 */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'

import { hashOf } from '../../src/config/text.ts'
import { lastGoodName, saveLastGood } from '../../src/last-good.ts'

void test('it is what is in force, whole, and for its owner alone', async (t) => {
  const file = join(t.testdir(), 'gateway.yaml')
  for (const text of ['pools: {}\n', 'pools: { other: {} }\n']) {
    writeFileSync(file, text)
    // oxlint-disable-next-line no-await-in-loop -- the second goes over the first
    await saveLastGood(file, hashOf(text))
    const copy = join(t.testdirName, 'gateway.last-good.yaml')
    t.equal(readFileSync(copy, 'utf8'), text)
    t.equal(statSync(copy).mode & 0o777, 0o600)
  }
  t.same(readdirSync(t.testdirName).toSorted(), ['gateway.last-good.yaml', 'gateway.yaml'])
})

void test('a file that has changed since is not saved', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'broken' }), 'gateway.yaml')
  await saveLastGood(file, hashOf('pools: {}\n'))
  t.notOk(existsSync(lastGoodName(file)))
})

void test('names', async (t) => {
  t.equal(lastGoodName('/etc/sluice/gateway.yaml'), '/etc/sluice/gateway.last-good.yaml')
  t.equal(lastGoodName('./a.b/config'), './a.b/config.last-good')
})
