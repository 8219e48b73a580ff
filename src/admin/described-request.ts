/**
 * A request that somebody only describes, in the parameters of a call: `?method=GET&path=/a%3Fb=1&host=h&header=x-user:1`.
 * What no client could send is refused, since the answer would be about nothing.
 */
import { METHODS } from 'node:http'
import { isIP } from 'node:net'

import type { RequestInfo } from '../core/algorithms/algorithm.ts'
import { TOKEN } from '../core/fields.ts'
import { nearest } from '../core/nearest.ts'
import { HOST } from '../transport/exchange.ts'
import { parseTarget, SERVER_WIDE, type Target } from '../transport/target.ts'

export interface DescribedRequest extends RequestInfo {
  readonly host: string | undefined
  readonly target: Target
  /** In lower case. */
  readonly headerNames: readonly string[]
}

/** What is wrong with the parameters, for whoever has written them. */
export class BadDescription extends Error {
  override readonly name = 'BadDescription'
  readonly statusCode = 400
}

const PARAMETERS: readonly string[] = ['method', 'path', 'host', 'ip', 'header']

/** Neither in a request line nor in a field. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/
/** What a request target is made of: visible ASCII (RFC 9112, section 3.2). */
const TARGET = /^[\x21-\x7e]+$/

/**
 * @param query the parameters, as many values of each as were given
 * @param ip the client's address where none is described
 * @throws {BadDescription}
 */
export function describedRequest(query: unknown, ip: string): DescribedRequest {
  const given = new Map<string, unknown>(Object.entries(Object(query)))
  for (const name of given.keys()) if (!PARAMETERS.includes(name)) throw unknownParameter(name)
  const method = methodOf(onceIn(given, 'method') ?? 'GET')
  const target = targetFor(method, onceIn(given, 'path'))
  const headers = headersOf(listIn(given, 'header'))
  return {
    method,
    target,
    path: target.path,
    query: target.query,
    host: hostOf(onceIn(given, 'host')),
    ip: addressOf(onceIn(given, 'ip') ?? ip),
    headerNames: [...headers.keys()],
    header: (name) => headers.get(name),
  }
}

function unknownParameter(name: string): BadDescription {
  const near = nearest(name, PARAMETERS)
  const meant = near === undefined ? 'An & that belongs to the path is written %26.' : `Did you mean "${near}"?`
  return new BadDescription(`There is no parameter "${name}". ${meant} Known: ${PARAMETERS.join(', ')}`)
}

function listIn(given: ReadonlyMap<string, unknown>, name: string): readonly string[] {
  const value = given.get(name)
  if (value === undefined) return []
  return (Array.isArray(value) ? value : [value]).map(String)
}

function onceIn(given: ReadonlyMap<string, unknown>, name: string): string | undefined {
  const values = listIn(given, name)
  if (values.length > 1) throw new BadDescription(`${name} is given ${values.length} times`)
  return values[0]
}

function methodOf(method: string): string {
  if (METHODS.includes(method) && method !== 'CONNECT') return method
  const upper = method.toUpperCase()
  const meant = METHODS.includes(upper) && upper !== method ? `, whose letters are upper case: ${upper}` : ''
  throw new BadDescription(`method must be one that can be forwarded${meant}`)
}

function targetFor(method: string, path: string | undefined): Target {
  if (path === undefined || path === '') throw new BadDescription('path is missing: path=/ describes the root')
  if (path === SERVER_WIDE && method === 'OPTIONS') return { path, query: '', authority: undefined }
  const target = path.startsWith('/') && TARGET.test(path) ? parseTarget(path) : undefined
  if (target !== undefined) return target
  throw new BadDescription(
    'path must begin with a slash and be as clients send it, without a space, # or anything beyond ASCII: ' +
      'what is encoded there is encoded twice here, %2520 for %20, and + is written %2B',
  )
}

function hostOf(host: string | undefined): string | undefined {
  if (host === undefined || HOST.test(host)) return host
  throw new BadDescription('host must be a name or an address, with or without a port')
}

function addressOf(ip: string): string {
  if (isIP(ip) > 0) return ip
  throw new BadDescription('ip must be an IPv4 or IPv6 address')
}

function headersOf(fields: readonly string[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const field of fields) {
    const [name = '', ...rest] = field.split(':')
    const [key, value] = [name.toLowerCase(), rest.join(':').trim()]
    // Said without what is behind the name, which may be a secret.
    if (rest.length === 0 || !TOKEN.test(name)) throw new BadDescription('header must be NAME:VALUE')
    if (CONTROL.test(value)) throw new BadDescription(`The value of header ${key} has control characters in it`)
    if (key === 'host') throw new BadDescription('The Host field has a parameter of its own: host')
    if (headers.has(key)) throw new BadDescription(`header ${key} is given twice; join its values as they would come`)
    headers.set(key, value)
  }
  return headers
}
