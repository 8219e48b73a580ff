/**
 * A configuration after it was read, checked and completed: every default filled in, every duration in milliseconds,
 * every size in bytes, every short form written out. The rest of Sluice sees only this.
 */
import type { BreakerRules } from '../core/breaker.ts'
import type { CheckRules } from '../core/checker.ts'
import type { ActiveRules, HealthStrategy, PassiveRules } from '../core/health.ts'
import type { OverloadRules } from '../core/overload.ts'
import type { RetryRules } from '../core/retry.ts'

export interface Settings {
  readonly listen: ListenSettings
  /** `undefined` when the admin listener is switched off. */
  readonly admin: AdminSettings | undefined
  readonly log: LogSettings
  readonly tracing: TracingSettings
  readonly shutdown: { readonly delayMs: number; readonly graceMs: number }
  readonly reload: ReloadSettings
  /** `undefined` when nothing is refused for it. */
  readonly overload: OverloadSettings | undefined
  readonly pools: ReadonlyMap<string, PoolSettings>
  readonly routes: readonly RouteSettings[]
  readonly plugins: readonly PluginSettings[]
}

export interface TracingSettings {
  /** Whether traceparent and tracestate are ours to write; else they go on as they came. */
  readonly propagate: boolean
  /** Whose traces are continued: those of others are begun anew. */
  readonly accept: 'everyone' | 'trusted'
  /** Share of the traces that are recorded, where nobody who is trusted has decided. */
  readonly sample: number
  /** Where spans are sent; `undefined` for nowhere. */
  readonly export: TracingExportSettings | undefined
}

export interface TracingExportSettings {
  readonly url: string
  /** Further fields of each request, by name; secret. */
  readonly headers: Readonly<Record<string, string>>
  /** What the gateway is called in traces. */
  readonly service: string
  readonly timeoutMs: number
  /** How many spans may wait. */
  readonly queue: number
}

export interface OverloadSettings extends OverloadRules {
  /** What refused clients are told. */
  readonly retryAfterMs: number
}

export interface ReloadSettings {
  readonly watch: boolean
  readonly drainMs: number
  /** Configurations that worked. */
  readonly keep: number
  /** Whether the last file that worked is copied beside it. */
  readonly save: boolean
  /** `undefined` when no reload is undone by itself. */
  readonly guard: GuardSettings | undefined
}

export interface GuardSettings {
  readonly windowMs: number
  readonly errorRate: number
  readonly minimum: number
}

export interface LogSettings {
  readonly level: LogLevel
  /** `undefined` when only failures of the gateway are logged. */
  readonly access: AccessSettings | undefined
}

export interface AccessSettings {
  /** The share of ordinary exchanges that are logged. */
  readonly sample: number
  /** From this long on an exchange is none of the ordinary ones; 0: never. */
  readonly slowMs: number
  readonly query: QueryInLog
  /** Names of request fields, in lower case. */
  readonly headers: readonly string[]
}

export type QueryInLog = 'keep' | 'mask' | 'drop'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

export interface ListenSettings {
  readonly host: string
  readonly port: number
  /** CIDRs or single addresses whose Forwarded and X-Forwarded-* fields are believed. */
  readonly trustedProxies: readonly string[]
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number
  readonly keepAliveMs: number
  readonly maxHeaderSize: number
  /** 0: no limit. */
  readonly maxConnections: number
  /** `undefined` for plain http. */
  readonly tls: ListenTlsSettings | undefined
  /** The pseudonym in Via; true: one made at the start; false: no Via, and no detection of loops. */
  readonly via: string | boolean
}

/** PEM text, never a path. */
export interface ListenTlsSettings {
  readonly cert: string
  readonly key: string
  readonly minVersion: TlsVersion
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface AdminSettings {
  readonly host: string
  readonly port: number
  /** '' when no token is asked for. */
  readonly token: string
  /** Names beside `host` under which it may be called, as they are sent. */
  readonly hosts: readonly string[]
}

export interface PoolSettings {
  readonly name: string
  readonly algorithm: AlgorithmSettings
  readonly backends: readonly BackendSettings[]
  /** 'preserve', 'backend', or the literal to send. */
  readonly hostHeader: string
  /** Whether backends also get the Forwarded field of RFC 7239. */
  readonly forwarded: boolean
  readonly timeouts: {
    readonly connectMs: number
    readonly tlsMs: number
    readonly headersMs: number
    readonly bodyMs: number
    readonly totalMs: number
    /** 0: no limit. */
    readonly tunnelMs: number
  }
  readonly connections: {
    readonly max: number
    readonly pending: number
    readonly queueMs: number
    readonly idleMs: number
  }
  /** `undefined` when the configuration says nothing of it. */
  readonly tls: BackendTlsSettings | undefined
  /** Whether backends may have link-local addresses. */
  readonly linkLocal: boolean
  /** Bytes; 0: no limit. */
  readonly maxBodySize: number
  readonly retry: RetryRules
  readonly health: HealthSettings
  /** `undefined` when it is switched off. */
  readonly breaker: BreakerRules | undefined
  /** Below this share of usable backends all are used; 0: never. */
  readonly panic: number
}

/** PEM text, never a path. */
export interface BackendTlsSettings {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  /** Lower case; `undefined` for the host of the URL. */
  readonly serverName: string | undefined
  readonly rejectUnauthorized: boolean
}

export interface HealthSettings {
  readonly strategy: HealthStrategy
  /** `undefined` for no checks. */
  readonly active: ActiveSettings | undefined
  /** `undefined` when what becomes of requests says nothing about a backend. */
  readonly passive: PassiveSettings | undefined
  /** 0: a backend that comes back gets its whole share at once. */
  readonly warmupMs: number
}

/** Of these, a check that only connects looks at the interval, the timeout, `fall` and `rise`. */
export interface ActiveSettings extends ActiveRules, CheckRules {
  readonly type: 'http' | 'tcp'
  readonly path: string
  /** Upper case. */
  readonly method: string
  /** `undefined` for the backend's own. */
  readonly host: string | undefined
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Statuses, both ends included. */
  readonly expect: ReadonlyArray<readonly [from: number, to: number]>
  /** What the body of the answer has to contain; `undefined` when it is not looked at. */
  readonly body: string | undefined
}

export interface PassiveSettings extends PassiveRules {
  /** Share of the pool. */
  readonly maxEjected: number
}

export interface AlgorithmSettings {
  /** A built-in algorithm's name, or one that a plugin registers. */
  readonly type: string
  readonly options: Readonly<Record<string, unknown>>
}

export interface BackendSettings {
  readonly id: string
  /** Scheme, host and port only. */
  readonly url: URL
  readonly weight: number
}

export interface RouteSettings {
  /** `/exact`, `/prefix/*` or with `:parameters`. */
  readonly path: string
  /** Lower case; `shop.example.com` or `*.example.com`; `undefined` for every host. */
  readonly host: string | undefined
  /** Upper case; `undefined` for every method. */
  readonly methods: readonly string[] | undefined
  readonly pool: string
  readonly rewrite: { readonly stripPrefix: string; readonly addPrefix: string } | undefined
  readonly requestHeaders: HeaderRules | undefined
  readonly responseHeaders: HeaderRules | undefined
}

/** `set` replaces or adds a field, `remove` drops it. Names are lower case in `remove` and as written in `set`. */
export interface HeaderRules {
  readonly set: ReadonlyArray<readonly [name: string, value: string]>
  readonly remove: readonly string[]
}

export interface PluginSettings {
  /** An absolute path, or the name of an installed package. */
  readonly path: string
  readonly options: Readonly<Record<string, unknown>>
}
