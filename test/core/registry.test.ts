/**
 * Naming algorithms: what may be registered, and what the errors say.
 */
import { test } from 'tap'

import { builtInAlgorithms } from '../../src/core/algorithms/built-in.ts'
import { AlgorithmRegistry } from '../../src/core/algorithms/registry.ts'
import { members, request } from '../../src/testing/backends.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const deps = { clock: new VirtualClock(), random: () => 0 }

void test('the built-in ones are there, each registry its own', async (t) => {
  const registry = builtInAlgorithms()
  t.same(registry.names(), [
    'round-robin',
    'weighted-round-robin',
    'random',
    'least-connections',
    'power-of-two',
    'peak-ewma',
    'consistent-hash',
  ])
  registry.register('mine', () => registry.create('round-robin', {}, deps))
  t.notOk(builtInAlgorithms().names().includes('mine'))
  t.equal(registry.create('mine', {}, deps).pick(members(1), request()).id, 'A')
})

void test('a duplicate is refused by name, and a name must be one', async (t) => {
  const registry = builtInAlgorithms()
  const factory = () => registry.create('round-robin', {}, deps)
  t.throws(() => registry.register('round-robin', factory), /"round-robin" is already registered/)
  for (const name of ['', 'Mine', 'my_own', '-a', 'a-', 'a--b', '1st', '__proto__']) {
    t.throws(() => registry.register(name, factory), /not a lower-case word/, name)
  }
  registry.register('constructor', factory)
  t.ok(registry.names().includes('constructor'))
})

void test('an unknown name lists what exists and suggests the nearest', async (t) => {
  const registry = builtInAlgorithms()
  t.throws(
    () => registry.create('round-robbin', {}, deps),
    /Unknown algorithm "round-robbin"\. Did you mean "round-robin"\? Known: round-robin, weighted-round-robin/,
  )
  t.throws(() => registry.create('quantum', {}, deps), /Unknown algorithm "quantum"\. Known: /)
  t.throws(() => new AlgorithmRegistry().create('x', {}, deps), /Known: none/)
})

void test('what a factory throws is told with its name', async (t) => {
  const registry = new AlgorithmRegistry()
  const cause = new Error('key is missing')
  registry.register('broken', () => {
    throw cause
  })
  t.throws(() => registry.create('broken', {}, deps), { message: /"broken" cannot be made: key is missing/, cause })
  registry.register('odd', () => {
    // oxlint-disable-next-line typescript/only-throw-error -- what users' code may do
    throw 'a string'
  })
  t.throws(() => registry.create('odd', {}, deps), /"odd" cannot be made: a string/)
})

void test('a factory gets the options, and must return an algorithm', async (t) => {
  const registry = new AlgorithmRegistry()
  registry.register('fixed', (options: { index: number }) => ({
    pick: (candidates) =>
      candidates[options.index] ?? registry.create('fixed', { index: 0 }, deps).pick(candidates, request()),
  }))
  t.equal(registry.create('fixed', { index: 1 }, deps).pick(members(1, 1), request()).id, 'B')
  registry.register('empty', () => JSON.parse('{}'))
  t.throws(() => registry.create('empty', {}, deps), /"empty" cannot be made: .*nothing that can pick/)
  registry.register('nothing', () => JSON.parse('null'))
  t.throws(() => registry.create('nothing', {}, deps), /nothing that can pick/)
})
