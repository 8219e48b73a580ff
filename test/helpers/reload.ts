/**
 * A gateway as a process of its own whose configuration changes while it runs: what it has in force, and every line in
 * which it said that this has changed or was refused.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'

import { type Answer, ask, type Ask, type LogLine, outsideFolder, type Running, start } from './process.ts'

/** What says that something is another configuration, or none. */
const TOLD = /^(configuration [0-9a-f]{12} is in force|a configuration is refused): /

export class Live {
  readonly file: string
  readonly url: string
  readonly admin: string
  readonly process: Running
  #seen = 0

  constructor(file: string, url: string, admin: string, process: Running) {
    this.file = file
    this.url = url
    this.admin = admin
    this.process = process
  }

  /** The next line about a change of the configuration. */
  async next(): Promise<LogLine> {
    this.#seen++
    return this.process.logged(TOLD, this.#seen)
  }

  /** How many such lines there are: each is the one that is counted, by what machines read of it. */
  get told(): number {
    return this.process.lines.filter((line) => line.includes('"what":"reload"')).length
  }

  async call(path: string, options?: Ask): Promise<Answer> {
    return ask(`${this.admin}${path}`, options)
  }

  async put(body: string | Buffer, headers: Readonly<Record<string, string>> = {}, query = ''): Promise<Answer> {
    const all = { 'content-type': 'application/yaml', ...headers }
    return this.call(`/config${query}`, { method: 'PUT', headers: all, body })
  }

  async lastReload(): Promise<{ readonly hash: string; readonly ok: boolean; readonly error: string | null }> {
    const { body } = await this.call('/status')
    const { config }: StatusBody = JSON.parse(body)
    return { hash: config.hash, ...config.lastReload }
  }

  /** All of what is in force, as it tells it; requests go where this says. */
  async inForce(): Promise<string> {
    const { headers, body } = await this.call('/config')
    return `${String(headers.etag)} ${body}`
  }
}

interface StatusBody {
  readonly config: {
    readonly hash: string
    readonly lastReload: { readonly ok: boolean; readonly at: string; readonly error: string | null }
  }
}

/** Starts it with this text in a file of its own. */
export async function live(t: Test, config: string, name = 'gateway.yaml'): Promise<Live> {
  const file = join(outsideFolder(t), name)
  writeFileSync(file, config)
  return liveWith(t, file)
}

/** Starts it with a file that is there. */
export async function liveWith(t: Test, file: string): Promise<Live> {
  const running = start(t, ['run', '--config', file, '--port', '0', '--admin-port', '0'])
  const { admin, greeting } = await running.serving()
  const [, scheme = '', port = ''] = / on (https?):\/\/\S+?:(\d+);/.exec(greeting) ?? []
  return new Live(file, `${scheme}://127.0.0.1:${port}`, admin, running)
}

/** A pool in front of these, in turn; what fails stays among them, so that only the configuration says who is asked. */
export function poolOf(urls: readonly string[], more = ''): string {
  const pool = `{ algorithm: round-robin, health: { passive: false }, breaker: false, backends: ${JSON.stringify(urls)} }`
  return `pools: { web: ${pool} }\n${more}`
}
