/**
 * The load: requests come when they come, however slow the answers are (an open loop), and each is timed from when it
 * was due and not from when it could be sent, so that no wait is left out. Takes jobs from its parent, tells it when
 * the counted part begins, and then what came of it.
 */
import { arrivals } from './chance.ts'
import { Clients } from './client.ts'
import { outcomeOf, type Outcome, type Sample } from './outcome.ts'
import type { Plan } from './plan.ts'

export interface Job {
  readonly port: number
  readonly plan: Plan
}

function run({ port, plan }: Job): Promise<Outcome> {
  const { backends, clientTimeoutMs, warmupMs, waitedMs } = plan
  const due = arrivals(plan)
  const clients = new Clients(port, clientTimeoutMs)
  const samples: Sample[] = []
  const startedAt = performance.now()
  const now = () => performance.now() - startedAt
  const counted = due.findIndex((at) => at >= warmupMs)

  return new Promise((resolve) => {
    let next = 0
    let open = due.length
    const send = (request: number, at: number) => {
      const lateMs = now() - at
      clients.get(`/items/${request}`, (answer) => {
        if (request >= counted) samples.push({ ms: now() - at, lateMs, ...answer })
        if (--open > 0) return
        clients.close()
        resolve(outcomeOf(samples, backends, waitedMs))
      })
    }
    const sendDue = () => {
      for (let at = due[next]; at !== undefined && at <= now(); at = due[next]) {
        if (next === counted) process.send?.('counting')
        send(next++, at)
      }
      const at = due[next]
      if (at !== undefined) setTimeout(sendDue, Math.max(0, at - now()))
    }
    sendDue()
  })
}

process.on('message', (job: Job) => {
  void run(job).then((outcome) => process.send?.(outcome))
})
process.once('disconnect', () => process.exit())
