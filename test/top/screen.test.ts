/**
 * What `sluice top` shows: lines of text, made of what the stream tells, and never more of them than there is room for.
 */
import { array, assert, boolean, constant, double, integer, nat, oneof, property, record, string } from 'fast-check'
import { test } from 'tap'

import { Reader, type Picture } from '../../src/top/picture.ts'
import { screenOf, tableOf, type Scene, type Size } from '../../src/top/screen.ts'
import { widthOf } from '../../src/top/text.ts'
import { changeOf } from '../../src/top/terminal.ts'
import { FIRST_VIEW, keysIn, press, type View } from '../../src/top/view.ts'
import { TerminalScreen } from '../helpers/screen.ts'

const WIDE: Size = { columns: 160, rows: 30, colours: false }
/** Local, so that what is shown does not depend on where the test runs. */
const NOW = new Date(2026, 3, 5, 3, 4, 5).getTime()
const at = (secondsAgo: number): string => new Date(NOW - secondsAgo * 1000).toISOString()

interface Told {
  readonly pools?: readonly object[]
  readonly poolRows?: ReadonlyArray<readonly unknown[]>
  readonly rows?: ReadonlyArray<readonly unknown[]>
  readonly reasons?: ReadonlyArray<readonly unknown[]>
  readonly events?: readonly object[]
}

const POOLS = [
  {
    name: 'orders',
    algorithm: 'least-connections',
    checks: true,
    breaker: true,
    backends: [
      ['orders-1', 'http://10.0.0.1'],
      ['orders-2', 'http://10.0.0.2'],
      ['orders-3', 'http://10.0.0.3'],
    ],
  },
  { name: 'search', algorithm: 'peak-ewma', checks: false, breaker: false, backends: [['検索', 'http://10.0.0.4']] },
]
const POOL_ROWS = [
  [0, 150, 0.02, 3, 48, 4],
  [2, 0, null, null, null, 0],
]
const ROWS = [
  [0, 1, 1, 3, 100, 0, 2.44, 12, 0, 1200, 0.8, 0],
  [1, 5, 2.5, 1, 50, 0.06, 20.5, 1234, 2, 800, 1, 1],
  [2, 1, 0, 0, 0, null, null, null, 1, 65_000, 1, 7],
  [4, 1, 0, 0, 0, null, null, null, 0, null, null, 0],
]
const REASONS = [
  [0, 'long past', 'long past', 'long past'],
  [1, 'expected 200-399, got 500', '7 of 20 requests failed', 'half of them'],
  [2, 'ECONNREFUSED', 'ECONNREFUSED', 'all of them'],
]

function read(
  reader: Reader,
  { pools = POOLS, poolRows = POOL_ROWS, rows = ROWS, reasons = REASONS, events = [] }: Told,
) {
  const states = ['healthy', 'degraded', 'unhealthy', 'warming', 'draining', 'disabled']
  const words = { states, breakers: ['closed', 'open', 'half-open'], supplies: ['enough', 'panic', 'empty'] }
  for (const event of events) reader.take('health', event)
  reader.take('layout', { version: '1.2.3', startedAt: at(0), hash: 'abcdef012345', ...words, pools })
  reader.take('reasons', reasons)
  const gateway = {
    requests: { '2xx': 10_000, '5xx': 30 },
    perSecond: { '2xx': 147, '5xx': 3 },
    failing: 0.02,
    p50Ms: 3,
    p99Ms: 48,
    inFlight: 4,
    connections: 20,
    loop: 0.34,
    heapBytes: 50 * 1024 ** 2,
    rssBytes: 2 * 1024 ** 3,
    upMs: 3_700_000,
  }
  reader.take('figures', { at: NOW, overMs: 1000, gateway, pools: poolRows, backends: rows })
}

function pictureOf(told: Told = {}): Picture {
  const reader = new Reader()
  read(reader, told)
  const { picture } = reader
  if (picture === undefined) throw new Error('there is no picture')
  return picture
}

function sceneOf(picture: Picture, view: Partial<View> = {}, rest: Partial<Scene> = {}): Scene {
  const link = { place: 'http://127.0.0.1:9090', heardAt: NOW, everyMs: 1000, lost: undefined }
  return { picture, link, view: { ...FIRST_VIEW, ...view }, pool: undefined, now: NOW, ...rest }
}

function textOf(scene: Scene, size: Size = WIDE): string {
  return screenOf(scene, size)
    .lines.map((line) => line.trimEnd())
    .join('\n')
}

const EVENT = {
  at: at(5),
  what: 'health',
  pool: 'orders',
  backend: 'orders-3',
  from: 'healthy',
  to: 'unhealthy',
  cause: 'refused',
}

void test('all of it, as it is seen', (t) => {
  const reader = new Reader()
  for (const perSecond of [0, 25, 50]) read(reader, { rows: ROWS.map((row) => row.with(4, perSecond)) })
  read(reader, { events: [EVENT] })
  if (reader.picture === undefined) throw new Error('there is no picture')
  t.same(textOf(sceneOf(reader.picture), { ...WIDE, rows: 17 }).split('\n'), [
    'sluice 1.2.3  live  up 1h  at http://127.0.0.1:9090  config abcdef012345',
    '150 req/s  2xx 147  5xx 3  failing 2.0%  p50 3.0ms  p99 48ms  busy 4  connections 20  loop 34%  heap 50MiB  rss 2.0GiB',
    'BACKEND     STATE        WEIGHT   BUSY   REQ/S   FAIL     P50     P99  BREAKER    CHECK           REQ/S LATELY  WHY',
    'orders  1 of 3 well  150 req/s  failing 2.0%  p50 3.0ms  p99 48ms  busy 4  least-connections',
    'orders-1    healthy           1      3     100     0%   2.4ms    12ms  closed     good, 1s ago            ▁▄▅█',
    'orders-2    degraded   2.5 of 5      1      50   6.0%    21ms    1.2s  half-open  1 bad, 0s ago           ▁▄▅▅  expected 200-399, got 500; 7 of 20 requests fai…',
    'orders-3    unhealthy    0 of 1      0       0      –       –       –  open       7 bad, 1m ago           ▁▄▅▁  ECONNREFUSED; all of them',
    '',
    'search  EMPTY: no backend may be chosen  0 of 1 well  0 req/s  failing –  p50 –  p99 –  busy 0  peak-ewma',
    '検索        draining     0 of 1      0       0      –       –       –  –          –                       ▁▅█▁  by hand',
    '',
    '',
    '',
    '',
    'LAST EVENTS',
    '03:04:00  health  orders / orders-3  healthy → unhealthy  refused',
    'q quit  ? help  s order: as configured  f show: all  p pause  j/k scroll',
  ])
  t.end()
})

/** The names of backends that are shown, in their order. */
function namesIn(text: string): string[] {
  return Array.from(text.matchAll(/^(orders-\d|検索) /gm), ([, name = '']) => name)
}

void test('orders: the most urgent first, pools by the worst of theirs', (t) => {
  const picture = pictureOf()
  const shown = (order: View['order']): string[] => namesIn(textOf(sceneOf(picture, { order })))
  t.same(shown('as configured'), ['orders-1', 'orders-2', 'orders-3', '検索'])
  t.same(shown('state'), ['orders-3', 'orders-2', 'orders-1', '検索'])
  t.same(shown('requests'), ['orders-1', 'orders-2', 'orders-3', '検索'])
  t.same(shown('failures'), ['orders-2', 'orders-1', 'orders-3', '検索'])
  t.same(shown('latency'), ['orders-2', 'orders-1', 'orders-3', '検索'])
  const calm = ROWS.map((row, index) => (index < 3 ? row.with(0, 0).with(8, 0) : row))
  t.same(namesIn(textOf(sceneOf(pictureOf({ rows: calm }), { order: 'state' })))[0], '検索', 'the other pool first')
  t.end()
})

void test('only those in trouble, only one pool, and nothing at all', (t) => {
  const picture = pictureOf()
  t.same(namesIn(textOf(sceneOf(picture, { troubleOnly: true }))), ['orders-2', 'orders-3', '検索'])
  t.same(namesIn(textOf(sceneOf(picture, {}, { pool: 'search' }))), ['検索'])
  const well = { rows: ROWS.map(() => ROWS[0] ?? []), poolRows: POOL_ROWS.map((row) => row.with(0, 0)) }
  t.match(textOf(sceneOf(pictureOf(well), { troubleOnly: true })), /^nothing is in trouble$/m)
  for (const row of [
    [8, 2],
    [11, 1],
    [5, 0.05],
  ] as const) {
    const rows = well.rows.map((each, index) => (index === 1 ? each.with(row[0], row[1]) : each))
    t.same(namesIn(textOf(sceneOf(pictureOf({ ...well, rows }), { troubleOnly: true }))), ['orders-2'])
  }
  t.match(textOf(sceneOf(picture, {}, { pool: 'gone' })), /^there is no pool gone$/m)
  t.end()
})

function heading(columns: number): string[] {
  const [found = ''] = /^BACKEND.*/m.exec(textOf(sceneOf(pictureOf()), { ...WIDE, columns })) ?? []
  return found.trim().split(/\s{2,}/)
}

void test('narrow: the least important columns go first', (t) => {
  t.same(heading(20), ['BACKEND'])
  t.same(heading(40), ['BACKEND', 'STATE', 'REQ/S', 'FAIL'])
  t.same(heading(80), ['BACKEND', 'STATE', 'BUSY', 'REQ/S', 'FAIL', 'P99', 'BREAKER', 'WHY'])
  t.equal(heading(160).length, 12)
  t.end()
})

void test('scrolling: keys move, both ends hold, and what is shown is said', (t) => {
  const backends = Array.from({ length: 50 }, (_, n) => [`orders-${n}`, 'http://10.0.0.1'])
  const rows = backends.map(() => ROWS[0] ?? [])
  const picture = pictureOf({ pools: [{ ...POOLS[0], backends }], rows, reasons: [] })
  const size = { ...WIDE, rows: 14 }
  let view = FIRST_VIEW
  const after = (input: string): string => {
    let screen = screenOf(sceneOf(picture, view), size)
    for (const key of keysIn(input)) view = press(view, key, screen.page)
    screen = screenOf(sceneOf(picture, view), size)
    view = { ...view, offset: screen.offset }
    return /^(\S+) /.exec(screen.lines.at(-1) ?? '')?.[1] ?? ''
  }
  t.equal(after(''), '1-10')
  t.equal(after('jjj'), '4-13')
  t.equal(after('k\x1b[A'), '2-11')
  t.equal(after('\x1b[6~'), '12-21')
  t.equal(after('\x1b[5~\x1b[5~\x1b[5~'), '1-10')
  t.equal(after('G'), '42-51')
  t.equal(after('\x1bOBj '), '42-51')
  t.equal(after('k'), '41-50', 'at once, however often one has tried to go further')
  t.equal(after('g'), '1-10')
  t.equal(after('\x1b[F'), '42-51')
  t.equal(after('s'), '1-10', 'another order begins at its start')
  t.end()
})

void test('keys that mean nothing change nothing', (t) => {
  t.same(keysIn('xyz\x1b[200~\x1b[1;5D\x1b[15~é🚀\r\n'), [])
  t.same(keysIn('q\x03\x1a\x0c\x1b'), ['quit', 'quit', 'suspend', 'redraw', 'back'])
  t.end()
})

void test('help instead of the tables, and paused', (t) => {
  const picture = pictureOf()
  const help = textOf(sceneOf(picture, press(FIRST_VIEW, 'help', 1)))
  t.match(help, /^HELP/m)
  t.match(help, /^BREAKER +open: it gets nothing/m)
  t.same(namesIn(help), [])
  t.match(textOf(sceneOf(picture, press(FIRST_VIEW, 'pause', 1))), /^sluice 1\.2\.3 {2}live {2}PAUSED/)
  t.end()
})

void test('when it is not connected, since when and why; when it is silent, for how long', (t) => {
  const picture = pictureOf()
  const link = { place: 'here', heardAt: NOW - 3000, everyMs: 1000, lost: undefined }
  const first = (more: object): string =>
    textOf(sceneOf(picture, {}, { link: { ...link, ...more } })).split('\n')[0] ?? ''
  t.match(first({}), /^sluice 1\.2\.3 {2}live {2}/)
  t.match(first({ heardAt: NOW - 7000 }), /^sluice 1\.2\.3 {2}SILENT for 7s {2}/)
  const lost = { since: NOW - 65_000, why: 'nothing listens there', nextAt: NOW + 1500 }
  t.match(first({ lost }), 'NOT CONNECTED since 03:03:00: nothing listens there; next try in 2s')
  t.match(first({ lost: { ...lost, nextAt: NOW } }), 'there; trying again')
  t.end()
})

void test('a configuration that was refused is said, until one is taken', (t) => {
  const reader = new Reader()
  const refused = { ok: false, at: at(60), error: 'gateway.yaml:3:1: \x1b[5mno' }
  reader.takeStatus({ config: { lastReload: refused } })
  read(reader, {})
  if (reader.picture === undefined) throw new Error('there is no picture')
  t.match(textOf(sceneOf(reader.picture)), /^reload refused at 03:03:05: gateway\.yaml:3:1: ·\[5mno$/m)
  reader.takeStatus({ config: { lastReload: { ...refused, ok: true } } })
  read(reader, {})
  t.notMatch(textOf(sceneOf(reader.picture)), /refused at/)
  t.end()
})

void test('colours only where they are wanted, and the same text', (t) => {
  const picture = pictureOf()
  const [plain, coloured] = [false, true].map((colours) => screenOf(sceneOf(picture), { ...WIDE, colours }).lines)
  const text = coloured?.join('\n') ?? ''
  // oxlint-disable-next-line no-control-regex
  t.equal(text.replaceAll(/\x1b\[[0-9;]*m/g, ''), plain?.join('\n'))
  t.match(text, '\x1b[1;31munhealthy\x1b[0m')
  t.notMatch(plain?.join('\n') ?? '', '\x1b')
  t.end()
})

void test('whatever is told and however small it is: no more than there is room for, and nothing that is obeyed', (t) => {
  const name = oneof(string({ unit: 'binary' }), string({ unit: 'grapheme', maxLength: 60 }))
  const number = oneof(double(), constant(null), integer())
  const row = array(number, { maxLength: 13 })
  const size = record({ columns: nat(200), rows: nat(50), colours: boolean() })
  const view = record({ offset: nat(60), troubleOnly: boolean(), help: boolean(), paused: boolean() })
  assert(
    property(array(name, { maxLength: 12 }), array(row), size, view, (names, rows, room, seen) => {
      const backends = names.map((each) => [each, each])
      const pools = names.slice(0, 3).map((each) => ({ name: each, algorithm: each, checks: true, backends }))
      const reasons = names.map((each, index) => [index, each, each, each])
      const events = names.map((each) => ({ ...EVENT, backend: each, cause: each, to: each }))
      const { lines } = screenOf(sceneOf(pictureOf({ pools, rows, poolRows: rows, reasons, events }), seen), room)
      const seat = new TerminalScreen()
      seat.write(`\x1b[?1049h${changeOf([], lines)}`)
      const tooWide = seat.lines.filter((line) => widthOf(line) > room.columns)
      if (lines.length > room.rows || seat.unknown.length > 0 || tooWide.length > 0) {
        throw new Error(JSON.stringify([lines.length, seat.unknown, tooWide]))
      }
      if (!room.colours && seat.colours > 0) throw new Error('colours')
    }),
  )
  t.end()
})

void test('what is told in another form than expected is left out', (t) => {
  for (const data of [null, 1, 'text', [], {}, { pools: 1 }, { pools: [null, { backends: [1, [2]] }] }]) {
    const reader = new Reader()
    for (const what of ['reasons', 'figures', 'health', 'layout', 'reasons', 'figures']) reader.take(what, data)
    reader.takeStatus(data)
    if (reader.picture === undefined) throw new Error('there is no picture')
    t.equal(screenOf(sceneOf(reader.picture), WIDE).lines.length, WIDE.rows)
  }
  t.end()
})

void test('once: all of it, however long', (t) => {
  const table = tableOf(sceneOf(pictureOf({ events: [EVENT] }), { help: true }), { columns: 10_000, colours: false })
  t.match(table, /expected 200-399, got 500; 7 of 20 requests failed; half of them\n/)
  t.same(namesIn(table), ['orders-1', 'orders-2', 'orders-3', '検索'])
  t.notMatch(table, / \n/)
  t.end()
})

void test('only the lines that differ are drawn', (t) => {
  t.equal(changeOf(['a', 'b'], ['a', 'b']), '')
  const seat = new TerminalScreen()
  seat.write(`\x1b[?1049h${changeOf([], ['a', 'b', 'c'])}`)
  const change = changeOf(['a', 'b', 'c'], ['a', 'B'])
  t.notMatch(change, 'a')
  seat.write(change)
  t.equal(seat.text, 'a\nB\n')
  t.end()
})
