/**
 * A GET as the transport is handed it, of which nobody hears anything: tests listen to what they are about.
 */
import type { Call, CallLimits, Connection } from '../../src/transport/connection.ts'
import type { AttemptError } from '../../src/transport/failure.ts'
import type { ResponseHead } from '../../src/transport/response-head.ts'

export class BareGet implements Call {
  connection: Connection | undefined
  sentAt = 0
  servedAt = 0
  writtenAt = 0
  readonly method = 'GET'
  readonly head: string
  readonly body = undefined
  readonly repeatable = false
  readonly recycles = false
  readonly upgrade = ''
  readonly limits: CallLimits = { headersMs: 10_000, bodyMs: 10_000, clientMs: 10_000, tunnelMs: 10_000 }
  readonly headBy = Infinity
  readonly abandoned = false

  constructor(path: string) {
    this.head = `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  }

  onSent(): void {}

  onInformation(): void {}

  onUpgrade(): undefined {
    return undefined
  }

  onHead(_head: ResponseHead): void {}

  onData(_chunk: Buffer): boolean {
    return true
  }

  onEnd(_trailers: string, _last?: Buffer): void {}

  onWhole(_head: ResponseHead, _content: string): void {}

  onFailure(_error: AttemptError): void {}
}
