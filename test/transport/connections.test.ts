/**
 * The connections to one backend that gets nothing new any more.
 */
import { test } from 'tap'

import { Connections } from '../../src/transport/connections.ts'
import type { AttemptError } from '../../src/transport/failure.ts'
import type { ResponseHead } from '../../src/transport/response-head.ts'
import { BareGet } from '../helpers/call.ts'
import { guarded, rawBackend } from '../helpers/raw.ts'

class Get extends BareGet {
  readonly #answered: (status: number) => void
  readonly #failed: (error: AttemptError) => void

  constructor(path: string, answered: (status: number) => void, failed: (error: AttemptError) => void) {
    super(path)
    this.#answered = answered
    this.#failed = failed
  }

  override onWhole(head: ResponseHead): void {
    this.#answered(head.status)
  }

  override onFailure(error: AttemptError): void {
    this.#failed(error)
  }
}

void test('KP-12: connections to a backend that is taken out are closed, idle ones now and others when they are done', async (t) => {
  const server = await rawBackend(t, {
    onRequest: (connection, head) => {
      if (!head.includes('/held')) connection.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    },
  })
  const settings = { max: 10, pending: 10, queueMs: 1000, idleMs: 60_000, connectMs: 5000, tlsMs: 5000 }
  const connections = new Connections(new URL(server.url), { ...settings, secure: undefined })
  t.teardown(() => connections.destroy())
  const get = async (path: string): Promise<number> =>
    guarded(new Promise<number>((resolve, reject) => connections.send(new Get(path, resolve, reject))), () => path)
  const held = get('/held')
  const busy = await server.connection(0)
  t.equal(await get('/'), 200)
  const idle = await server.connection(1)
  connections.retire()
  await idle.inbox.end()
  busy.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  t.equal(await held, 200, 'what is under way ends in its own time')
  await busy.inbox.end()
  t.equal(server.accepted.length, 2)
})
