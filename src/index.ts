/**
 * What users may import from 'sluice'.
 */
// For what they declare of a Fastify application: `app.algorithms` and `app.admin`.
/* oxlint-disable import/no-unassigned-import */
import '../plugins/algorithms.ts'
import './app.ts'

export { buildGateway } from './library.ts'
export { sluice, sluice as default, type MountOptions } from './mount.ts'
export { defineConfig } from './config/define.ts'
export { ConfigError, type Problem } from './config/problem.ts'
export type { BackendConfig, Config, PluginConfig, PoolConfig, RouteConfig } from './config/schema.ts'
export type {
  Algorithm,
  AlgorithmDependencies,
  AlgorithmFactory,
  Explanation,
  RequestInfo,
} from './core/algorithms/algorithm.ts'
export type { Backend } from './core/backend.ts'
export type { Clock, Random } from './core/clock.ts'
export type { ErrorBody, ErrorCode } from './errors.ts'
