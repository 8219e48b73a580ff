/**
 * Reading and writing traceparent and tracestate (W3C Trace Context): every rule, and that nothing gets through that
 * does not follow them.
 */
import { array, assert, constantFrom, integer, property, string, stringMatching, tuple } from 'fast-check'
import { test } from 'tap'

import { newSpanId, readParent, readState, writeParent } from '../../src/transport/trace.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const hex = (length: number) => stringMatching(new RegExp(`^[0-9a-f]{${length}}$`))
const long = (name: string) => `${name}=${'l'.repeat(250)}`
const short = (name: string) => `${name}=${'s'.repeat(100)}`

const WRITTEN = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/

void test('a traceparent that is right', async (t) => {
  const parent = { traceId: TRACE, spanId: SPAN, sampled: true }
  t.same(readParent(`00-${TRACE}-${SPAN}-01`), parent)
  t.same(readParent(`00-${TRACE}-${SPAN}-00`), { ...parent, sampled: false })
  t.same(readParent(`00-${TRACE}-${SPAN}-03`), parent, 'unknown flags say nothing')
  t.same(readParent(`00-${TRACE}-${SPAN}-fe`), { ...parent, sampled: false })
  t.same(readParent(`cc-${TRACE}-${SPAN}-01`), parent, 'a version to come, as long as ours')
  t.same(readParent(`cc-${TRACE}-${SPAN}-01-what-the-future-will-be`), parent, 'a longer one')
  t.same(readParent(`cc-${TRACE}-${SPAN}-01-`), parent)
  t.equal(writeParent(parent, newSpanId()).slice(0, 36), `00-${TRACE}-`)
})

const WRONG: Readonly<Record<string, string>> = {
  empty: '',
  'no trace': `00-${'0'.repeat(32)}-${SPAN}-01`,
  'no span': `00-${TRACE}-${'0'.repeat(16)}-01`,
  'upper case': `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  'an upper case span': `00-${TRACE}-${SPAN.toUpperCase()}-01`,
  'upper case flags': `00-${TRACE}-${SPAN}-0A`,
  'no hex': `00-${TRACE.slice(1)}g-${SPAN}-01`,
  'a version of one digit': `0-${TRACE}-${SPAN}-01`,
  'no version': `${TRACE}-${SPAN}-01`,
  'a version that is none': `ff-${TRACE}-${SPAN}-01`,
  'a longer one that is none': `ff-${TRACE}-${SPAN}-01-x`,
  'version 00 and more': `00-${TRACE}-${SPAN}-01-x`,
  'version 00 and a dash': `00-${TRACE}-${SPAN}-01-`,
  'no dash before more': `cc-${TRACE}-${SPAN}-01.x`,
  'a short trace': `00-${TRACE.slice(1)}-${SPAN}-01`,
  'a long trace': `00-${TRACE}0-${SPAN}-01`,
  'a short span': `00-${TRACE}-${SPAN.slice(1)}-01`,
  'short flags': `00-${TRACE}-${SPAN}-1`,
  'no flags': `00-${TRACE}-${SPAN}`,
  'a space in front': ` 00-${TRACE}-${SPAN}-01`,
  'two of them': `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
  'another separator': `00_${TRACE}_${SPAN}_01`,
}

void test('a traceparent that is wrong is none', async (t) => {
  for (const [what, value] of Object.entries(WRONG)) t.equal(readParent(value), undefined, what)
})

void test('whatever a client sends, what is written is a traceparent of version 00', async (t) => {
  const close = tuple(hex(2), hex(32), hex(16), hex(2), constantFrom('', '-', '-x', ', 00', '\t'))
  const nearly = close.map(([version, trace, span, flags, more]) => `${version}-${trace}-${span}-${flags}${more}`)
  let read = 0
  const holds = (value: string): boolean => {
    const parent = readParent(value)
    if (parent === undefined) return true
    read++
    return WRITTEN.test(writeParent(parent, newSpanId())) && value.includes(parent.traceId)
  }
  assert(property(string({ unit: 'binary-ascii', maxLength: 80 }), holds))
  assert(property(nearly, holds))
  t.ok(read > 20, `${read} of them could be read`)
})

void test('ids are random: no two are the same, and none is empty', async (t) => {
  // More than are drawn in advance, several times.
  const ids = new Set(Array.from({ length: 5000 }, newSpanId))
  t.equal(ids.size, 5000)
  for (const id of ids) if (!/^(?!0{16})[0-9a-f]{16}$/.test(id)) t.fail(id)
})

void test('a tracestate that is right goes on, without white space and empty members', async (t) => {
  const right: ReadonlyArray<readonly [string, string]> = [
    ['foo=1', 'foo=1'],
    ['foo=1,bar=2', 'foo=1,bar=2'],
    ['foo=1 , \tbar=2\t', 'foo=1,bar=2'],
    ['foo=1,', 'foo=1'],
    [',foo=1, ,bar=2', 'foo=1,bar=2'],
    ['', ''],
    [' , ', ''],
    ['foo= 1', 'foo= 1'],
    ['foo=1,foo=2', 'foo=1,foo=2'],
    ['a0_-*/=!"#$%&\'()*+-./0:;<>?@A[\\]^_`a{|}~', 'a0_-*/=!"#$%&\'()*+-./0:;<>?@A[\\]^_`a{|}~'],
    ['fw529a3039@dt=FfIxRA==;'.replaceAll('==', '__'), 'fw529a3039@dt=FfIxRA__;'],
    ['0a@b=1', '0a@b=1'],
    [`${'a'.repeat(256)}=1`, `${'a'.repeat(256)}=1`],
    [`${'0'.repeat(241)}@${'v'.repeat(14)}=1`, `${'0'.repeat(241)}@${'v'.repeat(14)}=1`],
    [`a=${'v'.repeat(256)}`, `a=${'v'.repeat(256)}`],
  ]
  for (const [value, expected] of right) t.equal(readState(value), expected, value)
  const most = Array.from({ length: 32 }, (_, index) => `k${index}=${'v'.repeat(12)}`).join(',')
  t.ok(most.length > 512)
  t.equal(readState(most), most, '32 members, more than 512 characters')
})

void test('a tracestate that is wrong is dropped as a whole', async (t) => {
  const wrong = [
    'foo',
    'foo=',
    '=1',
    'foo=1=2',
    'Foo=1',
    '0foo=1',
    'foo =1',
    'f o=1',
    'foo@=1',
    '@foo=1',
    'foo@@bar=1',
    'foo@0bar=1',
    'foo.bar=1',
    'foo=\u007f',
    'foo=\tbar',
    'foo=ä',
    `${'a'.repeat(257)}=1`,
    `${'t'.repeat(242)}@v=1`,
    `t@${'v'.repeat(15)}=1`,
    `a=${'v'.repeat(257)}`,
    Array.from({ length: 33 }, (_, index) => `k${index}=v`).join(','),
    ','.repeat(10_000),
  ]
  for (const value of wrong) {
    t.equal(readState(value), '', value.slice(0, 80))
    t.equal(readState(`good=1,${value}`), '', `behind a good one: ${value.slice(0, 80)}`)
  }
})

void test('a tracestate that is too long loses whole members: the long ones, then the last ones', async (t) => {
  const names = Array.from({ length: 16 }, (_, index) => `k${index}`)
  const mixed = ['first=1', long('l0'), long('l1'), ...names.map(short)].join(',')
  t.equal(readState(mixed), ['first=1', long('l0'), ...names.map(short)].join(','))
  const many = Array.from({ length: 30 }, (_, index) => short(`m${index}`))
  const kept = readState(many.join(',')).split(',')
  t.same(kept, many.slice(0, kept.length))
  t.equal(kept.length, 19)
})

void test('whatever a client sends, what goes on is short, of these members and in this order', async (t) => {
  const member = tuple(
    stringMatching(/^[a-z][a-z0-9_*/-]{0,80}$/),
    stringMatching(/^[ -+\--<>-~]{0,150}[!-+\--<>-~]$/),
  ).map(([key, value]) => `${key}=${value}`)
  let passed = 0
  const holds = (value: string): boolean => {
    const given = value.split(',').map((item) => item.replaceAll(/^[ \t]+|[ \t]+$/g, ''))
    const state = readState(value)
    if (state === '') return true
    passed++
    let at = -1
    const ordered = state.split(',').every((item) => (at = given.indexOf(item, at + 1)) !== -1)
    return ordered && state.length <= 2048 && /^[!-~][ -~]*$/.test(state)
  }
  assert(property(string({ unit: 'binary-ascii', maxLength: 600 }), holds))
  assert(property(array(member, { maxLength: 40, minLength: 1 }), (all) => holds(all.join(' ,\t'))))
  assert(
    property(array(member, { minLength: 1, maxLength: 32 }), integer({ min: 0, max: 5 }), (all, spaces) => {
      const value = all.join(`${' '.repeat(spaces)},`)
      const whole = all.join(',')
      return holds(value) && (whole.length > 2048 || readState(value) === whole)
    }),
  )
  t.ok(passed > 50, `${passed} of them went on`)
})
