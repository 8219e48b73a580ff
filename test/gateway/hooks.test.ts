/**
 * Hooks of an application around the gateway: they see every request and every answer, and what they say counts.
 */
import { METHODS } from 'node:http'
import { Readable } from 'node:stream'

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { test } from 'tap'

import { backend, isError, startGateway, totals } from '../helpers/gateway.ts'
import { answering, ask, get, inTurn, ok, RawClient, valuesOf } from '../helpers/raw.ts'

async function textOf(payload: unknown): Promise<string> {
  if (typeof payload !== 'object' || payload === null || !(Symbol.asyncIterator in payload)) return String(payload)
  const pieces: Buffer[] = []
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the answer is a stream of bytes
  for await (const piece of payload as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

const UPPER = (app: FastifyInstance): void => {
  app.addHook('onSend', async (_request, _reply, payload) => (await textOf(payload)).toUpperCase())
}

const pass = (app: FastifyInstance): void => {
  app.addHook('onSend', async (_request, _reply, payload) => payload)
}

const millionOf = (text: string): Buffer => Buffer.alloc(1_000_000, text)

const refuse = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
  reply.code(403).send('no')

void test('an onSend hook sees the answer and can change it', async (t) => {
  const answers = {
    whole:
      'HTTP/1.1 200 Fine\r\nX-A: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nanswered\r\n0\r\n\r\n',
    closed: 'HTTP/1.1 200 Fine\r\nX-A: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: close\r\n\r\nanswered',
  }
  await inTurn(Object.values(answers), async (bytes) => {
    const server = await answering(t, bytes, bytes === answers.closed ? 'ends' : 'stays')
    const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, UPPER)
    const answer = await ask(t, gateway.port, get())
    t.match(answer, { status: 200, reason: 'Fine', complete: true })
    t.equal(answer.body.toString(), 'ANSWERED')
    t.same(valuesOf(answer, 'x-a'), ['1'])
    t.same(valuesOf(answer, 'set-cookie'), ['a', 'b'])
    t.equal(valuesOf(answer, 'x-request-id').length, 1)
    t.match(totals(gateway), { inFlight: 0, failures: 0 })
  })
})

void test('an onSend hook that passes everything on: large answers, HEAD, 204 and 304 as without it', async (t) => {
  const server = await backend(t, (request, response) => {
    const size = Number((request.url ?? '').slice(1))
    if (size === 204 || size === 304) response.writeHead(size).end()
    else response.writeHead(200, { 'content-length': size }).end(Buffer.alloc(size, 'x'))
  })
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onSend', async (_request, _reply, payload) => payload)
  })
  await inTurn([0, 1, 16_384, 65_537, 3_000_000], async (size) => {
    const answer = await ask(t, gateway.port, get(`/${size}`))
    t.match(answer, { status: 200, complete: true }, String(size))
    t.equal(answer.body.length, size)
  })
  t.equal((await ask(t, gateway.port, 'HEAD /5 HTTP/1.1\r\nHost: a\r\n\r\n', 'HEAD')).status, 200)
  t.match(await ask(t, gateway.port, get('/204')), { status: 204, complete: true })
  t.match(await ask(t, gateway.port, get('/304')), { status: 304, complete: true })
  t.match(totals(gateway), { inFlight: 0, failures: 0 })
})

void test('with an onSend hook too, an answer that breaks off is cut off, and a client that leaves is noticed', async (t) => {
  const broken = await answering(t, 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'ends')
  const one = await startGateway(t, { pools: { web: { backends: [broken.url] } } }, pass)
  const client = await RawClient.open(t, one.port)
  client.send(get())
  t.notOk((await client.answer()).complete)
  const stalled = await backend(t, (_request, response) => void response.write('first'))
  const two = await startGateway(t, { pools: { web: { backends: [stalled.url] } } }, pass)
  const leaver = await RawClient.open(t, two.port)
  leaver.send(get())
  await leaver.inbox.until(() => (leaver.inbox.text.includes('first') ? true : undefined))
  leaver.socket.destroy()
  await stalled.openAtMost(0)
  await two.line(({ status }) => status === 499)
  t.match(totals(two), { inFlight: 0, failures: 0 })
})

void test('what an onRequest hook sets on the reply is in the answer, once', async (t) => {
  const server = await answering(t, ok('ok', ['X-Both: theirs', 'X-Theirs: 1']))
  await inTurn([false, true], async (through) => {
    const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
      app.addHook('onRequest', async (request, reply) => {
        reply
          .header('x-ours', 'a')
          .header('x-both', 'ours')
          .header('x-list', ['1', '2'])
          .header('x-request-id', request.id)
      })
      if (through) app.addHook('onSend', async (_request, _reply, payload) => payload)
    })
    const answer = await ask(t, gateway.port, get())
    t.same(valuesOf(answer, 'x-ours'), ['a'])
    t.same(valuesOf(answer, 'x-theirs'), ['1'])
    t.same(valuesOf(answer, 'x-list'), ['1', '2'])
    if (!through) t.same(valuesOf(answer, 'x-both'), ['ours'])
    t.equal(valuesOf(answer, 'x-request-id').length, 1, 'one request id')
  })
})

void test('a hook that refuses is honoured for every method and every content type', async (t) => {
  const server = await backend(t)
  await inTurn(['onRequest', 'preHandler'] as const, async (hook) => {
    const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
      if (hook === 'onRequest') app.addHook('onRequest', refuse)
      else app.addHook('preHandler', refuse)
    })
    await inTurn(METHODS, async (method) => {
      if (method === 'CONNECT') return
      await inTurn(
        [undefined, '', 'application/json', 'text/plain; charset', 'a/b/c', 'multipart/form-data', '\xff'],
        async (type) => {
          const lines = type === undefined ? '' : `Content-Type: ${type}\r\nContent-Length: 1\r\n`
          const body = type === undefined ? '' : '{'
          const answer = await ask(t, gateway.port, `${method} /x HTTP/1.1\r\nHost: a\r\n${lines}\r\n${body}`, method)
          if (answer.status !== 403) t.fail(`${hook} ${method} ${type}: ${answer.status}`)
        },
      )
    })
    await inTurn(['//x', '/%2e', '/a;b', '/x?__proto__', 'http://other.example/x', '/%zz'], async (target) => {
      const { status } = await ask(t, gateway.port, get(target))
      t.ok([403, 400].includes(status), `${target}: ${status}`)
    })
  })
  t.equal(server.requests.length, 0)
})

void test('an onResponse hook runs when an answer has been sent', async (t) => {
  const server = await backend(t)
  const seen: number[] = []
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onResponse', async (_request, reply) => void seen.push(reply.statusCode))
  })
  const client = await RawClient.open(t, gateway.port)
  await inTurn([1, 2], async () => {
    client.send(get())
    await client.answer()
  })
  client.send(get())
  await client.answer()
  t.same(seen.slice(0, 2), [200, 200])
})

void test('who waits for the events of a request without a body hears them; who reads it comes to its end', async (t) => {
  const server = await backend(t, (request, response) => {
    if (request.url !== '/never') response.end('here')
  })
  const told: string[] = []
  const left = Promise.withResolvers<string>()
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', async ({ raw, url }) => {
      if (url === '/heard') raw.once('end', () => told.push('end')).once('close', () => told.push('close'))
      if (url === '/never') raw.once('close', () => left.resolve('close'))
    })
    app.post('/read', (request, reply) => {
      request.raw.resume().once('end', () => void reply.send('read'))
    })
  })
  const client = await RawClient.open(t, gateway.port)
  await inTurn(['/unheard', '/heard'], async (path) => {
    client.send(get(path))
    t.equal((await client.answer()).body.toString(), 'here')
  })
  client.send('POST /read HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal((await client.answer()).body.toString(), 'read')
  t.same(told, ['end', 'close'])
  client.send(get('/never'))
  await server.request(2)
  client.socket.destroy()
  t.equal(await left.promise, 'close')
})

void test('a preParsing hook may put another stream in place of the body', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('preParsing', async (_request, _reply, payload) =>
      Readable.from([Buffer.from((await textOf(payload)).toUpperCase())]),
    )
  })
  const answer = await ask(t, gateway.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody')
  t.equal(answer.status, 200)
  t.equal(server.requests[0]?.body().toString(), 'BODY')
})

void test('what a plugin throws is for the log; its own routes and refusals carry the request id, too', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.get('/mine', async () => 'mine')
    app.get('/throws', async () => {
      throw new Error('secret /etc/passwd')
    })
    app.addHook('preHandler', async (request, reply) => {
      if (request.url === '/fails') throw new Error('secret /etc/passwd')
      return request.url === '/refused' ? reply.code(403).send('no') : undefined
    })
  })
  await inTurn(['/mine', '/refused', '/'], async (target) => {
    t.equal(valuesOf(await ask(t, gateway.port, get(target)), 'x-request-id').length, 1, target)
  })
  await inTurn(['/throws', '/fails'], async (target) => {
    isError(t, await ask(t, gateway.port, get(target)), 'SLUICE_INTERNAL', [server.port], target)
  })
})

void test('HH-17 another Expect, and CONNECT: refused in our form', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } })
  const expect = await ask(t, gateway.port, get('/', ['Expect: foo']))
  t.equal(expect.status, 417)
  t.equal(valuesOf(expect, 'x-request-id').length, 1)
  isError(t, await ask(t, gateway.port, 'CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n'), 'SLUICE_BAD_REQUEST')
  t.equal(server.requests.length, 0)
})

void test('who puts a function in the place of writeHead sees what is written', async (t) => {
  const server = await answering(t, ok('ok', ['X-A: 1']))
  const seen: unknown[] = []
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', (_request, { raw }, next) => {
      const writeHead: unknown = Reflect.get(raw, 'writeHead')
      Reflect.set(raw, 'writeHead', (...args: unknown[]) => {
        seen.push(...args)
        return typeof writeHead === 'function' ? Reflect.apply(writeHead, raw, args) : undefined
      })
      next()
    })
  })
  const answer = await ask(t, gateway.port, get())
  t.match(answer, { status: 200, complete: true })
  t.same(valuesOf(answer, 'x-a'), ['1'])
  t.match(seen, [200, 'OK', ['X-A', '1']])
})

void test('who puts functions in the place of write and end may keep what they are given', async (t) => {
  const server = await backend(t, ({ url = '' }, response) => void response.end(millionOf(url)))
  const kept = new Map<string, Buffer[]>()
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', ({ url }, { raw }, next) => {
      const pieces: Buffer[] = []
      kept.set(url, pieces)
      for (const name of ['write', 'end']) {
        const own: unknown = Reflect.get(raw, name)
        Reflect.set(raw, name, (...args: unknown[]) => {
          if (args[0] instanceof Buffer) pieces.push(args[0])
          return typeof own === 'function' ? Reflect.apply(own, raw, args) : undefined
        })
      }
      next()
    })
  })
  const paths = Array.from({ length: 8 }, (_, n) => `/${n}`)
  await inTurn([1, 2], async () => {
    await Promise.all(paths.map(async (path) => ask(t, gateway.port, get(path))))
  })
  for (const path of paths) t.ok(Buffer.concat(kept.get(path) ?? []).equals(millionOf(path)), path)
})

void test('an id that an application makes cannot become a line of a head', async (t) => {
  const server = await backend(t)
  const gateway = await startGateway(t, { pools: { web: { backends: [server.url] } } }, (app) => {
    app.addHook('onRequest', (request, _reply, next) => {
      request.id = 'a\r\nX-Admin: yes'
      next()
    })
  })
  const answer = await ask(t, gateway.port, get())
  t.ok(answer.status >= 400, String(answer.status))
  t.same(valuesOf(answer, 'x-admin'), [])
  t.equal(server.requests.length, 0)
})
