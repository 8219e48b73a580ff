/**
 * Loaded into a proxy on Node before all else (`node --import`): on SIGURG, which nobody uses, it gives back what memory
 * it can. What is left is what it needs.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

process.on('SIGURG', () => {
  if (typeof collect !== 'function') return
  Reflect.apply(collect, undefined, [{ type: 'major', execution: 'sync', flavor: 'last-resort' }])
})
