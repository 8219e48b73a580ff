/**
 * GET /explain: what would become of a request, and why; asked of a gateway at work in front of real backends.
 */
import { createServer } from 'node:http'

import { test, type Test } from 'tap'

import type { Config } from '../../src/config/schema.ts'
import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { MoodyBackend, watched } from '../helpers/moody-backend.ts'
import { ask, askJson, backend } from '../helpers/process.ts'
import { portOf } from '../helpers/raw.ts'

type Told = Readonly<Record<string, unknown>>

async function explain(gateway: { readonly adminPort: number }, query: string, status = 200): Promise<Told> {
  const answer = await askJson(`http://127.0.0.1:${gateway.adminPort}/explain?${query}`)
  if (answer.status !== status) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`)
  return { ...Object(answer.body) }
}

async function three(t: Test, pool: object = {}, rest: Partial<Config> = {}): Promise<AdminGateway> {
  const urls = await Promise.all(['A', 'B', 'C'].map(async (name) => ({ id: name, url: await backend(t, name) })))
  return startWithAdmin(t, { config: { pools: { web: { ...pool, backends: urls } }, ...rest } })
}

async function turn({ port }: AdminGateway, path = '/'): Promise<string> {
  return (await ask(`http://127.0.0.1:${port}${path}`)).body
}

void test('the whole answer', async (t) => {
  const gateway = await three(
    t,
    { algorithm: 'round-robin' },
    { routes: [{ path: '/shop/*', host: 'shop.example.com', methods: ['GET'], pool: 'web' }] },
  )
  const told = await explain(
    gateway,
    'path=/shop/a%3Ftoken=very-secret%26n=1&host=shop.example.com&header=x-key:secret',
  )
  const each = { state: 'healthy', weight: 1, effectiveWeight: 1, inFlight: 0, score: null, notes: [] }
  t.same(told, {
    request: {
      method: 'GET',
      host: 'shop.example.com',
      path: '/shop/a',
      query: ['token', 'n'],
      ip: '127.0.0.1',
      headers: ['x-key'],
    },
    route: { path: '/shop/*', host: 'shop.example.com', methods: ['GET'] },
    pool: 'web',
    algorithm: 'round-robin',
    score: null,
    panic: false,
    candidates: [
      { id: 'A', ...each },
      { id: 'B', ...each },
      { id: 'C', ...each },
    ],
    leftOut: [],
    chosen: null,
    reason: 'One after the other, whatever their weights; the first one is drawn: whom, cannot be told beforehand',
    answer: null,
  })
  t.notMatch(JSON.stringify(told), /secret/)
})

void test('a thousand explanations, and round robin goes on exactly where it was', async (t) => {
  const gateway = await three(t, { algorithm: 'round-robin' })
  const first = await turn(gateway)
  const next = { A: 'B', B: 'C', C: 'A' }[first] ?? ''
  const status = async (): Promise<unknown> =>
    Object((await askJson(`http://127.0.0.1:${gateway.adminPort}/status`)).body).pools
  const before = await status()
  for (let n = 0; n < 1000; n += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { chosen } = await explain(gateway, 'path=/')
    t.match(chosen, { id: next }, `after ${n}`)
  }
  t.same(await status(), before)
  t.equal(await turn(gateway), next)
})

for (const algorithm of ['weighted-round-robin', 'least-connections'] as const) {
  void test(`${algorithm}: who is named is who answers`, async (t) => {
    const gateway = await three(t, { algorithm })
    await turn(gateway)
    for (let n = 0; n < 9; n += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { chosen, candidates } = await explain(gateway, 'path=/')
      t.match(candidates, [{ score: Number }, { score: Number }, { score: Number }])
      // oxlint-disable-next-line no-await-in-loop
      t.equal(await turn(gateway), Object(chosen).id)
    }
  })
}

void test('a hash of a header, a cookie, an address and a parameter', async (t) => {
  for (const [key, query, headers] of [
    [{ header: 'x-user' }, 'header=X-User:42', { 'x-user': '42' }],
    [{ cookie: 'sid' }, 'header=cookie:a=b; sid=7', { cookie: 'a=b; sid=7' }],
    [{ query: 'n' }, 'ip=10.0.0.1', {}],
    [{ ip: true }, 'host=a.example', {}],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const gateway = await three(t, { algorithm: { type: 'consistent-hash', key } })
    // oxlint-disable-next-line no-await-in-loop
    const { chosen } = await explain(gateway, `path=/%3Fn=5&${encodeURI(query)}`)
    t.ok(Object(chosen).id, JSON.stringify(key))
    // oxlint-disable-next-line no-await-in-loop
    const { body } = await ask(`http://127.0.0.1:${gateway.port}/?n=5`, { headers })
    t.equal(body, Object(chosen).id, JSON.stringify(key))
  }
})

void test('a backend that was killed is left out, with the evidence', async (t) => {
  const [good, bad] = [await MoodyBackend.start(t, 'good'), await MoodyBackend.start(t, 'bad')]
  const active = { interval: 20, timeout: 5000 }
  const gateway = await watched(t, { good, bad }, { health: { active } })
  await bad.kill()
  await gateway.seen.next({ what: 'health', backend: 'bad', to: 'unhealthy' })
  const adminPort = portOf(gateway.app.admin?.server ?? createServer())
  const told = await explain({ adminPort }, 'path=/')
  t.match(told, { candidates: [{ id: 'good', state: 'healthy' }], chosen: { id: 'good' } })
  t.match(told['leftOut'], [
    { id: 'bad', state: 'unhealthy', reason: /^it is unhealthy: (3 checks|the first check) failed: / },
  ])
})

void test('failed checks are told with their number and what was wrong', async (t) => {
  let checks = 0
  const bad = await backend(t, (request, answer) => {
    request.resume()
    answer.writeHead(request.url === '/health' && checks++ > 0 ? 503 : 200).end()
  })
  const gateway = await watched(
    t,
    { good: { url: await backend(t, 'good') }, bad: { url: bad } },
    { health: { active: { interval: 20, timeout: 5000 } } },
  )
  await gateway.seen.next({ what: 'health', backend: 'bad', to: 'unhealthy' })
  const { leftOut } = await explain({ adminPort: portOf(gateway.app.admin?.server ?? createServer()) }, 'path=/')
  t.match(leftOut, [{ id: 'bad', reason: /^it is unhealthy: 3 checks failed: answered 503/ }])
})

void test('nobody left: what the gateway would answer', async (t) => {
  const gateway = await startWithAdmin(t, {
    config: { pools: { web: { backends: [{ url: 'http://127.0.0.1:9', id: 'one', weight: 0 }] } } },
  })
  t.match(await explain(gateway, 'path=/'), {
    candidates: [],
    leftOut: [{ id: 'one', reason: 'its weight is 0' }],
    chosen: null,
    reason: 'No backend can be chosen',
    answer: { statusCode: 503, code: 'SLUICE_NO_BACKEND' },
  })
})

void test('no route, and what of the request it was', async (t) => {
  const gateway = await three(
    t,
    {},
    {
      routes: [
        { path: '/a', methods: ['GET', 'HEAD'], pool: 'web' },
        { path: '/b', host: '*.example.com', pool: 'web' },
        { path: '/old/*', pool: 'web', rewrite: { stripPrefix: '/old' } },
      ],
    },
  )
  const answer = { statusCode: 404, code: 'SLUICE_NO_ROUTE' }
  const none = { route: null, pool: null, chosen: null, candidates: [], answer }
  t.match(await explain(gateway, 'path=/nothing'), { ...none, reason: 'No route matches this path' })
  t.match(await explain(gateway, 'path=/a&method=POST'), {
    ...none,
    reason: 'No route takes POST for this path and host; routes take GET, HEAD',
  })
  t.match(await explain(gateway, 'path=/b&host=other.org'), {
    ...none,
    reason: 'No route matches this path for other.org; routes for *.example.com do',
  })
  t.match(await explain(gateway, 'path=/b&host=x.EXAMPLE.com:80'), { route: { path: '/b' }, answer: null })
  const refused = { chosen: null, answer: { statusCode: 400, code: 'SLUICE_BAD_REQUEST' } }
  t.match(await explain(gateway, 'path=/old/../x'), { ...refused, reason: /leads out of/ })
  t.match(await explain(gateway, 'path=/%256fld/x'), { ...refused, reason: /does not begin with \/old/ })
})

/** What is refused, and a word of why. */
const BAD: ReadonlyArray<readonly [query: string, message: RegExp]> = [
  ['', /path is missing/],
  ['path=', /path is missing/],
  ['path=a', /begin with a slash/],
  ['path=/a b', /without a space/],
  ['path=/a%23b', /without a space, #/],
  ['path=/%C3%A9', /beyond ASCII/],
  ['path=*', /begin with a slash/],
  ['path=/a&path=/b', /path is given 2 times/],
  ['path=/a&method=get', /upper case: GET/],
  ['path=/a&method=CONNECT', /can be forwarded$/],
  ['path=/a&method=NOTHING', /can be forwarded$/],
  ['path=/a&host=a%20b', /host must be/],
  ['path=/a&host=', /host must be/],
  ['path=/a&ip=300.1.1.1', /ip must be/],
  ['path=/a&header=x', /NAME:VALUE/],
  ['path=/a&header=x%20y:hidden', /NAME:VALUE/],
  ['path=/a&header=x:a%0d%0ahidden', /control characters/],
  ['path=/a&header=host:hidden', /parameter of its own/],
  ['path=/a&header=x:hidden&header=X:hidden', /given twice/],
  ['path=/a&pth=/b', /There is no parameter "pth". Did you mean "path"\?/],
  ['path=/a?x=1&b=hidden', /no parameter "b". An & that belongs to the path is written %26/],
  ['path=/a&__proto__=1', /no parameter "__proto__"/],
]

void test('what no client could send is refused, with the reason and without the values', async (t) => {
  const gateway = await three(t)
  for (const [query, message] of BAD) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const body = await explain(gateway, query.replaceAll(' ', '%20'), 400)
    t.match(body, { statusCode: 400, error: 'Bad Request', code: 'SLUICE_BAD_REQUEST', message, requestId: /./ }, query)
    t.notMatch(body['message'], /hidden/, query)
  }
  t.match(await explain(gateway, 'path=*&method=OPTIONS'), { route: { path: '/*' } })
})

void test('it needs the token, like every call', async (t) => {
  const gateway = await three(t, {}, { admin: { token: 'open-sesame' } })
  const url = `http://127.0.0.1:${gateway.adminPort}/explain?path=/`
  t.equal((await ask(url)).status, 401)
  t.equal((await ask(url, { headers: { authorization: 'Bearer open-sesame' } })).status, 200)
})
