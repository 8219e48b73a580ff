/**
 * Calls that a browser makes for a page of another site are refused; those of the listener's own pages, of people who
 * follow a link, and of clients that are no browsers are not. A browser of its own tries it in test/clients/.
 */
import { test, type Test } from 'tap'

import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { ask, inTurn, valuesOf, type Answer } from '../helpers/raw.ts'

const PATHS = ['/status', '/test'] as const
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const CHANGES = ['POST', 'PUT', 'PATCH', 'DELETE'] as const

async function guardedGateway(t: Test): Promise<AdminGateway & { readonly made: string[] }> {
  const made: string[] = []
  const gateway = await startWithAdmin(t, {
    prepare: (admin) => {
      admin.all('/test', ({ method }) => {
        made.push(method)
        return {}
      })
    },
  })
  return { ...gateway, made }
}

async function call(t: Test, port: number, method: string, lines: readonly string[]): Promise<Answer> {
  const fields = lines.map((line) => `${line}\r\n`).join('')
  return await ask(t, port, `${method} /test HTTP/1.1\r\nHost: localhost:${port}\r\n${fields}\r\n`, method)
}

/** The fields of a browser's request. */
function fetched(site: string, mode: string, dest: string, origin?: string): string[] {
  const fields = [`Sec-Fetch-Site: ${site}`, `Sec-Fetch-Mode: ${mode}`, `Sec-Fetch-Dest: ${dest}`]
  return origin === undefined ? fields : [...fields, `Origin: ${origin}`]
}

void test('with Sec-Fetch-Site of another site nothing is read and nothing changed', async (t) => {
  const { adminPort, made, warnings } = await guardedGateway(t)
  const kinds = [
    ...['cors', 'no-cors', 'websocket', 'same-origin', 'unheard-of'].map((mode) => [mode, 'empty'] as const),
    ...['script', 'image', 'style', 'track', 'worker'].map((dest) => ['no-cors', dest] as const),
    ...['iframe', 'frame', 'embed', 'object', 'fencedframe', 'empty'].map((dest) => ['navigate', dest] as const),
  ]
  await inTurn(['cross-site', 'same-site', 'unheard-of', 'same-origin, cross-site'], async (site) => {
    await inTurn(kinds, async ([mode, dest]) => {
      await inTurn(METHODS, async (method) => {
        const { status, body } = await call(t, adminPort, method, fetched(site, mode, dest))
        t.equal(status, 403, `${method}, ${site}, ${mode}, ${dest}`)
        if (method !== 'HEAD')
          t.match(JSON.parse(body.toString()), { statusCode: 403, error: 'Forbidden', code: 'SLUICE_CROSS_SITE' })
      })
    })
  })
  t.same(made, [])
  t.match(warnings[0], { message: 'admin call from another site', client: '127.0.0.1', method: 'GET', path: '/test' })
})

void test('a link from elsewhere leads to it; a form that posts does not', async (t) => {
  const { adminPort, made } = await guardedGateway(t)
  await inTurn(['cross-site', 'same-site'], async (site) => {
    t.equal((await call(t, adminPort, 'GET', fetched(site, 'navigate', 'document'))).status, 200, site)
    await inTurn(CHANGES, async (method) => {
      const { status } = await call(t, adminPort, method, fetched(site, 'navigate', 'document'))
      t.equal(status, 403, `${method} from ${site}`)
    })
  })
  t.same(made, ['GET', 'GET'])
})

void test('pages of its own, people and programs get in', async (t) => {
  const { adminPort } = await guardedGateway(t)
  const own = `http://localhost:${adminPort}`
  const friendly: ReadonlyArray<readonly [name: string, lines: readonly string[]]> = [
    ['a program', []],
    ['a page of its own', fetched('same-origin', 'cors', 'empty')],
    ['a page of its own, with its origin', fetched('same-origin', 'cors', 'empty', own)],
    ['a form of its own, under its referrer policy', fetched('same-origin', 'navigate', 'document', 'null')],
    ['behind a proxy that ends TLS', fetched('same-origin', 'cors', 'empty', `https://localhost:${adminPort}`)],
    ['typed', fetched('none', 'navigate', 'document')],
    ['an old browser', [`Origin: ${own}`]],
    ['an old browser that shouts', [`Origin: ${own.toUpperCase()}`]],
  ]
  await inTurn(friendly, async ([name, lines]) => {
    await inTurn(METHODS, async (method) => {
      t.equal((await call(t, adminPort, method, lines)).status, 200, `${method}: ${name}`)
    })
  })
})

void test('without Sec-Fetch-Site, another Origin is one of another site', async (t) => {
  const { adminPort, made } = await guardedGateway(t)
  const origins = [
    'http://evil.example',
    `http://evil.example:${adminPort}`,
    'null',
    '',
    'http://localhost',
    `http://localhost:${adminPort + 1}`,
    `https://localhost:${adminPort}`,
    `http://127.0.0.1:${adminPort}`,
    `http://localhost:${adminPort}/`,
    `http://localhost:${adminPort} http://evil.example`,
    `localhost:${adminPort}`,
    'file://',
    'chrome-extension://abc',
  ]
  await inTurn(origins, async (origin) => {
    await inTurn(METHODS, async (method) => {
      t.equal((await call(t, adminPort, method, [`Origin: ${origin}`])).status, 403, `${method} from ${origin}`)
    })
    const none = fetched('none', 'cors', 'empty', origin)
    t.equal((await call(t, adminPort, 'POST', none)).status, 403, `none, but from ${origin}`)
  })
  const own = `Origin: http://localhost:${adminPort}`
  t.equal((await call(t, adminPort, 'POST', [own, 'Origin: http://evil.example'])).status, 403, 'two')
  t.same(made, [])
})

void test('nor do EventSource, WebSocket and a preflight get anywhere', async (t) => {
  const { adminPort, made } = await guardedGateway(t)
  const evil = 'Origin: http://evil.example'
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: eA==']
  const preflight = ['Access-Control-Request-Method: PATCH', 'Access-Control-Request-Headers: authorization']
  t.equal((await call(t, adminPort, 'GET', [evil, 'Accept: text/event-stream'])).status, 403)
  t.equal((await call(t, adminPort, 'GET', [evil, ...upgrade])).status, 403)
  t.equal((await call(t, adminPort, 'GET', [...fetched('cross-site', 'websocket', 'empty'), ...upgrade])).status, 403)
  const { status, fields } = await call(t, adminPort, 'OPTIONS', [evil, ...preflight])
  t.equal(status, 403)
  t.notMatch(fields.map(([name]) => name).join(' '), /access-control/i)
  t.same(made, [])
})

void test('a page gets nothing out of it with a token that it does not have, either', async (t) => {
  const { adminPort } = await startWithAdmin(t, { config: { admin: { token: 'secret' } } })
  const { status } = await call(t, adminPort, 'GET', [
    'Authorization: Bearer secret',
    ...fetched('cross-site', 'cors', 'empty'),
  ])
  t.equal(status, 403, 'one that its user has told it')
})

void test('every answer says what browsers must not do with it, and none lets other sites read it', async (t) => {
  const config = { admin: { token: 'secret' } }
  const { adminPort } = await startWithAdmin(t, {
    config,
    prepare: (admin) => {
      admin.get('/broken', () => {
        throw new Error('of no concern to callers')
      })
    },
  })
  const head = `HTTP/1.1\r\nHost: localhost\r\n`
  const token = `${head}Authorization: Bearer secret\r\n`
  const requests: ReadonlyArray<readonly [status: number, request: string]> = [
    ...PATHS.map((path, index) => [index === 0 ? 200 : 404, `GET ${path} ${token}\r\n`] as const),
    [200, `GET /healthz ${head}\r\n`],
    [200, `GET /readyz ${head}\r\n`],
    [401, `GET /status ${head}\r\n`],
    [403, `GET /status ${head}Origin: http://evil.example\r\n\r\n`],
    [421, 'GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n'],
    [400, `GET /%zz ${head}\r\n`],
    [413, `POST /status ${token}Content-Type: application/json\r\nContent-Length: 9999999\r\n\r\n`],
    [400, `POST /status ${token}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{]`],
    [500, `GET /broken ${token}\r\n`],
  ]
  await inTurn(requests, async ([status, request]) => {
    const answer = await ask(t, adminPort, request)
    t.equal(answer.status, status, request)
    const expected = {
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'content-security-policy': "frame-ancestors 'none'",
      'cross-origin-resource-policy': 'same-origin',
    }
    for (const [name, value] of Object.entries(expected)) t.same(valuesOf(answer, name), [value], `${status}: ${name}`)
    t.notMatch(answer.head, /access-control/i)
    t.notMatch(answer.body.toString(), /of no concern|evil|zz/)
    if (status >= 400) t.match(JSON.parse(answer.body.toString()), { statusCode: status, code: /^SLUICE_[A-Z_]+$/ })
  })
})
