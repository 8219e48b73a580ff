/**
 * What requests leave behind: it has to be cheap to throw away, also after a time in which many of them waited.
 */
import { Agent, get } from 'node:http'

import { test } from 'tap'

import { backend, startGateway } from '../helpers/process.ts'

const AT_ONCE = 300

void test('after many requests that waited at once, those that come are garbage as soon as they have ended', async (t) => {
  const held: Array<() => void> = []
  const url = await backend(t, ({ url: path }, answer) => {
    const end = (): void => void answer.end('here')
    if (path !== '/held') return end()
    held.push(end)
    if (held.length === AT_ONCE) for (const each of held.splice(0)) each()
  })
  const config = { pools: { web: { backends: [url], connections: { max: AT_ONCE } } }, log: { access: false } }
  const options = { plain: true, flags: ['--trace-gc'] }
  const { process: gateway, url: front } = await startGateway(t, JSON.stringify(config), options)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const ask = async (path: string): Promise<void> =>
    new Promise((done, failed) => {
      get(front + path, { agent }, (answer) => answer.resume().once('end', done)).once('error', failed)
    })
  for (let round = 0; round < 10; round++) {
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(Array.from({ length: AT_ONCE }, async () => ask('/held')))
  }
  for (let round = 0; round < 250; round++) {
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(Array.from({ length: 32 }, async () => ask('/')))
  }
  // Those of young objects only: how much there was behind it, in MB.
  const after = gateway.lines
    .map((line) => / ms: Scavenge .* -> ([\d.]+) /.exec(line)?.[1])
    .filter((mb) => mb !== undefined)
  const last = after.slice(-3).map(Number)
  t.equal(last.length, 3, 'it was collected')
  // Each was behind some 1,000 requests of 20 kB. A third of that used to stay.
  t.ok(Math.max(...last) - Math.min(...last) < 3, `${last.join(', ')} MB`)
})
