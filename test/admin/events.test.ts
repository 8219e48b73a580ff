/**
 * The events of the gateway through its admin listener, at once and as they come.
 */
import { test } from 'tap'

import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { Listener, type Told } from '../helpers/event-stream.ts'
import { guarded } from '../helpers/raw.ts'

function emit({ app }: AdminGateway, to: string): void {
  app.events.emit({ what: 'pool', pool: 'web', from: 'enough', to, cause: 'a test' })
}

void test('the last ones as JSON, the oldest first, and not more than a thousand', async (t) => {
  const all = await startWithAdmin(t)
  for (let n = 0; n < 1100; n++) emit(all, `${n}`)
  const response = await fetch(`http://127.0.0.1:${all.adminPort}/events`)
  const events: Told[] = JSON.parse(await response.text())
  t.equal(events.length, 1000)
  t.match(events[0], { id: 101, to: '100', pool: 'web', cause: 'a test', at: /^\d{4}-.*Z$/ })
  t.match(events.at(-1), { id: 1100, to: '1099' })
})

void test('as they come, after those there were', async (t) => {
  const all = await startWithAdmin(t)
  emit(all, 'first')
  const listener = await Listener.connect(t, all)
  t.match(listener.response.headers, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  emit(all, 'second\nwith: a line of its own')
  t.match(await listener.count(2), [{ to: 'first' }, { to: 'second\nwith: a line of its own' }])
})

void test('who comes back is told what it has missed', async (t) => {
  const all = await startWithAdmin(t)
  for (const to of ['a', 'b', 'c']) emit(all, to)
  const before = await Listener.connect(t, all)
  await before.count(3)
  const listener = await Listener.connect(t, all, { 'last-event-id': before.ids[1] ?? '' })
  emit(all, 'd')
  t.match(await listener.count(2), [{ id: 3 }, { id: 4 }])
  const stranger = await Listener.connect(t, all, { 'last-event-id': `of-another-process-${before.ids[1]}` })
  t.match(await stranger.count(4), [{ id: 1 }], 'ids of a process before this one say nothing')
})

void test('who leaves is forgotten, and the end of the gateway ends the streams', async (t) => {
  const all = await startWithAdmin(t)
  const [leaves, stays] = [await Listener.connect(t, all), await Listener.connect(t, all)]
  leaves.response.destroy()
  await leaves.ended
  emit(all, 'a')
  await stays.count(1)
  const closed = all.app.close()
  await stays.ended
  await closed
})

void test('who does not read is cut off, and costs no more than that', async (t) => {
  const all = await startWithAdmin(t)
  const deaf = await Listener.connect(t, all)
  deaf.response.pause()
  // More than the system's buffers and ours together hold.
  const cause = 'x'.repeat(100_000)
  for (let n = 0; n < 200; n++) {
    all.app.events.emit({ what: 'pool', pool: 'web', from: 'a', to: 'b', cause })
    // oxlint-disable-next-line no-await-in-loop -- sockets get their turn
    await new Promise<void>((resolve) => void setImmediate(resolve))
  }
  deaf.response.resume()
  await guarded(deaf.ended, () => 'its end')
  t.ok(deaf.told.length < 200)
})

void test('who asks for nothing but the head of the stream gets it, and takes no place', async (t) => {
  const all = await startWithAdmin(t)
  // More than there are places for streams.
  const heads = Array.from({ length: 40 }, async () => {
    const headers = { accept: 'text/event-stream' }
    return fetch(`http://127.0.0.1:${all.adminPort}/events?figures=1s`, { method: 'HEAD', headers })
  })
  const answers = await guarded(Promise.all(heads), () => 'the heads')
  t.ok(answers.every(({ headers }) => headers.get('content-type') === 'text/event-stream'))
  await Listener.connect(t, all)
})
