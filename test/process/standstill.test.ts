/**
 * A gateway that stands still for longer than backends may take, as with a machine that is paused: what they have
 * answered meanwhile is an answer.
 */
import type { ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'

import { test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { ask, startGateway } from '../helpers/process.ts'

const REQUESTS = 40
const HEADERS_MS = 1000

void test('answers that came while the gateway stood still are neither lost nor late', async (t) => {
  const held: ServerResponse[] = []
  const slow = await backend(t, (_, response) => void held.push(response))
  const pools = { web: { backends: [slow.url], timeouts: { headers: HEADERS_MS } } }
  const gateway = await startGateway(t, JSON.stringify({ pools }))
  const answers = Array.from({ length: REQUESTS }, async () => (await ask(gateway.url)).status)
  await slow.request(REQUESTS - 1)
  gateway.process.signal('SIGSTOP')
  for (const response of held) response.end('ok')
  // Nothing can be awaited of a process that stands still.
  await pause(HEADERS_MS + 500)
  gateway.process.signal('SIGCONT')
  t.same(
    await Promise.all(answers),
    Array.from({ length: REQUESTS }, () => 200),
  )
  t.same(
    gateway.process.lines.filter((line) => /is (?:open|degraded|unhealthy|empty)/.test(line)),
    [],
  )
})
