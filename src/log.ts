/**
 * Where the log goes: standard output, readable for people on a terminal, else JSON, one object a line, gathered into
 * few writes that never block the event loop. What is gathered is written at the latest when the process ends.
 */
import { destination, type DestinationStream } from 'pino'
import pretty from 'pino-pretty'

// A line a request: written one by one, that is a system call a request and a quarter of its processor time.
const GATHER_BYTES = 32_768
// How long a line may lie here when few others come.
const FLUSH_EVERY_MS = 50
// What is kept while nobody reads; beyond it lines are lost rather than memory.
const MAX_BYTES = 16 * 1024 ** 2

let shared: DestinationStream | undefined

/** The same for all gateways of a process: two writers to one descriptor could mix their lines. */
export function logStream(): DestinationStream {
  shared ??= process.stdout.isTTY
    ? pretty({ sync: true, ignore: 'pid,hostname' })
    : destination({
        fd: 1,
        sync: false,
        minLength: GATHER_BYTES,
        maxWrite: 2 * GATHER_BYTES,
        maxLength: MAX_BYTES,
        periodicFlush: FLUSH_EVERY_MS,
      })
  return shared
}
