/** Durations and sizes: what can be written, and what it comes to. */
import t from 'tap'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

const durations: ReadonlyArray<readonly [unknown, number | undefined]> = [
  ['250ms', 250],
  ['5s', 5000],
  ['1.5s', 1500],
  ['1m', 60_000],
  ['0.5m', 30_000],
  ['1h', 3_600_000],
  ['0s', 0],
  ['1.4ms', 1],
  [0, 0],
  [1500, 1500],
  [0.2, undefined],
  ['0.4ms', undefined],
  ['5 s', undefined],
  ['5', undefined],
  ['-5s', undefined],
  ['1m30s', undefined],
  ['1d', undefined],
  ['1e3s', undefined],
  ['.5s', undefined],
  ['5S', undefined],
  ['', undefined],
  [`${'9'.repeat(400)}h`, undefined],
  [-1, undefined],
  [Number.NaN, undefined],
  [Number.POSITIVE_INFINITY, undefined],
  [null, undefined],
  [true, undefined],
  [['5s'], undefined],
]

const sizes: ReadonlyArray<readonly [unknown, number | undefined]> = [
  ['10B', 10],
  ['64KiB', 65_536],
  ['1.5KiB', 1536],
  ['1MiB', 1_048_576],
  ['1GiB', 1_073_741_824],
  ['1KB', 1000],
  ['1kB', 1000],
  ['2MB', 2_000_000],
  ['1GB', 1_000_000_000],
  [0, 0],
  [4096, 4096],
  [1.5, undefined],
  ['1.5B', undefined],
  ['1K', undefined],
  ['1 KiB', undefined],
  ['1kib', undefined],
  ['64', undefined],
  [2 ** 60, undefined],
  [undefined, undefined],
]

void t.test('durations', async (test) => {
  for (const [written, ms] of durations) test.equal(parseDuration(written), ms, String(written))
})

void t.test('sizes', async (test) => {
  for (const [written, bytes] of sizes) test.equal(parseSize(written), bytes, String(written))
})

void t.test('written back in the largest unit that leaves a whole number', async (test) => {
  test.same([0, 1, 1500, 5000, 60_000, 7_200_000].map(formatDuration), ['0ms', '1ms', '1500ms', '5s', '1m', '2h'])
  test.same([0, 1000, 1024, 1_048_576, 2 ** 31].map(formatSize), ['0B', '1000B', '1KiB', '1MiB', '2GiB'])
})
