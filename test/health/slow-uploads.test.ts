/**
 * Clients that take their time to send what they send: none of it is their backend's.
 */
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'

import { test } from 'tap'

import { backend, totals } from '../helpers/gateway.ts'
import { watched } from '../helpers/moody-backend.ts'
import { get, RawClient } from '../helpers/raw.ts'

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n'
/** One is enough for a judgement. */
const STRICT = { window: 60_000, minimum: 1, open: '1h', maxOpen: '1h' } as const

void test('a backend that answers before the end of an upload is not slow because its client is', async (t) => {
  const echo = await backend(t, (request, response) => {
    request.once('data', () => response.write('ok'))
    request.on('end', () => response.end())
  })
  const gateway = await watched(t, { echo }, { breaker: { ...STRICT, slowCall: 300 }, health: { passive: false } })
  const client = await RawClient.open(t, gateway.port)
  client.send(POST)
  await echo.request(0)
  // Nothing happens meanwhile, which is what this is about.
  await pause(600)
  const begun = once(client.socket, 'data')
  client.send('a')
  await begun
  client.send('b')
  t.equal((await client.answer()).status, 200)
  t.same(gateway.seen.events, [])
})

void test('a backend to which an upload left no time is not to blame for the time being up', async (t) => {
  const hanging = await backend(t, (request) => void request.resume())
  const gateway = await watched(t, { hanging }, { breaker: STRICT, timeouts: { total: 2000 }, retry: { attempts: 1 } })
  const client = await RawClient.open(t, gateway.port)
  client.send(`${POST}a`)
  await hanging.request(0)
  await pause(1200)
  client.send('b')
  t.equal((await client.answer()).status, 504)
  t.equal(totals(gateway).failures, 0)
  t.same(gateway.seen.events, [])
  client.send(get())
  t.equal((await client.answer()).status, 504)
  await gateway.seen.next({ what: 'breaker', to: 'open' })
  t.equal(totals(gateway).failures, 1, 'one that had all of the time is')
})
