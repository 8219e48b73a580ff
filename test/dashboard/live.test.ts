/**
 * The dashboard follows what happens, and comes back when the gateway does.
 */
import { test } from 'tap'

import { buildGateway, type Config } from '../../src/index.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { replaced } from '../helpers/changing.ts'
import { CHROMIUM_MISSING, startChromium } from '../helpers/chromium.ts'
import { Mortal, openDashboard } from '../helpers/dashboard.ts'
import { portOf } from '../helpers/raw.ts'

const QUICK = { active: { path: '/', interval: '250ms', timeout: '1s', fall: 2, rise: 2 }, passive: false } as const

void test('the dashboard', { skip: CHROMIUM_MISSING }, async (suite) => {
  const browser = await startChromium(suite)

  await suite.test('a backend dies and comes back, and it shows', async (t) => {
    const [stays, dies] = [await Mortal.start(t), await Mortal.start(t)]
    const backends = [
      { id: 'stays', url: stays.url },
      { id: 'dies', url: dies.url },
    ]
    const all = await startWithAdmin(t, { config: { pools: { web: { backends, health: QUICK } } } })
    const { page, shows, backend, pool, complaints, asked } = await openDashboard(t, browser, all.adminPort)
    await shows('web', 'stays', 'healthy')
    await shows('web', 'dies', 'healthy')
    await dies.die()
    await shows('web', 'dies', 'unhealthy')
    await backend('web', 'dies').locator('.why', { hasText: 'ECONNREFUSED' }).waitFor()
    await backend('web', 'dies').locator('.cell.check', { hasText: 'failed' }).waitFor()
    await backend('web', 'dies').locator('.cell.weight', { hasText: '1 → 0' }).waitFor()
    await pool('web').locator('summary', { hasText: '1 healthy · 1 unhealthy' }).waitFor()
    await page.locator('#pools-summary', { hasText: '1 with trouble' }).waitFor()
    await page.locator('#announcements', { hasText: 'Backend dies of pool web: health is unhealthy' }).waitFor({
      state: 'attached',
    })
    await page.locator('a[href="#events"]').click()
    const down = page.locator('.event', { hasText: 'unhealthy' }).first()
    await down.waitFor()
    t.match(await down.innerText(), /dies in web[\s\S]*→ unhealthy[\s\S]*ECONNREFUSED/)
    t.match(await down.locator('.when').innerText(), /^(now|\d+ s ago)\s+\d\d:\d\d:\d\d$/)
    await dies.live()
    await page.locator('.event', { hasText: '→ healthy' }).first().waitFor()
    await page.locator('a[href="#pools"]').click()
    await shows('web', 'dies', 'healthy')
    await page.locator('#pools-summary', { hasText: 'all well' }).waitFor()
    t.equal(await backend('web', 'dies').locator('.why').isHidden(), true)
    t.same(complaints, [])
    t.same(
      asked.filter((url) => !url.startsWith(`http://127.0.0.1:${all.adminPort}/`)),
      [],
      'nothing is asked for elsewhere',
    )
  })

  await suite.test('requests show as numbers and as curves', async (t) => {
    const one = await Mortal.start(t)
    const all = await startWithAdmin(t, { config: { pools: { web: { backends: [{ id: 'one', url: one.url }] } } } })
    const { page, backend, complaints } = await openDashboard(t, browser, all.adminPort)
    const enough = new AbortController()
    const load = (async () => {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      while (!enough.signal.aborted) await (await fetch(`http://127.0.0.1:${all.port}/`)).arrayBuffer()
    })()
    t.teardown(() => enough.abort())
    const has = /^[\d.,]*[1-9][\d.,k]*$/
    await backend('web', 'one').locator('.cell.rate .content', { hasText: has }).waitFor()
    await backend('web', 'one')
      .locator('.cell.latency', { hasText: /ms · [\d.]+ ms/ })
      .waitFor()
    await backend('web', 'one').locator('.cell.failing', { hasText: '0 %' }).waitFor()
    await page.locator('.tile', { hasText: 'Requests / s' }).locator('.value', { hasText: has }).waitFor()
    await page.locator('.class-2xx .number', { hasText: has }).waitFor()
    await backend('web', 'one').locator('path.p50[d*=L]').waitFor({ state: 'attached' })
    enough.abort()
    await load
    t.same(complaints, [])
  })

  await suite.test('a reload brings pools and backends, and its event', async (t) => {
    const one = await Mortal.start(t)
    const web = { backends: [{ id: 'one', url: one.url }] }
    const all = await startWithAdmin(t, { config: { pools: { web } } })
    const { page, shows, pool, complaints } = await openDashboard(t, browser, all.adminPort)
    await shows('web', 'one', 'healthy')
    const more = { backends: [...web.backends, { id: 'two', url: one.url }] }
    await replaced(all, { pools: { web: more, api: web }, routes: [{ path: '/*', pool: 'web' }] })
    await shows('web', 'two', 'healthy')
    await shows('api', 'one', 'healthy')
    await page.locator('#version', { hasText: 'test' }).waitFor()
    await page.locator('a[href="#configuration"]').click()
    await page.locator('#reloads .event', { hasText: 'a test' }).waitFor()
    await page.locator('#configuration-state', { hasText: 'test, in force since' }).waitFor()
    const folded = page.locator('#in-force details:has(> summary:text-is("api"))')
    await folded.locator('summary').click()
    await folded.locator('pre', { hasText: 'id: one' }).waitFor()
    await replaced(all, { pools: { web }, routes: [{ path: '/*', pool: 'web' }] })
    await page.locator('a[href="#pools"]').click()
    await pool('api').waitFor({ state: 'detached' })
    t.same(complaints, [])
  })

  await suite.test('it comes back with a gateway that was restarted, and shows what is new', async (t) => {
    const one = await Mortal.start(t)
    const config: Config = { log: { level: 'silent' }, pools: { web: { backends: [{ id: 'one', url: one.url }] } } }
    const first = await gatewayAt(config, 0)
    const adminPort = first.admin === undefined ? 0 : portOf(first.admin.server)
    const { page, shows, complaints } = await openDashboard(t, browser, adminPort)
    first.events.emit({ what: 'pool', pool: 'web', from: 'enough', to: 'panic', cause: 'only the first one knows' })
    await page.locator('.event', { hasText: 'only the first one knows' }).first().waitFor({ state: 'attached' })
    await first.close()
    const lost = page.locator('#connection', { hasText: /^Not connected since \d\d:\d\d:\d\d/ })
    await lost.waitFor()
    const since = await lost.innerText()
    const pools = { web: { backends: [{ id: 'other', url: one.url }] } }
    const second = await gatewayAt({ ...config, pools }, adminPort)
    t.teardown(() => second.close())
    await page.locator('#connection[data-state=live]').waitFor()
    await shows('web', 'other', 'healthy')
    await page.locator('.event', { hasText: 'only the first one knows' }).waitFor({ state: 'detached' })
    t.match(since, /trying again/)
    t.same(
      complaints.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE/.test(text)),
      [],
      'the browser itself complains of the connection, and of nothing else',
    )
  })

  await suite.test('events can be chosen by pool and kind', async (t) => {
    const all = await startWithAdmin(t)
    const emit = (pool: string, what: 'pool' | 'weight', cause: string): void =>
      all.app.events.emit({ what, pool, from: '1', to: '2', cause })
    emit('web', 'pool', 'first')
    emit('gone', 'weight', 'second')
    const { page } = await openDashboard(t, browser, all.adminPort, { viewport: { width: 1600, height: 900 } })
    emit('web', 'weight', 'third')
    const causes = page.locator('#event-list .cause')
    await causes.nth(2).waitFor()
    t.same(await causes.allInnerTexts(), ['third', 'second', 'first'], 'the latest first')
    await page.locator('#event-pool').selectOption('web')
    t.same(await causes.allInnerTexts(), ['third', 'first'])
    await page.locator('#event-kind').selectOption('weight')
    t.same(await causes.allInnerTexts(), ['third'])
    emit('web', 'pool', 'fourth')
    emit('web', 'weight', 'fifth')
    await causes.nth(1).waitFor()
    t.same(await causes.allInnerTexts(), ['fifth', 'third'], 'also of those that come')
  })
})

async function gatewayAt(config: Config, adminPort: number): ReturnType<typeof buildGateway> {
  const app = await buildGateway(config)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await app.admin?.listen({ port: adminPort, host: '127.0.0.1' })
  return app
}
