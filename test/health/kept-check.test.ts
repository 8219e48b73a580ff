/**
 * A backend that refuses connections, but still answers on those that it has, as when its queue of them is full: its
 * checks, which keep theirs, pass.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'

import { test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { named, Traffic, watched } from '../helpers/moody-backend.ts'
import { portOf } from '../helpers/raw.ts'

void test('checks that pass on a kept connection do not end what the want of a new one began', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n'
  let checks = 0
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', (head) => {
      const isCheck = head.toString().startsWith('GET /health ')
      if (isCheck) checks += 1
      socket.write(isCheck ? `${answer}\r\nok` : `${answer}Connection: close\r\n\r\nok`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const full = { url: `http://127.0.0.1:${portOf(server)}` }
  const other = await backend(t, named('other'))
  const active = { path: '/health', interval: 50, timeout: 5000 }
  const gateway = await watched(
    t,
    { full, other },
    {
      health: { active, passive: false },
      breaker: { open: '1h', maxOpen: '1h' },
    },
  )
  const traffic = new Traffic(t, gateway.port)
  await traffic.moreBy('other', 20)
  // What is open stays open.
  server.close()
  await gateway.seen.next({ backend: 'full', what: 'breaker', to: 'open' })
  const enough = checks + 10
  const passed = (): boolean => checks >= enough
  while (!passed()) {
    // oxlint-disable-next-line no-await-in-loop -- until there were enough checks to bring anybody back
    await traffic.more(10)
  }
  await traffic.stop()
  t.same(traffic.failures, [])
  t.match((await gateway.status()).get('full'), { breaker: { state: 'open' } })
  t.equal(gateway.seen.story('full', 'breaker').length, 1)
})
