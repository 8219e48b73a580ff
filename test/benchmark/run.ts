/**
 * `npm run bench`: what a request costs. Each proxy on one core, backends and load on the other, rounds interleaved.
 *
 *   npm run bench -- peers            Sluice beside what people would otherwise use; also without `peers`
 *   npm run bench -- growth           what more backends, routes and idle connections cost
 *   npm run bench -- routes           Sluice with 10 routes beside Sluice with 10,000
 *   npm run bench -- protection       Sluice without passive health, breakers and checks beside Sluice with them
 *   npm run bench -- observability    Sluice without metrics, access log and traces beside Sluice with them
 *   npm run bench -- algorithms       what a pick costs, by algorithm and number of backends
 *   npm run bench -- reload           a reload of 1,000 pools, of which one has changed
 *   npm run bench -- memory           whether anything grows over a million requests that are all different
 *   npm run bench -- scenarios        what clients notice of backends' bad days; has options of its own
 *
 * Options of the first five:
 *
 *   --rounds 9 --quick                more rounds, or a tenth of everything, to see that it works
 *   --starts 6                        all of it so many times, with processes of their own: two starts of the same
 *                                     program can differ by a third
 *   --only sluice,nginx               these proxies (peers)
 *   --case small,get-1m               these cases (peers) or sections (growth)
 *   --connections 16                  instead of each case's own
 *   --rate 8000                       so many requests a second, instead of as many as each can take: who is slower then
 *                                     does not also have to wake up the load and the backends more often
 *   --json FILE --markdown FILE       also writes what it has found
 */
import { tieToThisProcess } from './child.ts'
import { options, Report, type Options } from './options.ts'
import type { Found } from './report.ts'

/** Those that are programs of their own. */
const PROGRAMS = ['scenarios', 'algorithms', 'reload', 'memory']
const ROUNDS = 5

const [first = 'peers', ...others] = process.argv.slice(2)
const named = first.startsWith('-') ? 'peers' : first

tieToThisProcess()

if (PROGRAMS.includes(named)) {
  await import(named === 'scenarios' ? './scenarios/run.ts' : `./${named}.ts`)
  process.exit()
}

try {
  await main(named, first.startsWith('-') ? [first, ...others] : others)
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

async function main(name: string, args: readonly string[]): Promise<void> {
  const wanted = options(args, ROUNDS)
  const report = new Report(wanted)
  switch (name) {
    case 'peers':
      return (await import('./peers.ts')).peers(wanted, report)
    case 'growth':
      return (await import('./growth.ts')).growth(wanted, report)
    case 'routes':
    case 'protection':
    case 'observability':
      return report.data(await apart(name, wanted, report))
    default:
      throw new Error(
        `there is no ${name}; there are peers, growth, routes, protection, observability, ${PROGRAMS.join(', ')}`,
      )
  }
}

async function apart(
  name: 'routes' | 'protection' | 'observability',
  wanted: Options,
  report: Report,
): Promise<Found[]> {
  const { BY_OBSERVABILITY, BY_PROTECTION, BY_ROUTES, inside } = await import('./inside.ts')
  if (name === 'observability') return inside(BY_OBSERVABILITY, wanted, report)
  if (name === 'routes') return inside(BY_ROUTES, wanted, report)
  // First where nanoseconds can be told apart, then in whole processes, which differ among themselves by more.
  await import('./protection.ts')
  return inside(BY_PROTECTION, wanted, report)
}
