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
}

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
  readonly timeouts: {
    readonly connectMs: number
    readonly headersMs: number
    readonly bodyMs: number
    readonly totalMs: number
  }
  readonly connections: {
    readonly max: number
    readonly pending: number
    readonly queueMs: number
    readonly idleMs: number
  }
  /** Bytes; 0: no limit. */
  readonly maxBodySize: number
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
