/**
 * A configuration after it was read, checked and completed: every default filled in, every duration in milliseconds,
 * every size in bytes, every short form written out. The rest of Sluice sees only this.
 */
export interface Settings {
  readonly listen: ListenSettings
  /** `undefined` when the admin listener is switched off. */
  readonly admin: AdminSettings | undefined
  readonly log: { readonly level: LogLevel; readonly access: boolean }
  readonly shutdown: { readonly delayMs: number; readonly graceMs: number }
  readonly pools: ReadonlyMap<string, PoolSettings>
  readonly routes: readonly RouteSettings[]
  readonly plugins: readonly PluginSettings[]
}

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
  /** Bytes; 0: no limit. */
  readonly maxBodySize: number
  readonly retry: RetrySettings
  readonly health: HealthSettings
  /** `undefined` when it is switched off. */
  readonly breaker: BreakerSettings | undefined
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

export interface RetrySettings {
  /** In all; 1: no retries. */
  readonly attempts: number
  readonly on: ReadonlySet<RetryCondition>
  readonly budget: { readonly ratio: number; readonly minimum: number }
  readonly backoff: { readonly baseMs: number; readonly maxMs: number }
  /** Bytes. */
  readonly bufferBody: number
}

export type RetryCondition = 'connect' | 'reset' | 'timeout' | 429 | 500 | 502 | 503 | 504

export interface HealthSettings {
  readonly strategy: 'graded' | 'any' | 'all'
  /** `undefined` for no checks. */
  readonly active: ActiveSettings | undefined
  /** `undefined` when what becomes of requests says nothing about a backend. */
  readonly passive: PassiveSettings | undefined
  /** 0: a backend that comes back gets its whole share at once. */
  readonly warmupMs: number
}

/** Of these, a check that only connects looks at the interval, the timeout, `fall` and `rise`. */
export interface ActiveSettings {
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
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly fall: number
  readonly rise: number
}

export interface PassiveSettings {
  /** How many of the latest outcomes count, or those of how long. */
  readonly window: number | { readonly overMs: number }
  readonly minimum: number
  /** Shares of failures: `recover` <= `degrade` <= `eject`. */
  readonly degrade: number
  readonly eject: number
  readonly recover: number
  readonly ejectionMs: number
  /** Share of the pool. */
  readonly maxEjected: number
}

export interface BreakerSettings {
  readonly mode: 'enforce' | 'observe'
  readonly windowMs: number
  readonly minimum: number
  readonly failureRate: number
  /** 0: no call is slow. */
  readonly slowCallMs: number
  readonly slowCallRate: number
  readonly openMs: number
  /** Never shorter than `openMs`. */
  readonly maxOpenMs: number
  readonly halfOpen: number
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
