/**
 * How TLS to the backends of a pool is set up: read once, used by every connection.
 */
import { createSecureContext } from 'node:tls'

import type { PoolSettings } from '../config/settings.ts'
import type { SecureOptions } from './connection.ts'

/** undefined for a pool without https. */
export function secureOptions({ backends, tls }: PoolSettings): SecureOptions | undefined {
  if (!backends.some(({ url }) => url.protocol === 'https:')) return undefined
  const { ca, cert, key, serverName, rejectUnauthorized = true } = tls ?? {}
  return {
    secureContext: createSecureContext({ ca, cert, key, minVersion: 'TLSv1.2' }),
    serverName,
    rejectUnauthorized,
  }
}
