/**
 * How the page is put together, and how it reads its stream.
 */
import { readFileSync } from 'node:fs'

import { test } from 'tap'

import { assemble } from '../../src/admin/page.ts'

const HTML = '<style></style><script type="module"></script>'

function assembled(modules: Readonly<Record<string, string>>, style = ''): string {
  return assemble(HTML, style, new Map(Object.entries(modules)), 'main.js').html
}

void test('every module once, after those that it needs, without what only modules know', (t) => {
  const modules = {
    'main.js': "import { a } from './a.js'\nimport { b } from './b.js'\nlog(a, b)\n",
    'a.js': "import {\n  b,\n} from './b.js'\nexport const a = `$& $1 ${b}`\n",
    'b.js': "export const b = 'import this'\n/** export default */\n",
    'unused.js': 'export const unused = 1\n',
  }
  const html = assembled(modules, 'p::before { content: "$&" }')
  t.equal(
    html,
    `<style>p::before { content: "$&" }</style><script type="module">
const b = 'import this'
/** export default */

const a = \`$& $1 \${b}\`

log(a, b)
</script>`,
  )
  t.end()
})

void test('what would not work in a browser is found before it is sent to one', (t) => {
  const broken: ReadonlyArray<readonly [modules: Readonly<Record<string, string>>, style: string, message: RegExp]> = [
    [{ 'main.js': "import { a } from './a.js'\n" }, '', /no module a\.js/],
    [
      { 'main.js': "import { a } from './a.js'\nfunction a() {}\n", 'a.js': 'export class a {}\n' },
      '',
      /Two modules of the page declare a/,
    ],
    [{ 'main.js': "const end = '</script>'\n" }, '', /script of the page ends itself/],
    [{ 'main.js': "const end = '<!--'\n" }, '', /script of the page ends itself/],
    [{ 'main.js': '' }, '</STYLE>', /style of the page ends itself/],
  ]
  for (const [modules, style, message] of broken) t.throws(() => assembled(modules, style), { message })
  t.throws(() => assemble('<style></style>', '', new Map([['main.js', '']]), 'main.js'), {
    message: /one empty script/,
  })
  t.end()
})

void test('events are read whole, wherever their pieces end', async (t) => {
  const module: unknown = await import(`data:text/javascript,${encodeURIComponent(source())}`)
  const Reader: unknown = Reflect.get(Object(module), 'EventReader')
  if (typeof Reader !== 'function') throw new Error('there is no reader')
  const text =
    'retry: 1000\n\nid: 1\nevent: health\ndata: {"a":1}\n\n:\n\nevent: figures\ndata: ["ä 🙂"]\n\nevent: cut\ndata: x'
  for (let size = 1; size <= text.length; size++) {
    const told: unknown[] = []
    const reader: unknown = Reflect.construct(Reader, [(name: unknown, data: unknown) => told.push([name, data])])
    const read: unknown = Reflect.get(Object(reader), 'read')
    if (typeof read !== 'function') throw new Error('it does not read')
    for (let at = 0; at < text.length; at += size) Reflect.apply(read, reader, [text.slice(at, at + size)])
    t.strictSame(
      told,
      [
        ['health', '{"a":1}'],
        ['figures', '["ä 🙂"]'],
      ],
      `in pieces of ${size}`,
    )
  }
})

function source(): string {
  return readFileSync(new URL('../../routes/dashboard/connection.js', import.meta.url), 'utf8')
}
