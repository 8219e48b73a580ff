/**
 * `npm run bench -- peers`: Sluice with everything on and with everything off, beside what people would otherwise use,
 * and beside what Node could do at best. Each with one worker and kept connections to its backends. nginx stands there
 * three times: as it comes, with an access log, as Sluice with everything on has one (the others write none), and with
 * larger buffers.
 */
import { aims, verdicts } from './aims.ts'
import { CASES, SMALL, type Case } from './cases.ts'
import { overStarts } from './inside.ts'
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
  const all = aims(found)
  if (all.length > 0) report.add(verdicts(all))
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
  const able = (name: string, { protocol }: Case): boolean =>
    entrants.some((entrant) => entrant.name === name && entrant.protocols.includes(protocol))
  const started = entrants
    .filter(({ name }) => cases.some((each) => able(name, each)))
    .map(({ name, start }) => ({ name, start: start(tls) }))
  const around = {
    ports: backends.ports,
    load,
    able,
    first: sized({ ...SMALL, tls }, options),
    onFound: (one: Found): void => report.add(describe(one)),
  }
  try {
    found.push(...(await overStarts(started, cases, options, around)))
  } finally {
    load.stop()
    backends.stop()
  }
}
