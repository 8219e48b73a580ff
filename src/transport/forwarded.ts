/**
 * The Forwarded field (RFC 7239): read where a trusted proxy sent it, written where a pool wants it.
 */
import { isIP } from 'node:net'

/** What one proxy says of the request it got; what it does not say, or says in a way that is no HTTP, is undefined. */
export interface ForwardedElement {
  /** An address without port and brackets; or `unknown`, or an obfuscated name. */
  readonly for: string | undefined
  readonly host: string | undefined
  readonly proto: string | undefined
}

// RFC 7239, section 4: pairs of a token and a token or quoted string, separated by ';' in an element, by ',' between.
const PAIR = /[ \t]*([!#$%&'*+\-.^_`|~\w]+)=([!#$%&'*+\-.^_`|~\w:[\]]+|"(?:[^"\\]|\\.)*")[ \t]*(;|,|$)/y
const EMPTY = /[ \t]*(;|,|$)/y

/** The elements in their order, nearest client first; undefined when it is not a Forwarded field. */
export function parseForwarded(value: string): ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = []
  let pairs = new Map<string, string>()
  let at = 0
  while (at < value.length) {
    PAIR.lastIndex = EMPTY.lastIndex = at
    const pair = PAIR.exec(value)
    const empty = pair === null ? EMPTY.exec(value) : null
    const found = pair ?? empty
    if (found === null) return undefined
    if (pair !== null) {
      const name = (pair[1] ?? '').toLowerCase()
      // RFC 7239, section 4: each once; of two, another reader may take the other one.
      if (pairs.has(name)) return undefined
      pairs.set(name, unquote(pair[2] ?? ''))
    }
    at += found[0].length
    const separator = pair === null ? empty?.[1] : pair[3]
    if (separator !== ';' && pairs.size > 0) {
      elements.push(element(pairs))
      pairs = new Map()
    }
  }
  if (pairs.size > 0) elements.push(element(pairs))
  return elements
}

function element(pairs: ReadonlyMap<string, string>): ForwardedElement {
  return { for: node(pairs.get('for')), host: pairs.get('host'), proto: pairs.get('proto')?.toLowerCase() }
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value
}

const OBFUSCATED = /^_[\w.-]+$/

/** An address without its port and brackets, or an obfuscated name (RFC 7239, section 6); all else is `unknown`. */
function node(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  const bracketed = /^\[([^\]]*)\](?::.*)?$/.exec(value)
  const address = bracketed?.[1] ?? (isIP(value) === 0 ? value.replace(/:[^:]*$/, '') : value)
  return isIP(address) !== 0 || OBFUSCATED.test(address) ? address : 'unknown'
}

/** The element for one request; `host` may be ''. */
export function formatForwarded(ip: string, host: string, proto: string): string {
  const address = isIP(ip) === 6 ? `"[${ip}]"` : ip === '' ? 'unknown' : ip
  // A colon or bracket is no token character (RFC 7239, section 4).
  const quoted = /^[!#$%&'*+\-.^_`|~\w]+$/.test(host) ? host : `"${host.replace(/["\\]/g, '\\$&')}"`
  return `for=${address}${host === '' ? '' : `;host=${quoted}`};proto=${proto}`
}
