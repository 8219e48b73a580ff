/**
 * The page against those who want in by way of its readers: nothing from outside is ever more than text, nothing runs but
 * its own script, and without the token it shows nothing.
 */
import { createHash } from 'node:crypto'

import { test } from 'tap'

import { startWithAdmin } from '../helpers/admin.ts'
import { CHROMIUM_MISSING, openTab, startChromium } from '../helpers/chromium.ts'
import { openDashboard, shown } from '../helpers/dashboard.ts'
import { answering, ask, inTurn, valuesOf } from '../helpers/raw.ts'

const IMAGE = '<img src=x onerror="globalThis.hurt=1">'
const HURT =
  'globalThis.hurt === undefined && document.querySelectorAll("img, iframe, object, embed, base").length === 0'

void test('one document, and a policy that lets a browser run that and nothing else', async (t) => {
  const { adminPort } = await startWithAdmin(t)
  const answer = await ask(t, adminPort, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  t.equal(answer.status, 200)
  t.same(valuesOf(answer, 'content-type'), ['text/html; charset=utf-8'])
  const [policy = ''] = valuesOf(answer, 'content-security-policy')
  const html = answer.body.toString()
  const hash = (tag: string): string => {
    const [, content = ''] = new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`).exec(html) ?? []
    t.ok(content.length > 1000, `the ${tag} is in it`)
    return `'sha256-${createHash('sha256').update(content).digest('base64')}'`
  }
  t.same(policy.split('; '), [
    "default-src 'none'",
    `script-src ${hash('script')}`,
    `style-src ${hash('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ])
  for (const [name, value] of [
    ['x-content-type-options', 'nosniff'],
    ['cache-control', 'no-store'],
    ['referrer-policy', 'no-referrer'],
    ['x-frame-options', 'DENY'],
  ] as const) {
    t.same(valuesOf(answer, name), [value], name)
  }
  t.notMatch(html, /(?:src|href|action)="(?!#|data:image\/svg)/, 'it needs nothing from elsewhere')
  t.notMatch(html, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/)
})

void test('AD-03: without the token a browser gets the page, which tells nothing, and others get the refusal', async (t) => {
  const { adminPort } = await startWithAdmin(t, { config: { admin: { token: 'open sesame' } } })
  const page = await ask(t, adminPort, 'GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*;q=0.8\r\n\r\n')
  t.equal(page.status, 401)
  t.same(valuesOf(page, 'www-authenticate'), ['Bearer'])
  t.match(valuesOf(page, 'content-security-policy'), [/^default-src 'none'/])
  t.match(page.body.toString(), /^<!doctype html>/)
  t.notMatch(page.body.toString(), /sesame|127\.0\.0\.1/)
  const html = 'Host: localhost\r\nAccept: text/html\r\n'
  const others = [
    'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    `GET /status HTTP/1.1\r\n${html}\r\n`,
    `POST / HTTP/1.1\r\n${html}\r\n`,
    `GET /nothing HTTP/1.1\r\n${html}\r\n`,
  ]
  await inTurn(others, async (request) => {
    const answer = await ask(t, adminPort, request)
    t.equal(answer.status, 401, request)
    t.match(JSON.parse(answer.body.toString()), { code: 'SLUICE_UNAUTHORIZED' })
  })
  const elsewhere = await ask(t, adminPort, 'GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\n\r\n')
  t.equal(elsewhere.status, 421, 'only a missing token is answered so')
})

void test('in a browser', { skip: CHROMIUM_MISSING }, async (suite) => {
  const browser = await startChromium(suite)

  await suite.test('the token is asked for, kept for the tab, sent, and forgotten on demand', async (t) => {
    const all = await startWithAdmin(t, { config: { admin: { token: 'open sesame' } } })
    const { page, complaints } = await openTab(t, browser, `http://127.0.0.1:${all.adminPort}/`)
    await page.getByRole('textbox', { name: 'Token' }).waitFor()
    t.equal(await page.locator('#content').isVisible(), false)
    t.equal(complaints.filter((text) => !text.includes('401')).length, 0)
    await page.getByRole('textbox', { name: 'Token' }).fill('open barley')
    await page.getByRole('textbox', { name: 'Token' }).press('Enter')
    await page.getByText('This is not the token of this gateway.').waitFor()
    await page.getByRole('textbox', { name: 'Token' }).fill('open sesame')
    await page.getByRole('button', { name: 'Open the dashboard' }).click()
    await shown(page)
    await page.getByRole('button', { name: 'Change 127.0.0.1:9 by hand' }).click()
    await page.getByRole('button', { name: 'Automatic' }).click()
    await page.getByText('Done: it is healthy').waitFor()
    await page.reload()
    await shown(page)
    t.equal(page.url(), `http://127.0.0.1:${all.adminPort}/`, 'it is in no address')
    await page.getByRole('button', { name: 'Forget the token' }).click()
    await page.getByRole('textbox', { name: 'Token' }).waitFor()
    t.equal(await page.locator('#content').isVisible(), false)
    t.equal(await page.evaluate('sessionStorage.length + localStorage.length + document.cookie.length'), 0)
  })

  await suite.test('hostile names and reasons are text', async (t) => {
    const bad = await answering(t, `HTTP/1.1 503 ${IMAGE}\r\nContent-Length: 0\r\n\r\n`)
    const pool = `${IMAGE}"'</script><script>hurt=1</script>&amp;`
    const id = '<svg onload=hurt=1>"'
    const pools = {
      [pool]: {
        backends: [{ id, url: `http://127.0.0.1:${bad.port}` }],
        health: { active: { path: '/', interval: '250ms', fall: 1, expect: 200 } },
      },
    }
    const config = { pools, routes: [{ path: '/<svg/onload=hurt=1>/*', pool }] }
    const all = await startWithAdmin(t, { config })
    const { page, complaints } = await openDashboard(t, browser, all.adminPort, {
      viewport: { width: 1600, height: 900 },
    })
    all.app.events.emit({ what: 'pool', pool, backend: id, from: IMAGE, to: IMAGE, cause: IMAGE })
    await page.locator('.backend[data-state=unhealthy]').waitFor()
    await page.locator('.event', { hasText: `→ ${IMAGE}` }).waitFor()
    t.equal(await page.locator('.pool h3').innerText(), pool)
    t.equal(await page.locator('.backend .id').first().innerText(), id)
    await page.getByRole('button', { name: `Change ${id} by hand` }).click()
    await page.getByRole('button', { name: 'Drain' }).click()
    t.match(await page.getByRole('dialog').innerText(), `Drain ${id}?`)
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click()
    await page.getByText('Done: it is draining').waitFor()
    await page.locator('#event-pool').selectOption(pool)
    await page.getByRole('link', { name: 'Explain' }).click()
    await page.getByLabel('Path').fill('/%3Csvg/onload=hurt=1%3E/x')
    await page.getByLabel('Header').fill(`x-a: ${IMAGE}`)
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.locator('#explained .steps, #explained .problem').first().waitFor()
    await page.getByRole('link', { name: 'Configuration' }).click()
    await page.locator('#in-force pre').first().waitFor({ state: 'attached' })
    t.equal(await page.evaluate(HURT), true)
    t.same(complaints, [])
  })

  await suite.test('and if something became markup all the same, it would not run', async (t) => {
    const all = await startWithAdmin(t)
    const { page, complaints } = await openDashboard(t, browser, all.adminPort)
    const tries = [
      'document.body.innerHTML = "<img src=x onerror=hurt=1>"',
      'document.body.append(Object.assign(document.createElement("script"), { textContent: "globalThis.hurt = 1" }))',
    ]
    await inTurn(tries, async (attempt) =>
      t.rejects(page.evaluate(`(() => { ${attempt} })()`), /Trusted|Content Security|unsafe-eval/i),
    )
    await page.evaluate('void fetch("http://127.0.0.2:9/").catch(() => 0)')
    t.equal(await page.evaluate(HURT), true)
    t.ok(
      complaints.some((text) => text.includes('connect-src')),
      'nor may it tell anybody else',
    )
  })
})
