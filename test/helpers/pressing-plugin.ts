/**
 * A user's plugin that presses a gateway: it keeps memory for every request that asks for it, or keeps the event loop
 * from turning. SIGWINCH ends both.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { getHeapStatistics } from 'node:v8'

import type { FastifyInstance } from 'fastify'

const PIECE = 100_000

interface Options {
  /** Each turn of the event loop takes as long. */
  readonly turnMs?: number
}

export default function pressing(app: FastifyInstance, { turnMs }: Options, done: () => void): void {
  let kept: object[] = []
  let isEnded = turnMs === undefined
  process.on('SIGWINCH', () => {
    kept = []
    isEnded = true
    app.log.info('it no longer presses')
  })
  app.get('/fill/:share', (request) => {
    const share = Number(new URL(request.url, 'http://a').pathname.slice('/fill/'.length))
    while (getHeapStatistics().used_heap_size < share * getHeapStatistics().heap_size_limit) keep()
    return 'filled'
  })
  app.get('/keep', async () => {
    for (let i = 0; i < 5; i++) keep()
    // As long as a slow backend takes: requests that hold memory do not come without any pause.
    await pause(50)
    return 'kept'
  })
  if (turnMs !== undefined) turn(turnMs)
  done()

  function keep(): void {
    kept.push(Array.from({ length: PIECE / 50 }, (_, index) => ({ index })))
  }

  function turn(ms: number): void {
    const until = performance.now() + ms
    while (performance.now() < until);
    setImmediate(() => {
      if (!isEnded) turn(ms)
    })
  }
}
