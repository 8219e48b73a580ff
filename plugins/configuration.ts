/**
 * `app.configuration`: what is in force, and how another configuration takes its place while the gateway runs. Every
 * change, and every one that was refused, is one event; with `reload.guard` a change after which requests fail is undone.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

import { Configuration, type Applied, type Candidate } from '../src/config/configuration.ts'
import { inWords } from '../src/config/difference-words.ts'
import { isEmpty, isSame } from '../src/config/difference.ts'
import { ConfigError, formatProblem } from '../src/config/problem.ts'
import type { ListenTlsSettings, Settings } from '../src/config/settings.ts'
import { ReloadGuard } from '../src/core/reload-guard.ts'
import { systemClock } from '../src/transport/system-clock.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly configuration: Configuration
  }
}

export interface ConfigurationPluginOptions {
  readonly first: Candidate
  /** Another certificate for the connections that come next. @throws when it is none */
  readonly renewCertificate: (tls: ListenTlsSettings) => void
}

/** More of them in one line are read by nobody. */
const MOST_TOLD = 10
const MOST_LINES = 50

export default fp<ConfigurationPluginOptions>(
  (app, { first, renewCertificate }, done) => {
    let guard = guardOf(first.settings)
    const configuration = new Configuration(first, {
      prepare: (settings, before) => {
        if (app.lifecycle.closing) throw new ConfigError([{ path: '', message: 'the gateway is stopping' }])
        const { pools, routes, reload, listen } = settings
        const commit = app.prepare({ pools, routes, drainMs: reload.drainMs })
        // Last of what may fail, since it has its effect at once.
        if (listen.tls !== undefined && !isSame(listen.tls, before.listen.tls)) renewCertificate(listen.tls)
        return () => {
          commit()
          app.log.level = settings.log.level
          if (!isSame(settings.reload.guard, before.reload.guard)) guard = guardOf(settings)
        }
      },
      onApplied: (change) => {
        const { by, from, to, difference } = change
        // One that begins with this change cannot know how things were before it.
        const isNew = !isSame(from.settings.reload.guard, to.settings.reload.guard)
        if (isNew || by.startsWith(GUARD) || isEmpty(difference)) guard?.rest()
        else guard?.changed()
        tell(app, change)
      },
      onRefused: (by, error) => tellRefused(app, by, error),
    })
    app.decorate('configuration', configuration)
    app.observers.push({
      exchange({ startedAt, outcome, res }) {
        if (guard === undefined || outcome === 'aborted') return
        const evidence = guard.count(startedAt, outcome === 'broken' || res.statusCode >= 500)
        if (evidence === undefined) return
        app.log.warn({ evidence }, `the last change of the configuration is undone: ${evidence}`)
        // What stands in the way of that has been told.
        void configuration.rollback(`${GUARD}: ${evidence}`, configuration.inForce).catch(() => undefined)
      },
    })
    done()
  },
  {
    name: 'sluice-configuration',
    dependencies: ['sluice-lifecycle', 'sluice-snapshot', 'sluice-events', 'sluice-observers'],
  },
)

const GUARD = 'the guard of reloads'

function guardOf({ reload: { guard } }: Settings): ReloadGuard | undefined {
  return guard === undefined ? undefined : new ReloadGuard(guard, systemClock)
}

function tell(app: FastifyInstance, { by, from, to, difference, tookMs }: Applied): void {
  const words = inWords(difference)
  const told = words.slice(0, MOST_TOLD).join('; ')
  const more = words.length > MOST_TOLD ? ` (and ${words.length - MOST_TOLD} more)` : ''
  const cause = `${by}, in ${Math.round(tookMs * 10) / 10} ms: ${words.length === 0 ? 'nothing has changed' : told + more}`
  app.events.emit({ what: 'reload', from: from.hash, to: to.hash, cause })
}

function tellRefused(app: FastifyInstance, by: string, { problems }: ConfigError): void {
  const lines = problems.map(formatProblem)
  const more = lines.length > 1 ? ` (and ${lines.length - 1} more)` : ''
  const { hash } = app.configuration.inForce
  app.events.emit({ what: 'reload', from: hash, to: 'refused', cause: `${by}: ${lines[0] ?? ''}${more}` })
  for (const line of lines.slice(1, MOST_LINES)) app.log.warn(line)
}
