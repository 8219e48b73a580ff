/** Sluice, with what is asked for. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { CHECK_PATH } from '../cases.ts'
import { CERTIFICATE_FILE, KEY_FILE } from '../certificates.ts'
import { startProxy, type Peer } from '../processes.ts'

const program = fileURLToPath(new URL('../../../bin/sluice.js', import.meta.url))

export interface SluiceOptions {
  readonly tls?: boolean
  readonly access?: boolean
  /** Whether there is an admin listener, and so are metrics. */
  readonly admin?: boolean
  /** Whether backends are told of traces. */
  readonly traces?: boolean
  /** How many other routes stand beside the one that takes the requests. */
  readonly moreRoutes?: number
  /** What its pools say besides their backends. */
  readonly pool?: object
  /** Instead of those that the benchmark has started. */
  readonly urls?: readonly string[]
  /** For Node. */
  readonly flags?: readonly string[]
}

/** With everything that it can do for a plain request, as few would leave it out. */
export const EVERYTHING: SluiceOptions = {
  access: true,
  admin: true,
  moreRoutes: 8,
  pool: { health: { active: { path: CHECK_PATH } } },
}

/** With nothing that can be left out. Nobody tries elsewhere then: a thousand at once must find room where they are. */
export const NOTHING: SluiceOptions = {
  moreRoutes: 0,
  traces: false,
  pool: { health: { passive: false }, breaker: false, retry: { attempts: 1 }, connections: { pending: 1000 } },
}

export function sluice(options: SluiceOptions): Peer['start'] {
  const { access = false, admin = false, traces = true, moreRoutes = 2, pool = {}, tls = false, flags = [] } = options
  return (port, backends, folder) => {
    const config = `${folder}/sluice.json`
    const urls = options.urls ?? backends.map((each) => `http://127.0.0.1:${each}`)
    const pools = Object.fromEntries(['one', 'two', 'three'].map((name) => [name, { backends: urls, ...pool }]))
    const others = Array.from({ length: moreRoutes }, (_, n) =>
      n % 2 === 0
        ? { path: `/other/${n}/*`, pool: 'two' }
        : { path: `/third/${n}/:id`, pool: 'three', methods: ['POST'] },
    )
    const settings = {
      listen: { host: '127.0.0.1', port, ...(tls && { tls: { cert: CERTIFICATE_FILE, key: KEY_FILE } }) },
      admin: admin && { port: 0 },
      log: { level: 'info', access },
      tracing: { propagate: traces },
      // Without others, one pool takes all.
      pools: moreRoutes === 0 ? { one: pools['one'] } : pools,
      routes: [{ path: '/*', pool: 'one' }, ...others],
    }
    writeFileSync(config, JSON.stringify(settings))
    const sh = 'log="$1"; shift; exec "$@" > "$log"'
    const command = [process.execPath, ...flags, program, 'run', '--config', config]
    return startProxy('sh', ['-c', sh, 'sh', `${folder}/access.log`, ...command])
  }
}
