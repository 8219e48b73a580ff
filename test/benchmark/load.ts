/**
 * The load: a fixed number of requests over a fixed number of connections. Bare sockets where that can be had, so that
 * it costs little. Takes orders from and reports to its parent by messages; whatever goes wrong is an answer too, and so
 * is a proxy that gives none.
 */
import type { Client, Job } from './load/client.ts'
import { Course, type Result } from './load/course.ts'
import { Http1Client } from './load/http1.ts'
import { Http2Client, STREAMS } from './load/http2.ts'
import { WebSocketClient } from './load/websocket.ts'

export type Order = { readonly what: 'open'; readonly job: Job } | { readonly what: 'run' | 'count' | 'close' }
export type Report =
  | { readonly what: 'done' }
  | { readonly what: 'counted'; readonly kept: number }
  | { readonly what: 'ran'; readonly result: Result }
  | { readonly what: 'failed'; readonly reason: string }

/** How many connect at once: more would overflow what the system keeps for a listener. */
const AT_ONCE = 100

const clients: Client[] = []
let job: Job | undefined

const CLIENTS = {
  'http/1.1': Http1Client,
  'http/2': Http2Client,
  websocket: WebSocketClient,
} as const

/** Adds to those that are open. */
async function open(wanted: Job): Promise<Report> {
  job = wanted
  const share = wanted.protocol === 'http/2' ? STREAMS : 1
  let left = Math.ceil(wanted.connections / share)
  while (left > 0) {
    const batch = Array.from({ length: Math.min(left, AT_ONCE) }, () => new CLIENTS[wanted.protocol](wanted))
    clients.push(...batch)
    left -= batch.length
    // oxlint-disable-next-line no-await-in-loop -- batch by batch
    await within(wanted, `connecting`, Promise.all(batch.map((client) => client.open())))
  }
  return { what: 'done' }
}

async function run(asked: Job): Promise<Report> {
  const course = new Course(asked.requests, asked.perSecond)
  course.start()
  for (const client of clients) client.run(course)
  const result = await within(asked, () => course.progress, course.result)
  return { what: 'ran', result }
}

function close(): Report {
  for (const client of clients.splice(0)) client.close()
  return { what: 'done' }
}

async function within<Value>({ deadlineMs }: Job, at: string | (() => string), value: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    late.reject(new Error(`nothing more after ${deadlineMs / 1000} s: ${typeof at === 'string' ? at : at()}`))
  }, deadlineMs)
  try {
    return await Promise.race([value, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

async function follow(order: Order): Promise<Report> {
  if (order.what === 'open') return open(order.job)
  if (order.what === 'close') return close()
  if (order.what === 'count') return { what: 'counted', kept: clients.filter(({ kept }) => kept).length }
  if (job === undefined) throw new Error('nothing is open')
  return run(job)
}

process.on('message', (order: Order) => {
  follow(order).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      close()
      const report: Report = { what: 'failed', reason: error instanceof Error ? error.message : String(error) }
      process.send?.(report)
    },
  )
})
