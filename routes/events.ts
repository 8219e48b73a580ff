/**
 * What has changed in the gateway by itself or by hand: the last events as JSON, or one after the other as they come, as
 * server-sent events (WHATWG HTML, section 9.2), which go on where a client that comes back left off; between them, when
 * asked by `?figures=1s`, how everything stands, in that rhythm (src/metrics/feed.ts).
 */
import type { ServerResponse } from 'node:http'

import type { FastifyInstance } from 'fastify'

import type { GatewayEvent } from '../plugins/events.ts'
import { formatDuration, parseDuration } from '../src/config/units.ts'
import { errorBody } from '../src/errors.ts'
import { Feeds, LONGEST_MS, SHORTEST_MS } from '../src/metrics/feeds.ts'

export interface EventsOptions {
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
  readonly version: string
}

interface Get {
  readonly Querystring: { readonly figures?: unknown }
}

/** Proxies in between close what is silent for a minute, and a client that is gone shows when it is written to. */
const BEAT_MS = 15_000
/** A client that does not read is cut off; it may come back and ask for what it missed. */
const MOST_UNREAD = 1024 ** 2

export default function events(app: FastifyInstance, { gateway, version }: EventsOptions, done: () => void): void {
  const streams = new Set<ServerResponse>()
  const run = `${gateway.lifecycle.startedAt.getTime().toString(36)}-`
  const feeds = new Feeds(gateway.figures, {
    pools: () => gateway.snapshot.pools,
    hash: () => gateway.configuration.inForce.hash,
    openConnections: () => gateway.lifecycle.open.size,
    version,
    startedAt: gateway.lifecycle.startedAt,
  })
  app.get<Get>('/events', (request, reply) => {
    const { figures } = request.query
    const everyMs = figures === undefined ? undefined : rhythmOf(figures)
    if (figures !== undefined && everyMs === undefined) {
      return reply.code(400).send(errorBody(400, 'SLUICE_BAD_REQUEST', WRONG_RHYTHM, request.id))
    }
    if (request.headers.accept?.includes('text/event-stream') !== true) return reply.send(gateway.events.latest)
    // Nothing could be written to it, so that it would neither begin nor show that its client is gone.
    if (request.method === 'HEAD') return reply.headers(STREAM_FIELDS).send()
    reply.hijack()
    const last = lastTold(request.headers['last-event-id'])
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value)
    }
    stream(reply.raw, last, everyMs)
    return reply
  })
  app.addHook('preClose', (closing) => {
    for (const each of streams) each.end()
    closing()
  })
  done()

  /** 0 for who has been told nothing by this process: another one counted its own. */
  function lastTold(id: string | string[] | undefined): number {
    return typeof id === 'string' && id.startsWith(run) ? Number(id.slice(run.length)) || 0 : 0
  }

  /** JSON has no line ends of its own, so that one event is one line of data. */
  function written(event: GatewayEvent): string {
    return `id: ${run}${event.id}\nevent: ${event.what}\ndata: ${JSON.stringify(event)}\n\n`
  }

  function stream(response: ServerResponse, last: number, everyMs: number | undefined): void {
    response.writeHead(200, STREAM_FIELDS)
    const missed = gateway.events.latest.filter(({ id }) => id > last)
    // At once, also when there is nothing to tell: the client learns that it is connected.
    response.write(`retry: 1000\n\n${missed.map(written).join('')}`)
    const stopListening = gateway.events.listen((event) => write(response, written(event)))
    const stopFigures = everyMs === undefined ? undefined : feeds.listen(everyMs, (text) => write(response, text))
    const beat = setInterval(() => write(response, ':\n\n'), BEAT_MS)
    streams.add(response)
    response.on('close', () => {
      stopListening()
      stopFigures?.()
      clearInterval(beat)
      streams.delete(response)
    })
  }
}

const STREAM_FIELDS = { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
const WRONG_RHYTHM = `Expected figures to be from ${formatDuration(SHORTEST_MS)} to ${formatDuration(LONGEST_MS)}, such as 1s`

function rhythmOf(value: unknown): number | undefined {
  const ms = parseDuration(value)
  return ms !== undefined && ms >= SHORTEST_MS && ms <= LONGEST_MS ? ms : undefined
}

function write(response: ServerResponse, text: string): void {
  if (response.writableLength > MOST_UNREAD) response.destroy()
  else response.write(text)
}
