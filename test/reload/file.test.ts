/**
 * The configuration changes from outside: in every way in which files are written, by signal and by call. Each change
 * ends in what was written, and in one line of the log. That no second line follows is shown by the next change: its own
 * line is the next one.
 */
// oxlint-disable no-await-in-loop -- one change after the other
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

import { type Test, test } from 'tap'

import { hashOf } from '../../src/config/text.ts'
import { ask, backend, type LogLine, outsideFolder } from '../helpers/process.ts'
import { type Live, live, liveWith, poolOf } from '../helpers/reload.ts'

/** Two configurations as often as one likes, no two texts the same: the one leads to "one", the other to "two". */
async function texts(t: Test): Promise<(which: 'one' | 'two') => string> {
  const urls = { one: await backend(t, 'one'), two: await backend(t, 'two') }
  let count = 0
  return (which) => `# ${++count}\n${poolOf([urls[which]])}`
}

/** The next line says that this is in force, and it is. */
async function took(t: Test, gateway: Live, text: string, answer: string, by: RegExp, name: string): Promise<LogLine> {
  const line = await gateway.next()
  t.equal(line['to'], hashOf(text), `${name}: the hash`)
  t.match(line['cause'], by, `${name}: who, and how long it took`)
  t.match(await gateway.lastReload(), { hash: hashOf(text), ok: true, error: null }, `${name}: the status`)
  t.equal((await ask(gateway.url)).body, answer, `${name}: where requests go`)
  return line
}

const BY_FILE = /^the file has changed, in [\d.]+ ms: /

const WAYS: ReadonlyArray<readonly [name: string, write: (file: string, text: string) => Promise<void> | void]> = [
  ['in place', (file, text) => writeFileSync(file, text)],
  [
    'renamed over',
    (file, text) => {
      writeFileSync(`${file}.new`, text)
      renameSync(`${file}.new`, file)
    },
  ],
  [
    'the old one kept under another name',
    (file, text) => {
      renameSync(file, `${file}~`)
      writeFileSync(file, text)
    },
  ],
  [
    'truncated, then written slowly',
    async (file, text) => {
      writeFileSync(file, '')
      // Each of the first pieces would be a good configuration or a bad one, if it were taken for all of it.
      const cut = [text.indexOf('\n') + 1, Math.floor(text.length / 2), text.length - 1]
      for (const [index, end] of [...cut, text.length].entries()) {
        await pause(100)
        appendFileSync(file, text.slice(cut[index - 1] ?? 0, end))
      }
    },
  ],
  [
    'deleted and made again',
    async (file, text) => {
      unlinkSync(file)
      await pause(100)
      writeFileSync(file, text)
    },
  ],
  [
    'a burst',
    async (file, text) => {
      for (let index = 0; index < 20; index++) {
        writeFileSync(file, `pools: broken ${index}`)
        await pause(1)
      }
      writeFileSync(file, text)
    },
  ],
]

void test('RD-12: however an editor writes the file, what it has written is in force, once', async (t) => {
  const textOf = await texts(t)
  const gateway = await live(t, textOf('one'))
  for (const [index, [name, write]] of [...WAYS, ...WAYS.slice(0, 1)].entries()) {
    const which = index % 2 === 0 ? 'two' : 'one'
    const text = textOf(which)
    await write(gateway.file, text)
    await took(t, gateway, text, which, BY_FILE, name)
  }
  t.equal(gateway.told, WAYS.length + 1)
})

/** As Kubernetes does with a config map. */
function publish(folder: string, revision: string, text: string): void {
  mkdirSync(join(folder, `..${revision}`))
  writeFileSync(join(folder, `..${revision}`, 'gateway.yaml'), text)
  symlinkSync(`..${revision}`, join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
}

void test('RD-12: a swap of symbolic links is seen, once', async (t) => {
  const textOf = await texts(t)
  const folder = outsideFolder(t)
  publish(folder, '1', textOf('one'))
  symlinkSync('..data/gateway.yaml', join(folder, 'gateway.yaml'))
  const gateway = await liveWith(t, join(folder, 'gateway.yaml'))
  for (const [index, which] of (['two', 'one', 'two'] as const).entries()) {
    const text = textOf(which)
    publish(folder, String(index + 2), text)
    rmSync(join(folder, `..${index + 1}`), { recursive: true })
    await took(t, gateway, text, which, BY_FILE, `revision ${index + 2}`)
  }
  t.equal(gateway.told, 3)
})

void test('RD-11: by file, signal and call: the same result, and one line with hash and duration', async (t) => {
  const textOf = await texts(t)
  const gateway = await live(t, textOf('one'))
  const two = textOf('two')
  const write = (text: string): void => writeFileSync(gateway.file, text)
  const ways: Record<string, (text: string) => Promise<unknown> | void> = {
    'the file has changed': write,
    SIGHUP: (text) => {
      write(text)
      gateway.process.signal('SIGHUP')
    },
    'POST /reload': async (text) => {
      write(text)
      const { status, headers, body } = await gateway.call('/reload', { method: 'POST' })
      t.match([status, headers.etag, JSON.parse(body)], [200, `"${hashOf(text)}"`, { hash: hashOf(text) }])
    },
    'PUT /config': async (text) => {
      const { status, headers, body } = await gateway.put(text)
      t.match([status, headers.etag, JSON.parse(body)], [200, `"${hashOf(text)}"`, { hash: hashOf(text) }])
    },
  }
  const results: string[] = []
  const said: unknown[] = []
  for (const [by, act] of Object.entries(ways)) {
    for (const [text, answer] of [
      [two, 'two'],
      [textOf('one'), 'one'],
    ] as const) {
      await act(text)
      const line = await took(t, gateway, text, answer, new RegExp(`^${by}, in [\\d.]+ ms: `), by)
      if (answer === 'one') continue
      results.push(await gateway.inForce())
      said.push(String(line['cause']).replace(/^.* ms: /, ''))
    }
  }
  t.equal(new Set(results).size, 1, 'the same is in force')
  t.equal(new Set(said).size, 1, 'the same has changed')
  t.equal(gateway.told, 2 * Object.keys(ways).length)
})

void test('RD-11: what is wrong is told once, too, whoever asked first', async (t) => {
  const textOf = await texts(t)
  const gateway = await live(t, textOf('one'))
  writeFileSync(gateway.file, 'pools: nonsense')
  gateway.process.signal('SIGHUP')
  t.match((await gateway.next()).msg, /^a configuration is refused: SIGHUP: \S+gateway\.yaml:1:8: pools: /)
  writeFileSync(gateway.file, 'pools: other nonsense')
  await gateway.call('/reload', { method: 'POST' })
  t.match((await gateway.next()).msg, /^a configuration is refused: POST \/reload: /)
  // Longer than it takes to be told of a change that one has not been told of.
  const other = textOf('two')
  await pause(500)
  writeFileSync(gateway.file, other)
  await took(t, gateway, other, 'two', BY_FILE, 'the next')
  t.equal(gateway.told, 3)
})

void test('RD-07: many at the same time are taken in turn, and the last one is in force', async (t) => {
  const textOf = await texts(t)
  const gateway = await live(t, textOf('one'))
  const all = Array.from({ length: 20 }, (_, index) => textOf(index % 2 === 0 ? 'one' : 'two'))
  const answers = await Promise.all(all.map((text) => gateway.put(text)))
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  const lines: LogLine[] = []
  for (const _ of all) lines.push(await gateway.next())
  t.same(new Set(lines.map((line) => line['to'])), new Set(all.map(hashOf)), 'each had its turn')
  for (const [index, line] of lines.entries()) t.equal(line['from'], lines[index - 1]?.['to'] ?? line['from'])
  const last = all.find((text) => hashOf(text) === lines.at(-1)?.['to']) ?? ''
  t.equal((await gateway.lastReload()).hash, hashOf(last))
  t.equal((await ask(gateway.url)).body, all.indexOf(last) % 2 === 0 ? 'one' : 'two')
})
