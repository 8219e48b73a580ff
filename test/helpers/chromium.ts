/**
 * A real Chromium without a window, and pages in it that note whatever goes wrong.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'

import { SERVER } from './secure.ts'

/** Where it is, if it is installed. */
export const FOUND = ['chromium', 'chromium-browser', 'google-chrome'].flatMap(onPath)[0]

/** Why tests that need Chromium cannot run here; false where they can. */
export const CHROMIUM_MISSING: string | false = FOUND === undefined && 'chromium is not installed'

/** Starts one, with options of its command line; the end of the test ends it. */
export async function startChromium(t: Test, options: readonly string[] = []): Promise<Browser> {
  if (FOUND === undefined) throw new Error('there is no Chromium')
  const browser = await chromium.launch({
    executablePath: FOUND,
    // Its sandbox does not work for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      ...options,
      // None of the environment stands between.
      '--no-proxy-server',
      // It has no file of authorities that could be added to: it takes this key for that of a valid certificate.
      `--ignore-certificate-errors-spki-list=${fingerprint(SERVER.cert)}`,
    ],
  })
  t.teardown(() => browser.close())
  return browser
}

export interface Tab {
  readonly page: Page
  /** Errors and warnings of its console, of its scripts and of its requests. */
  readonly complaints: readonly string[]
}

/** Opens a page, as a visitor without history. */
export async function openTab(
  t: Test,
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Tab> {
  const context = await browser.newContext(options)
  t.teardown(() => context.close())
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('requestfailed', (request) => {
    const { errorText = '' } = request.failure() ?? {}
    // The page itself wanted no more of it.
    if (errorText !== 'net::ERR_ABORTED') complaints.push(`${request.url()}: ${errorText}`)
  })
  await page.goto(url)
  return { page, complaints }
}

function fingerprint(certificate: string): string {
  const key = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(key).digest('base64')
}

function onPath(name: string): string[] {
  const files = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))
  return files.filter((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
