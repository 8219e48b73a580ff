/**
 * An error in the log: its words and where it came from. Whatever else hangs on it stays out: errors of HTTP clients
 * carry whole requests, with whoever's credentials.
 */
import { stdSerializers } from 'pino'

export interface ErrorInLog extends Record<string, unknown> {
  readonly type: string
  readonly message: string
  readonly stack: string
}

export function errorInLog(error: Error): ErrorInLog {
  const { type, message, stack, code } = stdSerializers.err(error)
  return code === undefined ? { type, message, stack } : { type, message, stack, code: String(code) }
}
