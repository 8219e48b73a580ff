/**
 * A bad day as somebody sees it who has nothing but the dashboard open: what is happening, to whom, since when, why this
 * backend and why not that one.
 */
import { test } from 'tap'

import { CHROMIUM_MISSING, startChromium } from '../helpers/chromium.ts'
import { openDashboard } from '../helpers/dashboard.ts'
import { Listener } from '../helpers/event-stream.ts'
import { beginDay, overload, reloadBadly, visit } from './day.ts'

void test('a bad day, as the dashboard tells it', { skip: CHROMIUM_MISSING }, async (t) => {
  const day = await beginDay(t)
  const { dies, slows } = day.backends
  const adminPort = Number(new URL(day.admin).port)
  const browser = await startChromium(t)
  const { page, backend, pool, shows, complaints } = await openDashboard(t, browser, adminPort)
  const visiting = { goes: true }
  const until = async (seen: Promise<unknown>): Promise<void> => {
    visiting.goes = true
    void seen.finally(() => (visiting.goes = false))
    // oxlint-disable-next-line no-await-in-loop -- for as long as somebody looks
    while (visiting.goes) await visit(day, '/shop/', 40)
    await seen
  }
  const answers = async (name: string): Promise<void> =>
    backend('shop', name).locator('.cell.latency', { hasText: /ms · / }).waitFor()

  await until(Promise.all(['dies', 'slows', 'lasts'].map(async (name) => answers(name))))
  await dies.kill()
  await until(shows('shop', 'dies', 'unhealthy'))
  t.match(await backend('shop', 'dies').locator('.why').innerText(), /\d+ of \d+ requests failed/, 'to whom, and why')
  await slows.be('slow')
  const late = /[2-9]\d\d ms ·/
  await until(backend('shop', 'slows').locator('.cell.latency', { hasText: late }).waitFor())
  t.notMatch(await backend('shop', 'lasts').locator('.cell.latency').innerText(), late, 'who is slow, and who is not')
  await pool('shop').locator('summary', { hasText: '2 healthy · 1 unhealthy' }).waitFor()

  await page.getByRole('link', { name: 'Explain' }).click()
  await page.getByLabel('Path').fill('/shop/a')
  await page.getByRole('button', { name: 'Explain' }).click()
  await page.locator('#explained').getByText('Candidates').waitFor()
  t.match(await page.locator('#explained').innerText(), /Left out[\s\S]*dies\s+unhealthy/, 'why not that one')

  await overload(day)
  await reloadBadly(day)
  await page.locator('a[href="#events"]').click()
  await page.locator('#event-list .event', { hasText: 'refused' }).first().waitFor()
  const told = await page.locator('#event-list').innerText()
  t.match(told, /gateway\.json:1:\d+: pools\.shop\.backends\[0\]/, 'what is wrong with the configuration')
  t.match(told, /event loop is .* late, more than 300 ms/, 'what was too much')
  t.match(told, /\d\d:\d\d:\d\d\s+dies in shop[\s\S]*unhealthy/, 'since when')
  t.same(
    complaints.filter((text) => !text.includes('422')),
    [],
  )

  const listener = await Listener.connect(t, { adminPort }, {}, '/events?figures=250ms')
  const { gateway } = await listener.look(() => true)
  const seen: Record<string, number> = { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, aborted: 0 }
  for (const { status } of day.seen) seen[`${String(status)[0]}xx`] = (seen[`${String(status)[0]}xx`] ?? 0) + 1
  t.same(gateway.requests, seen, 'equal to the request to what the clients counted')
})
