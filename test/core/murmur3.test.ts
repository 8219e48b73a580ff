/**
 * MurmurHash3, against what its author and others published.
 */
import { assert, property, string, uniqueArray } from 'fast-check'
import { test } from 'tap'

import { mixed, murmur3 } from '../../src/core/algorithms/murmur3.ts'

/** As published with many implementations; the first three are on Wikipedia's page of MurmurHash. */
const VECTORS: ReadonlyArray<readonly [text: string, seed: number, hash: number]> = [
  ['', 0, 0],
  ['', 1, 0x514e28b7],
  ['', 0xffffffff, 0x81f16f39],
  ['test', 0, 0xba6bd213],
  ['test', 0x9747b28c, 0x704b81dc],
  ['Hello, world!', 0, 0xc0363e43],
  ['Hello, world!', 0x9747b28c, 0x24884cba],
  ['The quick brown fox jumps over the lazy dog', 0, 0x2e4ff723],
  ['The quick brown fox jumps over the lazy dog', 0x9747b28c, 0x2fa826cd],
  ['\xff\xff\xff\xff', 0, 0x76293b50],
  ['\0', 0, 0x514e28b7],
  ['\0\0\0\0', 0, 0x2362f9de],
]

void test('published vectors', async (t) => {
  for (const [text, seed, hash] of VECTORS) t.equal(murmur3(text, seed), hash, JSON.stringify(text))
})

void test("its author's own verification: 0xB0F57EE3 (SMHasher, KeysetTest.cpp)", async (t) => {
  let key = ''
  let hashes = ''
  for (let length = 0; length < 256; length += 1) {
    const hash = murmur3(key, 256 - length)
    hashes += [0, 8, 16, 24].map((shift) => String.fromCodePoint((hash >>> shift) & 0xff)).join('')
    key += String.fromCodePoint(length)
  }
  t.equal(murmur3(hashes), 0xb0f57ee3)
})

void test('beyond Latin-1 every character still counts', async (t) => {
  t.equal(new Set(['東京', '京東', '東', '\u{1f600}', '\u{1f601}'].map((text) => murmur3(text))).size, 5)
})

void test('property: an unsigned integer; different texts practically never meet', async () => {
  assert(
    property(uniqueArray(string(), { maxLength: 50 }), (texts) => {
      const hashes = texts.map((text) => murmur3(text))
      return hashes.every((hash) => hash === hash >>> 0) && new Set(hashes).size === texts.length
    }),
  )
})

void test('the finalizer turns about half of the bits when one is turned', async (t) => {
  let turned = 0
  for (let n = 0; n < 1000; n += 1) {
    const difference = mixed(n * 7919) ^ mixed((n * 7919) ^ (1 << (n & 31)))
    for (let bit = 0; bit < 32; bit += 1) turned += (difference >>> bit) & 1
  }
  t.ok(Math.abs(turned / 1000 - 16) < 0.5, `${turned / 1000}`)
})
