/**
 * Active checks of all pools that ask for them: begun when the gateway is ready, adapted to every configuration that
 * comes into force, and over when the gateway closes.
 */
import { isDeepStrictEqual } from 'node:util'

import fp from 'fastify-plugin'

import type { ActiveSettings } from '../src/config/settings.ts'
import { Checker, CheckPlaces, firstDelay, type CheckResult } from '../src/core/checker.ts'
import type { Member } from '../src/core/member.ts'
import type { SecureOptions } from '../src/transport/connection.ts'
import type { PoolEntry } from '../src/transport/pool-entry.ts'
import { probeFor } from '../src/transport/probe.ts'
import { systemClock } from '../src/transport/system-clock.ts'

/** What goes on in one pool. */
interface Watch {
  readonly active: ActiveSettings
  readonly secure: SecureOptions | undefined
  readonly probe: ReturnType<typeof probeFor>
  readonly checkers: Map<Member, Checker>
}

export default fp(
  (app, _options, done) => {
    const places = new CheckPlaces()
    const watches = new Map<string, Watch>()
    app.onPools((changed, gone) => {
      for (const { settings } of gone) stop(settings.name)
      for (const entry of changed) adapt(entry)
    })
    app.addHook('preClose', (closing) => {
      for (const pool of watches.keys()) stop(pool)
      closing()
    })
    done()

    function stop(pool: string): void {
      const watch = watches.get(pool)
      watches.delete(pool)
      for (const checker of watch?.checkers.values() ?? []) checker.stop()
      watch?.checkers.clear()
      watch?.probe.stop()
    }

    function adapt({ settings, secure, pool, standings, checkers }: PoolEntry): void {
      const { active } = settings.health
      const before = watches.get(settings.name)
      const goesOn = isDeepStrictEqual(before?.active, active) && before?.secure === secure
      if (!goesOn) stop(settings.name)
      if (active === undefined) return
      const watch = goesOn && before !== undefined ? before : begin(settings.name, active, secure, checkers)
      const members = new Set(pool.members)
      for (const [member, checker] of watch.checkers) {
        if (members.has(member)) continue
        checker.stop()
        watch.checkers.delete(member)
      }
      const fresh = pool.members.filter((member) => !watch.checkers.has(member))
      for (const [index, member] of fresh.entries()) {
        // Who joins others waits for its first check; a whole fleet has theirs spread over the interval.
        const joins = fresh.length < pool.members.length
        check(settings.name, member, standings, watch)?.start(
          joins ? 0 : firstDelay(index, fresh.length, active.intervalMs),
        )
      }
    }

    function begin(
      pool: string,
      active: ActiveSettings,
      secure: SecureOptions | undefined,
      checkers: Map<Member, Checker>,
    ): Watch {
      const watch = { active, secure, probe: probeFor(active, secure), checkers }
      watches.set(pool, watch)
      return watch
    }

    function check(
      pool: string,
      member: Member,
      standings: PoolEntry['standings'],
      { active, probe, checkers }: Watch,
    ): Checker | undefined {
      const standing = standings.of(member)
      if (standing === undefined) return undefined
      const checked = {
        backend: member,
        onResult: (result: CheckResult) => standing.checked(result),
        onOverdue: (lateMs: number) =>
          app.events.emit({
            what: 'check',
            pool,
            backend: member.id,
            from: 'due',
            to: 'overdue',
            cause: `no check has ended for ${Math.round(lateMs)} ms since one was due`,
          }),
      }
      const checker = new Checker(checked, active, { clock: systemClock, random: Math.random, probe, places })
      checkers.set(member, checker)
      standing.wantsCheck = (withinMs) => checker.hurry(withinMs)
      return checker
    }
  },
  { name: 'sluice-checks', dependencies: ['sluice-snapshot', 'sluice-events'] },
)
