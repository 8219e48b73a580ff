/**
 * The token of the admin listener against those who try: every call needs it, and no number of tries fills the log.
 */
import { test } from 'tap'

import { isAuthorized, isToken } from '../../src/admin/token.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { ask, inTurn } from '../helpers/raw.ts'

const HEAD = 'HTTP/1.1\r\nHost: localhost\r\n'

void test('AD-03: only the very token gets in', async (t) => {
  const token = 'open sesame, ünd so weiter'
  t.ok(isAuthorized(`Bearer ${token}`, token))
  t.ok(isAuthorized(`BEARER   ${token}`, token))
  const prefixes = Array.from({ length: token.length }, (_, length) => token.slice(0, length))
  const near = [...prefixes, `${token}x`, ` x${token}`, token.toUpperCase(), token.normalize('NFD'), `${token}\0`]
  for (const wrong of near) t.notOk(isAuthorized(`Bearer ${wrong}`, token), JSON.stringify(wrong))
  for (const wrong of [undefined, '', 'Bearer', token, `Basic ${token}`, `Bearer${token}`, `x Bearer ${token}`]) {
    t.notOk(isAuthorized(wrong, token), String(wrong))
  }
  t.ok(isAuthorized(undefined, ''), 'none is asked for')
})

void test('where a token has to be shown, none at all is no token', (t) => {
  t.ok(isToken('secret', 'secret'))
  for (const wrong of ['secre', 'secret ', 'Bearer secret', '', undefined]) t.notOk(isToken(wrong, 'secret'))
  for (const given of ['', 'undefined', undefined]) t.notOk(isToken(given, ''))
  t.end()
})

void test('AD-03: whatever call is tried, also those that are not there', async (t) => {
  const { adminPort } = await startWithAdmin(t, { config: { admin: { token: 'secret' } } })
  const methods = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE']
  const targets = ['/status', '/', '/nothing', '/healthz/', '//healthz', '/healthz%2f', '/status?token=secret', '*']
  await inTurn(methods, async (method) => {
    await inTurn(targets, async (target) => {
      const { status } = await ask(t, adminPort, `${method} ${target} ${HEAD}\r\n`, method)
      t.ok(status === 401 || (target === '*' && (status === 400 || status === 421)), `${method} ${target}: ${status}`)
    })
  })
  const two = `Authorization: Bearer wrong\r\nAuthorization: Bearer secret\r\n`
  t.equal((await ask(t, adminPort, `GET /status ${HEAD}${two}\r\n`)).status, 401, 'the first of two counts')
})

void test('AD-03: a flood of wrong tokens is few lines, which say how many there were', async (t) => {
  const { adminPort, warnings, warned } = await startWithAdmin(t, { config: { admin: { token: 'secret' } } })
  const tries = Array.from({ length: 300 }, (_, number) => number)
  await inTurn(tries, async (number) => {
    const wrong = `Authorization: Bearer guess-${number}\r\n`
    t.equal((await ask(t, adminPort, `GET /status?guess=${number} ${HEAD}${wrong}\r\n`)).status, 401)
  })
  const told = (): number => warnings.reduce((sum, { count = 1 }) => sum + Number(count), 0)
  await warned(() => told() === tries.length)
  t.ok(warnings.length < tries.length / 10, `${warnings.length} lines`)
  const [first, second] = warnings
  t.same(first, {
    message: 'admin call without its token',
    client: '127.0.0.1',
    method: 'GET',
    path: '/status',
    host: 'localhost',
    origin: undefined,
  })
  t.match(second, { message: 'admin call without its token, repeatedly; this is the latest', client: '127.0.0.1' })
  t.notMatch(JSON.stringify(warnings), /guess|secret/, 'no guess: it may be nearly right')
})

void test('AD-10: no path leads out of the calls that there are', async (t) => {
  const { adminPort } = await startWithAdmin(t)
  const targets = [
    '/..%2f..%2fetc/passwd',
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..\\..\\etc\\passwd',
    '/....//....//etc/passwd',
    '/status/../../etc/passwd',
    '/status%2f..%2f..%2fetc%2fpasswd',
    '/etc/passwd',
    '//etc/passwd',
    '/file:///etc/passwd',
    '/status%00.html',
    '/package.json',
    '/.env',
  ]
  await inTurn(targets, async (target) => {
    await inTurn(['GET', 'PUT', 'POST'], async (method) => {
      const { status, body } = await ask(t, adminPort, `${method} ${target} ${HEAD}\r\n`, method)
      t.equal(status, 404, `${method} ${target}`)
      t.notMatch(body.toString(), /root:|sluice|passwd/, 'nothing of a file, nor of the path')
    })
  })
})
