/**
 * Request lines that are none, and what is no HTTP at all.
 */
import { randomBytes } from 'node:crypto'

import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { ask, askAll, get, inTurn, type Bytes } from '../helpers/raw.ts'

const FIELDS = 'Host: a\r\n\r\n'

const REFUSED: Readonly<Record<string, readonly Bytes[]>> = {
  'RL-01 HTTP/0.9': ['GET /\r\n\r\n', 'GET / \r\n\r\n', `GET / HTTP/0.9\r\n${FIELDS}`],
  'RL-02 other versions': ['2.0', '3.0', '1.32', '01.01', '1', '1.x', '99999999999.1', '1.2', '1,1', ''].map(
    (version) => `GET / HTTP/${version}\r\n${FIELDS}`,
  ),
  'RL-03 spelling and spaces': [
    `GET / http/1.1\r\n${FIELDS}`,
    `GET / HTTP /1.1\r\n${FIELDS}`,
    `GET / HTTP/1.1 x\r\n${FIELDS}`,
    `GET\t/\tHTTP/1.1\r\n${FIELDS}`,
    ` GET / HTTP/1.1\r\n${FIELDS}`,
    `GET  HTTP/1.1\r\n${FIELDS}`,
  ],
  'RL-04 characters in the target': [' ', '\x00', '\r', '\x01', '\x7f', '\t', '\x0c'].map(
    (char) => `GET /a${char}b HTTP/1.1\r\n${FIELDS}`,
  ),
  'RL-05 line ends': [
    'GET / HTTP/1.1\rHost: a\r\r',
    'GET /\nx HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET / HTTP/1.1\r\r\nHost: a\r\n\r\n',
  ],
  'RL-18 no HTTP': [
    Buffer.from('16030100c8010000c40303', 'hex'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    randomBytes(1000),
    '\x00\x00\x00\x00',
    'SSH-2.0-OpenSSH_9.2\r\n',
  ],
}

for (const [name, requests] of Object.entries(REFUSED)) {
  void test(`${name}: refused and closed, and no backend asked`, async (t) => {
    const server = await backend(t)
    const { port } = await gatewayTo(t, [server])
    await inTurn(requests, async (bytes) => {
      const answers = await askAll(t, port, bytes, true)
      const what = JSON.stringify(bytes.toString('latin1')).slice(0, 60)
      t.ok(answers.length <= 1, what)
      for (const { status } of answers) t.ok([400, 404, 408, 431, 505].includes(status), `${what}: ${status}`)
    })
    t.same(
      server.requests.map(({ url }) => url),
      [],
    )
    t.equal((await ask(t, port, get())).status, 200, 'and the gateway goes on')
  })
}

void test('RL-06 bare LF as line ends: refused, or read and forwarded with CRLF', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const [answer] = await askAll(t, port, 'GET / HTTP/1.1\nHost: a\nX: y\nConnection: close\n\n', true)
  t.ok(answer === undefined || [200, 400].includes(answer.status))
  if (answer?.status === 200) t.equal(server.requests[0]?.headers['x'], 'y')
})

void test('RL-17 empty lines before a request are skipped', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  t.equal((await ask(t, port, `\r\n${get()}`)).status, 200)
  t.equal((await ask(t, port, `${'\r\n'.repeat(200)}${get()}`)).status, 200)
})
