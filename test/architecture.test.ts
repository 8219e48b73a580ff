/**
 * Dependencies run one way: server -> app -> routes -> plugins -> (transport, config, routing) -> core. Held over the
 * whole repository, by reading it.
 */
import { globSync, readFileSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'

import { test } from 'tap'

import { violations } from './helpers/architecture.ts'

const ROOT = resolve(import.meta.dirname, '..')

void test('every source file keeps to its layer', async (t) => {
  const files = globSync('{src,plugins,routes}/**/*.{ts,js}', { cwd: ROOT }).map((file) => file.replaceAll(sep, '/'))
  t.ok(files.includes('src/core/pool.ts'), 'the files are found')
  t.same(
    files.flatMap((file) => violations(file, readFileSync(join(ROOT, file), 'utf8'))),
    [],
  )
})

/** Each of these would be a violation. */
const PLANTED: ReadonlyArray<readonly [path: string, source: string]> = [
  ['src/core/pool.ts', "import { request } from 'undici'"],
  ['src/core/pool.ts', "import 'node:fs'"],
  ['src/core/pool.ts', "import type { FastifyInstance } from 'fastify'"],
  ['src/core/pool.ts', "import { SluiceError } from '../errors.ts'"],
  ['src/core/pool.ts', "import type { PoolSettings } from '../config/settings.ts'"],
  ['src/core/a/b.ts', "import {\n  one,\n  two,\n} from '../../transport/peer.ts'"],
  ['src/core/pool.ts', "export * from '../routing/table.ts'"],
  ['src/core/pool.ts', "const fs = await import('node:fs')"],
  ['src/core/pool.ts', "type F = import('fastify').FastifyInstance"],
  ['src/core/pool.ts', 'const now = Date.now()'],
  ['src/core/pool.ts', 'const text = `at ${performance.now()} ms`'],
  ['src/core/pool.ts', 'const chance = Math\n  .random()'],
  ['src/core/pool.ts', 'setTimeout(() => {}, 1)'],
  ['src/core/pool.ts', 'queueMicrotask(go); setImmediate(go); setInterval(go, 1); process.exit()'],
  ['src/transport/peer.ts', "import { load } from '../config/load.ts'"],
  ['src/transport/peer.ts', "import { settings } from '../config/settings.ts'"],
  ['src/transport/peer.ts', "import type { Table } from '../routing/table.ts'"],
  ['src/config/load.ts', "import type { Peer } from '../transport/peer.ts'"],
  ['src/routing/table.ts', "import { build } from '../app.ts'"],
  ['src/errors.ts', "import type { Peer } from './transport/peer.ts'"],
  ['plugins/forward.ts', "import proxy from '../routes/proxy.ts'"],
  ['routes/proxy.ts', "import { buildGateway } from '../src/app.ts'"],
  ['routes/dashboard/words.js', "import { Pool } from '../../src/core/pool.ts'"],
  ['routes/dashboard/words.js', "import { get } from 'node:http'"],
  ['src/app.ts', "import { main } from './server.ts'"],
  ['src/app.ts', "import { VirtualClock } from '../test/helpers/virtual-clock.ts'"],
  ['src/app.ts', "import { x } from './elsewhere/x.ts'"],
  ['src/top/screen.ts', "import { STATES } from '../metrics/catalogue.ts'"],
  ['src/top/screen.ts', "import type { main } from '../cli.ts'"],
  ['src/app.ts', "import { clean } from './top/text.ts'"],
  ['src/elsewhere/x.ts', ''],
  ['src/config/utils.ts', ''],
  ['plugins/pool-manager.ts', ''],
  ['routes/helpers/answer.ts', ''],
]

void test('a planted violation is found', async (t) => {
  for (const [path, source] of PLANTED) t.not(violations(path, source).length, 0, `${path}: ${source}`)
})

/** None of these is one. */
const ALLOWED: ReadonlyArray<readonly [path: string, source: string]> = [
  ['src/core/algorithms/a.ts', "import type { Backend } from '../backend.ts'\nimport { b } from './b.ts'"],
  ['src/core/pool.ts', "// Date.now() is banned here\n/* import 'fastify'\nimport 'undici' */\nconst a = 'process'"],
  ['src/core/pool.ts', 'const processed = `a process, ${updated} by performance`'],
  [
    'src/transport/peer.ts',
    "import type { PoolSettings } from '../config/settings.ts'\nimport { Member } from '../core/member.ts'",
  ],
  ['src/transport/peer.ts', "import { SluiceError } from '../errors.ts'\nimport { Pool } from 'undici'\nDate.now()"],
  [
    'plugins/forward.ts',
    "import { peer } from '../src/transport/peer.ts'\nimport type { Routes } from './snapshot.ts'",
  ],
  ['routes/proxy.ts', "import type {} from '../plugins/forward.ts'\nimport { SluiceError } from '../src/errors.ts'"],
  ['src/app.ts', "import forward from '../plugins/forward.ts'\nimport proxy from '../routes/proxy.ts'"],
  [
    'src/top/stream.ts',
    "import { get } from 'node:http'\nimport { parseDuration } from '../config/units.ts'\nimport type { Feed } from '../metrics/feed.ts'",
  ],
  ['src/cli/top.ts', "import { top } from '../top/top.ts'"],
  [
    'routes/dashboard/words.js',
    "/** @import { FeedFigures } from '../../src/metrics/feed.ts' */\nimport { a } from './elements.js'",
  ],
  ['src/cli/run.ts', "import { buildGateway } from '../app.ts'\nimport { load } from '../config/load.ts'"],
]

void test('what is allowed is not found fault with', async (t) => {
  for (const [path, source] of ALLOWED) t.same(violations(path, source), [])
})
