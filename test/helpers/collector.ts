/**
 * A collector of traces, as OpenTelemetry's protocol over HTTP wants one (OTLP, JSON): it remembers what it was sent, and
 * answers as a test tells it to.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

import type { Test } from 'tap'

import { guarded, portOf } from './raw.ts'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  /** 2: of a server; 3: of a client. */
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: Readonly<Record<string, unknown>> }>
  /** 2: an error. */
  readonly status: { readonly code: number }
}

export interface Collector {
  readonly url: string
  readonly spans: readonly CollectedSpan[]
  readonly messages: ReadonlyArray<{ readonly headers: IncomingMessage['headers']; readonly text: string }>
  /** Waits for the n-th message, from 1 on. */
  message(n: number): Promise<void>
}

interface Message {
  readonly resourceSpans: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: readonly CollectedSpan[] }>
  }>
}

export async function collector(
  t: Test,
  answer: (response: ServerResponse) => void = (response) => response.end('{}'),
): Promise<Collector> {
  const spans: CollectedSpan[] = []
  const messages: Array<Collector['messages'][number]> = []
  const waiting: Array<() => void> = []
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    request.on('end', () => {
      const message: Message = JSON.parse(text)
      for (const { scopeSpans } of message.resourceSpans) for (const each of scopeSpans) spans.push(...each.spans)
      messages.push({ headers: request.headers, text })
      answer(response)
      for (const wake of waiting.splice(0)) wake()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const arrived = async (n: number): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- until it has come
    while (messages.length < n) await new Promise<void>((resolve) => void waiting.push(resolve))
  }
  return {
    url: `http://127.0.0.1:${portOf(server)}/v1/traces`,
    spans,
    messages,
    message: async (n) => guarded(arrived(n), () => `message ${n}; there are ${messages.length}`),
  }
}

/** What a span says under these names. */
export function told(span: CollectedSpan | undefined, ...names: readonly string[]): unknown[] {
  return names.map((name) => {
    const value = span?.attributes.find(({ key }) => key === name)?.value
    return value === undefined ? undefined : Object.values(value)[0]
  })
}
