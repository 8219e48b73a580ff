/**
 * Under which names the admin listener answers. A page that has let its own name point to this machine (DNS rebinding)
 * sends that name; nothing else tells its requests from those of an operator.
 */
import { test, type Test } from 'tap'

import { checkObject } from '../../src/config/check.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { ask, inTurn, valuesOf, type Answer } from '../helpers/raw.ts'

/** A request with exactly these lines in its head. */
function withLines(lines: readonly string[], target = '/status', version = '1.1'): string {
  return `GET ${target} HTTP/${version}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
}

function isMisdirected(t: Test, answer: Answer, name: string): void {
  t.equal(answer.status, 421, name)
  t.match(valuesOf(answer, 'content-type'), ['application/json; charset=utf-8'])
  const body: unknown = JSON.parse(answer.body.toString())
  const [requestId] = valuesOf(answer, 'x-request-id')
  t.match(body, { statusCode: 421, error: 'Misdirected Request', code: 'SLUICE_MISDIRECTED', requestId }, name)
  t.notMatch(answer.head, 'evil', 'what came is not repeated')
}

/** Names of others, and what would be one to a reader that is less strict than it should be. */
const EVIL = [
  'evil.example',
  'evil.example:9090',
  'localhost.evil.example',
  'localhost-evil.example',
  'evillocalhost',
  '127.0.0.1.evil.example',
  '127.evil.example',
  '127.1',
  '0x7f.0.0.1',
  '2130706433',
  '127.0.0.1:9090:80',
  '127.0.0.1@evil.example',
  'evil.example@127.0.0.1',
  'evil.example#127.0.0.1',
  'evil.example/127.0.0.1',
  '127.0.0.1, evil.example',
  'localhost evil.example',
  'evil.example\\.localhost',
  '.localhost',
  'localhost..',
  '[::1].evil.example',
  '[evil.example]',
  '[::1',
  '::1',
  ':9090',
  '',
]

const LOCAL = [
  '127.0.0.1',
  '127.0.0.1:9090',
  '127.0.0.1:1',
  '127.8.9.10',
  'localhost',
  'LocalHost:9090',
  'localhost.',
  'localhost.:80',
  'localhost:',
  'gateway.localhost:9090',
  '[::1]',
  '[::1]:9090',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]:9090',
]

const ADDRESSES = ['10.1.2.3', '10.1.2.3:9090', '0.0.0.0', '192.0.2.1', '[2001:db8::1]:9090', '[fe80::1]']

void test('on a loopback address: what means this machine, and nothing else', async (t) => {
  const { adminPort, warnings } = await startWithAdmin(t)
  await inTurn(LOCAL, async (host) => {
    t.equal((await ask(t, adminPort, withLines([`Host: ${host}`]))).status, 200, host)
  })
  t.same(warnings, [])
  await inTurn([...EVIL, ...ADDRESSES], async (host) => {
    isMisdirected(t, await ask(t, adminPort, withLines([`Host: ${host}`])), host)
  })
  const first = { message: 'admin call under a name that is not its own', client: '127.0.0.1', method: 'GET' }
  t.match(warnings[0], { ...first, path: '/status', host: 'evil.example' })
})

void test('every call but the two of orchestrators is refused, whether there is such a call or not', async (t) => {
  const { adminPort } = await startWithAdmin(t)
  const host = ['Host: evil.example']
  await inTurn(['/', '/nothing', '/healthz/', '/healthz/x', '//healthz', '/Readyz'], async (target) => {
    isMisdirected(t, await ask(t, adminPort, withLines(host, target)), target)
  })
  await inTurn(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], async (method) => {
    const request = `${method} /healthz HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{}`
    isMisdirected(t, await ask(t, adminPort, request, method), method)
  })
})

void test('/healthz and /readyz answer under any name, and without one', async (t) => {
  const { adminPort } = await startWithAdmin(t, { config: { admin: { token: 'secret' } } })
  await inTurn(['/healthz', '/readyz', '/readyz?verbose'], async (target) => {
    await inTurn([...EVIL, ...LOCAL, ...ADDRESSES], async (host) => {
      t.equal((await ask(t, adminPort, withLines([`Host: ${host}`], target))).status, 200, `${target} under ${host}`)
    })
    t.equal((await ask(t, adminPort, withLines([], target, '1.0'))).status, 200, 'checks of some load balancers')
  })
})

void test('the name must be said once, and the target must say no other one', async (t) => {
  const { adminPort } = await startWithAdmin(t)
  const own = 'Host: localhost'
  const evil = 'Host: evil.example'
  await inTurn(
    [
      [own, evil],
      [evil, own],
      [own, own],
      [own, 'host: '],
    ],
    async (lines) => {
      isMisdirected(t, await ask(t, adminPort, withLines(lines)), lines.join(' and '))
    },
  )
  isMisdirected(t, await ask(t, adminPort, withLines([], '/status', '1.0')), 'none in HTTP/1.0')
  t.equal((await ask(t, adminPort, withLines([own], '/status', '1.0'))).status, 200)
  t.equal((await ask(t, adminPort, withLines([]))).status, 400, 'none in HTTP/1.1')
  isMisdirected(t, await ask(t, adminPort, withLines([own], 'http://evil.example/status')), 'absolute form')
  isMisdirected(t, await ask(t, adminPort, withLines([evil], 'http://localhost/status')), 'the Host field beside it')
  isMisdirected(t, await ask(t, adminPort, withLines([own], 'http://localhost@evil.example/status')), 'a user in it')
  t.equal((await ask(t, adminPort, withLines([own], 'http://127.0.0.1:9090/status'))).status, 200, 'both its own')
})

void test('on any other address: all addresses, and the names that the configuration lists', async (t) => {
  const hosts = ['Gateway.Internal', 'bücher.example', '2001:DB8::1']
  const { adminPort } = await startWithAdmin(t, {
    host: '0.0.0.0',
    config: { admin: { host: 'admin.example', hosts } },
  })
  const listed = ['admin.example', 'ADMIN.example.:9090', 'gateway.internal:80', 'xn--bcher-kva.example']
  await inTurn([...LOCAL, ...ADDRESSES, ...listed], async (host) => {
    t.equal((await ask(t, adminPort, withLines([`Host: ${host}`]))).status, 200, host)
  })
  await inTurn([...EVIL, 'x.admin.example', 'internal', 'xgateway.internal', '10.1.2'], async (host) => {
    isMisdirected(t, await ask(t, adminPort, withLines([`Host: ${host}`])), host)
  })
})

void test('what is listed counts on a loopback address, too', async (t) => {
  const hosts = ['gateway.internal', '10.0.0.7']
  const { adminPort } = await startWithAdmin(t, { config: { admin: { hosts } } })
  await inTurn(['gateway.internal:9090', '10.0.0.7:80'], async (host) => {
    t.equal((await ask(t, adminPort, withLines([`Host: ${host}`]))).status, 200, host)
  })
  isMisdirected(t, await ask(t, adminPort, withLines(['Host: 10.0.0.8'])), 'another address')
})

void test('where it listens counts, not what the configuration says of it', async (t) => {
  const everywhere = await startWithAdmin(t, { host: '0.0.0.0' })
  t.equal((await ask(t, everywhere.adminPort, withLines(['Host: 10.1.2.3']))).status, 200)
  const here = await startWithAdmin(t, { config: { admin: { host: '0.0.0.0' } } })
  isMisdirected(t, await ask(t, here.adminPort, withLines(['Host: 10.1.2.3'])), 'an address of others')
})

void test('a listed name that could never match is a mistake', async (t) => {
  const pools = { web: { backends: ['http://127.0.0.1:9'] } }
  const { problems } = checkObject({ pools, admin: { hosts: ['a:9090', '*.b', 'http://c', 'd', '[::1]', '::1', ''] } })
  t.same(
    problems?.map(({ path }) => path),
    [0, 1, 2, 4, 6].map((index) => `admin.hosts[${index}]`),
  )
})
