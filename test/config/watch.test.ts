/**
 * Watching the files of a configuration, whichever way they are written. That something is no change is shown by the
 * next one that is: it comes first.
 */
// oxlint-disable no-await-in-loop -- one change after the other
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { hashOf } from '../../src/config/text.ts'
import { type ConfigWatch, SETTLE_MS, watchConfig, type WatchOptions } from '../../src/config/watch.ts'
import type { Clock } from '../../src/core/clock.ts'
import { systemClock } from '../../src/transport/system-clock.ts'
import { BIN, outsideFolder, ROOT, UNSET } from '../helpers/process.ts'

const AN_HOUR_MS = 3_600_000
const NOBODY = 65534

/** The system's, and one can wait for what it calls. */
class ObservedClock implements Clock {
  /** How long each call was to wait. */
  readonly pending = new Map<() => void, number>()
  #waiting: Array<() => void> = []

  now(): number {
    return systemClock.now()
  }

  schedule(fn: () => void, delayMs: number): () => void {
    const cancel = systemClock.schedule(() => {
      this.pending.delete(cancel)
      fn()
      for (const done of this.#waiting.splice(0)) done()
    }, delayMs)
    this.pending.set(cancel, delayMs)
    return () => {
      this.pending.delete(cancel)
      cancel()
    }
  }

  async called(): Promise<void> {
    await new Promise<void>((done) => this.#waiting.push(done))
  }

  /** Until nothing is due but the next poll. */
  async atRest(): Promise<void> {
    while ([...this.pending.values()].some((delayMs) => delayMs < AN_HOUR_MS)) await this.called()
  }
}

/** A watch, and all it said: the content that was reported, `gone`, or an error. */
class Watching {
  readonly clock = new ObservedClock()
  readonly said: string[] = []
  readonly watch: ConfigWatch
  #waiting: Array<() => void> = []

  constructor(t: Test, file: string, options: Partial<WatchOptions> = {}) {
    this.watch = watchConfig(file, {
      clock: this.clock,
      settleMs: 40,
      // What is not noticed at once is not noticed.
      pollMs: AN_HOUR_MS,
      absenceMs: AN_HOUR_MS,
      onChange: (hash) => {
        const content = hash === undefined ? 'gone' : readFileSync(file, 'utf8')
        if (hash !== undefined) t.equal(hash, hashOf(content), 'the hash is that of what stands there now')
        this.#say(content)
      },
      onError: (reason) => this.#say(reason),
      ...options,
    })
    // Nothing of a watch keeps a process alive.
    const alive = setInterval(() => undefined, 1000)
    t.teardown(() => {
      this.watch.stop()
      clearInterval(alive)
    })
  }

  /** All it said, when it has said something that is not in `before`. */
  async news(): Promise<readonly string[]> {
    const before = this.said.length
    while (this.said.length === before) await new Promise<void>((done) => this.#waiting.push(done))
    return this.said
  }

  #say(what: string): void {
    this.said.push(what)
    for (const done of this.#waiting.splice(0)) done()
  }
}

/** By the time that a change was reported, everything is watched: what follows comes as an event. */
async function watching(t: Test, file: string, options: Partial<WatchOptions> = {}): Promise<Watching> {
  const watched = new Watching(t, file, options)
  writeFileSync(file, 'first')
  t.same(await watched.news(), ['first'])
  return watched
}

function renameOver(file: string, content: string): void {
  writeFileSync(`${file}.new`, content)
  renameSync(`${file}.new`, file)
}

/** As Kubernetes does with a config map: a new folder, a new link to it, renamed over the old one. */
function publish(folder: string, revision: string, files: Record<string, string>): void {
  mkdirSync(join(folder, `..${revision}`))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, `..${revision}`, name), content)
  symlinkSync(`..${revision}`, join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
}

void test('RD-12: written in place, and renamed over', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file)
  renameOver(file, 'second')
  await watched.news()
  writeFileSync(file, 'third')
  await watched.news()
  renameSync(file, `${file}~`)
  writeFileSync(file, 'fourth')
  await watched.news()
  t.same(watched.said, ['first', 'second', 'third', 'fourth'])
})

void test('RD-12: truncated and written slowly is one change, never a half', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  // The time it takes by itself: these are the pauses that it was made for.
  const watched = new Watching(t, file, { settleMs: SETTLE_MS })
  writeFileSync(file, '')
  for (const pauseMs of [150, 50, 100, 150, 150]) {
    await pause(pauseMs)
    appendFileSync(file, `${pauseMs} `)
  }
  t.same(await watched.news(), ['150 50 100 150 150 '])
  renameOver(file, 'last')
  t.same(await watched.news(), ['150 50 100 150 150 ', 'last'])
})

void test('RD-12: a symlink swap is seen, as of Kubernetes', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'gateway.yaml')
  publish(folder, '2026_11_23', { 'gateway.yaml': 'zero' })
  symlinkSync(join('..data', 'gateway.yaml'), file)
  const watched = await watching(t, file)
  publish(folder, '2026_11_24', { 'gateway.yaml': 'second' })
  rmSync(join(folder, '..2026_11_23'), { recursive: true })
  await watched.news()
  publish(folder, '2026_11_25', { 'gateway.yaml': 'second', 'other.yaml': 'does not matter' })
  await watched.clock.called()
  publish(folder, '2026_11_26', { 'gateway.yaml': 'third' })
  await watched.news()
  writeFileSync(join(folder, '..2026_11_26', 'gateway.yaml'), 'fourth')
  await watched.news()
  t.same(watched.said, ['first', 'second', 'third', 'fourth'])
})

void test('a link into another folder, through a link, is followed, and what it left is not', async (t) => {
  const folder = t.testdir({
    etc: {},
    releases: { one: { 'sluice.yaml': 'zero' }, two: { 'sluice.yaml': 'second' } },
    elsewhere: { 'sluice.yaml': 'fourth' },
  })
  const file = join(folder, 'etc/gateway.yaml')
  symlinkSync('one', join(folder, 'releases/current'))
  symlinkSync('../releases/./current/../current/sluice.yaml', file)
  const watched = await watching(t, relative(process.cwd(), file))
  unlinkSync(join(folder, 'releases/current'))
  symlinkSync(join(folder, 'releases/two'), join(folder, 'releases/current'))
  await watched.news()
  renameOver(join(folder, 'releases/two/sluice.yaml'), 'third')
  await watched.news()
  symlinkSync('../elsewhere/sluice.yaml', `${file}.new`)
  renameSync(`${file}.new`, file)
  await watched.news()
  writeFileSync(join(folder, 'releases/two/sluice.yaml'), 'nobody reads this')
  writeFileSync(join(folder, 'elsewhere/sluice.yaml'), 'fifth')
  await watched.news()
  t.same(watched.said, ['first', 'second', 'third', 'fourth', 'fifth'])
})

void test('a burst of writes is one change, and one that goes on is not put off for ever', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file)
  for (let index = 1; index <= 50; index++) {
    if (index % 2 === 0) renameOver(file, `write ${index}`)
    else writeFileSync(file, `write ${index}`)
    await pause(1)
  }
  t.same(await watched.news(), ['first', 'write 50'])

  writeFileSync(file, 'second')
  // Somebody who writes the same content again and again.
  const writing = setInterval(() => renameOver(file, 'second'), 5)
  t.same(await watched.news(), ['first', 'write 50', 'second'])
  clearInterval(writing)
})

void test('a look that is made before the events of what it sees does not report a half', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file)
  writeFileSync(file, 'on')
  await watched.clock.called()
  writeFileSync(file, 'one ha')
  // The process is held up until the time of the first piece is over.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  await watched.clock.called()
  writeFileSync(file, 'one half, and the other')
  t.same(await watched.news(), ['first', 'one half, and the other'])
})

void test('the same content, a content that is taken back and other files are no change', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'zero' })
  const file = join(folder, 'gateway.yaml')
  const watched = await watching(t, file)
  writeFileSync(file, 'first')
  await watched.clock.called()
  renameOver(file, 'first')
  await watched.clock.called()
  chmodSync(file, 0o600)
  await watched.clock.called()
  writeFileSync(file, 'a mistake')
  await watched.clock.called()
  writeFileSync(file, 'first')
  await watched.clock.called()

  // Events come in the order in which things happened: when the other watch knows, all is known to this one.
  const other = new Watching(t, join(folder, 'another.yaml'))
  writeFileSync(join(folder, 'another.yaml'), 'not ours')
  t.same(await other.news(), ['not ours'])
  const { pending } = watched.clock
  await watched.clock.atRest()
  const atRest = [...pending.keys()]
  writeFileSync(join(folder, 'gateway.yaml.swp'), 'an editor')
  mkdirSync(join(folder, 'more'))
  writeFileSync(join(folder, 'another.yaml'), 'not ours either')
  await other.news()
  t.strictSame([...pending.keys()], atRest, 'other files are no reason to look')

  writeFileSync(file, 'second')
  await watched.news()
  t.same(watched.said, ['first', 'second'])
})

void test('deleted and recreated is one change, or none when the content is the same', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file)
  for (const content of ['first', 'second']) {
    unlinkSync(file)
    await watched.clock.called()
    writeFileSync(file, '')
    await watched.clock.called()
    writeFileSync(file, content)
  }
  t.same(await watched.news(), ['first', 'second'])
})

void test('a file that stays away, empty or unreadable is told once, and so is its return', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file, { absenceMs: 120 })
  unlinkSync(file)
  await watched.news()
  for (const nothing of ['a folder', 'a circle of links', 'a pipe', 'empty']) {
    if (nothing === 'a folder') mkdirSync(file)
    if (nothing === 'a circle of links') symlinkSync('gateway.yaml', file)
    if (nothing === 'a pipe') execFileSync('mkfifo', [file])
    if (nothing === 'empty') writeFileSync(file, '')
    await watched.clock.called()
    if (nothing !== 'empty') rmSync(file, { recursive: true })
  }
  writeFileSync(file, 'first')
  await watched.news()
  writeFileSync(file, '')
  await watched.news()
  renameOver(file, 'second')
  await watched.news()
  t.same(watched.said, ['first', 'gone', 'first', 'gone', 'second'])
})

void test('what the file held when it was loaded is what counts, not what it holds when watching begins', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'changed in between' }), 'gateway.yaml')
  const late = new Watching(t, file, { hash: hashOf('loaded') })
  t.same(await late.news(), ['changed in between'])
  late.watch.stop()

  const inTime = new Watching(t, file, { hash: hashOf('changed in between') })
  await inTime.clock.called()
  writeFileSync(file, 'next')
  t.same(await inTime.news(), ['next'])
})

void test('what was read for another reason is no news', async (t) => {
  const file = join(t.testdir({ 'gateway.yaml': 'zero' }), 'gateway.yaml')
  const watched = await watching(t, file)
  writeFileSync(file, 'read because of a signal')
  await watched.clock.called()
  watched.watch.update([], hashOf('read because of a signal'))
  await watched.clock.atRest()
  writeFileSync(file, 'second')
  t.same(await watched.news(), ['first', 'second'])
})

void test('further files belong to it, as long as they do', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'zero', 'one.pem': 'one', secret: {} })
  const file = join(folder, 'gateway.yaml')
  const [one, two] = [join(folder, 'one.pem'), join(folder, 'secret/two.pem')]
  publish(dirname(two), 'first', { 'two.pem': 'two', 'two.key': 'key' })
  symlinkSync(join('..data', 'two.pem'), two)
  const watched = await watching(t, file, { files: [one] })
  writeFileSync(one, 'one, renewed')
  t.equal((await watched.news()).length, 2)

  watched.watch.update([two])
  await watched.clock.called()
  writeFileSync(one, 'nobody needs it any more')
  publish(dirname(two), 'second', { 'two.pem': 'two, renewed', 'two.key': 'key' })
  t.equal((await watched.news()).length, 3)

  watched.watch.update([two, one])
  await watched.clock.called()
  writeFileSync(one, 'needed again, and renewed together')
  writeFileSync(file, 'second')
  t.same(await watched.news(), ['first', 'first', 'first', 'second'])
})

void test('a folder that is replaced, or deleted and made again', async (t) => {
  const folder = t.testdir({ conf: {}, new: { 'gateway.yaml': 'second' } })
  const file = join(folder, 'conf/gateway.yaml')
  const watched = await watching(t, file)
  renameSync(join(folder, 'conf'), join(folder, 'old'))
  renameSync(join(folder, 'new'), join(folder, 'conf'))
  await watched.news()
  writeFileSync(join(folder, 'old/gateway.yaml'), 'nobody reads this')
  writeFileSync(file, 'third')
  await watched.news()
  rmSync(join(folder, 'conf'), { recursive: true })
  await watched.clock.called()
  mkdirSync(join(folder, 'conf'))
  await watched.clock.called()
  writeFileSync(file, 'fourth')
  await watched.news()
  // At once, so that the new folder may well have the number of the old one.
  rmSync(join(folder, 'conf'), { recursive: true })
  mkdirSync(join(folder, 'conf'))
  writeFileSync(file, 'fifth')
  await watched.news()
  writeFileSync(file, 'sixth')
  await watched.news()
  t.same(watched.said, ['first', 'second', 'third', 'fourth', 'fifth', 'sixth'])
})

void test('a folder that does not exist yet, and a change far up that nothing tells of', async (t) => {
  const folder = t.testdir({ new: { b: { 'gateway.yaml': 'third' } } })
  const file = join(folder, 'a/b/gateway.yaml')
  const watched = new Watching(t, file)
  await watched.clock.called()
  mkdirSync(join(folder, 'a/b'), { recursive: true })
  writeFileSync(file, 'first')
  await watched.news()
  writeFileSync(file, 'second')
  await watched.news()
  t.same(watched.said, ['first', 'second'])

  const polling = new Watching(t, file, { pollMs: 100 })
  await polling.clock.called()
  renameSync(join(folder, 'a'), join(folder, 'old'))
  renameSync(join(folder, 'new'), join(folder, 'a'))
  t.same(await polling.news(), ['third'])

  // Once there is a reason to look, the folder that is there now is watched.
  watched.watch.update([])
  await watched.news()
  writeFileSync(file, 'fourth')
  t.same(await watched.news(), ['first', 'second', 'third', 'fourth'])
})

/** The folders in this one that the process watches. */
function watchedIn(folder: string): readonly string[] {
  const { libuv: handles }: { libuv?: ReadonlyArray<{ is_active?: boolean; filename?: string | null }> } = JSON.parse(
    JSON.stringify(process.report.getReport()),
  )
  const names = (handles ?? []).map(({ is_active: isActive, filename }) => (isActive ? (filename ?? '') : ''))
  return names.filter((name) => name.startsWith(folder)).toSorted((one, other) => one.length - other.length)
}

void test('stop leaves nothing behind', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'zero', real: { 'one.pem': 'one' } })
  const file = join(folder, 'gateway.yaml')
  symlinkSync(join('real', 'one.pem'), join(folder, 'one.pem'))
  const watched = await watching(t, file, { files: [join(folder, 'one.pem')] })
  t.same(watchedIn(folder), [folder, join(folder, 'real')])
  const other = new Watching(t, file)
  writeFileSync(file, 'second')
  await watched.clock.called()
  watched.watch.stop()
  watched.watch.stop()
  watched.watch.update([join(folder, 'one.pem')])
  t.equal(watched.clock.pending.size, 0)
  t.same(await other.news(), ['second'])
  t.same(watched.said, ['first'])
  other.watch.stop()
  t.same(watchedIn(folder), [])
})

void test('stop from within a call', async (t) => {
  const folder = t.testdir({ 'gateway.yaml': 'zero' })
  const file = join(folder, 'gateway.yaml')
  const watched: Watching = new Watching(t, file, { onChange: () => watched.watch.stop() })
  await watched.clock.called()
  writeFileSync(file, 'first')
  while (watched.clock.pending.size > 0) await watched.clock.called()
  t.same(watchedIn(folder), [])
})

interface Elsewhere {
  readonly folder: string
  /** What the process does with whatever its watch says, and with `started`, which comes first. */
  readonly onEach: string
  readonly command?: readonly string[]
  readonly uid?: number | undefined
}

/** Runs a watch in a process of its own; these are the lines it prints. */
function inAnotherProcess(t: Test, { folder, onEach, command = [], uid }: Elsewhere): AsyncIterable<string> {
  const script = `
    import { chmodSync, writeFileSync } from 'node:fs'
    import { watchConfig } from './src/config/watch.ts'
    import { systemClock } from './src/transport/system-clock.ts'
    const alive = setInterval(() => undefined, 1000)
    const folder = ${JSON.stringify(folder)}
    const file = folder + '/gateway.yaml'
    let turn = 0
    const on = (what) => {
      console.log(what)
      ${onEach}
      turn++
    }
    const andSay = (fn) => () => {
      fn()
      if (turn === 0) on('started')
    }
    const clock = { ...systemClock, schedule: (fn, delayMs) => systemClock.schedule(andSay(fn), delayMs) }
    const say = (hash) => on(hash === undefined ? 'gone' : 'changed')
    watchConfig(file, { clock, settleMs: 20, absenceMs: 80, pollMs: 60, onChange: say, onError: on })`
  const args = [...UNSET, ...command, process.execPath, '--input-type=module', '--eval', script]
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = spawn('env', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'], ...user })
  t.teardown(() => child.kill('SIGKILL'))
  return createInterface({ input: child.stdout })
}

void test('a watch keeps no process alive', async (t) => {
  const onEach = `if (what === 'started') writeFileSync(file, 'first')
    else clearInterval(alive)`
  const lines: string[] = []
  for await (const line of inAnotherProcess(t, { folder: t.testdir({ 'gateway.yaml': 'zero' }), onEach }))
    lines.push(line)
  t.same(lines, ['started', 'changed'])
})

void test('a folder that may not be watched is told once, looked at, and tried again', async (t) => {
  const folder = outsideFolder(t)
  const uid = process.getuid?.() === 0 ? NOBODY : undefined
  const user = uid === undefined ? {} : { uid }
  if (spawnSync('env', [...UNSET, process.execPath, BIN, 'help'], { ...user, cwd: ROOT }).status !== 0) {
    t.comment('the sources are out of reach for anyone but root')
    return
  }
  writeFileSync(join(folder, 'gateway.yaml'), 'zero')
  if (uid !== undefined) for (const path of [folder, join(folder, 'gateway.yaml')]) chownSync(path, uid, uid)
  // Its files can be opened, the list of them cannot be read: that is what watching asks for.
  chmodSync(folder, 0o300)
  const onEach = `switch (turn) {
      case 1:
        writeFileSync(file, 'first')
        break
      case 2:
        chmodSync(folder, 0o700)
        writeFileSync(file, 'second')
        break
      case 3:
        chmodSync(folder, 0o000)
        break
      case 5:
        chmodSync(folder, 0o700)
        break
      case 6:
        clearInterval(alive)
    }`
  const lines: string[] = []
  for await (const line of inAnotherProcess(t, { folder, onEach, uid })) lines.push(line)
  const told = `cannot watch "${folder}": permission denied`
  t.same(lines, ['started', told, 'changed', 'changed', told, 'gone', 'changed'], 'again, after it was possible')
})

/** In a namespace of its own, a process can have limits of its own. */
const LIMITED = ['unshare', '--user', '--map-root-user']
const LIMIT = '/proc/sys/user/max_inotify_watches'

function whyNoLimit(): string | false {
  try {
    execFileSync('env', [...LIMITED, 'test', '-w', LIMIT], { stdio: 'ignore' })
    return false
  } catch {
    return 'it needs Linux, and the right to make a user namespace'
  }
}

void test(
  "the system's limit of watches is told once, and what it was comes back",
  { skip: whyNoLimit() },
  async (t) => {
    const onEach = `
    if (turn === 1) writeFileSync(file, 'first')
    if (turn === 2) {
      writeFileSync('${LIMIT}', '100')
      writeFileSync(file, 'second')
    }
    if (turn === 3) {
      console.log(process.report.getReport().libuv.filter(({ type }) => type === 'fs_event').length, 'watched')
      clearInterval(alive)
    }`
    const command = [...LIMITED, 'sh', '-c', `echo 0 > ${LIMIT} && exec "$@"`, 'sh']
    const lines: string[] = []
    const folder = t.testdir({ 'gateway.yaml': 'zero' })
    for await (const line of inAnotherProcess(t, { folder, onEach, command })) lines.push(line)
    const [started, told, ...rest] = lines
    t.equal(started, 'started')
    t.match(told, /^cannot watch ".*": ENOSPC: System limit for number of file watchers reached/)
    t.same(rest, ['changed', 'changed', '1 watched'])
  },
)
