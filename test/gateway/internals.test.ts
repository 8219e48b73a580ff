/**
 * What is used of Node and Fastify that is documented nowhere. Each place has another way where something is not as it
 * expects: a release that changes one of them breaks nothing, and costs speed or care, which no other test notices.
 */
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'

import { test, type Test } from 'tap'

import { ReadBuffer } from '../../src/transport/read-buffers.ts'
import { backend, startGateway } from '../helpers/gateway.ts'
import { ask, get, inTurn } from '../helpers/raw.ts'

const symbolsOf = (object: object): unknown[] =>
  Object.getOwnPropertySymbols(object).map(({ description }) => description)

function intercept(t: Test, object: object, name: string, seen: (args: readonly unknown[]) => void): void {
  const before: unknown = Reflect.get(object, name)
  if (typeof before !== 'function') throw new TypeError(`there is no ${name}`)
  t.teardown(() => Reflect.set(object, name, before))
  Reflect.set(object, name, function through(this: unknown, ...args: unknown[]) {
    seen(args)
    return Reflect.apply(before, this, args)
  })
}

void test('the head of a plain answer is written as it came, and a request without a body ends at once', async (t) => {
  const heads: Array<readonly unknown[]> = []
  let forgone = 0
  intercept(t, ServerResponse.prototype, '_storeHeader', (args) => heads.push(args))
  intercept(t, IncomingMessage.prototype, '_dumpAndCloseReadable', () => forgone++)
  const server = await backend(t, (_request, response) => {
    // Not with a head that goes through the same place.
    response.socket?.write('HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok')
  })
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } })
  const answer = await ask(t, gateway.port, get())
  t.match(answer, { status: 200, complete: true })
  t.equal(forgone, 1)
  t.equal(heads.length, 1)
  t.equal(heads[0]?.length, 1, 'Node has written it by its own way')
  t.match(heads[0]?.[0], /^HTTP\/1\.1 200 Fine\r\nX-A: 1\r\n/)
})

void test('memory that large answers were kept in is used again', async (t) => {
  const server = await backend(t, (_request, response) => void response.end(Buffer.alloc(100_000, 'x')))
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } })
  // That of the last one may come back a moment later.
  await inTurn([1, 2, 3], async () => {
    t.match(await ask(t, gateway.port, get()), { status: 200, complete: true })
  })
  t.equal(ReadBuffer.take().bytes.toString('latin1', 1000, 1010), 'xxxxxxxxxx', 'nobody has given it back')
})

void test('Fastify says whether there are hooks and fields of the application', async (t) => {
  const server = await backend(t)
  let seen: Array<readonly unknown[]> = []
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', (request, reply, next) => {
      const context: unknown = Object.getOwnPropertySymbols(request)
        .filter(({ description }) => description === 'fastify.context')
        .map((symbol) => Reflect.get(request, symbol))[0]
      seen = [symbolsOf(request), symbolsOf(reply), [Reflect.get(Object(context), 'onSend')]]
      next()
    })
  })
  await ask(t, gateway.port, get())
  const [request = [], reply = [], onSend = []] = seen
  t.ok(request.includes('fastify.context'))
  t.ok(reply.includes('fastify.reply.headers'))
  t.same(onSend, [null])
  t.ok(symbolsOf(gateway.app).includes('fastify.serverBindings'))
})

void test('sockets can be told to survive a failed write', (t) => {
  const socket = new Socket()
  t.teardown(() => socket.destroy())
  for (const name of ['_writableState', '_readableState']) {
    t.equal(Reflect.get(Object(Reflect.get(socket, name)), 'autoDestroy'), true, name)
  }
  t.end()
})
