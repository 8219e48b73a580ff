/**
 * Who gets in at the admin listener: calls under its own names, of no other site's pages, with the token, and not too
 * many at once. Everybody else is refused before anything is read or done, and that is logged.
 */
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

import { Calls } from '../src/admin/calls.ts'
import { BROWSER_FIELDS, isCrossSite } from '../src/admin/cross-site.ts'
import { Hosts, isLocal } from '../src/admin/hosts.ts'
import { isAuthorized } from '../src/admin/token.ts'
import type { AdminSettings } from '../src/config/settings.ts'
import { SluiceError } from '../src/errors.ts'
import { Refusals } from '../src/log/refusals.ts'
import { pathIn } from '../src/log/text.ts'

export interface AdminGuardOptions {
  readonly settings: AdminSettings
  readonly log: FastifyBaseLogger
}

/** Orchestrators ask these two, under any name and without a token. They tell nothing that an open port does not. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

const REFUSALS = {
  // 421 is for what is not directed to any origin that a server is configured for (RFC 9110, section 15.5.20); with
  // 403, one would look for a missing permission.
  SLUICE_MISDIRECTED: 'admin call under a name that is not its own',
  SLUICE_CROSS_SITE: 'admin call from another site',
  SLUICE_UNAUTHORIZED: 'admin call without its token',
  SLUICE_OVERLOADED: 'too many admin calls at once',
} as const

export default fp<AdminGuardOptions>(
  (app, { settings, log }, done) => {
    const hosts = new Hosts(settings)
    const calls = new Calls()
    const refusals = new Refusals(log, 'warn')

    app.addHook('onRequest', (request, reply, next) => {
      reply.headers(BROWSER_FIELDS)
      const code = OPEN.has(request.routeOptions.url ?? '') ? undefined : whyNot(request, reply)
      if (code === undefined) return next()
      const { method, ip, url, headers } = request
      const path = pathIn(url)
      refusals.add(REFUSALS[code], { client: ip, method, path, host: headers.host, origin: headers.origin })
      if (code === 'SLUICE_UNAUTHORIZED') reply.header('www-authenticate', 'Bearer')
      next(new SluiceError(code))
    })
    app.addHook('onClose', (_instance, closed) => {
      refusals.stop()
      closed()
    })
    done()

    /** The token comes before the places, so that without it nobody can take them. */
    function whyNot(request: FastifyRequest, reply: FastifyReply): keyof typeof REFUSALS | undefined {
      if (!hosts.accepts(request.raw, isLocal(app.addresses()))) return 'SLUICE_MISDIRECTED'
      if (isCrossSite(request)) return 'SLUICE_CROSS_SITE'
      if (!isAuthorized(request.headers.authorization, settings.token)) return 'SLUICE_UNAUTHORIZED'
      const leave = calls.enter(request.raw, request.routeOptions.bodyLimit)
      if (leave === undefined) return 'SLUICE_OVERLOADED'
      // The only event that follows every ending.
      reply.raw.once('close', leave)
      return undefined
    }
  },
  { name: 'sluice-admin-guard', dependencies: ['sluice-admin-errors'] },
)
