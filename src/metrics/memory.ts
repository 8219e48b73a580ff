/**
 * How much memory the process may take: its share of that says how close to its end it is, on any machine.
 */
import { totalmem } from 'node:os'
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** What the container, or else the machine, has. */
export function memoryLimit(): number {
  // 0, or more than there can be, where nothing constrains it.
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

/**
 * What V8 dies at. It is not its `heap_size_limit`: that counts room for young objects, too, which the old ones never
 * get. With `--max-old-space-size=64` a process dies at 61 MiB of a limit of 160.
 *
 * The room is three semi-spaces, each at most 32 MiB and a 128th of the heap that the memory of the machine suggests
 * (half of it; 2 GiB, or 4 from 15 GiB of memory on, at most), whatever flag sets the heap's size: src/heap/heap.cc of
 * V8 14, `ConfigureHeap`. Other versions give less room, which makes this at most 48 MiB too strict.
 */
export function heapLimit(memory = memoryLimit(), limit = getHeapStatistics().heap_size_limit): number {
  const suggested = Math.min(memory / 2, memory < 15 * GIB ? 2 * GIB : 4 * GIB)
  return limit - 3 * Math.min(32 * MIB, suggested / 128)
}

const YOUNG: ReadonlySet<string> = new Set(['new_space', 'new_large_object_space'])

/** What of the heap counts against that limit: young objects are mostly garbage, and in a small heap a large part. */
export function oldHeapUsed(): number {
  return getHeapSpaceStatistics().reduce(
    (sum, { space_name: name, space_used_size: used }) => (YOUNG.has(name) ? sum : sum + used),
    0,
  )
}

let isGuarded = false
let isRefused = false

/** Whether the process could not even open a file when it was last asked for its memory: it has no descriptors left. */
export function lacksDescriptors(): boolean {
  return isRefused
}

/**
 * Asked for its memory, the process reads a file, and throws when it has no descriptor left. @fastify/under-pressure asks
 * from a timer of its own, where that would be the end: in need it is told what was so before.
 */
export function guardMemoryUsage(): void {
  if (isGuarded) return
  isGuarded = true
  const ask = process.memoryUsage.bind(process)
  const rss = process.memoryUsage.rss.bind(process)
  let last = ask()
  const safely = (): NodeJS.MemoryUsage => {
    try {
      last = ask()
      isRefused = false
    } catch {
      isRefused = true
      const { used_heap_size: heapUsed, total_heap_size: heapTotal } = getHeapStatistics()
      last = { ...last, heapUsed, heapTotal }
    }
    return last
  }
  process.memoryUsage = Object.assign(safely, { rss })
}

let collect: unknown

/** Has the engine look for garbage, which stops everything for up to a second for each GiB in use. */
export function collectGarbage(): void {
  if (collect === undefined) {
    // Only contexts that are made while the flag is set have the function.
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc')
    setFlagsFromString('--no-expose-gc')
  }
  if (typeof collect === 'function') Reflect.apply(collect, undefined, [])
}
