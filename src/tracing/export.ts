/**
 * Spans on their way to a collector: some wait, some are being sent, and what is too much is dropped and counted. The
 * packages that do the sending are loaded when the first gateway asks for them.
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'

import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'

import type { TracingExportSettings } from '../config/settings.ts'
import type { Exchange } from '../transport/exchange.ts'
import { spansOf, type Span, type SpanSurroundings } from './spans.ts'

/** Making them into one message takes a millisecond, during which nothing else happens. */
const BATCH = 128
/** How long a span waits for others to go with. */
const GATHER_MS = 1000
/** How often it is told that spans are lost. */
const WARN_EVERY_MS = 10_000
/** What the collector says goes into the log. */
const LONGEST_REASON = 200
/** The exporter keeps to its timeout as long as the collector keeps silent; one that dribbles is cut off then. */
const CUT_AFTER_MS = 500

/** @param version of this gateway */
export async function openExport(
  settings: TracingExportSettings,
  version: string,
  warn: (message: string) => void,
): Promise<SpanExport> {
  const [{ SpanKind, SpanStatusCode }, { OTLPTraceExporter: Exporter }, { resourceFromAttributes }] = await Promise.all(
    [
      import('@opentelemetry/api'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ],
  )
  const { url, headers, service, timeoutMs } = settings
  const agent = new (url.startsWith('https:') ? HttpsAgent : HttpAgent)({ keepAlive: true })
  const exporter = new Exporter({
    url,
    headers: { ...headers },
    timeoutMillis: timeoutMs,
    httpAgentOptions: () => agent,
  })
  const around = {
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    scope: { name: 'sluice', version },
    kinds: SpanKind,
    statuses: SpanStatusCode,
  }
  return new SpanExport(settings, exporter, agent, around, warn)
}

export class SpanExport {
  readonly #settings: TracingExportSettings
  readonly #exporter: Pick<OTLPTraceExporter, 'export'>
  readonly #agent: HttpAgent
  readonly #around: SpanSurroundings
  readonly #warn: (message: string) => void
  #waiting: Span[] = []
  #sending: Promise<void> | undefined
  /** How many are being sent. */
  #underWay = 0
  #timer: NodeJS.Timeout | undefined
  #lost = 0
  #reason = ''
  #warnedAt = -Infinity
  /** Takes no more. */
  #closed = false
  /** What becomes of the rest has been told. */
  #over = false

  constructor(
    settings: TracingExportSettings,
    exporter: Pick<OTLPTraceExporter, 'export'>,
    agent: HttpAgent,
    around: SpanSurroundings,
    warn: (message: string) => void,
  ) {
    this.#settings = settings
    this.#exporter = exporter
    this.#agent = agent
    this.#around = around
    this.#warn = warn
  }

  /** Takes an exchange that has ended, if its trace is recorded. */
  add(exchange: Exchange): void {
    const { trace } = exchange
    if (trace === undefined || !trace.sampled || this.#closed) return
    const count = exchange.attempts + 1
    // Nothing is made that would only be thrown away.
    if (this.#waiting.length + count > this.#settings.queue) return this.#lose(count, 'too many wait for the collector')
    this.#waiting.push(...spansOf(exchange, trace, this.#around))
    this.#next()
  }

  /** Sends what waits, for no longer than this. */
  async close(withinMs: number): Promise<void> {
    this.#closed = true
    const { timeoutMs } = this.#settings
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, Math.min(withinMs, timeoutMs))))
    await Promise.race([this.#flush(), late])
    clearTimeout(timer)
    clearTimeout(this.#timer)
    const left = this.#waiting.splice(0).length + this.#underWay
    if (left > 0) this.#lose(left, 'the gateway has stopped')
    this.#tell()
    this.#over = true
    this.#agent.destroy()
  }

  async #flush(): Promise<void> {
    this.#send()
    while (this.#sending !== undefined) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other, so that a slow collector gets no more at once
      await this.#sending
    }
  }

  /** At once when there is enough to send, or nothing more will come. */
  #next(): void {
    if (this.#closed || this.#waiting.length >= BATCH) this.#send()
    else if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => this.#send(), GATHER_MS).unref()
  }

  #send(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#sending !== undefined || this.#waiting.length === 0) return
    this.#sending = this.#sendBatch(this.#waiting.splice(0, BATCH))
  }

  async #sendBatch(batch: Span[]): Promise<void> {
    this.#underWay = batch.length
    const failure = await this.#deliver(batch).catch(String)
    this.#sending = undefined
    this.#underWay = 0
    if (failure !== undefined) this.#lose(batch.length, failure)
    this.#next()
  }

  /** @returns what went wrong, if anything did */
  #deliver(batch: Span[]): Promise<string | undefined> {
    const { timeoutMs } = this.#settings
    return new Promise((resolve) => {
      const cut = setTimeout(() => {
        this.#agent.destroy()
        resolve('the collector took too long')
      }, timeoutMs + CUT_AFTER_MS).unref()
      this.#exporter.export(batch, ({ error }) => {
        clearTimeout(cut)
        resolve(error?.message.slice(0, LONGEST_REASON))
      })
    })
  }

  #lose(count: number, reason: string): void {
    if (this.#over) return
    this.#lost += count
    this.#reason = reason
    if (performance.now() - this.#warnedAt >= WARN_EVERY_MS) this.#tell()
  }

  #tell(): void {
    if (this.#lost === 0) return
    this.#warn(`${this.#lost} spans did not reach the collector: ${this.#reason}`)
    this.#lost = 0
    this.#warnedAt = performance.now()
  }
}
