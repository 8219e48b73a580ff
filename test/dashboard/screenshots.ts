/**
 * Makes the pictures of the dashboard that README.md shows: `npm run screenshots`, with Chromium installed. A gateway
 * with three pools has a minute that is not its best: one backend dies, one fails half of its requests, one is drained.
 */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { chromium, type Browser } from 'playwright-core'

import { buildGateway } from '../../src/index.ts'
import { FOUND } from '../helpers/chromium.ts'
import { ROOT } from '../helpers/process.ts'
import { portOf } from '../helpers/raw.ts'

const FOLDER = join(ROOT, 'docs')
/** The curves are two minutes long. */
const WATCH_MS = 115_000
const DIES_MS = 85_000
const REQUESTS_EVERY_MS = 25

interface Actor {
  readonly id: string
  readonly url: string
  die(): void
}

async function actor(id: string, leastMs: number, meanMs: number, failing = () => false): Promise<Actor> {
  const server = createServer((request, response) => {
    if (request.url === '/health') return void response.end('ok')
    const tookMs = leastMs - Math.log(1 - Math.random()) * meanMs
    return void setTimeout(
      () => response.writeHead(failing() ? 500 : request.url === '/old' ? 404 : 200).end(id),
      tookMs,
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const die = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return { id, url: `http://127.0.0.1:${portOf(server)}`, die }
}

/** Sends requests, more and fewer by turns, until it is told to stop. */
function load(url: string, startedAt: number): () => void {
  const paths = ['/', '/', '/', '/', '/orders/7', '/orders/8', '/search?q=a', '/search?q=b', '/old']
  const timer = setInterval(() => {
    const wave = 2.2 + Math.sin((Date.now() - startedAt) / 9000) + Math.random()
    for (let n = 0; n < wave; n++) {
      const path = paths[Math.floor(Math.random() * paths.length)] ?? '/'
      fetch(url + path).then(
        (answer) => answer.arrayBuffer(),
        () => undefined,
      )
    }
  }, REQUESTS_EVERY_MS)
  return () => clearInterval(timer)
}

async function picture(browser: Browser, url: string, name: string, size: readonly [number, number], dark: boolean) {
  const context = await browser.newContext({
    viewport: { width: size[0], height: size[1] },
    colorScheme: dark ? 'dark' : 'light',
    reducedMotion: 'reduce',
  })
  const page = await context.newPage()
  await page.goto(url)
  return async (): Promise<void> => {
    // A quarter of what they would be as PNG.
    const session = await context.newCDPSession(page)
    const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 88 })
    writeFileSync(join(FOLDER, `${name}.webp`), Buffer.from(data, 'base64'))
    await context.close()
  }
}

const startedAt = Date.now()
const shop = [
  await actor('shop-1', 4, 6),
  await actor('shop-2', 4, 6),
  await actor('shop-3', 5, 9),
  await actor('shop-4', 4, 6),
]
const late = (): boolean => Date.now() - startedAt > DIES_MS && Math.random() < 0.4
const orders = [await actor('orders-1', 12, 12), await actor('orders-2', 12, 12, late), await actor('orders-3', 14, 30)]
const search = [await actor('search-a', 2, 3), await actor('search-b', 2, 3)]
const pool = (actors: readonly Actor[]) => ({
  backends: actors.map(({ id, url }, index) => ({ id, url, weight: index === 0 ? 2 : 1 })),
  health: { active: { path: '/health', interval: '2s', timeout: '1s' } },
})
const app = await buildGateway({
  log: { level: 'silent' },
  pools: { shop: pool(shop), orders: pool(orders), search: pool(search) },
  routes: [
    { path: '/*', pool: 'shop' },
    { path: '/orders/*', pool: 'orders' },
    { path: '/search', pool: 'search' },
  ],
})
await app.listen({ port: 0, host: '127.0.0.1' })
if (app.admin === undefined || FOUND === undefined) throw new Error('it takes an admin listener and Chromium')
await app.admin.listen({ port: 0, host: '127.0.0.1' })
const admin = `http://127.0.0.1:${portOf(app.admin.server)}`
const stop = load(`http://127.0.0.1:${portOf(app.server)}`, startedAt)
const browser = await chromium.launch({ executablePath: FOUND, chromiumSandbox: process.getuid?.() !== 0 })
const pictures = await Promise.all([
  picture(browser, admin, 'dashboard-light', [1440, 900], false),
  picture(browser, admin, 'dashboard-dark', [1440, 900], true),
  picture(browser, admin, 'dashboard-phone', [390, 844], false),
])
await sleep(DIES_MS)
shop[3]?.die()
await fetch(`${admin}/pools/search/backends/search-b`, {
  method: 'PATCH',
  headers: { 'content-type': 'application/json' },
  body: '{"state":"draining"}',
})
await sleep(WATCH_MS - DIES_MS)
mkdirSync(FOLDER, { recursive: true })
for (const take of pictures) {
  // oxlint-disable-next-line no-await-in-loop -- one after the other, for who looks at the same machine
  await take()
}
stop()
await browser.close()
process.exit()
