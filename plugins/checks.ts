/**
 * Active checks of all pools that ask for them: begun when the gateway is ready, over when it closes.
 */
import fp from 'fastify-plugin'

import { Checker, CheckPlaces, firstDelay, type CheckResult } from '../src/core/checker.ts'
import { probeFor } from '../src/transport/probe.ts'
import { systemClock } from '../src/transport/system-clock.ts'
import type { PoolEntry } from '../src/transport/forwarding.ts'

export default fp(
  (app, _options, done) => {
    const places = new CheckPlaces()
    const stops: Array<() => void> = []
    app.addHook('onReady', (ready) => {
      for (const [name, entry] of app.snapshot.pools) watch(name, entry)
      ready()
    })
    app.addHook('preClose', (closing) => {
      for (const stop of stops.splice(0)) stop()
      closing()
    })
    done()

    function watch(pool: string, { settings, secure, pool: { members }, standings, checkers }: PoolEntry): void {
      const { active } = settings.health
      if (active === undefined) return
      const probe = probeFor(active, secure)
      stops.push(() => probe.stop())
      for (const [index, member] of members.entries()) {
        const standing = standings.of(member)
        if (standing === undefined) continue
        const backend = member.id
        const checked = {
          backend: member,
          onResult: (result: CheckResult) => standing.checked(result),
          onOverdue: (lateMs: number) =>
            app.events.emit({
              what: 'check',
              pool,
              backend,
              from: 'due',
              to: 'overdue',
              cause: `no check has ended for ${Math.round(lateMs)} ms since one was due`,
            }),
        }
        const checker = new Checker(checked, active, { clock: systemClock, random: Math.random, probe, places })
        checkers.set(member, checker)
        standing.wantsCheck = (withinMs) => checker.hurry(withinMs)
        checker.start(firstDelay(index, members.length, active.intervalMs))
        stops.push(() => checker.stop())
      }
    }
  },
  { name: 'sluice-checks', dependencies: ['sluice-snapshot', 'sluice-events'] },
)
