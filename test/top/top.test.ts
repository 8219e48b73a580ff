/**
 * `sluice top` before a real gateway: what it shows changes with it, keys are obeyed, and a gateway that goes away and
 * comes back is noticed.
 */
import { EventEmitter, once } from 'node:events'
import { createServer, type Server } from 'node:http'

import { test, type Test } from 'tap'

import { buildGateway, type Config } from '../../src/index.ts'
import { STATES } from '../../src/metrics/catalogue.ts'
import type { FeedFigures } from '../../src/metrics/feed.ts'
import { top, TopError, type TopOptions } from '../../src/top/top.ts'
import { startWithAdmin } from '../helpers/admin.ts'
import { replaced } from '../helpers/changing.ts'
import { Listener } from '../helpers/event-stream.ts'
import { backend, closedPort } from '../helpers/gateway.ts'
import { guarded, inTurn, portOf } from '../helpers/raw.ts'
import { TerminalScreen } from '../helpers/screen.ts'

/** A terminal with its keyboard. */
class Seat {
  readonly screen = new TerminalScreen()
  readonly input = Object.assign(new EventEmitter(), {
    isTTY: true,
    raw: false,
    setRawMode: (raw: boolean) => (this.input.raw = raw),
    setEncoding: () => undefined,
    resume: () => undefined,
    pause: () => undefined,
  })
  readonly output = Object.assign(new EventEmitter(), {
    isTTY: true,
    columns: 140,
    rows: 30,
    writableNeedDrain: false,
    hasColors: () => true,
    write: (text: string) => {
      this.screen.write(text)
      for (const wake of this.#waiting.splice(0)) wake()
    },
  })
  readonly #waiting: Array<() => void> = []

  press(keys: string): void {
    this.input.emit('data', keys)
  }

  /** Waits until the screen is as asked. */
  async shows(what: RegExp | (() => boolean)): Promise<void> {
    const holds = typeof what === 'function' ? what : (): boolean => what.test(this.screen.text)
    const wait = async (): Promise<void> => {
      // oxlint-disable-next-line no-await-in-loop -- until it does
      while (!holds()) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
    await guarded(wait(), () => `${String(what)} in\n${this.screen.text}`)
  }
}

function optionsFor(port: number, more: Partial<TopOptions> = {}): TopOptions {
  const address = { url: new URL(`http://127.0.0.1:${port}/`), token: '' }
  return { address, everyMs: 250, pool: undefined, once: false, ...more }
}

interface Watching {
  readonly seat: Seat
  /** Settles when it has ended. */
  readonly over: Promise<void>
}

function watch(t: Test, options: TopOptions, env: NodeJS.ProcessEnv = {}): Watching {
  const seat = new Seat()
  const over = top(options, { input: seat.input, output: seat.output, env })
  t.teardown(() => seat.press('q'))
  return { seat, over }
}

async function linesOf(options: TopOptions): Promise<string> {
  let text = ''
  const { input, output } = new Seat()
  const written = Object.assign(output, { isTTY: false, write: (piece: string) => (text += piece) })
  await top(options, { input, output: written, env: {} })
  return text
}

void test('what happens is shown, and the terminal is given back', async (t) => {
  const one = await backend(t)
  const all = await startWithAdmin(t, { config: { pools: { web: { backends: [{ id: 'one', url: one.url }] } } } })
  const { seat, over } = watch(t, optionsFor(all.adminPort))
  await seat.shows(/^one +healthy +1 +0 +0 /m)
  t.same([seat.screen.alternate, seat.screen.cursor, seat.screen.wraps, seat.input.raw], [true, false, false, true])
  t.ok(seat.screen.colours > 0)
  const visits = Array.from({ length: 40 }, async () => (await fetch(`http://127.0.0.1:${all.port}/`)).text())
  await seat.shows(/^one +healthy +1 +\d+ +[1-9]\d* +0% +[\d.]+ms/m)
  await Promise.all(visits)
  all.app.events.emit({ what: 'pool', pool: 'web', from: 'enough', to: 'empty', cause: 'a test\x1b[2J\nof ours' })
  await seat.shows(/pool {2}web {2}enough → empty {2}a test·\[2J·of ours$/m)
  await replaced(all, { pools: { more: { backends: [{ id: 'two', url: one.url }] } } })
  await seat.shows(/^more .*[^]*^two +healthy/m)
  t.notMatch(seat.screen.text, /^one /m)
  t.match(seat.screen.text, / config test$/m)
  seat.press('q')
  await over
  t.same([seat.screen.alternate, seat.screen.cursor, seat.screen.wraps, seat.input.raw], [false, true, true, false])
  t.same(seat.screen.unknown, [])
  t.same([seat.input.listenerCount('data'), seat.output.listenerCount('resize')], [0, 0])
})

void test('keys: help, order, those in trouble, pause, and a new size', async (t) => {
  const backends = ['a', 'b'].map((id) => ({ id, url: 'http://127.0.0.1:9' }))
  const all = await startWithAdmin(t, { config: { pools: { web: { backends } } } })
  const { seat } = watch(t, optionsFor(all.adminPort), { NO_COLOR: '1' })
  await seat.shows(/^a +healthy/m)
  t.equal(seat.screen.colours, 0)
  seat.press('?')
  await seat.shows(/^HELP/m)
  seat.press('\x1b')
  await seat.shows(/^a +healthy/m)
  seat.press('sf')
  await seat.shows(/order: state {2}f show: only in trouble/)
  t.match(seat.screen.text, /^nothing is in trouble$/m)
  seat.press('fp')
  await seat.shows(/PAUSED/)
  const patched = await fetch(`http://127.0.0.1:${all.adminPort}/pools/web/backends/b`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: '{"state":"draining"}',
  })
  t.equal(patched.status, 200)
  await patched.text()
  // Told to both at the same time, so that by the second of these the screen would show it.
  const listener = await Listener.connect(t, all, {}, '/events?figures=250ms')
  await listener.until(() => listener.figures.filter(isDraining).length > 1, 'b draining')
  Object.assign(seat.output, { columns: 60, rows: 12 })
  seat.output.emit('resize')
  await seat.shows(() => seat.screen.lines.length === 12)
  t.ok(seat.screen.lines.every((line) => line.length <= 60))
  t.match(seat.screen.text, /^b +healthy/m)
  seat.press('p')
  await seat.shows(/^b +draining[^]*^a +healthy/m)
})

function isDraining({ backends: [, second] }: FeedFigures): boolean {
  return second?.[0] === STATES.indexOf('draining')
}

void test('a gateway that goes away and comes back', async (t) => {
  const config: Config = {
    log: { level: 'silent' },
    pools: { web: { backends: [{ id: 'a', url: 'http://127.0.0.1:9' }] } },
  }
  const start = async (port: number) => {
    const app = await buildGateway(config)
    t.teardown(() => app.close())
    if (app.admin === undefined) throw new Error('there is no admin listener')
    await app.listen({ port: 0, host: '127.0.0.1' })
    await app.admin.listen({ port, host: '127.0.0.1' })
    return { app, port: portOf(app.admin.server) }
  }
  const first = await start(0)
  const { seat } = watch(t, optionsFor(first.port))
  await seat.shows(/ live /)
  for (let n = 0; n < 3; n++) first.app.events.emit({ what: 'pool', pool: 'web', from: 'a', to: 'b', cause: 'before' })
  await seat.shows(/before/)
  await first.app.close()
  await seat.shows(
    /NOT CONNECTED since \d\d:\d\d:\d\d: (?:it has closed the connection|nothing listens there|ECONNRESET);/,
  )
  await seat.shows(/nothing listens there; (?:next try in \ds|trying again)/)
  t.match(seat.screen.text, /^a +healthy/m, 'what was last known stays')
  const second = await start(first.port)
  await seat.shows(/ live /)
  second.app.events.emit({ what: 'pool', pool: 'web', from: 'a', to: 'b', cause: 'after' })
  await seat.shows(/after/)
  t.notMatch(seat.screen.text, /before/, 'events are those of this one')
})

void test('a reload that was refused is said', async (t) => {
  const all = await startWithAdmin(t)
  const { seat } = watch(t, optionsFor(all.adminPort))
  await seat.shows(/ live /)
  const put = await fetch(`http://127.0.0.1:${all.adminPort}/config`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: '{"pools":{"web":{"backends":["no"]}}}',
  })
  t.equal(put.status, 422)
  await put.text()
  await seat.shows(/^reload refused at \d\d:\d\d:\d\d: .*pools\.web\.backends/m)
})

void test('once: one table with rates, and its end', async (t) => {
  const all = await startWithAdmin(t)
  const text = await linesOf(optionsFor(all.adminPort))
  t.match(text, /^web {2}1 of 1 well {2}0 req\/s /m)
  t.notMatch(text, '\x1b')
  t.equal(
    await guarded(
      linesOf(optionsFor(all.adminPort, { pool: 'web' })).then(() => true),
      () => 'its end',
    ),
    true,
  )
})

void test('what cannot be shown is said, live as well as once', async (t) => {
  const [open, locked] = [await startWithAdmin(t), await startWithAdmin(t, { config: { admin: { token: 'secret' } } })]
  const other = await serve(t, (server) => server.on('request', (_, response) => response.end('hello')))
  const hangsUp = await serve(t, (server) => server.on('connection', (socket) => socket.destroy()))
  const locks = { url: new URL(`http://127.0.0.1:${locked.adminPort}/`) }
  const cases: ReadonlyArray<readonly [options: TopOptions, message: RegExp]> = [
    [optionsFor(await closedPort()), /^no figures from http:\/\/127\.0\.0\.1:\d+: nothing listens there$/],
    [
      optionsFor(locked.adminPort),
      /: it asks for a token; give it in SLUICE_ADMIN_TOKEN, with --token, or by --config FILE$/,
    ],
    [optionsFor(0, { address: { ...locks, token: 'wrong' } }), /: the token is not the one it expects; give it in /],
    [optionsFor(open.adminPort, { pool: 'wbe' }), /^there is no pool "wbe"; there are web$/],
    [optionsFor(open.adminPort, { everyMs: 10 }), /: it answers 400: Expected figures to be from 250ms to 1m/],
    [optionsFor(open.port), /: it answers 502: The backend could not be reached$/],
    [optionsFor(other), /: what answers there is not the admin listener of a gateway that tells figures$/],
    [optionsFor(hangsUp), /: ECONNRESET$/],
  ]
  await inTurn(cases, async ([options, message]) => {
    await t.rejects(linesOf(options), { constructor: TopError, message })
    const { seat, over } = watch(t, options)
    await t.rejects(over, { constructor: TopError, message })
    t.equal(seat.screen.lines.length, 0, 'on the screen where it was asked for')
    t.equal(seat.screen.alternate, false)
  })
  const text = await linesOf(optionsFor(0, { address: { ...locks, token: 'secret' } }))
  t.match(text, /^web {2}1 of 1 well/m, 'with the token')
})

async function serve(t: Test, prepare: (server: Server) => void): Promise<number> {
  const server = createServer()
  prepare(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return portOf(server)
}
