/**
 * `sluice top`: a gateway's figures in a terminal, live, or once as a table.
 */
import { setTimeout as delay } from 'node:timers/promises'

import { Reader, type Picture } from './picture.ts'
import { screenOf, tableOf, type Link, type Scene } from './screen.ts'
import { follow, statusOf, type Address } from './stream.ts'
import { isScreen, sizeOf, Terminal, type Input, type Output } from './terminal.ts'
import { clean } from './text.ts'
import { FIRST_VIEW, keysIn, press, type Key, type View } from './view.ts'

export interface TopOptions {
  readonly address: Address
  readonly everyMs: number
  /** The only pool to show; a clean text. */
  readonly pool: string | undefined
  /** Also without being asked, where there is no terminal. */
  readonly once: boolean
}

export interface Surroundings {
  readonly input: Input
  readonly output: Output
  readonly env: NodeJS.ProcessEnv
}

/** The gateway cannot be reached, or has nothing of what is asked for. */
export class TopError extends Error {}

/** How long until the next try to connect, growing. */
const PAUSES_MS = [250, 500, 1000, 2000, 5000] as const
/** For what changes by itself: how long something has lasted. */
const TICK_MS = 1000
/** Where there is no terminal, nothing is cut. */
const ENDLESS_COLUMNS = 10_000

/** Returns when it has been ended by who looks. @throws {TopError} */
export async function top(options: TopOptions, surroundings: Surroundings): Promise<void> {
  if (options.once || !isScreen(surroundings.output, surroundings.env)) await printOnce(options, surroundings)
  else await new Live(options, surroundings).run()
}

/** The second look is the first one with rates. */
async function printOnce(options: TopOptions, { output, env }: Surroundings): Promise<void> {
  const { address, everyMs, pool } = options
  const reader = new Reader()
  const done = new AbortController()
  // Enough for both looks; the stream itself only notices when nothing at all comes.
  const deadline = AbortSignal.timeout(3 * everyMs + FIRST_LOOKS_MS)
  const signal = AbortSignal.any([done.signal, deadline])
  reader.takeStatus(await statusOf(address, signal))
  let looks = 0
  const why = await follow(address, { everyMs, signal }, (name, data) => {
    if (reader.take(name, data) === 'figures' && ++looks > 1) done.abort()
  })
  const { picture } = reader
  if (!done.signal.aborted || picture === undefined) {
    throw unreachable(address, why === '' ? 'it tells no figures' : why)
  }
  const problem = unknownPool(picture, pool)
  if (problem !== undefined) throw problem
  const now = Date.now()
  const link: Link = { place: placeOf(address), heardAt: now, everyMs, lost: undefined }
  const size = sizeOf(output, env)
  const columns = output.isTTY === true ? size.columns : ENDLESS_COLUMNS
  output.write(tableOf({ picture, link, pool, view: FIRST_VIEW, now }, { ...size, columns }))
}

const FIRST_LOOKS_MS = 10_000

class Live {
  readonly #options: TopOptions
  readonly #surroundings: Surroundings
  readonly #terminal: Terminal
  readonly #reader = new Reader()
  readonly #ended = new AbortController()
  #view: View = FIRST_VIEW
  #page = 1
  #heardAt: number | undefined
  #lost: Link['lost']
  #problem: TopError | undefined
  /** What is shown while it is paused. */
  #still: Picture | undefined

  constructor(options: TopOptions, surroundings: Surroundings) {
    this.#options = options
    this.#surroundings = surroundings
    this.#terminal = new Terminal(surroundings.input, surroundings.output)
  }

  async run(): Promise<void> {
    const { input, output } = this.#surroundings
    const tick = setInterval(() => this.#draw(), TICK_MS)
    const redraw = (): void => this.#redraw()
    const data = (text: string): void => this.#pressed(text)
    const end = (): void => this.#ended.abort()
    // Whatever ends the process, an error of ours too, the terminal is given back, and before the error is printed.
    const leave = (): void => this.#terminal.leave()
    const suspend = (): void => this.#suspend()
    const resume = (): void => this.#resume()
    output.on('resize', redraw)
    output.on('error', end)
    input.setEncoding('utf8')
    input.on('data', data)
    process.on('exit', leave).on('SIGTSTP', suspend).on('SIGCONT', resume)
    for (const signal of ENDING) process.on(signal, end)
    try {
      await this.#follow()
    } finally {
      clearInterval(tick)
      leave()
      output.off('resize', redraw)
      output.off('error', end)
      input.off('data', data)
      process.off('exit', leave).off('SIGTSTP', suspend).off('SIGCONT', resume)
      for (const signal of ENDING) process.off(signal, end)
    }
    if (this.#problem !== undefined) throw this.#problem
  }

  /** Again and again. Only what is wrong from the start is an error: who begins to look may have mistyped. */
  async #follow(): Promise<void> {
    const { address, everyMs } = this.#options
    const { signal } = this.#ended
    let failures = 0
    while (!signal.aborted) {
      this.#reader.begin()
      // oxlint-disable-next-line no-await-in-loop -- one connection after the other
      const why = await follow(address, { everyMs, signal }, (name, data) => {
        const what = this.#reader.take(name, data)
        if (what === 'reload') void this.#askStatus()
        if (what !== 'figures') return
        failures = 0
        this.#heard()
      })
      if (signal.aborted) return
      if (this.#heardAt === undefined) throw unreachable(address, why)
      const pauseMs = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)] ?? 0
      this.#lost = { since: this.#lost?.since ?? Date.now(), why, nextAt: Date.now() + pauseMs }
      this.#draw()
      // oxlint-disable-next-line no-await-in-loop -- until then
      await delay(pauseMs, undefined, { signal }).catch(() => undefined)
    }
  }

  #heard(): void {
    const isFirst = this.#heardAt === undefined
    this.#problem = isFirst ? unknownPool(this.#reader.picture, this.#options.pool) : undefined
    if (this.#problem !== undefined) return this.#ended.abort()
    if (isFirst || this.#lost !== undefined) void this.#askStatus()
    this.#heardAt = Date.now()
    this.#lost = undefined
    if (isFirst) this.#terminal.enter()
    this.#draw()
  }

  async #askStatus(): Promise<void> {
    this.#reader.takeStatus(await statusOf(this.#options.address, this.#ended.signal))
  }

  #draw(): void {
    const { picture } = this.#reader
    if (picture === undefined) return
    const { address, everyMs, pool } = this.#options
    const link = { place: placeOf(address), heardAt: this.#heardAt, everyMs, lost: this.#lost }
    this.#still = this.#view.paused ? (this.#still ?? picture) : undefined
    const scene: Scene = { picture: this.#still ?? picture, link, pool, view: this.#view, now: Date.now() }
    const screen = screenOf(scene, sizeOf(this.#surroundings.output, this.#surroundings.env))
    this.#view = { ...this.#view, offset: screen.offset }
    this.#page = screen.page
    this.#terminal.draw(screen.lines)
  }

  #redraw(): void {
    this.#terminal.forget()
    this.#draw()
  }

  #pressed(text: string): void {
    for (const key of keysIn(text)) this.#press(key)
    if (!this.#ended.signal.aborted) this.#draw()
  }

  #press(key: Key): void {
    if (key === 'quit') this.#ended.abort()
    else if (key === 'suspend') this.#suspend()
    else if (key === 'redraw') this.#redraw()
    else this.#view = press(this.#view, key, this.#page)
  }

  /** Stops as a shell would have it: the whole job, which a launcher may be a part of, and by the signal for it. */
  #suspend(): void {
    if (process.platform === 'win32') return
    this.#terminal.leave()
    const suspended = process.listeners('SIGTSTP')
    for (const listener of suspended) process.off('SIGTSTP', listener)
    process.kill(0, 'SIGTSTP')
    for (const listener of suspended) process.on('SIGTSTP', listener)
    // Where nobody could let it go on, the system does not stop it.
    setImmediate(() => this.#resume())
  }

  /** A shell has had the terminal meanwhile, and has left it in its own mode. */
  #resume(): void {
    if (this.#ended.signal.aborted || this.#heardAt === undefined) return
    this.#terminal.leave()
    this.#terminal.enter()
    this.#draw()
  }
}

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function unknownPool(picture: Picture | undefined, name: string | undefined): TopError | undefined {
  const names = picture?.pools.map((pool) => pool.name) ?? []
  if (name === undefined || names.includes(name)) return undefined
  return new TopError(`there is no pool "${name}"; there are ${names.slice(0, MOST_NAMES).join(', ')}`)
}

const MOST_NAMES = 20

function unreachable(address: Address, why: string): TopError {
  return new TopError(`no figures from ${placeOf(address)}: ${why}`)
}

/** Whatever it holds for getting in is not for the screen. */
function placeOf({ url }: Address): string {
  return clean(url.origin)
}
