/**
 * Kept connections whose time is up: no request is lost with one, neither with a backend's nor with a client's.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { get, inTurn, ok, rawBackend, RawClient, valuesOf, type RawBackend } from '../helpers/raw.ts'

const BACKEND_IDLE_MS = 1000
const LASTS_MS = 3000
/** Three a second; and in steps of a millisecond around the moment at which the backend closes. */
const INTERVALS_MS = [333, ...Array.from({ length: 16 }, (_, step) => 992 + step)]

/** Closes connections that are idle for a second, whether or not it says so. */
async function impatient(t: Test, fields: readonly string[]): Promise<RawBackend> {
  return rawBackend(t, {
    onConnection: ({ socket }) => void socket.setTimeout(BACKEND_IDLE_MS, () => socket.end()),
    onRequest: (connection) => connection.send(ok('ok', fields)),
  })
}

const GET = get()
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'

interface Kind {
  readonly name: string
  readonly fields: readonly string[]
  readonly requests: readonly string[]
}

const KINDS: readonly Kind[] = [
  // Nobody can know whether a POST was read that met the closing: it may fail, and is not sent here.
  { name: 'unannounced', fields: [], requests: [GET] },
  { name: 'announced', fields: ['Keep-Alive: timeout=1'], requests: [GET, POST] },
]

async function askEvery(t: Test, everyMs: number, { name, fields, requests }: Kind): Promise<void> {
  const server = await impatient(t, fields)
  const { port } = await gatewayTo(t, [server])
  const client = await RawClient.open(t, port)
  await inTurn(Array.from({ length: Math.ceil(LASTS_MS / everyMs) }), async (_, n) => {
    client.send(requests[n % requests.length] ?? GET)
    t.equal((await client.answer()).status, 200, `${name}, every ${everyMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  })
}

// Real time is the subject here: nothing but the passing of it brings both moments together.
void test('KP-09: a backend that closes after a second, asked at intervals around it: no error', async (t) => {
  await Promise.all(KINDS.flatMap((kind) => INTERVALS_MS.map(async (everyMs) => askEvery(t, everyMs, kind))))
})

void test('KP-14: an idle connection of a client is kept as long as announced, then closed; one in use is not', async (t) => {
  const held: Array<() => void> = []
  const server = await backend(t, (request, response, recorded) => {
    if (request.url === '/held') held.push(() => response.end('held'))
    else request.on('end', () => response.end(recorded.body()))
  })
  const { port } = await gatewayTo(t, [server], {}, { listen: { keepAlive: '1s' } })
  const [idle, waiting, sending] = [
    await RawClient.open(t, port),
    await RawClient.open(t, port),
    await RawClient.open(t, port),
  ]
  waiting.send(get('/held'))
  sending.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
  await Promise.all([server.request(0), server.request(1)])
  await inTurn([1, 2], async () => {
    idle.send(get())
    const answer = await idle.answer()
    t.equal(answer.status, 200)
    t.same(valuesOf(answer, 'keep-alive'), ['timeout=1'], 'announced')
  })
  t.equal(await idle.end(), 'end')
  t.equal(idle.inbox.length, 0, 'closed without a word')
  // Both were begun before, and have taken longer than an idle connection is kept.
  for (const answer of held) answer()
  t.equal((await waiting.answer()).body.toString(), 'held')
  sending.send('4\r\nhalf\r\n0\r\n\r\n')
  t.equal((await sending.answer()).body.toString(), 'halfhalf')
})

void test('KP-14: of 1,500 requests on one connection none is lost: it closes, if ever, after saying so', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  let client = await RawClient.open(t, port)
  await inTurn(Array.from({ length: 1500 }), async () => {
    client.send(GET)
    const answer = await client.answer()
    if (answer.status !== 200) t.fail(`${answer.status}: ${client.inbox.ended}`)
    if (!valuesOf(answer, 'connection').includes('close')) return
    t.equal(await client.end(), 'end')
    client = await RawClient.open(t, port)
  })
  t.equal(server.requests.length, 1500)
})

void test('KP-14: a gateway that stops says so in the answers under way, and closes behind them', async (t) => {
  const held: Array<() => void> = []
  const server = await backend(t, (_request, response) => void held.push(() => response.end('held')))
  const { app, port } = await gatewayTo(t, [server])
  const clients = await Promise.all(Array.from({ length: 5 }, async () => RawClient.open(t, port)))
  for (const client of clients) client.send(GET)
  await server.request(4)
  const closed = app.close()
  for (const answer of held) answer()
  await inTurn(clients, async (client) => {
    const answer = await client.answer()
    t.equal(answer.body.toString(), 'held')
    t.same(valuesOf(answer, 'connection'), ['close'])
    t.equal(await client.end(), 'end')
  })
  await closed
})
