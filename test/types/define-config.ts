/**
 * What `defineConfig` accepts and refuses; `tsc` is the test: an expected error that does not come is an error.
 */
import { defineConfig } from '../../src/config/define.ts'
import type { Config } from '../../src/config/schema.ts'

export const smallest: Config = defineConfig({ pools: { web: { backends: ['http://127.0.0.1:9001'] } } })

export const everything: Config = defineConfig({
  listen: {
    port: 8080,
    headersTimeout: '15s',
    bodyTimeout: 30_000,
    trustedProxies: ['10.0.0.0/8'],
    tls: { cert: 'certs/server.pem', key: 'certs/server.key', minVersion: 'TLSv1.3' },
    via: 'edge-1',
  },
  admin: false,
  log: { level: 'warn', access: false },
  shutdown: { delay: '1s', grace: 0 },
  pools: {
    web: {
      algorithm: 'least-connections',
      backends: ['http://127.0.0.1:9001', { url: 'http://127.0.0.1:9002', id: 'two', weight: 2.5 }],
      forwarded: true,
      timeouts: { connect: '2s', tls: 1500, total: 0, tunnel: '1h' },
      connections: { max: 10 },
      retry: { attempts: 3, on: ['connect', 'timeout', 503], budget: { ratio: 0.1 }, backoff: { base: '10ms' } },
      maxBodySize: '1MiB',
    },
    'api-v2': {
      algorithm: { type: 'mine', anything: [1, 2], key: { header: 'x-user' } },
      backends: ['https://api.example.com'],
      tls: { ca: 'certs/ca.pem', serverName: 'internal.example.com', rejectUnauthorized: true },
      retry: { on: [], bufferBody: '1MiB' },
    },
  },
  routes: [
    { path: '/api/*', pool: 'api-v2', methods: ['GET'], rewrite: { stripPrefix: '/api' } },
    { path: '/*', pool: 'web', requestHeaders: { set: { 'x-a': 'b' }, remove: ['x-c'] } },
  ],
  plugins: ['./mine.ts', { path: 'package', options: { deep: { er: true } } }],
})

// Values that are not literals keep working: names are then checked when the configuration is.
const ports = [9001, 9002]
const poolName: string = 'web'
export const computed: Config = defineConfig({
  pools: { web: { backends: ports.map((port) => `http://127.0.0.1:${port}`) }, [poolName]: { backends: ['http://a'] } },
})
export const reusable: Config = defineConfig(smallest)

defineConfig({
  pools: { web: { backends: ['http://a'] }, api: { backends: ['http://b'] } },
  // @ts-expect-error -- there is no such pool
  routes: [{ path: '/', pool: 'typo' }],
})

defineConfig({
  pools: { web: { backends: ['http://a'] } },
  routes: [
    { path: '/', pool: 'web' },
    // @ts-expect-error -- a route needs a pool
    { path: '/b' },
  ],
})

// @ts-expect-error -- a misspelt key in a pool
defineConfig({ pools: { web: { backends: ['http://a'], algoritm: 'random' } } })

// @ts-expect-error -- a misspelt key at the top
defineConfig({ pools: { web: { backends: ['http://a'] } }, plugin: [] })

// @ts-expect-error -- a pool without backends
defineConfig({ pools: { web: {} } })

// @ts-expect-error -- not a level
defineConfig({ pools: { web: { backends: ['http://a'] } }, log: { level: 'loud' } })

// @ts-expect-error -- a status is a number
defineConfig({ pools: { web: { backends: ['http://a'], retry: { on: ['503'] } } } })

// @ts-expect-error -- retries are switched off by `attempts: 1`
defineConfig({ pools: { web: { backends: ['http://a'], retry: false } } })

// @ts-expect-error -- a certificate is of no use without its key
defineConfig({ pools: { web: { backends: ['http://a'] } }, listen: { tls: { cert: 'certs/server.pem' } } })

// @ts-expect-error -- `admin: true` says nothing
defineConfig({ pools: { web: { backends: ['http://a'] } }, admin: true })

// @ts-expect-error -- a weight is a number
defineConfig({ pools: { web: { backends: [{ url: 'http://a', weight: '2' }] } } })

// @ts-expect-error -- pools are not optional
defineConfig({ listen: { port: 1 } })
