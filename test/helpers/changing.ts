/**
 * A gateway whose configuration tests change while it runs, and looks at what it holds.
 */
import { setImmediate } from 'node:timers/promises'

import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'

import { checkObject } from '../../src/config/check.ts'
import type { Member } from '../../src/core/member.ts'
import type { Config } from '../../src/index.ts'
import { startWithAdmin, type AdminGateway } from './admin.ts'
import { guarded } from './raw.ts'

export interface Changeable {
  readonly app: FastifyInstance
  readonly port: number
  /** PUT /config. @returns the status of its answer */
  put(config: Config): Promise<number>
  /** GET /status */
  status(): Promise<string>
}

const SILENT: Partial<Config> = { log: { level: 'silent' } }

export async function startChangeable(t: Test, config: Config): Promise<Changeable> {
  const { app, port, adminPort } = await startWithAdmin(t, { config: { ...SILENT, ...config } })
  const admin = `http://127.0.0.1:${adminPort}`
  return {
    app,
    port,
    async put(next) {
      const answer = await fetch(`${admin}/config`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...SILENT, ...next }),
      })
      await answer.arrayBuffer()
      return answer.status
    },
    async status() {
      return (await fetch(`${admin}/status`)).text()
    },
  }
}

export async function replaced({ app }: AdminGateway, config: Config): Promise<void> {
  const { settings, problems } = checkObject({ log: { level: 'silent' }, ...config })
  if (settings === undefined) throw new Error(JSON.stringify(problems))
  await app.configuration.replace('a test', () => ({ settings, hash: 'test' }))
}

export function membersOf(app: FastifyInstance, pool: string): readonly Member[] {
  return app.snapshot.pools.get(pool)?.pool.members ?? []
}

/** Waits for what no event tells. */
export async function until(holds: () => boolean, what: () => string): Promise<void> {
  const wait = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until it holds
    while (!holds()) await setImmediate()
  }
  await guarded(wait(), what)
}
