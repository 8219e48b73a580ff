/**
 * The same requests for each proxy in turn, round after round. The figure is processor time of the proxy a request, user
 * and system, from the kernel's accounts: steadier than requests a second.
 */
import type { Case } from './cases.ts'
import type { Load } from './load-client.ts'
import type { Running } from './processes.ts'

/** Also of a round that is slow on a busy machine; a proxy that takes longer has hung. */
const DEADLINE_MS = 60_000
/** The first round warms up caches and compilers, and is not counted. */
const WARMUP_SHARE = 1

export interface Sample {
  readonly cpuUs: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  /** How much of its core the proxy used: below 1, it waited for load or backends. */
  readonly busy: number
}

export interface Row {
  readonly name: string
  /** By round. */
  readonly samples: readonly Sample[]
  readonly rssMiB: number
  readonly peakMiB: number
  /** Why there are no more samples, if there are not. */
  readonly failure: string | undefined
}

class Contest {
  readonly running: Running
  readonly samples: Sample[] = []
  failure: string | undefined

  constructor(running: Running) {
    this.running = running
    if (running.alive) running.resetPeak()
    else this.failure = 'it has died'
  }

  async round(each: Case, load: Load, counted: boolean): Promise<void> {
    if (this.failure !== undefined) return
    try {
      const sample = await measure(this.running, each, load)
      if (counted) this.samples.push(sample)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.failure = this.running.alive ? reason : `it has died: ${reason}`
    }
  }

  row(): Row {
    const { running, samples, failure } = this
    return { name: running.name, samples, rssMiB: running.rssMiB(), peakMiB: running.peakMiB(), failure }
  }
}

export async function compare(proxies: readonly Running[], each: Case, rounds: number, load: Load): Promise<Row[]> {
  const contests = proxies.map((running) => new Contest(running))
  const warmup = { ...each, requests: Math.ceil(each.requests * WARMUP_SHARE) }
  for (let round = 0; round <= rounds; round++) {
    // Whoever has just run leaves the caches as it used them: that is not always the same one's burden.
    const first = round % contests.length
    for (const contest of [...contests.slice(first), ...contests.slice(0, first)]) {
      // oxlint-disable-next-line no-await-in-loop -- interleaved on purpose
      await contest.round(round === 0 ? warmup : each, load, round > 0)
    }
  }
  return contests.map((contest) => contest.row())
}

/** Has compilers see the whole path, whatever is asked first: the rounds of some cases are too short for that. */
export async function warmUp(proxies: readonly Running[], each: Case, load: Load): Promise<void> {
  for (const proxy of proxies) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other: they share a core
      await measure(proxy, each, load)
    } catch {
      // What it cannot do is found again, and told, where it is asked for.
    }
  }
}

async function measure(proxy: Running, each: Case, load: Load): Promise<Sample> {
  await load.open({ ...each, port: proxy.port, deadlineMs: DEADLINE_MS })
  // Connecting is not counted: it is all but free over TCP, and not what is asked over TLS.
  const before = proxy.cpuUs()
  const { seconds, p50, p99 } = await load.run(DEADLINE_MS)
  const cpuUs = proxy.cpuUs() - before
  await load.close()
  const { requests } = each
  return { cpuUs: cpuUs / requests, perSecond: requests / seconds, p50, p99, busy: cpuUs / 1e6 / seconds }
}
