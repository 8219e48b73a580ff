/**
 * A backend: works on as many requests at once as it has slots, each for its service time; the others queue, first come
 * first served. It takes orders from its parent about how to misbehave, and stops gracefully on SIGTERM.
 */
import { createServer, type ServerResponse } from 'node:http'

import { fails, serviceTime } from './chance.ts'

export interface Settings {
  readonly index: number
  readonly port: number
  /** Which fleet it belongs to; its answers carry it. */
  readonly token: string
  readonly seed: number
  readonly slots: number
  readonly serviceMs: number
}

export interface Faults {
  /** How many times longer everything takes. */
  readonly slowdown: number
  /** The share of requests that it answers 500, at once. */
  readonly failing: number
  /** Whether every connection is reset as soon as it brings a request, a check too. */
  readonly resetting: boolean
}

interface Work {
  readonly request: number
  readonly response: ServerResponse
}

const STOP_AFTER_MS = 3_000
// Long enough that in no run an idle connection is closed: how that is raced is not the subject here.
const KEEP_ALIVE_MS = 60_000

const settings: Settings = JSON.parse(process.argv[2] ?? '{}')
let faults: Faults = { slowdown: 1, failing: 0, resetting: false }
let stopping = false
let busy = 0
const queue: Work[] = []

function answer(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': text.length,
    'x-backend': settings.index,
    'x-fleet': settings.token,
    ...(stopping && { connection: 'close' }),
  })
  response.end(text)
}

function begin({ request, response }: Work): void {
  busy++
  const durationMs = serviceTime(settings.seed, request, settings.serviceMs) * faults.slowdown
  setTimeout(() => {
    busy--
    answer(response, 200, {
      id: request,
      name: 'an item of the catalogue',
      price: 1999,
      tags: ['new', 'blue', 'small'],
    })
    beginNext()
  }, durationMs)
}

/** Whoever has left the queue is not worked on; whoever leaves a slot is, to the end. */
function beginNext(): void {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    if (next.response.destroyed) continue
    begin(next)
    return
  }
}

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, noDelay: true }, (message, response) => {
  const { url = '', socket } = message
  if (faults.resetting) return void socket.resetAndDestroy()
  if (url === '/health') return answer(response, 200, { status: 'ok' })
  const request = Number(url.slice(url.lastIndexOf('/') + 1))
  if (fails(settings.seed, request, faults.failing)) return answer(response, 500, { error: 'out of order' })
  const work = { request, response }
  if (busy < settings.slots) begin(work)
  else queue.push(work)
})

process.on('message', (order: Partial<Faults>) => {
  faults = { ...faults, ...order }
  process.send?.('obeyed')
})

process.once('SIGTERM', () => {
  stopping = true
  server.close(() => process.exit())
  setTimeout(() => process.exit(), STOP_AFTER_MS)
})

// It does not outlive its parent.
process.once('disconnect', () => process.exit())

server.listen(settings.port, '127.0.0.1', () => process.send?.('listening'))
