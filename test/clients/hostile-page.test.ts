/**
 * A page of somebody else in an operator's browser, on the machine where the gateway runs: whatever it tries, no call of
 * the admin listener is made for it.
 */
import { join } from 'node:path'

import { type Test, test } from 'tap'

import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { CHROMIUM_MISSING, openTab, startChromium } from '../helpers/chromium.ts'
import { backend } from '../helpers/gateway.ts'
import { inTurn } from '../helpers/raw.ts'

const PAGE = '<!doctype html><title>page</title>'
/** The browser takes every name for this machine: what an owner of names can make of theirs. */
const EVERY_NAME_IS_HERE = ['--host-resolver-rules=MAP *.example 127.0.0.1']

/** Its calls note whom they were made for. */
async function watchedGateway(t: Test): Promise<AdminGateway & { readonly made: string[] }> {
  const made: string[] = []
  const gateway = await startWithAdmin(t, {
    prepare: (admin) => {
      admin.addContentTypeParser(['text/plain', 'application/x-www-form-urlencoded'], (_request, body, done) => {
        body.resume()
        body.on('end', () => done(null))
      })
      admin.all('/test', ({ method, query }, reply) => {
        made.push(`${method} ${JSON.stringify(query)}`)
        return reply.type('text/html').send(PAGE)
      })
    },
  })
  return { ...gateway, made }
}

/** What a page can do. */
const NOTHING = [
  // Neither read nor, without asking for that, kept (cross-origin-resource-policy).
  ...Array.from({ length: 9 }, () => 'refused'),
  // A page is not told what became of these.
  'posted',
  'sent',
  'loaded',
]
const ATTACK = join(import.meta.dirname, 'hostile-page.js')

void test('a page of another site gets nothing done and sees nothing', { skip: CHROMIUM_MISSING }, async (t) => {
  const { adminPort, made } = await watchedGateway(t)
  const evil = await backend(t, (_request, response) => response.setHeader('content-type', 'text/html').end(PAGE))
  const browser = await startChromium(t, EVERY_NAME_IS_HERE)
  const sites = [`http://evil.example:${evil.port}`, `http://localhost:${evil.port}`, evil.url]
  await inTurn(sites, async (site) => {
    const { page } = await openTab(t, browser, site)
    await page.addScriptTag({ path: ATTACK })
    await inTurn(['127.0.0.1', 'localhost', 'evil.example', 'evil.localhost'], async (host) => {
      const came = await page.evaluate<unknown>(`attack('http://${host}:${adminPort}/test')`)
      t.same(came, NOTHING, `from ${site} to ${host}`)
      t.same(made, [], 'no call was made')
    })
  })
})

void test('a page whose name was made to point here gets no answer', { skip: CHROMIUM_MISSING }, async (t) => {
  const { adminPort, made } = await watchedGateway(t)
  const browser = await startChromium(t, EVERY_NAME_IS_HERE)
  const { page } = await openTab(t, browser, `http://rebound.example:${adminPort}/test`)
  t.match(await page.content(), 'SLUICE_MISDIRECTED')
  const statuses = await page.evaluate(async () => {
    const answers = [fetch('/test'), fetch('/test', { method: 'POST', body: '{}' }), fetch('/status')]
    return await Promise.all(answers.map(async (answer) => (await answer).status))
  })
  t.same(statuses, [421, 421, 421])
  t.same(made, [])
})

void test('a link leads to it, and its own pages may call it', { skip: CHROMIUM_MISSING }, async (t) => {
  const { adminPort, made } = await watchedGateway(t)
  const target = `http://localhost:${adminPort}/test`
  const elsewhere = await backend(t, (_request, response) =>
    response.setHeader('content-type', 'text/html').end(`<!doctype html><a href="${target}?link">the gateway</a>`),
  )
  const { page } = await openTab(t, await startChromium(t), elsewhere.url)
  await page.getByText('the gateway').click()
  await page.waitForURL(`${target}?link`)
  await page.evaluate(async () => {
    await fetch('?own', { method: 'POST', body: '{}' })
    await fetch('/status')
  })
  await page.addScriptTag({ path: ATTACK })
  await page.evaluate("post('?form')")
  await page.waitForURL(`${target}?form`)
  t.same(made, ['GET {"link":""}', 'POST {"own":""}', 'POST {"form":""}'])
})
