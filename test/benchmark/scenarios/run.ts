/**
 * `npm run bench -- scenarios`: what clients notice of the bad days of one backend in five, behind Sluice, nginx and
 * HAProxy. Each proxy in turn meets the same requests, at the same times, that ask for the same work; each starts
 * afresh in every scenario, with a fleet of its own.
 *
 *   npm run bench -- scenarios                             everything once, in eight minutes
 *   npm run bench -- scenarios --only hang,reset --proxy sluice,nginx --rounds 3 --json result.json
 *   npm run bench -- scenarios --proxy sluice:peak-ewma    Sluice with another algorithm than its default
 *   npm run bench -- scenarios --quick                     shows in two minutes that everything works, and no more
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

import type { Peer } from '../processes.ts'
import { aims } from './aims.ts'
import { Contestant } from './contestant.ts'
import { Fleet } from './fleet.ts'
import { Load } from './load-process.ts'
import { medianOf } from './outcome.ts'
import { FULL, QUICK, type Plan } from './plan.ts'
import { PROXIES, proxyNamed } from './proxies.ts'
import { printAims, printPlan, printScenario, type Measured } from './report.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

interface Options {
  readonly plan: Plan
  readonly rounds: number
  readonly scenarios: readonly Scenario[]
  readonly peers: readonly Peer[]
  readonly json: string | undefined
}

interface Found {
  readonly scenario: Scenario
  readonly rounds: readonly Measured[]
  readonly median: Measured
}

try {
  await main(options())
} catch (error) {
  console.error(`scenarios: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}

function options(): Options {
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: SCENARIOS.map(({ name }) => name).join(',') },
      proxy: { type: 'string', default: PROXIES.join(',') },
      rounds: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(FULL.seed) },
      json: { type: 'string' },
    },
  })
  return {
    plan: { ...(values.quick ? QUICK : FULL), seed: whole('seed', values.seed) },
    rounds: whole('rounds', values.rounds),
    scenarios: values.only.split(',').map((name) => scenarioNamed(name)),
    peers: values.proxy.split(',').map((name) => proxyNamed(name)),
    json: values.json,
  }
}

function whole(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} takes a number from 1 on, not ${text}`)
  return number
}

function scenarioNamed(wanted: string): Scenario {
  const found = SCENARIOS.find(({ name }) => name === wanted)
  if (found !== undefined) return found
  throw new Error(`there is no scenario ${wanted}; there are ${SCENARIOS.map(({ name }) => name).join(', ')}`)
}

async function main({ plan, rounds, scenarios, peers, json }: Options): Promise<void> {
  printPlan(plan, rounds)
  const load = new Load()
  const found: Found[] = []
  try {
    for (const scenario of scenarios) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other, here and below: they share two cores
      const measured = await compare(scenario, { plan, rounds, peers, load })
      printScenario(
        `${scenario.name}: ${scenario.title}`,
        plan,
        measured.map(({ median }) => median),
      )
      found.push(...measured)
    }
  } finally {
    load.stop()
  }
  const reached = aims(found.map(({ scenario, median }) => ({ scenario: scenario.name, ...median })))
  printAims(reached)
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(written(plan, found, reached), undefined, 2)}\n`)
}

function written(plan: Plan, found: readonly Found[], reached: ReturnType<typeof aims>): object {
  const results = found.map(({ scenario, median, rounds }) => ({ scenario: scenario.name, ...median, rounds }))
  return { plan, results, aims: reached }
}

interface Contest {
  readonly plan: Plan
  readonly rounds: number
  readonly peers: readonly Peer[]
  readonly load: Load
}

async function compare(scenario: Scenario, { plan, rounds, peers: asked, load }: Contest): Promise<Found[]> {
  // Who is asked for by name is not joined by others.
  const also = asked.length === PROXIES.length ? (scenario.also ?? []) : []
  const peers = [...asked, ...also.map((name) => proxyNamed(name))]
  const measured = new Map<string, Measured[]>()
  for (let round = 0; round < rounds; round++) {
    for (const peer of peers) {
      // oxlint-disable-next-line no-await-in-loop
      const one = await measure(scenario, peer, plan, load)
      if (one === undefined) console.error(`${peer.name}: not installed, left out`)
      else measured.set(peer.name, [...(measured.get(peer.name) ?? []), one])
    }
  }
  return [...measured].map(([proxy, all]) => {
    const cpuShare = all.reduce((sum, each) => sum + each.cpuShare, 0) / all.length
    return { scenario, rounds: all, median: { proxy, outcome: medianOf(all.map(({ outcome }) => outcome)), cpuShare } }
  })
}

async function measure(scenario: Scenario, peer: Peer, plan: Plan, load: Load): Promise<Measured | undefined> {
  const fleet = await Fleet.start(plan)
  try {
    const proxy = await Contestant.start(peer, fleet)
    if (proxy === undefined) return undefined
    try {
      await scenario.before?.(fleet)
      await load.begin({ port: proxy.port, plan })
      return await observe(scenario, proxy, { fleet, plan, load })
    } finally {
      await proxy.stop()
    }
  } finally {
    await fleet.stop()
  }
}

interface Scene {
  readonly fleet: Fleet
  readonly plan: Plan
  readonly load: Load
}

async function observe(scenario: Scenario, proxy: Contestant, { fleet, plan, load }: Scene): Promise<Measured> {
  const [startedAt, cpuBefore] = [performance.now(), proxy.cpuMs()]
  const until = (share: number) =>
    new Promise<void>((resolve) => {
      setTimeout(resolve, Math.max(0, startedAt + share * plan.loadMs - performance.now()))
    })
  const cpu = until(1).then(() => proxy.cpuMs() - cpuBefore)
  const [outcome, cpuMs] = await Promise.all([load.outcome(), cpu, scenario.beside?.(fleet, until)])
  // Looks whether it is still there.
  proxy.cpuMs()
  return { proxy: proxy.name, outcome, cpuShare: cpuMs / plan.loadMs }
}
