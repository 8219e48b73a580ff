/** That `npm run bench` works: a tenth of everything, and nothing is asked of the figures. */
import { once } from 'node:events'
import { readdirSync, readFileSync, watch } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import { test } from 'tap'

import { outsideFolder, ROOT, run, start } from '../helpers/process.ts'

const BENCH = { bin: join(ROOT, 'test/benchmark/run.ts'), plain: true }
/** It pins proxies to one core, load and backends to another one. */
const skip = availableParallelism() < 2 && 'there is one core only'

interface Written {
  readonly found: ReadonlyArray<{
    readonly case: { readonly name: string }
    readonly rows: ReadonlyArray<{
      readonly name: string
      readonly samples: readonly unknown[]
      readonly failure?: string
    }>
  }>
  readonly aims: ReadonlyArray<{ readonly what: string; readonly value: number | null }>
}

void test(
  'peers: every case by everyone who can, over several starts, as a table and as a file',
  { skip },
  async (t) => {
    const folder = outsideFolder(t)
    const [json, markdown] = [join(folder, 'found.json'), join(folder, 'found.md')]
    const cases = ['small', 'websocket', 'http2']
    const args = ['peers', '--quick', '--starts', '2', '--case', cases.join(','), '--only', 'floor,sluice,sluice-off']
    const { code, stdout, stderr } = await run(t, [...args, '--json', json, '--markdown', markdown], BENCH)
    t.equal(code, 0, stderr)
    const { found, aims }: Written = JSON.parse(readFileSync(json, 'utf8'))
    t.same(
      found.map((each) => [each.case.name, ...each.rows.map((row) => `${row.name} ${row.samples.length}`)]),
      [
        ['small', 'floor 2', 'sluice 2', 'sluice-off 2'],
        // The floor speaks neither.
        ['websocket', 'sluice 2', 'sluice-off 2'],
        ['http2', 'sluice 2', 'sluice-off 2'],
      ],
    )
    t.same(
      found.flatMap(({ rows }) => rows.map(({ failure }) => failure)).filter((failure) => failure !== undefined),
      [],
    )
    const valueOf = (peer: string) =>
      aims.find(({ what }) => what === `small: processor time to that of ${peer}`)?.value
    t.ok(Number(valueOf('sluice-off')) > 0, 'what it was run for is judged')
    t.equal(valueOf('nginx'), null, 'what it was not run for is not')
    t.match(stdout, /^not measured: small: processor time to that of nginx/m)
    t.ok(stdout.includes(readFileSync(markdown, 'utf8').trim().split('\n').at(-1) ?? 'nothing'))
  },
)

void test('what is interrupted leaves nothing behind', { skip }, async (t) => {
  const folder = outsideFolder(t)
  const env = { ...process.env, TMPDIR: folder }
  const watcher = watch(folder)
  t.teardown(() => watcher.close())
  const somethingThere = once(watcher, 'change')
  const bench = start(t, ['peers', '--only', 'sluice', '--case', 'small'], { ...BENCH, env })
  await somethingThere
  bench.signal('SIGINT')
  const { code } = await bench.ended
  t.equal(code, 1)
  t.same(readdirSync(folder), [])
})

void test('what cannot be asked for is refused in a line', async (t) => {
  const { code, stdout, stderr } = await run(t, ['peers', '--case', 'smal'], BENCH)
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /^bench: --case: there is no smal; there are small, .+\n$/)
})
