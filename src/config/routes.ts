/**
 * What routes mean: a pool that is there, a pattern that can match, no two routes for the same requests.
 */
import { METHODS } from 'node:http'
import { hostName } from './addresses.ts'
import { judgeHeaderRules } from './headers.ts'
import { listing, nearest } from './nearest.ts'
import { type Path, show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'

/** What can be routed. CONNECT asks for a tunnel to anywhere, which a gateway does not give. */
export const ROUTABLE: ReadonlySet<string> = new Set(METHODS.filter((method) => method !== 'CONNECT'))

/** After so many misspelt pools one more suggestion helps nobody, and costs time. */
const MOST_SUGGESTIONS = 50

interface Pattern {
  readonly at: Path
  readonly methods: readonly string[] | undefined
}

export function judgeRoutes(config: Readonly<Record<string, unknown>>, findings: Findings): void {
  const pools = record(config['pools'])
  const used = new Set<string>()
  const groups = new Map<string, Pattern[]>()
  let allKnown = true
  let suggestions = MOST_SUGGESTIONS
  for (const [index, value] of list(config['routes']).entries()) {
    const route = record(value)
    const at = ['routes', index]
    const pool = text(route?.['pool'])
    if (pool === undefined) allKnown = false
    else if (pools !== undefined) {
      used.add(pool)
      if (!Object.hasOwn(pools, pool)) reportPool(pool, pools, suggestions-- > 0, [...at, 'pool'], findings)
    }
    if (route !== undefined) judgeRoute(route, at, groups, findings)
  }
  for (const group of groups.values()) judgeGroup(group, findings)
  if (pools !== undefined) judgeUse(pools, used, allKnown, config['routes'], findings)
}

function reportPool(name: string, pools: object, suggest: boolean, path: Path, findings: Findings): void {
  const names = Object.keys(pools)
  const meant = suggest ? nearest(name, names) : undefined
  const hint = meant === undefined ? `expected one of ${listing(names)}` : `did you mean ${show(meant)}?`
  findings.error(path, `there is no pool ${show(name)}, ${hint}`)
}

function judgeUse(
  pools: object,
  used: ReadonlySet<string>,
  allKnown: boolean,
  routes: unknown,
  findings: Findings,
): void {
  const names = Object.keys(pools)
  if (routes === undefined || (Array.isArray(routes) && routes.length === 0)) {
    if (names.length < 2) return
    findings.error(['pools'], 'several pools need routes that say which requests go to which pool', 'key')
  } else if (allKnown && Array.isArray(routes)) {
    for (const name of names) {
      if (!used.has(name)) findings.warn(['pools', name], 'no route leads to this pool', 'key')
    }
  }
}

function judgeRoute(
  route: Readonly<Record<string, unknown>>,
  at: Path,
  groups: Map<string, Pattern[]>,
  findings: Findings,
): void {
  const path = text(route['path'])
  const shape = path === undefined ? undefined : judgePath(path, [...at, 'path'], findings)
  const host = judgeHost(text(route['host']), [...at, 'host'], findings)
  const methods = judgeMethods(route['methods'], [...at, 'methods'], findings)
  judgeRewrite(record(route['rewrite']), path, [...at, 'rewrite'], findings)
  for (const rules of ['requestHeaders', 'responseHeaders'])
    judgeHeaderRules(record(route[rules]), [...at, rules], findings)
  if (shape === undefined || host === undefined || methods === 'wrong') return
  const key = `${host} ${shape}`
  const group = groups.get(key)
  if (group === undefined) groups.set(key, [{ at, methods }])
  else group.push({ at, methods })
}

function judgePath(path: string, at: Path, findings: Findings): string | undefined {
  const wrong = whyUnmatchable(path)
  if (wrong === undefined) return pathShape(path)
  findings.error(at, `${wrong}, got ${show(path)}`)
  return undefined
}

/** The path without the names of its parameters, which play no part in what it matches. */
export function pathShape(path: string): string {
  return path.replaceAll(/\/:[^/]+/g, '/:')
}

function whyUnmatchable(path: string): string | undefined {
  if (!path.startsWith('/')) return 'expected a path that begins with /'
  if (/\\|\(\?|:\w+\(/.test(path)) return 'expected a path without regular expressions, which routes do not have'
  if (/[?#]/.test(path)) return 'expected a path without a query or fragment'
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  if (/[\s\u0000-\u001f\u007f]/.test(path)) return 'expected a path without spaces and control characters'
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return 'expected two hexadecimal digits after every %'
  const segments = path.slice(1).split('/')
  const names = segments.filter((segment) => segment.startsWith(':'))
  if (segments.some(isDots)) return 'expected a path without the segments . and .., which no request has in the end'
  if (segments.slice(0, -1).some((segment) => segment.includes('*')) || /[^/]\*|\*./.test(path)) {
    return 'expected * only as the last segment, as in /orders/*'
  }
  if (names.includes(':')) return 'expected a name after :, as in /users/:id'
  if (path.split(':').length - 1 !== names.length || names.some((name) => !/^:\w+$/.test(name))) {
    return 'expected parameters that are whole segments named with letters, digits and _, as in /users/:id'
  }
  return new Set(names).size < names.length ? 'expected every parameter to have a name of its own' : undefined
}

function isDots(segment: string): boolean {
  return /^(\.|%2e){1,2}$/i.test(segment)
}

/** In lower case; '' for every host; `undefined` when it is wrong. */
function judgeHost(host: string | undefined, at: Path, findings: Findings): string | undefined {
  if (host === undefined) return ''
  const normal = routeHost(host)
  if (normal !== undefined) return normal
  findings.error(
    at,
    `expected a host without scheme, port and path, such as shop.example.com or *.example.com, got ${show(host)}`,
  )
  return undefined
}

/** A route's host as requests are compared with it. */
export function routeHost(host: string): string | undefined {
  const wildcard = host.startsWith('*.')
  const name = hostName(wildcard ? host.slice(2) : host)
  return name === undefined || !wildcard ? name : `*.${name}`
}

function judgeMethods(value: unknown, at: Path, findings: Findings): readonly string[] | undefined | 'wrong' {
  if (value === undefined) return undefined
  const methods: string[] = []
  const written = list(value)
  for (const [index, item] of written.entries()) {
    const method = text(item)?.toUpperCase()
    if (method === undefined) continue
    if (ROUTABLE.has(method)) {
      methods.push(method)
      continue
    }
    const meant = nearest(method, ROUTABLE)
    const hint = meant === undefined ? 'expected a method such as GET or POST' : `did you mean ${meant}?`
    findings.error([...at, index], `unknown method ${show(item)}, ${hint}`)
  }
  return methods.length === written.length && methods.length > 0 ? methods : 'wrong'
}

function judgeRewrite(
  rewrite: Readonly<Record<string, unknown>> | undefined,
  path: string | undefined,
  at: Path,
  findings: Findings,
): void {
  for (const key of ['stripPrefix', 'addPrefix']) {
    const prefix = text(rewrite?.[key])
    if (prefix === undefined || prefix === '') continue
    const wrong = whyNoPrefix(prefix)
    if (wrong !== undefined) findings.error([...at, key], `${wrong}, got ${show(prefix)}`)
    else if (key === 'stripPrefix' && path !== undefined && !isPrefix(withoutSlash(prefix), path)) {
      findings.error([...at, key], `expected a prefix of the route's path ${show(path)}, got ${show(prefix)}`)
    }
  }
}

function whyNoPrefix(prefix: string): string | undefined {
  if (!prefix.startsWith('/')) return 'expected a path that begins with /'
  if (/[?#*]/.test(prefix)) return 'expected a path without query, fragment and *'
  if (!/^[\x21-\x7e]+$/.test(prefix)) return 'expected a path of visible ASCII characters (others as %XX)'
  if (/%(?![0-9A-Fa-f]{2})/.test(prefix)) return 'expected two hexadecimal digits after every %'
  if (prefix.split('/').some(isDots)) return 'expected a path without the segments . and ..'
  return prefix.includes('/:') ? 'expected a path without parameters' : undefined
}

/** `/old/` and `/old` mean the same prefix. */
export function withoutSlash(prefix: string): string {
  return prefix.replace(/\/+$/, '')
}

/** By whole segments: `/ol` is no prefix of `/old/*`. */
function isPrefix(prefix: string, path: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`)
}

/** Routes of the same host and shape: each method may be taken once, and what is left by one route without methods. */
function judgeGroup(group: readonly Pattern[], findings: Findings): void {
  const taken = new Map<string, Path>()
  let rest: Path | undefined
  for (const { at, methods } of group) {
    if (methods === undefined) {
      if (rest === undefined) rest = at
      else findings.error(at, `takes the same requests as ${named(rest, findings)}`)
      continue
    }
    const clash = methods.find((method) => taken.has(method))
    const other = clash === undefined ? undefined : taken.get(clash)
    if (other !== undefined) findings.error(at, `takes the same ${clash} requests as ${named(other, findings)}`)
    for (const method of methods) if (!taken.has(method)) taken.set(method, at)
  }
  if (rest !== undefined && taken.size > 0) judgeRest(rest, taken, findings)
}

function judgeRest(rest: Path, taken: ReadonlyMap<string, Path>, findings: Findings): void {
  const [first] = taken.values()
  const by = first === undefined ? '' : named(first, findings)
  if (taken.size >= ROUTABLE.size) {
    findings.error(rest, `can never match: every method is taken by other routes, the first of them ${by}`)
  } else {
    findings.warn(
      rest,
      `partly shadowed: ${listing(taken.keys())} on this path goes to other routes, the first of them ${by}`,
    )
  }
}

function named(at: Path, findings: Findings): string {
  return `routes[${String(at[1])}]${findings.line(at)}`
}
