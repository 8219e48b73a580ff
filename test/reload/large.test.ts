/**
 * A large configuration is read in a thread of its own: with the same result, and the same problems, as a small one.
 */
import { test } from 'tap'

import { algorithmCheck } from '../../src/algorithm-check.ts'
import { checkConfig } from '../../src/config/check.ts'
import { isSame } from '../../src/config/difference.ts'
import { readText } from '../../src/config/text.ts'
import { builtInAlgorithms } from '../../src/core/algorithms/built-in.ts'
import { checkBytes, LARGE_BYTES } from '../../src/large-config.ts'

const OPTIONS = { kind: 'yaml', file: 'gateway.yaml', folder: process.cwd(), env: { WEIGHT: '3' } } as const

/** Larger than what is read at once. */
function large(more = ''): string {
  const backends = Array.from({ length: 3000 }, (_, n) => `      - { url: http://10.0.${n >> 8}.${n & 255}:9000 }`)
  return `pools:\n  web:\n    backends:\n      - { url: "http://127.0.0.1:1", weight: "\${WEIGHT}" }\n${backends.join('\n')}\n${more}`
}

void test('the settings are the same', async (t) => {
  const text = large('    retry: { on: [connect, 500] }\n    health: { active: {} }\n')
  t.ok(text.length > LARGE_BYTES)
  const aside = await checkBytes(Buffer.from(text), OPTIONS, algorithmCheck())
  const here = checkConfig(readText(text, OPTIONS), { algorithms: algorithmCheck() })
  t.ok(here.settings !== undefined && isSame(aside.settings, here.settings))
  t.equal(aside.settings?.pools.get('web')?.backends[0]?.weight, 3)
  t.equal(aside.hash, readText(text, OPTIONS).hash)
})

void test('so are the problems, with their lines and columns', async (t) => {
  const text = large('    algorithm: { type: least-connections, slow: 1 }\n    retri: {}\n')
  const aside = await checkBytes(Buffer.from(text), OPTIONS, algorithmCheck())
  const here = checkConfig(readText(text, OPTIONS), { algorithms: algorithmCheck() })
  t.equal(here.problems?.length, 2)
  t.same(aside.problems, here.problems)
})

void test('algorithms of plugins are known, and their options judged', async (t) => {
  const registry = builtInAlgorithms()
  registry.register('mine', (options: { readonly good?: boolean }) => {
    if (options.good !== true) throw new Error('it has to be good')
    return { pick: (candidates) => candidates[0] ?? raise() }
  })
  const check = algorithmCheck(registry)
  const good = await checkBytes(Buffer.from(large('    algorithm: { type: mine, good: true }\n')), OPTIONS, check)
  t.equal(good.settings?.pools.get('web')?.algorithm.type, 'mine')
  const bad = await checkBytes(Buffer.from(large('    algorithm: { type: mine, good: false }\n')), OPTIONS, check)
  t.match(bad.problems, [{ path: 'pools.web.algorithm', message: /it has to be good/ }])
})

function raise(): never {
  throw new Error('nobody to pick')
}
