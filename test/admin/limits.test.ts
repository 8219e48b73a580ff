/**
 * What the admin listener takes on at once, and that the traffic does not notice what is too much for it.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

import type { FastifyReply } from 'fastify'
import { test, type Test } from 'tap'

import { Calls, CONFIGURATION_BYTES } from '../../src/admin/calls.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { backend } from '../helpers/gateway.ts'
import { ask, askAll, guarded, inTurn, RawClient, valuesOf, type Answer } from '../helpers/raw.ts'

const HEAD = 'HTTP/1.1\r\nHost: localhost\r\n'
const JSON_BODY = 'Content-Type: application/json\r\n'

interface Held extends AdminGateway {
  /** Waits until so many calls of /hold wait for their answers. */
  readonly holding: (count: number) => Promise<void>
  /** Answers all that wait. */
  readonly release: () => void
}

/** With calls that last until they are told to end. */
async function holdingGateway(t: Test, token = ''): Promise<Held> {
  const held: FastifyReply[] = []
  const waiting: Array<() => void> = []
  const gateway = await startWithAdmin(t, {
    config: { admin: { token } },
    prepare: (admin) => {
      admin.get('/hold', (_request, reply) => {
        held.push(reply)
        for (const wake of waiting.splice(0)) wake()
      })
    },
  })
  const until = async (count: number): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until they are there
    while (held.length < count) await new Promise<void>((resolve) => void waiting.push(resolve))
  }
  const release = (): void => {
    for (const reply of held.splice(0)) void reply.send({})
  }
  return { ...gateway, holding: async (count) => guarded(until(count), () => `${held.length} calls`), release }
}

async function several(t: Test, port: number, count: number, request: string): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => RawClient.open(t, port)))
  for (const client of clients) client.send(request)
  return clients
}

function isOverloaded(t: Test, answer: Answer, name: string): void {
  t.equal(answer.status, 503, name)
  t.same(valuesOf(answer, 'retry-after'), ['1'])
  t.match(JSON.parse(answer.body.toString()), { statusCode: 503, code: 'SLUICE_OVERLOADED' })
}

void test('AD-06: a thousand calls at once, with bodies of 10 MB, and the traffic goes on', async (t) => {
  const server = await backend(t)
  const { port, adminPort } = await startWithAdmin(t, { config: { pools: { web: { backends: [server.url] } } } })
  const body = Buffer.alloc(10_000_000, 0x20)
  const request = `POST /status ${HEAD}${JSON_BODY}Content-Length: ${body.length}\r\n\r\n`
  const sockets = Array.from({ length: 1000 }, () => flood(t, adminPort, request, body))
  const seen = new Set<string>()
  const flooded = Promise.all(sockets.map(async (answered) => void seen.add(await answered)))
  await inTurn(Array.from({ length: 50 }), async () => {
    t.equal((await ask(t, port, `GET / ${HEAD}\r\n`)).body.toString(), 'ok')
  })
  await guarded(flooded, () => `${seen.size} kinds of answers`)
  seen.delete('')
  t.same([...seen], ['413'], 'all refused, with an answer or with the connection')
  t.equal((await ask(t, adminPort, `GET /status ${HEAD}\r\n`)).status, 200, 'and so does the listener')
})

/** Sends until there is an answer; its status, or '' when the connection was refused. */
async function flood(t: Test, port: number, head: string, body: Buffer): Promise<string> {
  const socket: Socket = connect({ port, host: '127.0.0.1' })
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('latin1').on('data', (piece: string) => {
    text += piece
    socket.destroy()
  })
  socket.on('error', () => undefined)
  socket.write(head)
  socket.write(body)
  await new Promise((resolve) => {
    socket.once('close', resolve)
  })
  return text.split(' ', 2)[1] ?? ''
}

void test('AD-06: a body that is too large is refused before it is read, and the refusal arrives', async (t) => {
  const { adminPort } = await startWithAdmin(t, {
    prepare: (admin) => {
      admin.put('/large', { bodyLimit: CONFIGURATION_BYTES }, (request) => ({ bytes: Number(request.body) }))
      admin.addContentTypeParser('text/plain', { parseAs: 'buffer' }, (_request, content, done) => {
        done(null, content.length)
      })
    },
  })
  const put = (length: number): string =>
    `PUT /large ${HEAD}Content-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`
  const large = 'x'.repeat(CONFIGURATION_BYTES)
  const taken = await ask(t, adminPort, `${put(large.length)}${large}`, 'PUT')
  t.same([taken.status, taken.body.toString()], [200, `{"bytes":${large.length}}`], 'a large configuration')
  t.equal((await ask(t, adminPort, put(large.length + 1), 'PUT')).status, 413)
  const million = 1024 ** 2
  const post = `POST /status ${HEAD}${JSON_BODY}`
  const whole = `Content-Length: ${10 * million}\r\n\r\n${'x'.repeat(10 * million)}`
  const [announced] = await askAll(t, adminPort, `${post}${whole}`)
  t.equal(announced?.status, 413, 'announced, and sent all the same')
  t.match(JSON.parse(announced?.body.toString() ?? ''), { code: 'SLUICE_BODY_TOO_LARGE' })
  const client = await RawClient.open(t, adminPort)
  client.send(`${post}Content-Length: ${64 * million}\r\n\r\n`)
  const failure = await new Promise((resolve) => void client.socket.write(Buffer.alloc(64 * million), resolve))
  t.notOk(failure, 'who still sends is heard out')
  t.equal((await client.answer()).status, 413)
  const chunk = `${million.toString(16)}\r\n${'x'.repeat(million)}\r\n`
  const [chunked] = await askAll(t, adminPort, `${post}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(10)}`)
  t.equal(chunked?.status, 413, 'not announced')
})

void test('AD-06: so many calls are under way at once, and no more', async (t) => {
  const { adminPort, holding, release, warnings } = await holdingGateway(t)
  const clients = await several(t, adminPort, 64, `GET /hold ${HEAD}\r\n`)
  await holding(64)
  isOverloaded(t, await ask(t, adminPort, `GET /status ${HEAD}\r\n`), 'a quick one')
  t.match(warnings, [{ message: 'too many admin calls at once', path: '/status' }])
  await inTurn(['/healthz', '/readyz'], async (path) => {
    t.equal((await ask(t, adminPort, `GET ${path} ${HEAD}\r\n`)).status, 200, `${path} has room`)
  })
  const [first] = clients
  first?.socket.destroy()
  // Whoever leaves without the answer makes room, too; when that is noticed is up to the system.
  const again = async (): Promise<void> => {
    const { status } = await ask(t, adminPort, `GET /status ${HEAD}\r\n`)
    if (status !== 200) await again()
  }
  await guarded(again(), () => 'room behind a client that has left')
  release()
  await inTurn(clients.slice(1), async (client) => void t.equal((await client.answer()).status, 200))
  const rest = await several(t, adminPort, 64, `GET /hold ${HEAD}\r\n`)
  await holding(64)
  release()
  await inTurn(rest, async (client) => void t.equal((await client.answer()).status, 200, 'all places are free again'))
})

void test('AD-06: without the token nobody takes a place', async (t) => {
  const { adminPort, holding, release } = await holdingGateway(t, 'secret')
  const strangers = await several(t, adminPort, 100, `POST /status ${HEAD}${JSON_BODY}Content-Length: 9\r\n\r\n`)
  await inTurn(strangers, async (client) => void t.equal((await client.answer()).status, 401, 'at once'))
  const clients = await several(t, adminPort, 64, `GET /hold ${HEAD}Authorization: Bearer secret\r\n\r\n`)
  await holding(64)
  t.equal((await ask(t, adminPort, `GET /status ${HEAD}\r\n`)).status, 401, 'nor learns that there is none')
  release()
  await inTurn(clients, async (client) => void t.equal((await client.answer()).status, 200))
})

void test('AD-06: those who watch leave room for those who act', async (t) => {
  const { adminPort, holding, release } = await holdingGateway(t)
  const stream = `GET /hold ${HEAD}Accept: text/html, text/event-stream\r\n\r\n`
  const clients = await several(t, adminPort, 32, stream)
  await holding(32)
  isOverloaded(t, await ask(t, adminPort, stream), 'one more stream')
  t.equal((await ask(t, adminPort, `GET /status ${HEAD}\r\n`)).status, 200)
  release()
  await inTurn(clients, async (client) => void t.equal((await client.answer()).status, 200))
})

void test('AD-06: the bodies under way are limited all together', async (t) => {
  const calls = new Calls()
  const large = { headers: { 'content-length': String(CONFIGURATION_BYTES) } }
  const chunked = { headers: { 'transfer-encoding': 'chunked' } }
  const small = { headers: {} }
  const leave = [large, large, large, chunked].map((raw) => calls.enter(raw, CONFIGURATION_BYTES))
  t.notOk(leave.includes(undefined), '64 MiB')
  t.equal(calls.enter({ headers: { 'content-length': '1' } }, CONFIGURATION_BYTES), undefined, 'a byte more')
  t.ok(calls.enter(small, CONFIGURATION_BYTES), 'none at all')
  leave[3]?.()
  t.ok(calls.enter({ headers: { 'content-length': '99999999999' } }, CONFIGURATION_BYTES), 'no more than its limit')
  t.equal(calls.enter(chunked, 1), undefined)
})

void test('AD-06: connections are limited, and a refusal is logged', async (t) => {
  const { port, adminPort, warned } = await startWithAdmin(t)
  const idle = await Promise.all(Array.from({ length: 256 }, () => RawClient.open(t, adminPort)))
  for (const client of idle) client.send(`GET /healthz ${HEAD}\r\n`)
  await Promise.all(idle.map((client) => client.answer()))
  const refused = await RawClient.open(t, adminPort)
  await refused.end()
  t.equal((await ask(t, adminPort, `GET /status ${HEAD}\r\n`)).status, 200, 'idle ones have made room')
  t.equal((await ask(t, port, `GET / ${HEAD}\r\n`)).status, 502, 'others than those of the traffic')
  await warned((all) => all.some(({ message }) => message.startsWith('1 connections were refused: 256 of')))
})

void test('AD-06: half a call does not stay for ever', async (t) => {
  const { app } = await startWithAdmin(t)
  const server = app.admin?.server
  t.equal(server?.headersTimeout, 10_000)
  t.equal(server?.requestTimeout, 30_000)
  t.equal(server?.keepAliveTimeout, 15_000)
})

void test('AD-06: what is no request is answered in the form of the gateway', async (t) => {
  const { adminPort } = await startWithAdmin(t)
  const long = `GET /${'a'.repeat(20_000)} ${HEAD}\r\n`
  await inTurn(
    [
      ['nonsense\r\n\r\n', 400],
      [long, 431],
    ] as const,
    async ([bytes, status]) => {
      const answer = await ask(t, adminPort, bytes)
      t.equal(answer.status, status)
      t.match(JSON.parse(answer.body.toString()), { statusCode: status, code: 'SLUICE_BAD_REQUEST' })
    },
  )
  const connection = connect({ port: adminPort, host: '127.0.0.1' })
  connection.end('CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(connection, 'close')
})
