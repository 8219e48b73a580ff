/**
 * `npm run bench -- peers`: Sluice with everything on and with everything off, beside what people would otherwise use,
 * and beside what Node could do at best. Each with one worker and kept connections to its backends. nginx stands there
 * twice: as people measure it, and with an access log, as Sluice with everything on has one; the others write none.
 */
import { aims } from './aims.ts'
import { CASES, SMALL, type Case } from './cases.ts'
import { compare, warmUp } from './compare.ts'
import { startPeers } from './inside.ts'
import { Load } from './load-client.ts'
import { machine } from './machine.ts'
import { chosen, sized, type Options, type Report } from './options.ts'
import { ENTRANTS, type Entrant } from './peers/all.ts'
import { startBackends } from './processes.ts'
import { describe, type Found } from './report.ts'

export async function peers(options: Options, report: Report): Promise<void> {
  const entrants = chosen('only', ENTRANTS, options.only)
  const cases = chosen('case', CASES, options.cases)
  const found: Found[] = []
  const where = machine()
  report.add(where)
  for (const tls of [false, true]) {
    const here = cases.filter((each) => each.tls === tls).map((each) => sized(each, options))
    // oxlint-disable-next-line no-await-in-loop -- one after the other: they share two cores
    if (here.length > 0) await contest(entrants, here, { tls, options, report, found })
    report.data({ machine: where, found, aims: aims(found) })
  }
  for (const aim of aims(found)) {
    const verdict = aim.value <= aim.atMost ? 'met' : 'not met'
    report.add(`${verdict}: ${aim.what}: ${aim.value.toFixed(2)}, aim ${aim.atMost.toFixed(2)}`)
  }
}

interface Setting {
  readonly tls: boolean
  readonly options: Options
  readonly report: Report
  readonly found: Found[]
}

async function contest(entrants: readonly Entrant[], cases: readonly Case[], setting: Setting): Promise<void> {
  const { tls, options, report, found } = setting
  const backends = await startBackends()
  const load = new Load()
  const started = entrants
    .filter(({ protocols }) => cases.some(({ protocol }) => protocols.includes(protocol)))
    .map(({ name, start }) => ({ name, start: start(tls) }))
  const running = await startPeers(started, backends.ports)
  try {
    await warmUp(running, sized({ ...SMALL, tls }, options), load)
    for (const each of cases) {
      const able = running.filter(({ name }) =>
        entrants.some((entrant) => entrant.name === name && entrant.protocols.includes(each.protocol)),
      )
      // oxlint-disable-next-line no-await-in-loop
      const one = { case: each, rounds: options.rounds, rows: await compare(able, each, options.rounds, load) }
      found.push(one)
      report.add(describe(one))
    }
  } finally {
    await Promise.all(running.map((proxy) => proxy.stop()))
    load.stop()
    backends.stop()
  }
}
