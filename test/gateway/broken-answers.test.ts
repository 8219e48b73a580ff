/**
 * A backend that breaks off in the middle of its answer: what the client has cannot be taken for the whole, and no
 * second attempt is spliced on.
 */
import { test } from 'tap'

import { gatewayTo, totals } from '../helpers/gateway.ts'
import { answering, get, inTurn, RawClient } from '../helpers/raw.ts'

const ANSWERS = {
  'with a length': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf',
  'between chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  'in a chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf',
  'in a chunk size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n6',
  'before the last line': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n',
  'in the trailers': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n',
}

/** How an HTTP/1.1 client and an HTTP/1.0 client ask. */
const VERSIONS = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/1.0\r\nConnection: keep-alive']

void test('BF-18 RT-07 an answer cut off, by closing and by reset', async (t) => {
  await inTurn(Object.entries(ANSWERS), async ([name, bytes]) => {
    await inTurn(['ends', 'resets'] as const, async (then) => {
      await inTurn(VERSIONS, async (version) => {
        const [server, other] = [await answering(t, bytes, then), await answering(t, bytes, then)]
        const gateway = await gatewayTo(t, [server, other])
        const client = await RawClient.open(t, gateway.port)
        client.send(`GET / ${version}\r\nHost: a\r\n\r\n`)
        const answer = await client.answer()
        const what = `${name} ${then} ${version}: ${client.inbox.ended}`
        t.notOk(answer.complete, what)
        t.ok(['', 'half'].includes(answer.body.toString()), `${what}: ${answer.body.toString()}`)
        t.equal(server.heads.length + other.heads.length, 1, `${what}: tried once`)
        t.match(await gateway.line(() => true), { level: 'warn', outcome: 'broken', code: 'SLUICE_RESET' })
        t.match(totals(gateway), { inFlight: 0 }, what)
      })
    })
  })
})

void test('BF-20 an answer that ends with its connection, ended by a reset', async (t) => {
  await inTurn(VERSIONS, async (version) => {
    const server = await answering(t, 'HTTP/1.1 200 OK\r\n\r\nhalf', 'resets')
    const { port } = await gatewayTo(t, [server])
    const client = await RawClient.open(t, port)
    client.send(`GET / ${version}\r\nHost: a\r\n\r\n`)
    t.notOk((await client.answer()).complete, version)
  })
})

const BAD_CHUNKS = {
  'no hexadecimal size': 'x\r\nhalf\r\n',
  'a size with 0x': '0x4\r\nmore\r\n',
  'a signed size': '+4\r\nmore\r\n',
  'a size with a space': '4 \r\nmore\r\n',
  'an empty size': '\r\nmore\r\n',
  'a huge size': 'fffffffffffffffff\r\nmore\r\n',
  'a bare LF': '4\nmore\n',
  'data longer than its size': '4\r\nmuch more\r\n',
  'an extension with NUL': '4;a=\x00\r\nmore\r\n',
  'an endless extension': `4;${'x'.repeat(70_000)}\r\nmore\r\n`,
  'endless trailers': `0\r\n${'x: y\r\n'.repeat(20_000)}\r\n`,
  'an answer instead': 'HTTP/1.1 200 OK\r\n\r\n',
}

void test('chunks that are none: cut off', async (t) => {
  await inTurn(Object.entries(BAD_CHUNKS), async ([name, chunk]) => {
    const server = await answering(t, `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n${chunk}`)
    const gateway = await gatewayTo(t, [server])
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    t.notOk((await client.answer()).complete, name)
    t.match(await gateway.line(() => true), { outcome: 'broken', code: 'SLUICE_BAD_RESPONSE' }, name)
    await (await server.connection(0)).inbox.end()
    t.match(totals(gateway), { inFlight: 0 }, name)
  })
})

void test('TO-07 a backend that stalls in the middle of its answer: cut off after timeouts.body', async (t) => {
  await inTurn(Object.values(ANSWERS).slice(0, 3), async (bytes) => {
    const server = await answering(t, bytes)
    const gateway = await gatewayTo(t, [server], { timeouts: { body: 150 } })
    const client = await RawClient.open(t, gateway.port)
    client.send(get())
    t.notOk((await client.answer()).complete)
    t.match(await gateway.line(() => true), { outcome: 'broken', reason: /no content for 150 ms/ })
    await (await server.connection(0)).inbox.end()
    t.match(totals(gateway), { inFlight: 0 })
  })
})
