/**
 * Texts of others in a terminal: nothing in them is obeyed, and they take as many columns as is said.
 */
import { assert, nat, oneof, property, string } from 'fast-check'
import { test } from 'tap'

import { clean, cut, fill, widthOf } from '../../src/top/text.ts'

// oxlint-disable-next-line no-control-regex
const OBEYED = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]/

void test('what a terminal would obey is not there any more, and the rest is', (t) => {
  const cases: ReadonlyArray<readonly [text: string, cleaned: string]> = [
    ['orders-1', 'orders-1'],
    ['\x1b[2J\x1b]0;owned\x07', '·[2J·]0;owned·'],
    ['\x9b31mred', '·31mred'],
    ['two\r\nlines\u2028three', 'two··lines·three'],
    ['tab\there\x7f\x00', 'tab·here··'],
    ['right\u202eto left', 'rightto left'],
    ['zero\u200bwidth\ufeff', 'zerowidth'],
    ['half \ud83d', 'half ·'],
    ['Zürich 検索 🚀', 'Zürich 検索 🚀'],
    ['👩‍💻👍🏽❤️', '👩💻👍❤'],
    [`Z${'\u0335'.repeat(50)}algo`, 'Z\u0335\u0335algo'],
  ]
  for (const [text, cleaned] of cases) t.equal(clean(text), cleaned)
  t.equal(clean('x'.repeat(1_000_000)).length, 1000)
  t.end()
})

void test('columns: two for wide characters, none for marks, one for the rest', (t) => {
  const cases: ReadonlyArray<readonly [text: string, width: number]> = [
    ['', 0],
    ['orders', 6],
    ['検索', 4],
    ['한국어', 6],
    ['ｆｕｌｌ', 8],
    ['🚀✅', 4],
    ['é', 1],
    ['e\u0301\u0323', 1],
    ['🇨🇭', 2],
    ['▁█…→–', 5],
  ]
  for (const [text, width] of cases) t.equal(widthOf(text), width, text)
  t.end()
})

void test('cut and filled to columns, never through a wide character', (t) => {
  t.equal(cut('orders', 6), 'orders')
  t.equal(cut('orders', 5), 'orde…')
  t.equal(cut('orders', 0), '')
  t.equal(cut('検索検索', 4), '検…')
  t.equal(fill('検索検索', 4, 'left'), '検… ')
  t.equal(fill('ab', 4, 'left'), 'ab  ')
  t.equal(fill('ab', 4, 'right'), '  ab')
  t.end()
})

void test('whatever comes: clean, and exactly as wide as asked', (t) => {
  const anything = oneof(string({ unit: 'binary' }), string({ unit: 'grapheme' }), string())
  assert(
    property(anything, nat(30), (text, columns) => {
      const cleaned = clean(text)
      if (OBEYED.test(cleaned.replaceAll(/[\ud800-\udbff][\udc00-\udfff]/g, '')))
        throw new Error(JSON.stringify(cleaned))
      const filled = fill(cleaned, columns, 'left')
      if (widthOf(filled) !== columns) throw new Error(`${JSON.stringify(filled)} takes ${widthOf(filled)}`)
    }),
  )
  t.end()
})
