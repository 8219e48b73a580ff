/**
 * `defineConfig`: gives a configuration written in TypeScript its types, and makes a route to a pool that is not there
 * a type error.
 */
import type { Config, PoolConfig, RouteConfig } from './schema.ts'

interface ConfigFor<PoolName extends string> extends Omit<Config, 'pools' | 'routes'> {
  readonly pools: { readonly [Name in PoolName]: PoolConfig }
  readonly routes?: ReadonlyArray<RouteFor<NoInfer<PoolName>>>
}

interface RouteFor<PoolName extends string> extends Omit<RouteConfig, 'pool'> {
  readonly pool: PoolName
}

export function defineConfig<const PoolName extends string>(config: ConfigFor<PoolName>): Config {
  return config
}
