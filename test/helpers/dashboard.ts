/**
 * The dashboard in a real browser, in front of backends that can be killed and started again.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'

import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import type { Test } from 'tap'

import { openTab, type Tab } from './chromium.ts'
import { portOf } from './raw.ts'

export interface Dashboard extends Tab {
  /** What the page asked for, and from where. */
  readonly asked: readonly string[]
  readonly pool: (name: string) => Locator
  readonly backend: (pool: string, id: string) => Locator
  /** Waits until a backend is shown in a state. */
  readonly shows: (pool: string, id: string, state: string) => Promise<void>
}

/** Opens it and waits until it shows how things stand. */
export async function openDashboard(
  t: Test,
  browser: Browser,
  adminPort: number,
  options: BrowserContextOptions = {},
): Promise<Dashboard> {
  const tab = await openTab(t, browser, `http://127.0.0.1:${adminPort}/`, options)
  const asked: string[] = []
  tab.page.on('request', (request) => asked.push(request.url()))
  await shown(tab.page)
  const pool = (name: string): Locator => tab.page.locator(`.pool[data-pool=${JSON.stringify(name)}]`)
  const backend = (name: string, id: string): Locator => pool(name).locator(`[data-backend=${JSON.stringify(id)}]`)
  return {
    ...tab,
    asked,
    pool,
    backend,
    shows: async (name, id, state) => {
      await backend(name, id)
        .locator('.cell.state .pill', { hasText: new RegExp(`^${state}$`) })
        .waitFor()
    },
  }
}

export async function shown(page: Page): Promise<void> {
  await page.locator('#connection[data-state=live]').waitFor()
  await page.locator('.tile .value').first().waitFor()
}

/** A backend that can be gone for a while, always at the same address. */
export class Mortal {
  readonly url: string
  readonly #port: number
  #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.#port = portOf(server)
    this.url = `http://127.0.0.1:${this.#port}`
  }

  static async start(t: Test): Promise<Mortal> {
    const mortal = new Mortal(await serve(0))
    t.teardown(() => mortal.die())
    return mortal
  }

  async die(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async live(): Promise<void> {
    this.#server = await serve(this.#port)
  }
}

async function serve(port: number): Promise<Server> {
  const server = createServer((_request, response) => response.end('ok'))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}
