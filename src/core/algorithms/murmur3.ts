/**
 * MurmurHash3_x86_32 (Austin Appleby, 2011, public domain; SMHasher, MurmurHash3.cpp): short, fast in JavaScript because
 * it needs only 32-bit multiplications, and without known bias. Not a secret: who chooses the keys can choose where they
 * go, with this as with any other hash of a gateway that has to agree with its neighbours.
 */

const C1 = 0xcc9e2d51
const C2 = 0x1b873593

/**
 * The hash of a text as it is on the wire: each character up to U+00FF is one byte (Node reads header fields as Latin-1),
 * any other, which only identifiers from a configuration can hold, two.
 *
 * @returns an unsigned 32-bit number
 */
export function murmur3(text: string, seed = 0): number {
  let hash = seed
  let block = 0
  let bytes = 0
  for (let index = 0; index < text.length; index += 1) {
    let rest = text.charCodeAt(index)
    do {
      block |= (rest & 0xff) << (8 * (bytes & 3))
      bytes += 1
      rest >>>= 8
      if ((bytes & 3) === 0) {
        hash = (Math.imul(rotated(hash ^ scrambled(block), 13), 5) + 0xe6546b64) | 0
        block = 0
      }
    } while (rest > 0)
  }
  return mixed(hash ^ scrambled(block) ^ bytes)
}

/** Its finalizer, fmix32: every bit of `value` changes about half of the bits of the result. */
export function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** A block of four bytes, or the fewer at the end; 0 stays 0, so that no block is the same as none. */
function scrambled(block: number): number {
  return Math.imul(rotated(Math.imul(block, C1), 15), C2)
}

function rotated(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by))
}
