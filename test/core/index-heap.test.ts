/**
 * The heap of positions: its top is the first of those in it, whatever comes, goes and moves.
 */
import { array, assert, constantFrom, integer, property, tuple } from 'fast-check'
import { test } from 'tap'

import { IndexHeap } from '../../src/core/algorithms/index-heap.ts'

const SIZE = 12

void test('property: its top is the first of those in it', async () => {
  const step = tuple(
    constantFrom('add', 'remove', 'move'),
    integer({ min: 0, max: SIZE - 1 }),
    integer({ min: 0, max: 4 }),
  )
  assert(
    property(array(step, { maxLength: 200 }), constantFrom(true, false), (steps, isSecond) => {
      const [keys, more] = [new Float64Array(SIZE), new Float64Array(SIZE)]
      const heap = isSecond ? new IndexHeap(keys, more) : new IndexHeap(keys)
      const inIt = new Set<number>()
      for (const [what, index, key] of steps) {
        const present = inIt.has(index)
        if (what === 'remove' && present) {
          heap.remove(index)
          inIt.delete(index)
        }
        if (what === 'move' || !present) {
          keys[index] = key % 3
          if (isSecond) more[index] = key
        }
        if (what === 'move' && present) heap.moved(index)
        if (what === 'add' && !present) {
          heap.add(index)
          inIt.add(index)
        }
        const order = (one: number, other: number): number =>
          (keys[one] ?? 0) - (keys[other] ?? 0) || (more[one] ?? 0) - (more[other] ?? 0) || one - other
        const [first] = [...inIt].toSorted(order)
        if (heap.size !== inIt.size || (first !== undefined && heap.top !== first)) return false
        if (Array.from(keys, (_, each) => heap.has(each)).some((has, each) => has !== inIt.has(each))) return false
      }
      return true
    }),
  )
})
