/**
 * The real curl: what it was told, what it got, how it ended. It sees neither its user's settings nor a proxy of the
 * environment.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

import type { Test } from 'tap'

import { outsideFolder } from './process.ts'
import { bytesOf, type Bytes, guarded } from './raw.ts'

const said = spawnSync('curl', ['--version'], { encoding: 'utf8' })

/** Why tests that need curl cannot run here; false where they can. */
export const CURL_MISSING: string | false =
  said.error === undefined ? !said.stdout.includes('HTTP2') && 'curl knows no HTTP/2' : 'curl is not installed'

/** Before what it reports of a transfer, among its complaints. */
const MARK = 'transfer '

/** One of the transfers that curl was asked for, in its own words. */
export interface Transfer {
  readonly status: number
  /** '1.0', '1.1' or '2'. */
  readonly version: string
  /** How many connections it had to open for it. */
  readonly connects: number
  readonly redirects: number
}

export interface Curled {
  /** Its exit code: 0 unless something is wrong. */
  readonly code: number | null
  readonly transfers: readonly Transfer[]
  /** The last of them. */
  readonly status: number
  readonly version: string
  /** The heads of all answers, interim ones and trailers too, as curl noted them. */
  readonly heads: string
  readonly body: Buffer
  /** What it complained of. */
  readonly complaint: string
}

/** One that is running; it never reads more of its input than there is. */
export class RunningCurl {
  readonly ended: Promise<Curled>
  readonly #child: ChildProcess
  readonly #input: Writable
  readonly #pieces: Buffer[] = []
  #waiting: Array<() => void> = []
  #length = 0
  #over = false

  constructor(t: Test, args: readonly string[]) {
    const folder = outsideFolder(t)
    const heads = join(folder, 'heads')
    const all = ['-q', '-sS', '-D', heads, '-w', `%{stderr}\n${MARK}%{json}\n`, ...args]
    const child = spawn('curl', all, { env: { PATH: process.env['PATH'], HOME: folder }, cwd: folder })
    t.teardown(() => child.kill('SIGKILL'))
    this.#child = child
    this.#input = child.stdin
    this.#input.on('error', () => undefined)
    this.#collect(child.stdout)
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    this.ended = new Promise((done, failed) => {
      child.once('error', failed)
      child.once('close', (code) => {
        this.#over = true
        this.#wake()
        done({ code, heads: textOf(heads), body: this.bytes, ...reported(stderr) })
      })
    })
  }

  /** What it has put out so far. */
  get bytes(): Buffer {
    return Buffer.concat(this.#pieces)
  }

  /** Hands it a piece of its input. */
  input(piece: Bytes): void {
    this.#input.write(bytesOf(piece))
  }

  /** Its input has ended. */
  endInput(): void {
    this.#input.end()
  }

  /** Waits until it has put out that many bytes. */
  async output(length: number): Promise<Buffer> {
    await guarded(this.#output(length), () => `${this.#length} of ${length} bytes from curl`)
    return this.bytes
  }

  /** As its user would, with Ctrl-C. */
  async interrupt(): Promise<void> {
    this.#child.kill('SIGINT')
    await this.ended
  }

  #collect(stdout: Readable): void {
    stdout.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#length += piece.length
      this.#wake()
    })
  }

  async #output(length: number): Promise<void> {
    while (this.#length < length) {
      if (this.#over) throw new Error(`curl ended after ${this.#length} of ${length} bytes`)
      // oxlint-disable-next-line no-await-in-loop -- until they have come
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

/** Runs it to its end. */
export async function curl(t: Test, args: readonly string[], input: Bytes = ''): Promise<Curled> {
  const running = new RunningCurl(t, args)
  running.input(input)
  running.endInput()
  return guarded(running.ended, () => `curl ${args.join(' ')}`)
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    // It came to no answer.
    return ''
  }
}

function reported(stderr: string): Pick<Curled, 'transfers' | 'status' | 'version' | 'complaint'> {
  const lines = stderr.split('\n').filter((line) => line !== '')
  const transfers = lines.filter((line) => line.startsWith(MARK)).map((line) => transferOf(line.slice(MARK.length)))
  const { status, version } = transfers.at(-1) ?? { status: 0, version: '' }
  return { transfers, status, version, complaint: lines.filter((line) => !line.startsWith(MARK)).join('\n') }
}

function transferOf(json: string): Transfer {
  const fields = new Map<string, unknown>(Object.entries(Object(JSON.parse(json))))
  return {
    status: Number(fields.get('response_code')),
    version: String(fields.get('http_version')),
    connects: Number(fields.get('num_connects')),
    redirects: Number(fields.get('num_redirects')),
  }
}
