/**
 * Whatever others write, in the log it is text: it comes back as it was, and nothing of it is obeyed.
 */
import { assert, constantFrom, dictionary, oneof, property, string } from 'fast-check'
import { test } from 'tap'

import { errorInLog } from '../../src/log/error.ts'
import { escapeControls, quote, showControls } from '../../src/log/text.ts'

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x1f\x7f-\x9f\u2028\u2029]/
const text = string({
  unit: oneof(
    constantFrom('\n', '\r', '\t', '"', '\\', '\0', '\u001b', '\u007f', '\u0085', '\u009b', '\u2028', '\u2029', 'u'),
    string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
})

void test('a quoted text is JSON, has no control characters, and comes back as it was', (t) => {
  assert(
    property(text, (written) => {
      const json = quote(written)
      return !CONTROL.test(json) && JSON.parse(json) === written
    }),
  )
  t.equal(quote('/a?b=c&d=%20'), '"/a?b=c&d=%20"')
  t.equal(quote('"\\\u001b[31m\u009b\u2028'), '"\\"\\\\\\u001b[31m\\u009b\\u2028"')
  t.end()
})

void test('a line of JSON stays the same JSON when its control characters are escaped', (t) => {
  assert(
    property(dictionary(text, text), (object) => {
      const line = escapeControls(JSON.stringify(object))
      const same = JSON.stringify(JSON.parse(line)) === JSON.stringify(object)
      return !CONTROL.test(line) && same
    }),
  )
  t.equal(escapeControls('{"a":1}'), '{"a":1}')
  t.end()
})

void test('for a terminal, control characters are shown and not obeyed; ends of lines of our own stay', (t) => {
  assert(
    property(text, (written) => {
      const shown: unknown = JSON.parse(showControls(JSON.stringify(written)))
      return typeof shown === 'string' && !CONTROL.test(shown.replaceAll(/[\n\t]/g, ''))
    }),
  )
  t.equal(JSON.parse(showControls(JSON.stringify('a\u001b[31mb\rc\u009b'))), 'a\\u001b[31mb\\rc\\u009b')
  t.equal(JSON.parse(showControls(JSON.stringify('at one\n\tat two'))), 'at one\n\tat two')
  t.equal(JSON.parse(showControls(JSON.stringify('C:\\u001b'))), 'C:\\u001b', 'a backslash of somebody is none of ours')
  t.end()
})

void test('of an error, only what it says is logged', (t) => {
  const error = Object.assign(new TypeError('it failed'), {
    code: 'E_SOMETHING',
    config: { headers: { authorization: 'Bearer secret' } },
  })
  t.match(errorInLog(error), { type: 'TypeError', message: 'it failed', code: 'E_SOMETHING', stack: /at / })
  t.notMatch(JSON.stringify(errorInLog(error)), /secret/)
  t.notOk('code' in errorInLog(new Error('it failed')))
  t.end()
})
