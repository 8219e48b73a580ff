/**
 * What is compiled from a route: the literal prefix that its requests must not leave, limits, rules for fields.
 */
import { test } from 'tap'

import type { PoolSettings } from '../../src/config/settings.ts'
import { roundRobin } from '../../src/core/algorithms/round-robin.ts'
import { Pool } from '../../src/core/pool.ts'
import { RetryBudget } from '../../src/core/retry.ts'
import { compileForwarding, limitOf, type Forwarding, type ForwardingRules } from '../../src/transport/forwarding.ts'
import { inTurn } from '../helpers/raw.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const SETTINGS: PoolSettings = {
  name: 'web',
  algorithm: { type: 'round-robin', options: {} },
  backends: [],
  hostHeader: 'preserve',
  forwarded: false,
  health: { strategy: 'graded', active: undefined, passive: undefined, warmupMs: 0 },
  breaker: undefined,
  panic: 0,
  tls: undefined,
  linkLocal: false,
  retry: {
    attempts: 1,
    on: new Set(),
    budget: { ratio: 0, minimum: 0 },
    backoff: { baseMs: 0, maxMs: 0 },
    bufferBody: 0,
  },
  timeouts: { connectMs: 1, tlsMs: 1, headersMs: 0, bodyMs: 2, totalMs: 0, tunnelMs: 4 },
  connections: { max: 1, pending: 1, queueMs: 1, idleMs: 1 },
  maxBodySize: 0,
}

function compile(rules: Partial<ForwardingRules>): Forwarding {
  const clock = new VirtualClock()
  const algorithm = roundRobin(undefined, { clock, random: () => 0 })
  const pool = new Pool({ name: 'web', members: [], algorithm, clock, onAlgorithmError: () => {} })
  const all = {
    host: undefined,
    path: '/*',
    rewrite: undefined,
    requestHeaders: undefined,
    responseHeaders: undefined,
    ...rules,
  }
  const budget = new RetryBudget(SETTINGS.retry.budget, clock)
  return compileForwarding(all, { settings: SETTINGS, pool, connections: new Map(), budget }, 3)
}

void test('the literal prefix of a path', async (t) => {
  const prefixes = {
    '/*': '',
    '/': '',
    '/a': '/a',
    '/a/': '/a',
    '/a/*': '/a',
    '/a/b/*': '/a/b',
    '/a/:id': '/a',
    '/a/:id/b': '/a',
    '/:id': '',
    '/a/:id/*': '/a',
  }
  await inTurn(Object.entries(prefixes), async ([path, prefix]) => t.equal(compile({ path }).prefix, prefix, path))
})

void test('0 is no limit', async (t) => {
  t.equal(limitOf(0), Infinity)
  t.equal(limitOf(5), 5)
  t.match(compile({}), {
    limits: { headersMs: Infinity, bodyMs: 2, clientMs: 3, tunnelMs: 4 },
    totalMs: Infinity,
    maxBodySize: Infinity,
  })
})

void test('rules drop what they set and remove, and are not there at all where there is nothing to do', async (t) => {
  const rules = { set: [['X-A', '1']] as const, remove: ['x-b'] }
  const { requestHeaders, responseHeaders } = compile({
    requestHeaders: rules,
    responseHeaders: { set: [], remove: [] },
  })
  t.same([...(requestHeaders?.drop ?? [])].toSorted(), ['x-a', 'x-b'])
  t.same(requestHeaders?.set, [['X-A', '1']])
  t.equal(responseHeaders, undefined)
})
