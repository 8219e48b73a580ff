/**
 * What an operator does on the dashboard: draining, disabling and weighing by hand, asking why; also without a mouse.
 */
import { test } from 'tap'

import { startWithAdmin } from '../helpers/admin.ts'
import { membersOf } from '../helpers/changing.ts'
import { CHROMIUM_MISSING, startChromium } from '../helpers/chromium.ts'
import { openDashboard } from '../helpers/dashboard.ts'

const BACKENDS = [
  { id: 'one', url: 'http://127.0.0.1:9' },
  { id: 'two', url: 'http://127.0.0.1:9' },
]
const POOLS = { web: { backends: BACKENDS } }

void test('by hand', { skip: CHROMIUM_MISSING }, async (suite) => {
  const browser = await startChromium(suite)

  await suite.test('draining asks first, and can be taken back', async (t) => {
    const all = await startWithAdmin(t, { config: { pools: POOLS } })
    const { page, backend, shows, complaints } = await openDashboard(t, browser, all.adminPort)
    const row = backend('web', 'one')
    await row.getByRole('button', { name: 'Change one by hand' }).click()
    await row.getByRole('button', { name: 'Drain' }).click()
    const dialog = page.getByRole('dialog')
    t.match(
      await dialog.innerText(),
      /Drain one\?[\s\S]*one of pool web will get nothing new[\s\S]*1 other backend takes over/,
    )
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    t.equal(await row.locator('.answer').innerText(), '', 'nothing was done')
    await row.getByRole('button', { name: 'Drain' }).click()
    await dialog.getByRole('button', { name: 'Drain' }).click()
    await row.getByText('Done: it is draining').waitFor()
    await shows('web', 'one', 'draining')
    await row.locator('.why', { hasText: 'draining by hand' }).waitFor()
    t.equal(all.app.snapshot.pools.get('web')?.pool.candidates.length, 1)

    await backend('web', 'two').getByRole('button', { name: 'Change two by hand' }).click()
    await backend('web', 'two').getByRole('button', { name: 'Disable' }).click()
    t.match(await dialog.innerText(), /No other backend of this pool gets requests now: clients will be answered 503/)
    await page.keyboard.press('Escape')
    t.equal(all.app.snapshot.pools.get('web')?.pool.candidates.length, 1, 'Escape means no')

    await row.getByRole('button', { name: 'Automatic' }).click()
    await shows('web', 'one', 'healthy')
    t.same(complaints, [])
  })

  await suite.test('weights, and 0 only on demand', async (t) => {
    const all = await startWithAdmin(t, { config: { pools: POOLS } })
    const { page, backend, complaints } = await openDashboard(t, browser, all.adminPort)
    const row = backend('web', 'two')
    await row.getByRole('button', { name: 'Change two by hand' }).click()
    const weight = row.getByLabel('Weight')
    t.equal(await weight.inputValue(), '1')
    await weight.fill('2.5')
    await weight.press('Enter')
    await row.getByText('Done: it is healthy, with weight 2.5 (2.5 now).').waitFor()
    await row.locator('.cell.weight', { hasText: '2.5' }).waitFor()
    t.equal(membersOf(all.app, 'web')[1]?.configuredWeight, 2.5)
    await weight.fill('0')
    await weight.press('Enter')
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    t.equal(membersOf(all.app, 'web')[1]?.configuredWeight, 2.5)
    await weight.fill('-1')
    await weight.press('Enter')
    t.equal(await row.locator('input:invalid').count(), 1, 'what cannot be is not even sent')
    t.equal(membersOf(all.app, 'web')[1]?.configuredWeight, 2.5)
    t.same(complaints, [])
  })

  await suite.test('what the gateway refuses is said', async (t) => {
    const all = await startWithAdmin(t, { config: { pools: POOLS } })
    const { page, backend } = await openDashboard(t, browser, all.adminPort)
    const row = backend('web', 'two')
    await row.getByRole('button', { name: 'Change two by hand' }).click()
    await page.route('**/pools/**', (route) =>
      route.fulfill({ status: 404, json: { message: 'There is no such backend in this pool' } }),
    )
    await row.getByRole('button', { name: 'Automatic' }).click()
    await row.getByText('Not done: There is no such backend in this pool').waitFor()
    t.pass()
  })

  await suite.test('the explain form tells where and why', async (t) => {
    const config = {
      pools: { web: { backends: BACKENDS }, api: { algorithm: 'round-robin' as const, backends: [BACKENDS[0] ?? ''] } },
      routes: [
        { path: '/*', pool: 'web' },
        { path: '/api/*', host: 'shop.example.com', methods: ['POST' as const], pool: 'api' },
      ],
    }
    const all = await startWithAdmin(t, { config })
    await fetch(`http://127.0.0.1:${all.adminPort}/pools/web/backends/one`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: '{"state":"disabled"}',
    })
    const { page, complaints } = await openDashboard(t, browser, all.adminPort)
    await page.getByRole('link', { name: 'Explain' }).click()
    await page.getByLabel('Path').fill('/cart?a=1&b=2')
    await page.getByRole('button', { name: 'Explain' }).click()
    const answer = page.locator('#explained')
    await answer.getByText('Candidates').waitFor()
    const said = await answer.innerText()
    t.match(said, /Route\s+\/\* \(any method\)/)
    t.match(said, /Pool\s+web by least-connections/)
    t.match(said, /Backend\s+two: /)
    t.match(said, /Left out[\s\S]*one\s+disabled[\s\S]*it is disabled, by hand/)
    t.equal(await answer.locator('.is-chosen .id').innerText(), 'two')

    await page.getByLabel('Method').fill('POST')
    await page.getByLabel('Path').fill('/api/x')
    await page.getByLabel('Host').fill('shop.example.com')
    await page.getByLabel('Host').press('Enter')
    await answer.getByText('shop.example.com/api/*').waitFor()
    t.match(await answer.innerText(), /\(POST\)[\s\S]*api by round-robin/)

    await page.getByLabel('Host').fill('not a host')
    await page.getByRole('button', { name: 'Explain' }).click()
    await answer.locator('.problem').waitFor()
    t.same(
      complaints.filter((text) => !text.includes('400')),
      [],
    )
  })

  await suite.test('a keyboard is enough: every step shows where one is', async (t) => {
    const all = await startWithAdmin(t, { config: { pools: POOLS } })
    const { page, shows } = await openDashboard(t, browser, all.adminPort)
    const focused = async (): Promise<string> =>
      String(
        await page.evaluate('document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent'),
      )
    const seen: string[] = []
    const tabTo = async (name: string): Promise<void> => {
      for (let steps = 0; steps < 60; steps++) {
        // oxlint-disable-next-line no-await-in-loop -- one key after the other
        await page.keyboard.press('Tab')
        // oxlint-disable-next-line no-await-in-loop
        const [label, outline] = [await focused(), await page.evaluate(OUTLINE)]
        seen.push(label.trim())
        if (outline !== true) t.fail(`nothing shows that ${label} has the focus`)
        if (label.trim() === name) return
      }
      throw new Error(`no ${name} among ${seen.join(', ')}`)
    }
    await tabTo('Skip to the content')
    await tabTo('Change one by hand')
    t.ok(seen.indexOf('Pools') < seen.indexOf('Explain'), 'in the order of the page')
    await page.keyboard.press('Enter')
    await tabTo('Disable')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
    t.equal(await focused(), 'Cancel', 'what does nothing comes first')
    await tabTo('Disable')
    await page.keyboard.press('Enter')
    await shows('web', 'one', 'disabled')
    t.equal(await focused(), 'Disable', 'back where one was')
    await tabTo('Automatic')
    await page.keyboard.press('Space')
    await shows('web', 'one', 'healthy')
    // Closing and opening a pool.
    await page.locator('.pool summary').focus()
    await page.keyboard.press('Enter')
    t.equal(await page.locator('.pool').first().getAttribute('open'), null)
  })
})

/** Whether what has the focus has an outline, or is a place to jump to. */
const OUTLINE = `(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement)
  return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
})()`
