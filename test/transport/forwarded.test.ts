/**
 * The Forwarded field of RFC 7239, read and written.
 */
import { assert as check, property, string } from 'fast-check'
import { test } from 'tap'

import { formatForwarded, parseForwarded } from '../../src/transport/forwarded.ts'

const nothing = { for: undefined, host: undefined, proto: undefined }

void test('what is read', async (t) => {
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<object>]> = [
    ['for=192.0.2.60;proto=HTTP;by=203.0.113.43', [{ ...nothing, for: '192.0.2.60', proto: 'http' }]],
    ['for="_gazonk"', [{ ...nothing, for: '_gazonk' }]],
    ['For="[2001:db8:cafe::17]:4711"', [{ ...nothing, for: '2001:db8:cafe::17' }]],
    [
      'for="192.0.2.43:47011", for="[2001:db8::1]"',
      [
        { ...nothing, for: '192.0.2.43' },
        { ...nothing, for: '2001:db8::1' },
      ],
    ],
    [
      'for=192.0.2.43,for=unknown',
      [
        { ...nothing, for: '192.0.2.43' },
        { ...nothing, for: 'unknown' },
      ],
    ],
    ['host="a.example:8080";for=1.2.3.4', [{ ...nothing, for: '1.2.3.4', host: 'a.example:8080' }]],
    ['for="a\\"b, for=c"', [{ ...nothing, for: 'unknown' }]],
    ['for="a, 6.6.6.6"', [{ ...nothing, for: 'unknown' }]],
    [' for=1.2.3.4 ; proto=https , ', [{ ...nothing, for: '1.2.3.4', proto: 'https' }]],
    ['', []],
  ]
  for (const [value, expected] of cases) t.same(parseForwarded(value), expected, value)
})

void test('what is none', async (t) => {
  for (const value of [
    'for',
    'for=',
    '=1.2.3.4',
    'for="1.2.3.4',
    'for=1.2.3.4 proto=http',
    'for=a b',
    '"for"=a',
    'for=1.1.1.1;for=2.2.2.2',
  ])
    t.equal(parseForwarded(value), undefined, value)
})

void test('what is written, and read again', async (t) => {
  t.equal(formatForwarded('192.0.2.1', 'a.example', 'https'), 'for=192.0.2.1;host=a.example;proto=https')
  t.equal(formatForwarded('2001:db8::1', 'a.example:81', 'http'), 'for="[2001:db8::1]";host="a.example:81";proto=http')
  t.equal(formatForwarded('', '', 'http'), 'for=unknown;proto=http')
  for (const ip of ['192.0.2.1', '2001:db8::1'])
    t.same(parseForwarded(formatForwarded(ip, '[::1]:80', 'http')), [{ for: ip, host: '[::1]:80', proto: 'http' }])
})

void test('it is total, and never slow', async (t) => {
  check(
    property(string({ unit: 'binary-ascii', maxLength: 200 }), (value) => {
      parseForwarded(value)
      parseForwarded(`for=${value}`)
    }),
  )
  t.equal(parseForwarded(`for="${'\\a'.repeat(50_000)}`), undefined)
  t.equal(parseForwarded('for=a,'.repeat(10_000))?.length, 10_000)
})
