/**
 * A gateway that has no file descriptors left: it cannot connect to anybody, which says nothing about its backends.
 */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'

import { backend } from '../helpers/gateway.ts'
import { outsideFolder, startGateway } from '../helpers/process.ts'
import { get, inTurn, RawClient } from '../helpers/raw.ts'

function withDescriptors(t: Test, count: number): string {
  const few = join(outsideFolder(t), 'few-descriptors')
  writeFileSync(few, `#!/bin/sh\nulimit -n ${count}\nexec "${process.execPath}" "$@"\n`)
  chmodSync(few, 0o755)
  return few
}

async function asked(client: RawClient): Promise<number> {
  client.send(get())
  return (await client.answer()).status
}

void test('OV-08: no file descriptors left: no backend is blamed, and all goes on as soon as there are some', async (t) => {
  const backends = await Promise.all(
    [1, 2].map(async () => {
      // So that every request wants a connection of its own.
      const { url } = await backend(t, (_, response) => void response.setHeader('Connection', 'close').end('ok'))
      return url
    }),
  )
  const pools = { web: { backends } }
  const gateway = await startGateway(t, JSON.stringify({ pools }), { node: withDescriptors(t, 96) })
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

void test('OV-08: more clients than descriptors: they are refused, it is logged, and it goes on as before', async (t) => {
  const { url } = await backend(t)
  const config = JSON.stringify({ pools: { web: { backends: [url] } } })
  const gateway = await startGateway(t, config, { node: withDescriptors(t, 200) })
  const port = Number(new URL(gateway.url).port)
  const first = await RawClient.open(t, port)
  t.equal(await asked(first), 200)
  const clients = await Promise.all(Array.from({ length: 300 }, () => RawClient.open(t, port)))
  await gateway.process.logged(/^no file descriptors are left/)
  t.equal(await asked(first), 200, 'whoever is in is served')
  await Promise.any(clients.map(async (client) => client.end()))
  for (const client of clients) client.socket.destroy()
  await gateway.process.logged(/^there are file descriptors again/)
  await inTurn(Array.from({ length: 50 }), async () => {
    const client = await RawClient.open(t, port)
    t.equal(await asked(client), 200)
    client.socket.destroy()
  })
  t.equal(gateway.process.lines.filter((line) => line.includes('no file descriptors')).length, 1, 'said once')
})
