/**
 * Round robin, at exact orders.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { test } from 'tap'

import { roundRobin } from '../../src/core/algorithms/round-robin.ts'
import type { Backend } from '../../src/core/backend.ts'
import { Pool } from '../../src/core/pool.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'
import { members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

function picker(random = () => 0): (list: readonly Backend[], picks: number) => string {
  const algorithm = roundRobin(undefined, { clock: new VirtualClock(), random })
  return (list, picks) => Array.from({ length: picks }, () => algorithm.pick(list, request()).id).join('')
}

void test('contract', (t) => algorithmContract(t, roundRobin))

void test('one after the other, from the first when chance says 0', async (t) => {
  t.equal(picker()(members(1, 1, 1), 7), 'ABCABCA')
  t.equal(picker()(members(1), 3), 'AAA')
})

void test('enters at a random place', async (t) => {
  const orders = [0, 0.34, 0.99].map((chance) => picker(() => chance)(members(1, 1, 1), 4))
  t.same(orders, ['ABCA', 'BCAB', 'CABC'])
})

void test('weights do not matter to it', async (t) => {
  t.equal(picker()(members(5, 1), 4), 'ABAB')
})

void test('an empty list is an error, and so are options', async (t) => {
  t.throws(() => picker()([], 1), /no candidate/)
  t.throws(() => roundRobin({ key: 1 }, { clock: new VirtualClock(), random: () => 0 }), /no options.*key/)
  t.throws(() => roundRobin('x', { clock: new VirtualClock(), random: () => 0 }), /object/)
  t.doesNotThrow(() => roundRobin({}, { clock: new VirtualClock(), random: () => 0 }))
})

void test('adding D and removing B while running: a fair order with no gap', async (t) => {
  const all = members(1, 1, 1, 1)
  const [a, b, c, d] = all
  if (!a || !b || !c || !d) throw new Error('four members')
  const pick = picker()
  t.equal(pick([a, b, c], 4), 'ABCA')
  t.equal(pick([a, b, c, d], 5), 'BCDAB')
  t.equal(pick([a, c, d], 5), 'CDACD', 'the one removed was the last picked')
  t.equal(pick([a, c, d], 1), 'A')
  t.equal(pick([a, b, d], 3), 'BDA', 'the next one is gone, another has come')
})

void test('who is added behind the last one is next after it', async (t) => {
  const all = members(1, 1, 1, 1)
  const pick = picker()
  t.equal(pick(all.slice(0, 3), 3), 'ABC')
  t.equal(pick(all, 2), 'DA')
})

void test('a list with nobody of the old one is entered afresh', async (t) => {
  const all = members(1, 1, 1, 1)
  const pick = picker()
  t.equal(pick(all.slice(0, 2), 1), 'A')
  t.equal(pick(all.slice(2), 2), 'CD')
})

void test('a detour for a second attempt does not upset the order', async (t) => {
  const all = members(1, 1, 1)
  const pick = picker()
  t.equal(pick(all, 1) + pick(all.slice(1), 1) + pick(all, 4), 'ABCABC')
})

void test('100 callers x 1,000 picks over three give each a third', async (t) => {
  const algorithm = roundRobin(undefined, { clock: new VirtualClock(), random: Math.random })
  const pool = new Pool({
    name: 'web',
    members: members(1, 1, 1),
    algorithm,
    clock: new VirtualClock(),
    onAlgorithmError: (error) => void t.fail(String(error)),
  })
  const caller = async (): Promise<void> => {
    for (let n = 0; n < 10; n += 1) {
      for (let each = 0; each < 100; each += 1) pool.acquire(request())?.release('answered')
      // oxlint-disable-next-line no-await-in-loop -- the point is that callers take turns
      await nextTurn()
    }
  }
  await Promise.all(Array.from({ length: 100 }, caller))
  for (const { id, requests } of pool.members) t.ok(requests >= 33_000 && requests <= 34_000, `${id}: ${requests}`)
})
