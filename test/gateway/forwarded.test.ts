/**
 * What the backend is told of the client: believed from trusted proxies, set afresh for everybody else.
 */
import { test, type Test } from 'tap'

import { backend, gatewayTo, rawValues, type Backend, type Gateway } from '../helpers/gateway.ts'
import { ask, askAll, get, inTurn } from '../helpers/raw.ts'

const HERE = '127.0.0.1'

interface SetUp {
  readonly server: Backend
  readonly gateway: Gateway
}

async function setUp(t: Test, trustedProxies: readonly string[] = []): Promise<SetUp> {
  const server = await backend(t)
  return { server, gateway: await gatewayTo(t, [server], {}, { listen: { trustedProxies } }) }
}

/** What the backend sees under `name` when the client sends these lines. */
async function seen(t: Test, { server, gateway }: SetUp, name: string, lines: readonly string[]): Promise<string[]> {
  await ask(t, gateway.port, get('/', lines))
  return rawValues(server.requests.at(-1)?.rawHeaders ?? [], name)
}

void test('FW-02 X-Forwarded-For of a peer that is not trusted is replaced', async (t) => {
  const here = await setUp(t, ['10.0.0.0/8', '::1'])
  t.same(await seen(t, here, 'x-forwarded-for', []), [HERE])
  t.same(await seen(t, here, 'x-forwarded-for', ['X-Forwarded-For: 6.6.6.6']), [HERE])
  t.same(await seen(t, here, 'x-forwarded-for', ['X-Forwarded-For: 6.6.6.6', 'x-forwarded-for: 7.7.7.7']), [HERE])
  t.equal(here.server.requests.length, 3)
})

void test('FW-04 a trusted proxy is believed: its chain is kept and appended to', async (t) => {
  const here = await setUp(t, ['127.0.0.0/8', '10.0.0.0/8'])
  const chain = async (...lines: string[]): Promise<string[]> =>
    seen(
      t,
      here,
      'x-forwarded-for',
      lines.map((line) => `X-Forwarded-For: ${line}`),
    )
  t.same(await chain('1.2.3.4'), [`1.2.3.4, ${HERE}`])
  t.same(await chain('1.2.3.4, 10.0.0.7'), [`1.2.3.4, 10.0.0.7, ${HERE}`])
  t.same(await chain('1.2.3.4', '10.0.0.7'), [`1.2.3.4, 10.0.0.7, ${HERE}`])
  t.same(await chain(), [HERE])
})

void test('FW-04 the client is the first address from the right that is no trusted proxy', async (t) => {
  const clients: string[] = []
  const server = await backend(t)
  const config = { listen: { trustedProxies: [HERE, '10.0.0.0/8'] } }
  const { port, app } = await gatewayTo(t, [server], {}, config)
  app.observers.push({ exchange: ({ ip }) => void clients.push(ip) })
  const chains = [
    '6.6.6.6, 1.2.3.4, 10.0.0.7',
    '1.2.3.4',
    '10.1.1.1',
    'junk, 10.0.0.7',
    'junk',
    '2001:db8::1, 10.0.0.7',
    '',
  ]
  await inTurn(chains, async (chain) => {
    await ask(t, port, get('/', [`X-Forwarded-For: ${chain}`]))
  })
  t.same(clients, ['1.2.3.4', '1.2.3.4', '10.1.1.1', '10.0.0.7', HERE, '2001:db8::1', HERE])
})

void test('FW-06 X-Forwarded-Proto and -Host of a peer that is not trusted are replaced', async (t) => {
  const here = await setUp(t)
  const lines = ['X-Forwarded-Proto: https', 'X-Forwarded-Host: evil.example']
  t.same(await seen(t, here, 'x-forwarded-proto', lines), ['http'])
  t.same(await seen(t, here, 'x-forwarded-host', lines), ['gateway.example'])
  const trusting = await setUp(t, [HERE])
  t.same(await seen(t, trusting, 'x-forwarded-proto', lines), ['https'])
  t.same(await seen(t, trusting, 'x-forwarded-host', lines), ['evil.example'])
  t.same(await seen(t, trusting, 'x-forwarded-proto', ['X-Forwarded-Proto: gopher']), ['http'])
})

const IDENTITY = [
  'X-Real-IP: 6.6.6.6',
  'True-Client-IP: 6.6.6.6',
  'CF-Connecting-IP: 6.6.6.6',
  'X-Client-IP: 6.6.6.6',
  'X-Cluster-Client-IP: 6.6.6.6',
  'X-Envoy-External-Address: 6.6.6.6',
  'X-Envoy-Internal: true',
  'X-Forwarded-Port: 6',
  'X-Forwarded-Prefix: /6.6.6.6',
  'Forwarded: for=6.6.6.6;host=evil',
]

void test('FW-08 FW-09 other fields that say who the client is pass from trusted proxies only', async (t) => {
  const [strict, trusting] = [await setUp(t), await setUp(t, [HERE])]
  await inTurn(IDENTITY, async (line) => {
    const [name = '', value = ''] = line.split(': ')
    t.same(await seen(t, strict, name.toLowerCase(), [line]), [], name)
    t.same(await seen(t, trusting, name.toLowerCase(), [line]), [value], name)
  })
})

void test('FW-10 X_Forwarded_For and its like do not pass', async (t) => {
  const here = await setUp(t)
  await inTurn(
    ['X_Forwarded_For', 'x_forwarded-for', 'X_REAL_IP', 'X_Forwarded_Proto', 'x_request_id'],
    async (name) => {
      t.same(await seen(t, here, name.toLowerCase(), [`${name}: 6.6.6.6`]), [], name)
    },
  )
})

void test('FW-14 a PROXY protocol header is refused', async (t) => {
  const { server, gateway } = await setUp(t, [HERE])
  const binary = '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x06\x06\x06\x06\x7f\0\0\x01\0\x50\0\x50'
  await inTurn(['PROXY TCP4 6.6.6.6 127.0.0.1 1 80\r\n', binary], async (header) => {
    const answers = await askAll(t, gateway.port, `${header}${get()}`)
    t.same(
      answers.map(({ status }) => status),
      [400],
    )
  })
  t.equal(server.requests.length, 0)
})

void test('FW-09: Forwarded, where the pool wants it: our element, behind those of a trusted proxy only', async (t) => {
  const from = async (trustedProxies: readonly string[]): Promise<SetUp> => {
    const server = await backend(t)
    return { server, gateway: await gatewayTo(t, [server], { forwarded: true }, { listen: { trustedProxies } }) }
  }
  const edge = await from([])
  const ours = 'for=127.0.0.1;host=gateway.example;proto=http'
  t.same(await seen(t, edge, 'forwarded', []), [ours])
  t.same(await seen(t, edge, 'forwarded', ['Forwarded: for=6.6.6.6;host=evil']), [ours])
  const behind = await from(['127.0.0.1'])
  t.same(await seen(t, behind, 'forwarded', ['Forwarded: for=6.6.6.6;proto=https']), [
    `for=6.6.6.6;proto=https, ${ours}`,
  ])
  t.same(await seen(t, behind, 'forwarded', ['Forwarded: for=1.1.1.1', 'Forwarded: for=2.2.2.2']), [
    `for=1.1.1.1, for=2.2.2.2, ${ours}`,
  ])
})

void test('a Forwarded that cannot be read is not passed on: ours could end up inside of it', async (t) => {
  const server = await backend(t)
  const gateway = await gatewayTo(t, [server], { forwarded: true }, { listen: { trustedProxies: ['127.0.0.1'] } })
  t.same(await seen(t, { server, gateway }, 'forwarded', ['Forwarded: for="x']), [
    'for=127.0.0.1;host=gateway.example;proto=http',
  ])
})

void test('Forwarded of a trusted proxy is read where it sends no X-Forwarded-For', async (t) => {
  const here = await setUp(t, ['127.0.0.1', '10.0.0.0/8'])
  const lines = ['Forwarded: for=6.6.6.6;proto=https, for="[2001:db8::1]:47011", for=10.0.0.1']
  t.same(await seen(t, here, 'x-forwarded-for', lines), [`6.6.6.6, 2001:db8::1, 10.0.0.1, ${HERE}`])
  t.same(await seen(t, here, 'x-forwarded-proto', lines), ['https'])
  t.match(await here.gateway.line(() => true), { client: '2001:db8::1' })
  // A proxy that writes X-Forwarded-For may pass on a Forwarded that its client made up.
  const both = [...lines, 'X-Forwarded-For: 9.9.9.9', 'X-Forwarded-Proto: http']
  t.same(await seen(t, here, 'x-forwarded-for', both), [`9.9.9.9, ${HERE}`])
  t.same(await seen(t, here, 'x-forwarded-proto', both), ['http'])
  t.same(await seen(t, here, 'x-forwarded-for', ['Forwarded: not one']), [HERE])
  const edge = await setUp(t)
  t.same(await seen(t, edge, 'x-forwarded-for', lines), [HERE])
  t.same(await seen(t, edge, 'x-forwarded-proto', lines), ['http'])
})
