/**
 * One log line an exchange, when it has ended: who asked for what, which backend answered, how long it took, and why
 * not, if not. What never became one has a line, too.
 */
import fp from 'fastify-plugin'
import { levels } from 'pino'

import type { AccessSettings } from '../src/config/settings.ts'
import { exchangeFields, lineOf, requestFields } from '../src/log/access-line.ts'
import { Refusals } from '../src/log/refusals.ts'
import type { LogDestination } from '../src/log/stream.ts'
import type { Peers } from '../src/transport/peer.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly accessLog: AccessLog
  }
}

type Level = 'info' | 'warn'

export interface AccessLog {
  /** @param fields the members of a JSON object, without its braces */
  write(level: Level, fields: string, message: string): void
}

export interface AccessLogOptions {
  /** Which exchanges are logged; undefined: only failures of the gateway. */
  readonly rules: () => AccessSettings | undefined
  /** Who is believed when it says who its client is. */
  readonly peers: Peers
  /** The log's own destination, if it is Sluice's; else lines go through the application's logger. */
  readonly destination?: LogDestination
}

/** For those that are logged in any case. */
const FAILURES_ONLY: AccessSettings = { sample: 0, slowMs: 0, query: 'keep', headers: [] }

export default fp<AccessLogOptions>(
  (app, { rules, peers, destination }, done) => {
    const refusals = new Refusals(app.log, 'info')
    const log: AccessLog = { write: destination === undefined ? throughLogger : directly(destination) }
    app.decorate('accessLog', log)

    app.observers.push({
      exchange(exchange, ms) {
        const { outcome, res } = exchange
        const access = rules()
        const failed = outcome === 'broken' || (outcome === 'refused' && res.statusCode >= 500)
        if (!failed && !isWanted(access, res.statusCode, ms)) return
        const fields = exchangeFields(exchange, access ?? FAILURES_ONLY, ms)
        // A client that asks for what it cannot have is no concern of whoever reads the warnings.
        if (failed) log.write('warn', fields, 'request failed')
        else log.write('info', fields, outcome === 'refused' ? 'request refused' : 'request')
      },
      request(request, reply, ms) {
        // A flood of which few lines tell (plugins/under-pressure.ts).
        if (request.refusal === 'SLUICE_OVERLOADED') return
        const access = rules()
        if (!isWanted(access, reply.raw.statusCode, ms)) return
        const fields = requestFields(request, reply, access ?? FAILURES_ONLY, peers, ms)
        log.write('info', fields, request.refusal === null ? 'request' : 'request refused')
      },
      unreadable(entry) {
        if (rules() !== undefined) refusals.add('request refused', entry)
      },
    })

    const stopListening = destination?.onLost((lines) =>
      app.log.warn({ lines }, `${lines} lines of the log were lost: they came faster than they could be written`),
    )
    app.addHook('onClose', (_instance, closed) => {
      stopListening?.()
      refusals.stop()
      closed()
    })
    done()

    function throughLogger(level: Level, fields: string, message: string): void {
      app.log[level](JSON.parse(`{${fields}}`), message)
    }

    /** Past pino, which takes three times as long for a line whose members it does not know. */
    function directly(to: LogDestination): AccessLog['write'] {
      return (level, fields, message) => {
        const number = levels.values[level] ?? 0
        if (number >= (levels.values[app.log.level] ?? Infinity)) to.writeClean(lineOf(number, fields, message))
      }
    }
  },
  { name: 'sluice-access-log', dependencies: ['sluice-observers'] },
)

function isWanted(access: AccessSettings | undefined, status: number, ms: number): boolean {
  if (access === undefined) return false
  const { sample, slowMs } = access
  return sample === 1 || status >= 500 || (slowMs > 0 && ms >= slowMs) || Math.random() < sample
}
