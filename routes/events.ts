/**
 * What has changed in the gateway by itself or by hand: the last events as JSON, or one after the other as they come, as
 * server-sent events (WHATWG HTML, section 9.2), which go on where a client that comes back left off.
 */
import type { ServerResponse } from 'node:http'

import type { FastifyInstance } from 'fastify'

import type { GatewayEvent } from '../plugins/events.ts'

export interface EventsOptions {
  /** The gateway that it tells of. */
  readonly gateway: FastifyInstance
}

/** Proxies in between close what is silent for a minute, and a client that is gone shows when it is written to. */
const BEAT_MS = 15_000
/** A client that does not read is cut off; it may come back and ask for what it missed. */
const MOST_UNREAD = 1024 ** 2

export default function events(app: FastifyInstance, { gateway }: EventsOptions, done: () => void): void {
  const streams = new Set<ServerResponse>()
  app.get('/events', (request, reply) => {
    if (request.headers.accept?.includes('text/event-stream') !== true) return reply.send(gateway.events.latest)
    reply.hijack()
    const last = Number(request.headers['last-event-id'] ?? NaN)
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value)
    }
    stream(reply.raw, last)
    return reply
  })
  app.addHook('preClose', (closing) => {
    for (const each of streams) each.end()
    closing()
  })
  done()

  function stream(response: ServerResponse, last: number): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    const missed = Number.isNaN(last) ? gateway.events.latest : gateway.events.latest.filter(({ id }) => id > last)
    // At once, also when there is nothing to tell: the client learns that it is connected.
    response.write(`retry: 1000\n\n${missed.map(written).join('')}`)
    const stopListening = gateway.events.listen((event) => write(response, written(event)))
    const beat = setInterval(() => write(response, ':\n\n'), BEAT_MS)
    streams.add(response)
    response.on('close', () => {
      stopListening()
      clearInterval(beat)
      streams.delete(response)
    })
  }
}

function write(response: ServerResponse, text: string): void {
  if (response.writableLength > MOST_UNREAD) response.destroy()
  else response.write(text)
}

/** JSON has no line ends of its own, so that one event is one line of data. */
function written(event: GatewayEvent): string {
  return `id: ${event.id}\nevent: ${event.what}\ndata: ${JSON.stringify(event)}\n\n`
}
