/**
 * What of a request decides where it goes under consistent hashing: the client's address, a header field, a cookie, a
 * parameter of the query, or the path; from code, any function of the request.
 */
import type { RequestInfo } from './algorithm.ts'
import { TOKEN } from '../fields.ts'

/** Exactly one of them. */
export type HashKey =
  | { readonly ip: true }
  | { readonly path: true }
  | { readonly header: string }
  | { readonly cookie: string }
  | { readonly query: string }
  | KeyOf

/** The key of a request; `undefined` or '' when it has none. */
export type KeyOf = (request: RequestInfo) => string | undefined

const EXPECTED = 'one of { ip: true }, { path: true }, { header: NAME }, { cookie: NAME } and { query: NAME }'

/** @throws {TypeError} when it is none of the above */
export function keyReader(key: unknown): KeyOf {
  if (typeof key === 'function') return functionReader(key)
  if (typeof key !== 'object' || key === null) throw new TypeError(`its key must be ${EXPECTED}`)
  const [entry, ...more] = Object.entries(key)
  if (entry === undefined || more.length > 0) throw new TypeError(`its key must be exactly ${EXPECTED}`)
  const [kind, name]: [string, unknown] = entry
  switch (kind) {
    case 'ip':
      if (name !== true) break
      return (request) => request.ip
    case 'path':
      if (name !== true) break
      return (request) => request.path
    case 'header':
      return headerReader(tokenOf(kind, name).toLowerCase())
    case 'cookie':
      return cookieReader(tokenOf(kind, name))
    case 'query':
      if (typeof name !== 'string' || name === '') break
      return queryReader(name)
    default:
  }
  throw new TypeError(`its key must be ${EXPECTED}`)
}

// oxlint-disable-next-line typescript/no-unsafe-function-type -- what typeof can tell of a user's function
function functionReader(read: Function): KeyOf {
  return (request) => {
    const key: unknown = read(request)
    return typeof key === 'string' ? key : undefined
  }
}

function tokenOf(kind: string, name: unknown): string {
  if (typeof name === 'string' && TOKEN.test(name)) return name
  throw new TypeError(`its key's ${kind} must be the name of a ${kind}`)
}

function headerReader(name: string): KeyOf {
  return (request) => request.header(name)
}

/** The first cookie of that name; pairs are separated by a semicolon and a space (RFC 6265, section 4.2.1). */
function cookieReader(name: string): KeyOf {
  return (request) => {
    const value = valueAfter(request.header('cookie') ?? '', 0, name, ';')
    return value?.trim()
  }
}

/** The first parameter of that name, decoded: however a client escapes it, the same value goes to the same place. */
function queryReader(name: string): KeyOf {
  return (request) => {
    const { query } = request
    const from = query.startsWith('?') ? 1 : 0
    const plain = valueAfter(query, from, name, '&')
    if (plain !== undefined && !plain.includes('%') && !plain.includes('+')) return plain
    // Rare: an escaped value, or perhaps an escaped name.
    if (!query.includes('%') && !query.includes('+')) return undefined
    return new URLSearchParams(query).get(name) ?? undefined
  }
}

/** Of a list of `name=value`, the first value of that name. Takes out nothing but that value. */
function valueAfter(list: string, from: number, name: string, separator: string): string | undefined {
  let start = from
  while (start < list.length) {
    if (list.charCodeAt(start) === 0x20) {
      start += 1
      continue
    }
    const end = list.indexOf(separator, start)
    const stop = end === -1 ? list.length : end
    if (list.charCodeAt(start + name.length) === 0x3d && list.startsWith(name, start))
      return list.slice(start + name.length + 1, stop)
    start = stop + 1
  }
  return undefined
}
