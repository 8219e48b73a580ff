/** Who is compared: Sluice, what people would otherwise use, and what Node could do at best. */
import type { Protocol } from '../cases.ts'
import { PROXY_CORE, startNode, type Peer } from '../processes.ts'
import { caddy } from '../proxies/caddy.ts'
import { haproxy } from '../proxies/haproxy.ts'
import { nginx } from '../proxies/nginx.ts'
import { EVERYTHING, NOTHING, sluice } from '../proxies/sluice.ts'

export interface Entrant {
  readonly name: string
  readonly protocols: readonly Protocol[]
  readonly start: (tls: boolean) => Peer['start']
}

const ALL: readonly Protocol[] = ['http/1.1', 'http/2', 'websocket']

/** One of the applications beside this file. @param flags for Node */
export function startApplication(name: string, tls: boolean, flags: readonly string[] = []): Peer['start'] {
  return (port, backends) => {
    const args = [String(port), tls ? 'https' : 'http', ...backends.map(String)]
    return startNode(`peers/${name}.ts`, args, { core: PROXY_CORE, flags })
  }
}

function application(name: string, protocols: readonly Protocol[] = ['http/1.1']): Entrant {
  return { name, protocols, start: (tls) => startApplication(name, tls) }
}

export const ENTRANTS: readonly Entrant[] = [
  { name: 'nginx', protocols: ALL, start: (tls) => nginx({ tls }) },
  { name: 'nginx-log', protocols: ALL, start: (tls) => nginx({ tls, access: true }) },
  { name: 'nginx-buffers', protocols: ALL, start: (tls) => nginx({ tls, buffers: true }) },
  { name: 'haproxy', protocols: ALL, start: (tls) => haproxy({ tls }) },
  { name: 'caddy', protocols: ALL, start: (tls) => caddy({ tls }) },
  application('floor'),
  { name: 'sluice', protocols: ALL, start: (tls) => sluice({ ...EVERYTHING, tls }) },
  { name: 'sluice-off', protocols: ALL, start: (tls) => sluice({ ...NOTHING, tls }) },
  application('fastify-undici'),
  application('reply-from'),
  application('fastify-http-proxy', ['http/1.1', 'websocket']),
  application('http-proxy', ['http/1.1', 'websocket']),
  application('http-proxy-middleware', ['http/1.1', 'websocket']),
]
