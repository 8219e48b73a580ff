/**
 * The request target (RFC 9112, section 3.2): taken apart without decoding, so that what is forwarded is what came,
 * byte for byte; and refused where a backend that tidies up paths could be led out of a route's prefix.
 */
import type { IncomingMessage } from 'node:http'

import { isHttp2 } from './wire.ts'

/** The target of an OPTIONS that asks about the server as a whole (RFC 9112, section 3.2.4). */
export const SERVER_WIDE = '*'

export interface Target {
  /** The path as sent, which begins with '/'; or `SERVER_WIDE`. */
  readonly path: string
  /** From the question mark on, or ''. */
  readonly query: string
  /** The authority of an absolute-form target, which goes before the Host field. */
  readonly authority: string | undefined
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i

/** @returns what a request asks for, or undefined when it is not one that can be forwarded */
export function targetOf(raw: IncomingMessage & { readonly originalUrl?: string }): Target | undefined {
  // What came, not what routers see of it.
  const url = raw.originalUrl ?? raw.url ?? ''
  if (isHttp2(raw)) return http2Target(raw, url)
  // Node's parser lets HTTP/0.9 and HTTP/2.0 through, too.
  if (raw.httpVersionMajor !== 1) return undefined
  if (url === SERVER_WIDE && raw.method === 'OPTIONS') return { path: SERVER_WIDE, query: '', authority: undefined }
  return parseTarget(url)
}

/** Nothing here may become a second line, or a second word of the first one, in HTTP/1 (RFC 9113, section 8.3.1). */
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\0-\x20\x7f]/

function http2Target({ headers, method }: IncomingMessage, url: string): Target | undefined {
  const { ':authority': authority, host } = headers
  if (UNSAFE.test(url)) return undefined
  // Two names for one host: who comes behind us might take the other one.
  if (typeof authority === 'string' && host !== undefined && authority !== host) return undefined
  const named = typeof authority === 'string' ? authority : undefined
  if (url === SERVER_WIDE && method === 'OPTIONS') return { path: SERVER_WIDE, query: '', authority: named }
  return url.startsWith('/') ? split(url, named) : undefined
}

/** @returns the parts, or undefined when the target is not one that can be forwarded */
export function parseTarget(url: string): Target | undefined {
  if (url.charCodeAt(0) === 0x2f) return split(url, undefined)
  const absolute = ABSOLUTE.exec(url)
  if (absolute === null) return undefined
  const [, authority = '', rest = ''] = absolute
  if (authority === '' || authority.includes('@')) return undefined
  return split(rest.startsWith('/') ? rest : `/${rest}`, authority)
}

function split(url: string, authority: string | undefined): Target | undefined {
  if (url.includes('#')) return undefined
  const mark = url.indexOf('?')
  return mark === -1
    ? { path: url, query: '', authority }
    : { path: url.slice(0, mark), query: url.slice(mark), authority }
}

/** A segment that begins with a dot, plain or encoded, behind any of the separators that some server takes for one. */
const DOT_SEGMENT = /(?:[/\\]|%2f|%5c)(?:\.|%2e)/i

/**
 * Whether a server that resolves dot segments would see a path outside of `prefix`.
 *
 * @param prefix the literal part of the route's path, without a slash at the end
 */
export function leavesPrefix(path: string, prefix: string): boolean {
  if (!DOT_SEGMENT.test(path)) return false
  const segments = path
    .replace(/%2e/gi, '.')
    .replace(/\\|%2f|%5c/gi, '/')
    .split('/')
    .slice(1)
  // Some servers take several slashes for one before they resolve (nginx does): neither reading may lead out.
  const merged = segments.filter((segment) => segment !== '')
  return resolvesOutside(segments, prefix) || resolvesOutside(merged, prefix)
}

function resolvesOutside(segments: readonly string[], prefix: string): boolean {
  const resolved: string[] = []
  for (const segment of segments) {
    // A parameter behind a semicolon (/..;/) is stripped by some servers before they resolve.
    const [name] = segment.split(';', 1)
    if (name === '..') {
      if (resolved.pop() === undefined) return true
    } else if (name !== '.') resolved.push(segment)
  }
  const plain = `/${resolved.join('/')}`
  return prefix !== '' && plain !== prefix && !plain.startsWith(`${prefix}/`)
}

export interface Rewrite {
  readonly stripPrefix: string
  readonly addPrefix: string
}

/** The path a backend sees, or undefined when the prefix to strip is not literally there. */
export function rewritePath(path: string, rewrite: Rewrite): string | undefined {
  const strip = trimSlash(rewrite.stripPrefix)
  if (strip !== '' && path !== strip && !path.startsWith(`${strip}/`)) return undefined
  const rest = path.slice(strip.length)
  const add = trimSlash(rewrite.addPrefix)
  return `${add}${rest}` || '/'
}

function trimSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
}

/** An ASCII character, the bytes of others, or a percent sign that encodes nothing. */
const ENCODED = /%[0-7][\da-f]|((?:%[89a-f][\da-f])+)|%/gi

/**
 * A URL as routers want it. They decode paths as UTF-8 and refuse what is none, but to HTTP a path is bytes: where they
 * would fail, the percent sign itself is encoded. For looking up routes only.
 */
export function routable(url: string): string {
  if (!url.includes('%')) return url
  const mark = url.indexOf('?')
  const path = mark === -1 ? url : url.slice(0, mark)
  if (isDecodable(path)) return url
  const masked = path.replace(ENCODED, (found: string, bytes: string | undefined) => {
    const kept = bytes === undefined ? found.length > 1 : isDecodable(bytes)
    return kept ? found : found.replaceAll('%', '%25')
  })
  return masked + url.slice(path.length)
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
