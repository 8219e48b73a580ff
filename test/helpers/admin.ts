/**
 * A gateway with its admin listener, for tests of who gets in there.
 */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'

import { buildGateway, type Config } from '../../src/index.ts'
import { NEVER_LATE } from './gateway.ts'
import { guarded, portOf } from './raw.ts'

export interface Warning extends Readonly<Record<string, unknown>> {
  readonly message: string
}

export interface AdminGateway {
  readonly app: FastifyInstance
  /** Where traffic goes. */
  readonly port: number
  readonly adminPort: number
  /** What was logged as warnings. */
  readonly warnings: readonly Warning[]
  /** Waits until the warnings are as asked. */
  readonly warned: (fits: (warnings: readonly Warning[]) => boolean) => Promise<void>
}

export interface AdminGatewayOptions {
  readonly config?: Partial<Config>
  /** Where the admin listener listens. */
  readonly host?: string
  /** Adds hooks to the gateway, before it is ready. */
  readonly outfit?: (app: FastifyInstance) => void
  /** Adds calls to it. */
  readonly prepare?: (admin: FastifyInstance) => void
}

export async function startWithAdmin(t: Test, options: AdminGatewayOptions = {}): Promise<AdminGateway> {
  const { config, host = '127.0.0.1', outfit, prepare } = options
  const pools = { web: { backends: ['http://127.0.0.1:9'] } }
  const app = await buildGateway({ log: { level: 'silent' }, overload: NEVER_LATE, pools, ...config })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
  })
  const { admin } = app
  if (admin === undefined) throw new Error('there is no admin listener')
  const warnings: Warning[] = []
  const waiting: Array<() => void> = []
  const warn = (entry: unknown, message: unknown): void => {
    warnings.push(typeof entry === 'string' ? { message: entry } : { ...Object(entry), message: String(message) })
    for (const wake of waiting.splice(0)) wake()
  }
  Object.assign(app.log, { warn })
  outfit?.(app)
  prepare?.(admin)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await admin.listen({ port: 0, host })
  const until = async (fits: (warnings: readonly Warning[]) => boolean): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until it is written
    while (!fits(warnings)) await new Promise<void>((resolve) => void waiting.push(resolve))
  }
  const warned = async (fits: (warnings: readonly Warning[]) => boolean): Promise<void> =>
    guarded(until(fits), () => `a warning; there are ${JSON.stringify(warnings)}`)
  return { app, port: portOf(app.server), adminPort: portOf(admin.server), warnings, warned }
}
