/**
 * Hosts, addresses and backend URLs: reading them strictly. The URL parser of browsers forgives far too much
 * (`http:127.1\x` is an address to it) for a file that says where traffic goes.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { show } from './problem.ts'

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
const HOST_NAME = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`)

/** In lower case and, for other alphabets, in the form that is sent; `undefined` when it is no host name. */
export function hostName(host: string): string | undefined {
  // The conversion would stop at a slash and decode escapes, and be content.
  if (/[\s/?#@:%\\]/.test(host)) return undefined
  const ascii = domainToASCII(host).toLowerCase()
  // `1.2.3` and `0x7f.1` become addresses when parsed as URLs: only what is written as an address is one.
  if (!HOST_NAME.test(ascii) || (isIPv4(ascii) && ascii !== host)) return undefined
  return /^(0x[0-9a-f]*|\d+)$/.test(ascii.split('.').at(-1) ?? '') && !isIPv4(ascii) ? undefined : ascii
}

/** An address or name to listen on. */
export function isBindable(host: string): boolean {
  return isIP(host) !== 0 || hostName(host) !== undefined
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

/** An address, or a name in the domain that stands for them (RFC 6761, section 6.3), that leads to this machine only. */
export function isLoopback(host: string): boolean {
  const version = isIP(host)
  if (version !== 0) return LOOPBACK.check(host, version === 6 ? 'ipv6' : 'ipv4')
  const name = hostName(host) ?? ''
  return name === 'localhost' || name.endsWith('.localhost')
}

const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16)
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')
// How IPv6 networks reach IPv4 (RFC 6052); the form that maps it (`::ffff:`) the list knows by itself.
LINK_LOCAL.addSubnet('64:ff9b::169.254.0.0', 112, 'ipv6')

/** An address of the machine's own link, where clouds hand out credentials to whoever asks. */
export function isLinkLocal(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1')
  const version = isIP(address)
  return version !== 0 && LINK_LOCAL.check(address, version === 6 ? 'ipv6' : 'ipv4')
}

export function isAddressOrRange(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0 || address.includes('%')) return false
  if (bits === undefined) return true
  return /^(0|[1-9]\d{0,2})$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)
}

/** `host`, `host:port` or `[v6]:port`, as it may stand in a Host field. */
export function isHostField(value: string): boolean {
  const parts = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(value)
  const host = parts?.[1]
  if (host === undefined || Number(parts?.[2] ?? 1) > 65_535 || Number(parts?.[2] ?? 1) < 1) return false
  return host.startsWith('[') ? isIPv6(host.slice(1, -1)) : hostName(host) !== undefined
}

/** A backend's URL; a string is what is wrong with it. */
export function readBackendUrl(written: string): URL | string {
  // Credentials first: no message may repeat them.
  if (/^[^/]*\/\/[^/?#]*@/.test(written)) return 'expected a URL without credentials'
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\]*)([^?#]*)(.*)$/is.exec(written)
  if (parts === null) return `expected a URL such as http://127.0.0.1:9001, got ${show(written)}`
  const [, scheme = '', authority = '', path = '', rest = ''] = parts
  if (!/^https?$/i.test(scheme)) return `expected a URL that begins with http:// or https://, got ${show(written)}`
  if (rest !== '')
    return `expected a URL without ${rest.startsWith('?') ? 'a query' : 'a fragment'}, got ${show(written)}`
  if (path !== '' && path !== '/') {
    return `expected a URL without a path, got ${show(written)}; a route's rewrite.addPrefix puts one in front`
  }
  if (!isHostField(authority)) return `expected a valid host and port, got ${show(written)}`
  const url = URL.canParse(written) ? new URL(written) : undefined
  return url ?? `expected a valid host and port, got ${show(written)}`
}

/** `host:port`, with the port always there. */
export function hostAndPort(url: URL): string {
  return `${url.hostname}:${url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port}`
}
