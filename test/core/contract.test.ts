/**
 * The contract of algorithms itself: who keeps it passes, and each way of breaking it is found.
 */
import assert from 'node:assert'

import { test } from 'tap'

import type { Algorithm, AlgorithmFactory } from '../../src/core/algorithms/algorithm.ts'
import type { Backend } from '../../src/core/backend.ts'
import { Member } from '../../src/core/member.ts'
import { algorithmContract } from '../../src/testing/algorithm-contract.ts'

const lottery: AlgorithmFactory = (_options, { random }) => ({
  pick: (candidates) => candidates.reduce((best, next, before) => (random() * (before + 1) < 1 ? next : best)),
})

void test('one that keeps it passes, with any runner that has `ok`', async (t) => {
  t.doesNotThrow(() => algorithmContract(assert, lottery))
  algorithmContract({ ok: (value, message) => t.ok(value, message) }, lottery)
})

const stranger = new Member('stranger', new URL('http://127.0.0.1:1'))
// What TypeScript would refuse, JavaScript can still do.
const picking = (pick: unknown): AlgorithmFactory => {
  const algorithm: Algorithm = Object.assign(Object.create(null), { pick })
  return () => algorithm
}

function explaining(whom: (list: readonly Backend[], draw: () => void) => Backend | undefined): AlgorithmFactory {
  return (options, deps) => {
    const plain = lottery(options, deps)
    return {
      pick: (candidates, request) => plain.pick(candidates, request),
      explain: (candidates) => {
        const picks = whom(candidates, deps.random)
        return { picks: candidates.find((each) => each === picks), how: 'by lot' }
      },
    }
  }
}

const BROKEN: Readonly<Record<string, readonly [AlgorithmFactory, RegExp]>> = {
  'picks a stranger': [picking(() => stranger), /one is picked/],
  'always picks the first': [picking((list: readonly Member[]) => list[0]), /share of/],
  'draws from a chance of its own': [
    picking((list: readonly Member[]) => list[Math.floor(Math.random() * list.length)]),
    /same seed/,
  ],
  'takes from the list': [picking((list: Member[]) => list.shift()), /delete|read only|frozen|Cannot/],
  'explains what it does not do': [
    explaining((list) => list[0]),
    /what it explains is what it then does: at \d+ it says [A-D] and picks [A-D]/,
  ],
  'takes a turn to explain': [
    explaining((_list, draw) => {
      draw()
      return undefined
    }),
    /explaining changes no pick: the one at/,
  ],
}

for (const [name, [factory, complaint]] of Object.entries(BROKEN)) {
  void test(`one that ${name} does not`, async (t) => {
    t.throws(() => algorithmContract(assert, factory), complaint)
  })
}
