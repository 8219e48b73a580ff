/**
 * How the page looks, as far as it can be measured: on a phone, in light and dark, and with very many backends.
 */
import type { Page } from 'playwright-core'
import { test } from 'tap'

import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { membersOf } from '../helpers/changing.ts'
import { CHROMIUM_MISSING, startChromium } from '../helpers/chromium.ts'
import { openDashboard, type Dashboard } from '../helpers/dashboard.ts'
import { inTurn } from '../helpers/raw.ts'

const VIEWS = ['pools', 'events', 'explain', 'configuration']

/** One of everything: names that are too long, every state that can be made by hand, every tone of events. */
const LONG = `${'a-very-long-name-without-end'.repeat(4)}:65535`
const POOLS = {
  web: { backends: ['one', 'two', 'three', LONG].map((id) => ({ id, url: 'http://127.0.0.1:9', weight: 1000.5 })) },
  [LONG.replace(':', '-')]: {
    backends: ['http://127.0.0.1:9'],
    health: { active: { path: '/', interval: '250ms', fall: 1 } },
  },
}

async function colourful(all: AdminGateway, { page, backend, shows }: Dashboard): Promise<void> {
  await inTurn(['draining', 'disabled'] as const, async (state) => {
    const id = state === 'draining' ? 'one' : LONG
    const path = `pools/web/backends/${encodeURIComponent(id)}`
    await fetch(`http://127.0.0.1:${all.adminPort}/${path}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ state }),
    })
    await backend('web', id).scrollIntoViewIfNeeded()
    await shows('web', id, state)
  })
  for (const to of ['healthy', 'degraded', 'unhealthy', 'warming', 'half-open', 'open', 'closed', LONG]) {
    all.app.events.emit({ what: 'health', pool: 'web', backend: LONG, from: 'healthy', to, cause: `${LONG}: ${LONG}` })
  }
  await page.evaluate('document.querySelectorAll(".backend .round").forEach((button) => button.click())')
}

async function visit(page: Page, view: string): Promise<void> {
  await page.locator(`nav a[href="#${view}"]`).click()
  await page.locator(`#${view}`).waitFor()
  if (view === 'explain') {
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.locator('#explained .candidates').first().waitFor()
  }
  if (view === 'configuration') {
    await page.locator('#in-force summary').first().waitFor()
    await page.evaluate('document.querySelectorAll("#in-force details").forEach((each) => (each.open = true))')
  }
}

void test('in a browser', { skip: CHROMIUM_MISSING }, async (suite) => {
  const browser = await startChromium(suite)

  await suite.test('nothing is wider than the window, down to a small phone', async (t) => {
    const config = {
      pools: POOLS,
      routes: [
        { path: `/${LONG.replace(':', '-')}/*`, pool: 'web' },
        { path: '/*', pool: 'web' },
      ],
    }
    const all = await startWithAdmin(t, { config })
    await inTurn([360, 700, 1010, 1280, 1400, 1920], async (width) => {
      const tab = await openDashboard(t, browser, all.adminPort, { viewport: { width, height: 800 } })
      const { page, complaints } = tab
      await colourful(all, tab)
      await inTurn(VIEWS, async (view) => {
        if (view === 'events' && width >= 1400) return
        await visit(page, view)
        t.equal(
          await page.evaluate('document.documentElement.scrollWidth'),
          width,
          `${view}: it does not scroll at ${width}`,
        )
        t.same(await page.evaluate(CUT), [], `${view}: nothing is cut off at ${width}`)
      })
      await page.getByRole('button', { name: 'What the words mean' }).click()
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), width, `help at ${width}`)
      t.same(complaints, [])
    })
  })

  await suite.test('all text stands out from its ground, in light and dark', async (t) => {
    const all = await startWithAdmin(t, { config: { pools: POOLS, routes: [{ path: '/*', pool: 'web' }] } })
    await inTurn(['light', 'dark'] as const, async (colorScheme) => {
      const options = { colorScheme, viewport: { width: 1600, height: 2000 }, reducedMotion: 'reduce' } as const
      const tab = await openDashboard(t, browser, all.adminPort, options)
      await colourful(all, tab)
      await inTurn(['pools', 'explain', 'configuration'], async (view) => {
        await visit(tab.page, view)
        const [count, faint] = Object(await tab.page.evaluate(FAINT))
        t.ok(count > 40, `${count} texts`)
        t.same(faint, [], `${view} in ${colorScheme}`)
      })
      await tab.page.getByRole('button', { name: 'What the words mean' }).click()
      const [, faint] = Object(await tab.page.evaluate(FAINT))
      t.same(faint, [], `the help in ${colorScheme}`)
      t.equal(await tab.page.evaluate('document.getAnimations().length'), 0, 'who wants no motion gets none')
    })
  })

  await suite.test('of 100 pools with 20 backends each, only what is seen is drawn', async (t) => {
    const backends = Array.from({ length: 20 }, (_, index) => ({ id: `b${index}`, url: 'http://127.0.0.1:9' }))
    const names = Array.from({ length: 100 }, (_, index) => `pool-${index}`)
    const pools = Object.fromEntries(names.map((name) => [name, { backends }]))
    const all = await startWithAdmin(t, { config: { pools, routes: [{ path: '/*', pool: 'pool-0' }] } })
    const { page, shows, pool, complaints } = await openDashboard(t, browser, all.adminPort)
    await page.locator('#pools-summary', { hasText: '100 pools, 2000 backends, all well' }).waitFor()
    t.equal(await page.locator('.backend').count(), 0, 'so many pools are closed at first')
    await pool('pool-0').locator('summary').click()
    await shows('pool-0', 'b0', 'healthy')
    t.equal(await page.locator('.backend').count(), 20)
    await page.evaluate('document.querySelectorAll(".pool").forEach((each) => (each.open = true))')
    await shows('pool-0', 'b5', 'healthy')
    const writes = Number(await page.evaluate(WRITES))
    t.ok(writes > 0 && writes < 1000, `${writes} writes in one look`)
    t.ok((await drawn(page)) < 150, `${await drawn(page)} backends are drawn`)
    await pool('pool-99').scrollIntoViewIfNeeded()
    await pool('pool-99').locator('.backend').first().scrollIntoViewIfNeeded()
    await shows('pool-99', 'b0', 'healthy')
    t.ok((await drawn(page)) < 300, 'others were not drawn on the way')

    await page.locator('#pool-filter').fill('POOL-42')
    await pool('pool-41').waitFor({ state: 'hidden' })
    await pool('pool-42').waitFor()
    t.equal(await page.locator('.pool:visible').count(), 1)
    await page.locator('#pool-filter').fill('')
    await page.locator('#trouble-only').check()
    await page.getByText('No pool fits.').waitFor()
    const [, second] = membersOf(all.app, 'pool-7')
    if (second !== undefined) for (let n = 0; n < 60; n++) second.guard?.settle(second.guard.enter(), 'failure', 1, n)
    await pool('pool-7').waitFor()
    t.equal(await page.locator('.pool:visible').count(), 1)
    t.same(complaints, [])
  })

  await suite.test('nor of a pool with 300, more than the window shows', async (t) => {
    const backends = Array.from({ length: 300 }, (_, index) => ({ id: `b${index}`, url: 'http://127.0.0.1:9' }))
    const all = await startWithAdmin(t, { config: { pools: { web: { backends } } } })
    const viewport = { width: 1280, height: 600 }
    const { page, shows, pool, backend } = await openDashboard(t, browser, all.adminPort, { viewport })
    await pool('web').locator('summary').click()
    await shows('web', 'b3', 'healthy')
    await page.evaluate(WRITES)
    t.ok((await drawn(page)) < 40, `${await drawn(page)} are drawn`)
    await backend('web', 'b299').scrollIntoViewIfNeeded()
    await shows('web', 'b299', 'healthy')
    t.ok((await drawn(page)) < 80, `${await drawn(page)} are drawn`)
  })
})

async function drawn(page: Page): Promise<number> {
  return Number(await page.evaluate('document.querySelectorAll(".backend .pill[data-word=healthy]").length'))
}

/** How often the page was changed from one look to the next but one. */
const WRITES = `new Promise((resolve) => {
  let writes = 0
  const up = document.querySelector('#version')
  const looks = []
  const observer = new MutationObserver((records) => {
    writes += records.length
    if (records.some(({ target }) => up.contains(target))) looks.push(writes)
    if (looks.length === 2) {
      observer.disconnect()
      resolve(looks[1] - looks[0])
    }
  })
  observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })
})`

/** Texts that reach beyond the window or the card that they are in. */
const CUT = `[...document.querySelectorAll('body *')].flatMap((element) => {
  if (element.children.length > 0 || element.textContent.trim() === '' || !element.checkVisibility()) return []
  const { left, right, width } = element.getBoundingClientRect()
  if (width <= 1) return []
  const card = element.closest('.card, body').getBoundingClientRect()
  return left < card.left - 1 || right > card.right + 1 ? [element.className + ': ' + element.textContent.slice(0, 40)] : []
})`

/** The contrast of each text that can be seen, by WCAG 2.2; those below what AA asks for. */
const FAINT = `(() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number)
  const over = ([r, g, b, a = 1], ground) => [r, g, b].map((value, index) => value * a + ground[index] * (1 - a))
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const groundOf = (element) => {
    if (element === null) return [255, 255, 255]
    const color = channels(getComputedStyle(element).backgroundColor)
    return color[3] === 0 ? groundOf(element.parentElement) : over(color, color[3] === undefined ? color : groundOf(element.parentElement))
  }
  const texts = [...document.querySelectorAll('body *')].filter((element) => {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '')
    return own && element.checkVisibility() && !['SCRIPT', 'STYLE', 'OPTION', 'DATALIST'].includes(element.tagName)
  })
  const faint = texts.flatMap((element) => {
    const ground = groundOf(element)
    const [one, other] = [luminance(over(channels(getComputedStyle(element).color), ground)), luminance(ground)].sort((a, b) => b - a)
    const ratio = (one + 0.05) / (other + 0.05)
    return ratio < 4.5 ? [element.className + ': ' + element.textContent.slice(0, 30) + ' ' + ratio.toFixed(2)] : []
  })
  return [texts.length, faint]
})()`
