/**
 * Fields behind a body. What they say comes when the message was already acted on, so most fields mean nothing there, or
 * harm: those are dropped, in both directions (RFC 9110, section 6.5.1).
 */
import type { IncomingMessage } from 'node:http'

import type { Forwarding } from './forwarding.ts'
import { passes } from './request-head.ts'
import { CONTROL, trim } from './response-head.ts'

const FORBIDDEN: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expires',
  'location',
  'max-forwards',
  'pragma',
  'range',
  'retry-after',
  'set-cookie',
  'vary',
  'via',
  'www-authenticate',
])

/** A client's trailers as field lines, each with its line end. */
export function requestTrailers({ rawTrailers }: IncomingMessage, trusted: boolean, forwarding: Forwarding): string {
  const drop = forwarding.requestHeaders?.drop
  let lines = ''
  for (let i = 0; i + 1 < rawTrailers.length; i += 2) {
    const name = rawTrailers[i] ?? ''
    const value = rawTrailers[i + 1] ?? ''
    if (mayFollow(name, drop) && passes(name, trusted) && !CONTROL.test(value)) lines += `${name}: ${value}\r\n`
  }
  return lines
}

/** A backend's trailers, as the decoder found them, in pairs. */
export function responseTrailers(section: string, forwarding: Forwarding): Array<[name: string, value: string]> {
  const drop = forwarding.responseHeaders?.drop
  const pairs: Array<[string, string]> = []
  for (const line of section.split('\r\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    // Nobody is trusted to say behind a body what even in front of it only we may say.
    if (colon > 0 && mayFollow(name, drop) && passes(name, false)) pairs.push([name, trim(line, colon + 1)])
  }
  return pairs
}

function mayFollow(name: string, drop: ReadonlySet<string> | undefined): boolean {
  const lower = name.toLowerCase()
  return !FORBIDDEN.has(lower) && drop?.has(lower) !== true
}
