/**
 * Prints what the simulation finds, a table for each scenario: `node test/simulation/run.ts [SCENARIO ...]`
 */
import { CONTENDERS, SCENARIOS } from './scenarios.ts'
import { simulate, type Result } from './simulation.ts'

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in SCENARIOS))
if (unknown.length > 0) {
  console.error(`There is no scenario ${unknown.join(', ')}; there are ${Object.keys(SCENARIOS).join(', ')}`)
  process.exitCode = 1
} else {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    console.log(`\n${scenario.name}. Arrival to answer, in ms`)
    console.log(
      '| algorithm | p50 | p99 | p99.9 | share of the first | shares, least to most | largest queue | failed |',
    )
    console.log('|---|---|---|---|---|---|---|---|')
    for (const contender of CONTENDERS) print(contender.name, simulate(scenario, contender))
  }
}

function print(name: string, { p50, p99, p999, shares, largestQueue, failed }: Result): void {
  const [times, first] = [[p50, p99, p999].map((ms) => ms.toFixed(ms < 100 ? 1 : 0)).join(' | '), percent(shares[0])]
  const range = `${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}`
  console.log(`| ${name} | ${times} | ${first} | ${range} | ${largestQueue} | ${percent(failed)} |`)
}

function percent(share = 0): string {
  return `${(share * 100).toFixed(share < 0.01 ? 2 : 1)} %`
}
