/**
 * How the requests of one route are forwarded: what the configuration says, made ready for use so that a request looks
 * nothing up and parses nothing.
 */
import type { HeaderRules } from '../config/settings.ts'
import type { Backend } from '../core/backend.ts'
import type { Pool } from '../core/pool.ts'
import type { RetryBudget, RetryRules } from '../core/retry.ts'
import type { CallLimits } from './connection.ts'
import type { Connections } from './connections.ts'
import type { PoolEntry } from './pool-entry.ts'
import type { Rewrite } from './target.ts'

export interface Forwarding {
  /** The route's host and path, as they are configured. */
  readonly route: string
  readonly pool: Pool
  readonly connections: ReadonlyMap<Backend, Connections>
  readonly retry: RetryRules
  /** The pool's, whatever route a request came by. */
  readonly budget: RetryBudget
  /** 'preserve', 'backend', or the literal to send. */
  readonly hostHeader: string
  /** Whether backends also get RFC 7239's Forwarded. */
  readonly forwarded: boolean
  readonly limits: CallLimits
  /** Infinity for none. */
  readonly totalMs: number
  /** Bytes; Infinity for no limit. */
  readonly maxBodySize: number
  /** Its path alone. */
  readonly path: string
  /** What the route's path begins with, up to the first parameter or wildcard, without a slash at the end. */
  readonly prefix: string
  readonly rewrite: Rewrite | undefined
  readonly requestHeaders: CompiledRules | undefined
  readonly responseHeaders: CompiledRules | undefined
}

export interface CompiledRules {
  /** Lower-case names of what is removed or replaced. */
  readonly drop: ReadonlySet<string>
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
}

export interface ForwardingRules {
  readonly host: string | undefined
  readonly path: string
  readonly rewrite: Rewrite | undefined
  readonly requestHeaders: HeaderRules | undefined
  readonly responseHeaders: HeaderRules | undefined
}

/** 0 means no limit, wherever a limit is configured. */
export function limitOf(value: number): number {
  return value === 0 ? Infinity : value
}

export function compileForwarding(
  rules: ForwardingRules,
  entry: Pick<PoolEntry, 'settings' | 'pool' | 'connections' | 'budget'>,
  clientBodyMs: number,
): Forwarding {
  const { settings, pool, connections, budget } = entry
  const { timeouts, retry, hostHeader, forwarded } = settings
  return {
    route: `${rules.host ?? ''}${rules.path}`,
    pool,
    connections,
    retry,
    budget,
    hostHeader,
    forwarded,
    limits: {
      headersMs: limitOf(timeouts.headersMs),
      bodyMs: limitOf(timeouts.bodyMs),
      clientMs: limitOf(clientBodyMs),
      tunnelMs: limitOf(timeouts.tunnelMs),
    },
    totalMs: limitOf(timeouts.totalMs),
    maxBodySize: limitOf(settings.maxBodySize),
    path: rules.path,
    prefix: literalPrefix(rules.path),
    rewrite: rules.rewrite,
    requestHeaders: compileRules(rules.requestHeaders),
    responseHeaders: compileRules(rules.responseHeaders),
  }
}

function literalPrefix(path: string): string {
  const open = path.search(/[:*]/)
  const literal = open === -1 ? path : path.slice(0, path.lastIndexOf('/', open))
  return literal.endsWith('/') ? literal.slice(0, -1) : literal
}

function compileRules(rules: HeaderRules | undefined): CompiledRules | undefined {
  if (rules === undefined || rules.set.length + rules.remove.length === 0) return undefined
  const drop = new Set(rules.remove)
  for (const [name] of rules.set) drop.add(name.toLowerCase())
  return { drop, set: rules.set }
}
