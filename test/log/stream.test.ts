/**
 * The log's own destination: what is written, and when.
 */
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { test, type Test } from 'tap'

import { LogStream } from '../../src/log/stream.ts'

interface Log {
  readonly stream: LogStream
  readonly read: () => string
}

function logTo(t: Test): Log {
  const path = join(t.testdir(), 'log')
  const fd = openSync(path, 'w')
  t.teardown(() => closeSync(fd))
  return { stream: new LogStream(fd), read: () => readFileSync(path, 'utf8') }
}

void test('what comes during a write waits for company, and is not lost', async (t) => {
  const { stream, read } = logTo(t)
  stream.write('a\n')
  const first = stream.drain()
  stream.write('b\n')
  await first
  t.equal(read(), 'a\n')
  stream.write('c\n')
  await stream.drain()
  t.equal(read(), 'a\nb\nc\n')
})

void test('all of it in its order: many lines, some of them larger than a page, in any script', async (t) => {
  const { stream, read } = logTo(t)
  const lines = Array.from(
    { length: 5000 },
    (_, i) => `${i} ${'\u4e2d\ud83d\ude00'.repeat(i % 1000 === 7 ? 30_000 : i % 50)}\n`,
  )
  for (const line of lines) stream.write(line)
  await stream.drain()
  t.ok(read() === lines.join(''))
  t.equal(stream.lost, 0)
})
