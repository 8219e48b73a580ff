/**
 * Expect: the gateway answers it itself, and the backend gets the body.
 */
import { test } from 'tap'

import { backend, gatewayTo } from '../helpers/gateway.ts'
import { ask, inTurn, RawClient } from '../helpers/raw.ts'

const HEAD = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n'

void test('HH-18 Expect: 100-continue, with the body sent after 100 and at once', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  const patient = await RawClient.open(t, port)
  patient.send(`${HEAD}Expect: 100-continue\r\n\r\n`)
  await patient.inbox.until(() => (patient.inbox.text.includes('\r\n\r\n') ? true : undefined))
  patient.send('body')
  t.equal((await patient.answer()).status, 200)
  t.match(patient.interim, [/^HTTP\/1\.1 100 /])
  t.equal((await ask(t, port, `${HEAD}Expect: 100-Continue\r\n\r\nbody`)).status, 200)
  t.same(
    server.requests.map(({ body, headers }) => [body().toString(), headers.expect]),
    [
      ['body', undefined],
      ['body', undefined],
    ],
  )
})

void test('HH-17 other expectations are refused or dropped, never an error of the gateway', async (t) => {
  const server = await backend(t)
  const { port } = await gatewayTo(t, [server])
  await inTurn(['something-else', 'y 100-continue', '100-continue, x', '', '200-ok'], async (value) => {
    const answer = await ask(t, port, `${HEAD}Expect: ${value}\r\n\r\nbody`)
    t.ok([200, 417].includes(answer.status), `${value}: ${answer.status}`)
  })
  for (const { headers, body } of server.requests) t.same([headers.expect, body().toString()], [undefined, 'body'])
})
