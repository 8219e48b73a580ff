/**
 * A gateway that has no file descriptors left: it cannot connect to anybody, which says nothing about its backends.
 */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { outsideFolder, startGateway } from '../helpers/process.ts'
import { get, inTurn, RawClient } from '../helpers/raw.ts'

async function asked(client: RawClient): Promise<number> {
  client.send(get())
  return (await client.answer()).status
}

void test('no file descriptors left: no backend is blamed, and all goes on as soon as there are some', async (t) => {
  const backends = await Promise.all(
    [1, 2].map(async () => {
      // So that every request wants a connection of its own.
      const { url } = await backend(t, (_, response) => void response.setHeader('Connection', 'close').end('ok'))
      return url
    }),
  )
  const few = join(outsideFolder(t), 'few-descriptors')
  writeFileSync(few, `#!/bin/sh\nulimit -n 96\nexec "${process.execPath}" "$@"\n`)
  chmodSync(few, 0o755)
  const pools = { web: { backends } }
  const gateway = await startGateway(t, JSON.stringify({ pools }), { node: few })
  const port = Number(new URL(gateway.url).port)
  const clients: RawClient[] = []
  let last: RawClient | undefined
  while (last === undefined && clients.length < 96) {
    // oxlint-disable-next-line no-await-in-loop -- each takes one away
    const client = await RawClient.open(t, port)
    clients.push(client)
    // oxlint-disable-next-line no-await-in-loop -- each takes one away
    if ((await asked(client)) !== 200) last = client
  }
  if (last === undefined) throw new Error('there were always enough')
  const lastOne = last
  const statuses = new Set<number>()
  await inTurn(Array.from({ length: 60 }), async () => void statuses.add(await asked(lastOne)))
  t.same([...statuses], [502])
  for (const client of clients) if (client !== last) client.socket.destroy()
  // Some of them may still be open.
  let status = 0
  while (status !== 200 && status !== 503) {
    // oxlint-disable-next-line no-await-in-loop -- until it is told
    status = await asked(lastOne)
  }
  t.equal(status, 200)
  t.same(
    gateway.process.lines.filter((line) => /is (?:open|degraded|unhealthy|empty)/.test(line)),
    [],
  )
})
