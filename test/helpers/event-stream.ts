/**
 * A client of GET /events as a stream, which keeps what it is told: events, and figures where it asks for them.
 */
import { get, type IncomingMessage } from 'node:http'

import type { Test } from 'tap'

import type { FeedFigures, FeedLayout, FeedReasons } from '../../src/metrics/feed.ts'
import type { AdminGateway } from './admin.ts'
import { guarded } from './raw.ts'

export interface Told {
  readonly id: number
  readonly what: string
  readonly to: string
}

/** A client of the stream, and what it has been told. */
export class Listener {
  readonly told: Told[] = []
  /** What a client that comes back says it was told last, for each of them. */
  readonly ids: string[] = []
  readonly layouts: FeedLayout[] = []
  readonly reasons: FeedReasons[] = []
  readonly figures: FeedFigures[] = []
  /** How large the text of each look was. */
  readonly sizes: number[] = []
  readonly response: IncomingMessage
  readonly ended: Promise<void>
  #text = ''
  #waiting: Array<() => void> = []

  constructor(t: Test, response: IncomingMessage) {
    this.response = response
    this.ended = new Promise((resolve) => void response.once('close', resolve))
    t.teardown(() => response.destroy())
    response.setEncoding('utf8')
    response.on('data', (piece: string) => this.#read(piece))
  }

  static async connect(
    t: Test,
    { adminPort }: Pick<AdminGateway, 'adminPort'>,
    headers: Record<string, string> = {},
    path = '/events',
  ): Promise<Listener> {
    const options = { port: adminPort, host: '127.0.0.1', path, agent: false }
    return new Promise((resolve, reject) => {
      const request = get({ ...options, headers: { accept: 'text/event-stream', ...headers } }, (response) =>
        resolve(new Listener(t, response)),
      )
      request.on('error', reject)
    })
  }

  async count(count: number): Promise<readonly Told[]> {
    await this.until(() => this.told.length >= count, `${count} events`)
    return this.told
  }

  /** The first figures that fit, also of those there were. */
  async look(fits: (figures: FeedFigures) => boolean): Promise<FeedFigures> {
    const find = (): FeedFigures | undefined => this.figures.find(fits)
    await this.until(() => find() !== undefined, 'figures as asked')
    const found = find()
    if (found === undefined) throw new Error('they are gone')
    return found
  }

  async until(holds: () => boolean, what: string): Promise<void> {
    const wait = async (): Promise<void> => {
      // oxlint-disable-next-line no-await-in-loop -- until it holds
      while (!holds()) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
    await guarded(wait(), () => `${what}; there are ${JSON.stringify([this.told, this.figures.at(-1)])}`)
  }

  #read(piece: string): void {
    this.#text += piece
    const blocks = this.#text.split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) {
      const [, data] = /^data: (.*)$/m.exec(block) ?? []
      if (data !== undefined) this.#take(block, data)
    }
    for (const wake of this.#waiting.splice(0)) wake()
  }
  #take(block: string, data: string): void {
    const [, name = ''] = /^event: (.*)$/m.exec(block) ?? []
    const lists: Readonly<Record<string, unknown[]>> = {
      layout: this.layouts,
      reasons: this.reasons,
      figures: this.figures,
    }
    if (name === 'figures') this.sizes.push(data.length)
    const [, id] = /^id: (.*)$/m.exec(block) ?? []
    if (id !== undefined) this.ids.push(id)
    const list = id === undefined ? (lists[name] ?? []) : this.told
    list.push(JSON.parse(data))
  }
}
