/**
 * Which route takes a request. The most specific wins, in whatever order they are written: first by host (a name, then
 * the longest `*.suffix`, then routes for every host), then by path (a literal over a parameter over a wildcard), then
 * by method (a route that names it over one that names none). What does not match gives way to the next less specific.
 *
 * One find-my-way router a host, with one entry a path: all its routes hang on that entry. So a route for every method
 * is one entry, not one for each of Node's 35, and a method that nobody heard of is no special case.
 */
import findMyWay from 'find-my-way'

export interface Routable {
  /** `/exact`, `/prefix/*` or with `:parameters`; written decoded, since it is compared with the decoded path. */
  readonly path: string
  /** `shop.example.com` or `*.example.com`; `undefined` for every host. */
  readonly host: string | undefined
  /** `undefined` for every method. */
  readonly methods: readonly string[] | undefined
}

const SLASH = 47

/** A name has at most 253 characters (RFC 1035, section 2.3.4, less the outer octets); and then `.:65535`. */
const LONGEST_HOST = 253 + 7

/** Hosts remembered in each of two generations. A client can send any number of them, so there must be an end. */
const REMEMBERED_HOSTS = 1024

export class RouteTable<T extends Routable> {
  /** Those of other routes with the same host and path, and of their methods: they are never found. */
  readonly shadowed: readonly T[]
  readonly #everyHost: HostRoutes<T> | undefined
  /** By name, and by `.suffix` for `*.suffix`: no name begins with a dot. */
  readonly #byHost = new Map<string, HostRoutes<T>>()
  readonly #ends: readonly HostRoutes<T>[]
  #recent = new Map<string, readonly HostRoutes<T>[]>()
  #older: ReadonlyMap<string, readonly HostRoutes<T>[]> = new Map()

  constructor(routes: Iterable<T>) {
    const shadowed: T[] = []
    let everyHost: HostRoutes<T> | undefined
    for (const route of routes) {
      const host = route.host === undefined ? undefined : hostKey(route.host)
      let group = host === undefined ? everyHost : this.#byHost.get(host)
      if (group === undefined) {
        group = new HostRoutes<T>()
        if (host === undefined) everyHost = group
        else this.#byHost.set(host, group)
      }
      if (!group.add(route)) shadowed.push(route)
    }
    for (const group of this.#byHost.values()) group.build()
    everyHost?.build()
    this.#everyHost = everyHost
    this.#ends = everyHost === undefined ? [] : [everyHost]
    this.shadowed = shadowed
  }

  /** `host` is the value of the field, `path` without the query; a path that cannot be decoded matches nothing. */
  find(method: string, host: string | undefined, path: string): T | undefined {
    // find-my-way takes the first character for a slash without looking: "*" (of OPTIONS *) would be "/".
    if (path.charCodeAt(0) !== SLASH) return undefined
    if (host === undefined || this.#byHost.size === 0) return this.#everyHost?.find(method, path)
    for (const group of this.#groupsFor(host)) {
      const route = group.find(method, path)
      if (route !== undefined) return route
    }
    return undefined
  }

  /** By the field as it came, so that a host seen before costs one look-up, whatever its case and port. */
  #groupsFor(host: string): readonly HostRoutes<T>[] {
    const known = this.#recent.get(host)
    if (known !== undefined) return known
    if (host.length > LONGEST_HOST) return this.#ends
    const groups = this.#older.get(host) ?? this.#resolve(normalHost(host))
    if (this.#recent.size >= REMEMBERED_HOSTS) {
      this.#older = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(host, groups)
    return groups
  }

  #resolve(host: string): readonly HostRoutes<T>[] {
    const groups: HostRoutes<T>[] = []
    const exact = host.startsWith('.') ? undefined : this.#byHost.get(host)
    if (exact !== undefined) groups.push(exact)
    for (let dot = host.indexOf('.', 1); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const suffix = this.#byHost.get(host.slice(dot))
      if (suffix !== undefined) groups.push(suffix)
    }
    return groups.length === 0 ? this.#ends : [...groups, ...this.#ends]
  }
}

/** The routes of one host pattern. */
class HostRoutes<T extends Routable> {
  readonly #leaves = new Map<string, Leaf<T>>()
  readonly #router = findMyWay({
    // Its default is to match no segment over 100 characters.
    maxParamLength: Number.MAX_SAFE_INTEGER,
    querystringParser: () => NOTHING,
    constraints: { method: methodStrategy() },
  })
  /** Reused by every look-up: find-my-way reads it and keeps nothing. */
  #wanted: { method: string } | undefined

  /** False when earlier routes leave it nothing to match. */
  add(route: T): boolean {
    const key = canonicalPath(route.path)
    let leaf = this.#leaves.get(key)
    if (leaf === undefined) {
      leaf = new Leaf<T>(route.path === '*' ? '/*' : route.path)
      this.#leaves.set(key, leaf)
    }
    return leaf.add(route)
  }

  build(): void {
    for (const leaf of this.#leaves.values()) {
      const options = leaf.takesEveryMethod ? {} : { constraints: { method: leaf } }
      if (!leaf.takesEveryMethod) this.#wanted = { method: '' }
      this.#router.on('GET', leaf.path, options, ignore, leaf)
    }
    this.#leaves.clear()
  }

  find(method: string, path: string): T | undefined {
    const wanted = this.#wanted
    if (wanted !== undefined) wanted.method = method
    const found = this.#router.find('GET', path, wanted)
    if (found === null) return undefined
    const leaf: Leaf<T> = found.store
    return leaf.routeFor(method)
  }
}

/** The routes of one path: by method, and the one for all others. */
class Leaf<T extends Routable> {
  readonly path: string
  readonly #byMethod = new Map<string, T>()
  #others: T | undefined

  constructor(path: string) {
    this.path = path
  }

  get takesEveryMethod(): boolean {
    return this.#others !== undefined
  }

  /** The first that claims a method keeps it. */
  add(route: T): boolean {
    if (route.methods === undefined) {
      if (this.#others !== undefined) return false
      this.#others = route
      return true
    }
    const free = route.methods.filter((method) => !this.#byMethod.has(method))
    for (const method of free) this.#byMethod.set(method, route)
    return free.length > 0
  }

  routeFor(method: string): T | undefined {
    return this.#byMethod.get(method) ?? this.#others
  }
}

/**
 * How find-my-way asks, in the middle of its search, whether an entry takes the method: an answer of 0 sends it on to
 * the next less specific path. It tells the entries of a path apart by bits, of which ours always has the first alone.
 */
class MethodStorage {
  #leaf: Leaf<Routable> | undefined

  get(asked: string | Leaf<Routable>): number {
    return typeof asked === 'string' && this.#leaf?.routeFor(asked) !== undefined ? 1 : 0
  }

  set(leaf: Leaf<Routable>): void {
    this.#leaf = leaf
  }
}

function methodStrategy(): findMyWay.ConstraintStrategy<findMyWay.HTTPVersion.V1> {
  const strategy: unknown = {
    name: 'method',
    storage: () => new MethodStorage(),
    deriveConstraint: () => undefined,
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types say that a storage keeps handlers; what it keeps is bits (lib/handler-storage.js)
  return strategy as findMyWay.ConstraintStrategy<findMyWay.HTTPVersion.V1>
}

const NOTHING = Object.freeze({})

/** find-my-way wants a handler; we only ask it what it found. */
function ignore(): void {}

/** The same for paths that match the same: without the names of parameters, which end as find-my-way ends them. */
function canonicalPath(path: string): string {
  if (path === '*') return '/*'
  if (!path.startsWith('/')) throw new Error(`The route path "${path}" does not begin with a slash`)
  const key = path.replaceAll(/:(?::|[^/.(-]*)/g, (part) => (part === '::' ? part : ':'))
  if (path.includes('?')) throw new Error(`The route path "${path}" has a "?": optional parts are two routes`)
  if (/:\(/.test(key)) throw new Error(`The route path "${path}" has a regular expression, which routes do not know`)
  if (/\*./.test(path)) throw new Error(`The route path "${path}" has a "*" that is not at its end`)
  return key
}

function hostKey(host: string): string {
  const name = normalHost(host)
  const key = name.startsWith('*.') ? name.slice(1) : name
  if (key === '' || key.includes('*') || (key === name && key.startsWith('.'))) {
    throw new Error(`The route host "${host}" is neither a name nor "*." and a name`)
  }
  return key
}

/** Without case, port and the one dot that a fully qualified name may end with. */
function normalHost(host: string): string {
  let end = host.length
  const colon = host.lastIndexOf(':')
  // The colons of an IPv6 address are in brackets (RFC 3986, section 3.2.2).
  if (colon > host.lastIndexOf(']')) end = colon
  if (host.charCodeAt(end - 1) === 46) end -= 1
  return host.slice(0, end).toLowerCase()
}
