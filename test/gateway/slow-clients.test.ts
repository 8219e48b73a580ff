/**
 * Who is slow, silent or gone costs nobody else anything, and is not waited for without end: clients that never finish
 * their head, backends that never answer or cannot be reached, and the timers that watch over all of them.
 */
import { createHook } from 'node:async_hooks'
import { once } from 'node:events'

import { test, type Test } from 'tap'

import { blackHole } from '../helpers/black-hole.ts'
import { backend, gatewayTo, isError, startGateway, totals, type Handler } from '../helpers/gateway.ts'
import { ask, get, guarded, inTurn, RawClient, type Answer } from '../helpers/raw.ts'

/** Waits for something that has no event. */
async function until(ready: () => boolean, what: () => string): Promise<void> {
  const wait = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until it is so
    while (!ready()) await new Promise((resolve) => setImmediate(resolve))
  }
  await guarded(wait(), what)
}

// --- clients that never finish their head ---

/** Sends the next piece every few milliseconds, without end; resolves with what the gateway says when it closes. */
async function drip(client: RawClient, piece: string): Promise<Answer> {
  const timer = setInterval(() => client.send(piece), 20)
  await client.end().finally(() => clearInterval(timer))
  const answer = await client.answer()
  client.socket.destroy()
  return answer
}

/** Closed without a word, or told why. */
function isTimedOut(t: Test, answer: Answer, name: string): void {
  if (answer.status === 0) t.equal(answer.head, '', name)
  else isError(t, answer, 'SLUICE_CLIENT_TIMEOUT', [], name)
}

const ENDLESS: Readonly<Record<string, readonly [begin: string, piece: string]>> = {
  'one line after the other': ['GET / HTTP/1.1\r\nHost: a\r\n', 'X: y\r\n'],
  'a line without end': ['GET / HTTP/1.1\r\nHost: a\r\nX: ', 'y'],
  'a target without end': ['GET /', 'x'],
  'empty lines in front of a request': ['\r\n', '\r\n'],
  'a request behind one that was answered': [`${get('/first')}GET / HTTP/1.1\r\n`, 'X: y\r\n'],
}

void test('TO-01: a head without end is cut off by its age, however lively it comes', async (t) => {
  const { promise: closed, resolve: release } = Promise.withResolvers<void>()
  const server = await backend(t, (request, response) => {
    if (request.url === '/held') void closed.then(() => response.end('held'))
    else response.end('ok')
  })
  const { port } = await gatewayTo(t, [server], {}, { listen: { headersTimeout: 500 } })
  const other = ask(t, port, get('/held'))
  await server.request(0)
  await Promise.all(
    Object.entries(ENDLESS).map(async ([name, [begin, piece]]) => {
      const client = await RawClient.open(t, port)
      client.send(begin)
      if (begin.includes('/first')) t.equal((await client.answer()).status, 200, name)
      isTimedOut(t, await drip(client, piece), name)
    }),
  )
  release()
  t.equal((await other).body.toString(), 'held', 'TO-11: a request that is under way does not notice')
  t.same(server.requests.map(({ url }) => url).toSorted(), ['/first', '/held'])
})

void test('TO-03: a client that connects and says nothing is closed', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server], {}, { listen: { headersTimeout: 500 } })
  const clients = await Promise.all(Array.from({ length: 20 }, async () => RawClient.open(t, port)))
  await Promise.all(
    clients.map(async (client) => {
      await client.end()
      isTimedOut(t, await client.answer(), 'says nothing')
    }),
  )
  t.equal(server.connections(), 0)
})

// --- backends that are never reached, or never answer ---

void test('TO-09: 50 requests to where nobody answers: each gets its error, and others do not wait for them', async (t) => {
  const hole = await blackHole(t)
  const server = await backend(t)
  const gateway = await startGateway(t, {
    pools: {
      hole: { backends: [`http://127.0.0.1:${hole}`], timeouts: { connect: '2s' } },
      web: { backends: [server.url] },
    },
    routes: [
      { path: '/hole/*', pool: 'hole' },
      { path: '/*', pool: 'web' },
    ],
  })
  const inFlight = (): number => totals(gateway, 'hole').inFlight
  const lost = Array.from({ length: 50 }, async () => ask(t, gateway.port, get('/hole/')))
  await until(
    () => inFlight() === 50,
    () => `${inFlight()} of 50 under way`,
  )
  const answers = await Promise.all(Array.from({ length: 50 }, async () => ask(t, gateway.port, get())))
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  t.equal(inFlight(), 50, 'answered while the others wait')
  await inTurn(lost, async (answer) => isError(t, await answer, 'SLUICE_CONNECT_TIMEOUT', [hole]))
  t.equal(inFlight(), 0)
})

const POST = 'POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'

/** Answers /silent never, half of /download at once, /upload at its end, and everything else. */
const answer: Handler = (request, response, recorded) => {
  if (request.url === '/silent') return
  if (request.url === '/download') response.writeHead(200, { 'content-length': 8 }).write('half')
  else if (request.url === '/upload') request.on('end', () => response.end(recorded.body()))
  else response.end('ok')
}

void test('TO-11: a time-out closes and delays nothing but its own exchange', async (t) => {
  const finish: Array<() => void> = []
  const server = await backend(t, (request, response, recorded) => {
    answer(request, response, recorded)
    if (request.url === '/download') finish.push(() => response.end('half'))
  })
  const gateway = await gatewayTo(t, [server], { timeouts: { headers: 500 } })
  const [kept, download, upload] = [
    await RawClient.open(t, gateway.port),
    await RawClient.open(t, gateway.port),
    await RawClient.open(t, gateway.port),
  ]
  download.send(get('/download'))
  upload.send(POST)
  await Promise.all([server.request(0), server.request(1)])
  kept.send(get('/kept'))
  t.equal((await kept.answer()).status, 200)
  const silent = await Promise.all(Array.from({ length: 5 }, async () => RawClient.open(t, gateway.port)))
  for (const client of silent) client.send(get('/silent'))
  await server.request(7)
  // While they wait, and when their time is up.
  kept.send(get('/kept'))
  t.equal((await kept.answer()).status, 200)
  t.same(new Set(silent.map(({ inbox }) => inbox.length)), new Set([0]), 'answered while the others wait')
  const before = server.connections()
  await inTurn(silent, async (client) => isError(t, await client.answer(), 'SLUICE_HEADERS_TIMEOUT', [server.port]))
  await server.openAtMost(before - silent.length)
  kept.send(get('/kept'))
  t.equal((await kept.answer()).status, 200, 'the connection of a client')
  for (const end of finish) end()
  t.equal((await download.answer()).body.toString(), 'halfhalf', 'an answer under way')
  upload.send('4\r\nhalf\r\n0\r\n\r\n')
  t.equal((await upload.answer()).body.toString(), 'halfhalf', 'a request under way')
  t.equal(server.connections(), before, 'connections to the backend')
})

// --- timers ---

/** Counts the timers of this process that are running, whether or not they keep it alive. */
function countTimers(t: Test): () => number {
  const running = new Set<number>()
  const hook = createHook({
    init: (id, type) => void (type === 'Timeout' && running.add(id)),
    destroy: (id) => void running.delete(id),
  })
  hook.enable()
  t.teardown(() => hook.disable())
  return () => running.size
}

function countSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length
}

/** What a client asks, and whether it stays until something of the answer is there. */
const LEAVING: ReadonlyArray<readonly [bytes: string, stays: boolean]> = [
  [get('/silent'), false],
  [get('/download'), true],
  [POST, false],
  [get('/hole/'), false],
  ['GET / HTTP/1.1\r\nHost:', false],
]

void test('TO-12: clients that leave take their timers and sockets along', async (t) => {
  const hole = await blackHole(t)
  const server = await backend(t, answer)
  const timers = countTimers(t)
  const timeouts = { connect: '60s', headers: '60s', body: '60s', total: '60s' }
  // Ten clients at once, four connections: the others leave while they wait for one.
  const connections = { max: 4, queue: '1s', idle: 50 }
  const gateway = await startGateway(t, {
    pools: {
      web: { backends: [server.url], timeouts, connections },
      hole: { backends: [`http://127.0.0.1:${hole}`], timeouts, connections },
    },
    routes: [
      { path: '/hole/*', pool: 'hole' },
      { path: '/*', pool: 'web' },
    ],
  })
  await ask(t, gateway.port, get())
  await server.openAtMost(0)
  const start = { timers: timers(), sockets: countSockets() }
  await inTurn(LEAVING, async ([bytes, stays]) => {
    const clients = await Promise.all(Array.from({ length: 10 }, async () => RawClient.open(t, gateway.port)))
    const before = server.requests.length
    for (const client of clients) client.send(bytes)
    if (stays) await Promise.any(clients.map(async (client) => once(client.socket, 'data')))
    else if (/upload|silent/.test(bytes)) await server.request(before + 3)
    else if (bytes.includes('hole')) {
      await until(
        () => totals(gateway, 'hole').inFlight === 10,
        () => 'requests under way',
      )
    }
    for (const client of clients) client.socket.destroy()
    await server.openAtMost(0)
  })
  await until(
    () => timers() <= start.timers && countSockets() <= start.sockets,
    () => `${timers()} timers, ${countSockets()} sockets, at the start ${JSON.stringify(start)}`,
  )
  t.equal(totals(gateway).inFlight + totals(gateway, 'hole').inFlight, 0)
})
