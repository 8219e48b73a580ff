/**
 * The command `sluice top`: which admin listener it means, and with what token.
 */
import { algorithmCheck } from '../algorithm-check.ts'
import { loadConfig } from '../config/load.ts'
import { parseDuration } from '../config/units.ts'
import type { Address } from '../top/stream.ts'
import { clean } from '../top/text.ts'
import { top, TopError } from '../top/top.ts'
import { UsageError } from './usage-error.ts'

export interface TopValues {
  readonly url?: string | undefined
  readonly token?: string | undefined
  readonly config?: string | undefined
  readonly interval?: string | undefined
  readonly pool?: string | undefined
  readonly once?: boolean | undefined
}

/** Where the admin listener of a configuration is that does not speak of it. */
const USUAL_URL = 'http://127.0.0.1:9090'
const USUAL_INTERVAL = '1s'
/** A listener on all addresses is at these, too. */
const ON_THIS_MACHINE: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
])

export async function topCommand(values: TopValues, rest: readonly string[]): Promise<number> {
  if (rest.length > 0) throw new UsageError(`top takes no "${rest[0]}"; did you mean --url or --config?`)
  const interval = values.interval ?? USUAL_INTERVAL
  const everyMs = parseDuration(interval)
  if (everyMs === undefined || everyMs === 0) {
    throw new UsageError(`--interval: expected a duration such as 1s or 500ms, got "${interval}"`)
  }
  const address = await addressOf(values)
  const { stdin: input, stdout: output, env } = process
  try {
    const pool = values.pool === undefined ? undefined : clean(values.pool)
    await top({ address, everyMs, pool, once: values.once === true }, { input, output, env })
    return 0
  } catch (error) {
    if (!(error instanceof TopError)) throw error
    console.error(`sluice: ${error.message}`)
    return 1
  }
}

/** What is said on the command line goes before the file, and the file before the environment. */
async function addressOf({ url, token, config }: TopValues): Promise<Address> {
  const found = config === undefined ? undefined : await addressIn(config, url)
  const fallback = found?.token ?? process.env['SLUICE_ADMIN_TOKEN'] ?? ''
  return { url: urlOf(url ?? found?.url ?? USUAL_URL), token: headerValue(token ?? fallback) }
}

/** @param url given besides: then it does not matter where the file says that it listens */
async function addressIn(
  file: string,
  url: string | undefined,
): Promise<{ readonly url: string; readonly token: string }> {
  const { admin } = (await loadConfig(file, process.env, { algorithms: algorithmCheck() })).settings
  if (admin === undefined) throw new UsageError(`${file} switches the admin listener off, which top asks`)
  const { port, token } = admin
  if (port === 0 && url === undefined) throw new UsageError(`${file} leaves admin.port to the system: give --url`)
  const host = ON_THIS_MACHINE.get(admin.host) ?? admin.host
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, token }
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new UsageError(`--url: expected something like ${USUAL_URL}, got "${text}"`)
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  url.search = url.hash = ''
  return url
}

function headerValue(token: string): string {
  if (/^[\x20-\x7e]*$/.test(token)) return token
  throw new UsageError('the token has characters that no header field can carry')
}
