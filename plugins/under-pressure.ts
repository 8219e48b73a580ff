/**
 * `app.overload`: refuses requests while the gateway itself has more to do than it can, before that ends it.
 * @fastify/under-pressure measures; what follows from it is src/core/overload.ts. Its own hook would build an object for
 * every request (`routeOptions`), could not take other limits on a reload, and refuses all or nothing.
 */
import underPressure from '@fastify/under-pressure'
import fp from 'fastify-plugin'

import { Refusals } from '../src/log/refusals.ts'
import { pathIn } from '../src/log/text.ts'
import type { OverloadSettings } from '../src/config/settings.ts'
import { Overload, type Load } from '../src/core/overload.ts'
import { isUnread, SluiceError } from '../src/errors.ts'
import {
  collectGarbage,
  guardMemoryUsage,
  heapLimit,
  lacksDescriptors,
  memoryLimit,
  oldHeapUsed,
} from '../src/metrics/memory.ts'
import { lingerOnClose, type Peers } from '../src/transport/peer.ts'
import { clientOf } from '../src/transport/request-head.ts'
import { isHttp2 } from '../src/transport/wire.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly overload: Overload
  }
}

export interface UnderPressureOptions {
  /** `undefined` when nothing is ever refused for it. */
  readonly settings: () => OverloadSettings | undefined
  /** Who is believed when it says who its client is. */
  readonly peers: Peers
}

/** A sample costs some 20 us; from one to the next a heap of 4 GiB cannot fill by the tenth that is left. */
const SAMPLE_MS = 250

export default fp<UnderPressureOptions>(
  async (app, { settings, peers }) => {
    const overload = new Overload()
    const refusals = new Refusals(app.log, 'warn')
    const [heapAtMost, memory] = [heapLimit(), memoryLimit()]
    let refusal = new SluiceError('SLUICE_OVERLOADED')
    let sampledAt = performance.now()
    let lacking = false
    guardMemoryUsage()
    app.decorate('overload', overload)
    // In a scope of its own: what it decorates stays free for the plugins of users, itself included.
    await app.register(async (scope) => {
      await scope.register(underPressure, { sampleInterval: SAMPLE_MS, eventLoopUtilizationMode: 'interval' })
      const timer = setInterval(() => sample(scope.memoryUsage()), SAMPLE_MS).unref()
      scope.addHook('onClose', (_instance, closed) => {
        clearInterval(timer)
        refusals.stop()
        closed()
      })
    })
    app.addHook('onRequest', (request, _reply, next) => {
      if (overload.admits()) return next()
      const { raw, id, method, url } = request
      const client = clientOf(raw, peers.of(raw), peers)
      const entry = { requestId: id, client, method, path: pathIn(url) }
      refusals.add('request refused: the gateway is overloaded', entry)
      if (isUnread(raw) && !isHttp2(raw)) lingerOnClose(raw.socket)
      next(refusal)
    })

    function sample(measured: ReturnType<typeof app.memoryUsage>): void {
      const now = performance.now()
      const rules = settings()
      const turn = overload.judge(loadOf(measured, now - sampledAt, rules), rules, now)
      sampledAt = now
      const seconds = Math.ceil((rules?.retryAfterMs ?? 0) / 1000)
      if (seconds !== refusal.retryAfter) refusal = new SluiceError('SLUICE_OVERLOADED', seconds)
      if (turn !== undefined) app.events.emit({ what: 'overload', ...turn })
      if (overload.wantsCollection(now)) collectGarbage()
      if (lacking !== lacksDescriptors()) tellLack()
    }

    /** The system refuses connections then, and tells nobody. */
    function tellLack(): void {
      lacking = !lacking
      if (lacking) app.log.warn('no file descriptors are left: connections are refused; raise the limit (ulimit -n)')
      else app.log.info('there are file descriptors again')
    }

    function loadOf(
      { eventLoopDelay, eventLoopUtilized, heapUsed, rssBytes }: ReturnType<typeof app.memoryUsage>,
      elapsedMs: number,
      rules: OverloadSettings | undefined,
    ): Load {
      // Looked at more closely only where it may matter.
      const isMuch = rules !== undefined && heapUsed > (rules.heap / 2) * heapAtMost
      return {
        // Infinite when it turned less than twice since the last sample: no more than once in all that time.
        eventLoopDelayMs: Number.isFinite(eventLoopDelay) ? eventLoopDelay : elapsedMs,
        eventLoopUtilization: eventLoopUtilized,
        heap: (isMuch ? oldHeapUsed() : heapUsed) / heapAtMost,
        rss: rssBytes / memory,
      }
    }
  },
  { name: 'sluice-under-pressure', dependencies: ['sluice-events', 'sluice-errors'] },
)
