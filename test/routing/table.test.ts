/**
 * The route table, at single cases and against a matcher so plain that one can see that it is right.
 */
import { array, assert, constantFrom, integer, option, property, record, tuple, uniqueArray } from 'fast-check'
import { test } from 'tap'

import { type Routable, RouteTable } from '../../src/routing/table.ts'

interface Route extends Routable {
  readonly name: string
}

/** `'GET,POST host /path'`, with `-` for every method or host; named by its own words. */
function route(name: string): Route {
  const [methods = '-', host = '-', path = '/'] = name.split(' ')
  return {
    name,
    path,
    host: host === '-' ? undefined : host,
    methods: methods === '-' ? undefined : methods.split(','),
  }
}

function table(...names: string[]): (method: string, host: string | undefined, path: string) => string | undefined {
  const routes = new RouteTable(names.map(route))
  return (method, host, path) => routes.find(method, host, path)?.name
}

void test('a table without routes finds nothing', async (t) => {
  t.equal(table()('GET', 'a.com', '/'), undefined)
})

void test('paths: a literal over a parameter over a wildcard, whatever the order', async (t) => {
  const names = ['- - /a/b', '- - /a/:x', '- - /a/*', '- - /*', '- - /a/:x/c']
  for (const order of [names, names.toReversed()]) {
    const find = table(...order)
    t.equal(find('GET', 'h', '/a/b'), '- - /a/b')
    t.equal(find('GET', 'h', '/a/z'), '- - /a/:x')
    t.equal(find('GET', 'h', '/a/z/c'), '- - /a/:x/c')
    t.equal(find('GET', 'h', '/a/b/c'), '- - /a/:x/c', 'back from the literal that leads nowhere')
    t.equal(find('GET', 'h', '/a/b/d'), '- - /a/*')
    t.equal(find('GET', 'h', '/ab'), '- - /*')
    t.equal(find('GET', 'h', '/'), '- - /*')
  }
})

void test('/prefix/* takes /prefix/ and all below, not /prefix', async (t) => {
  const find = table('- - /prefix/*')
  t.ok(find('GET', 'h', '/prefix/'))
  t.ok(find('GET', 'h', '/prefix/a/b//c/'))
  t.notOk(find('GET', 'h', '/prefix'))
  t.notOk(find('GET', 'h', '/prefixes'))
})

void test('methods: one that names it over one that names none, and on to a less specific path', async (t) => {
  for (const names of [
    ['GET,POST - /a', '- - /a', 'PUT - /b', '- - /*'],
    ['- - /*', 'PUT - /b', '- - /a', 'GET,POST - /a'],
  ]) {
    const find = table(...names)
    t.equal(find('POST', 'h', '/a'), 'GET,POST - /a')
    t.equal(find('DELETE', 'h', '/a'), '- - /a')
    t.equal(find('PUT', 'h', '/b'), 'PUT - /b')
    t.equal(find('GET', 'h', '/b'), '- - /*')
  }
  t.equal(table('GET - /a')('POST', 'h', '/a'), undefined)
})

void test('any method works, heard of or not', async (t) => {
  const find = table('PROPFIND,QUERY,X-MINE - /a', '- - /b')
  for (const method of ['PROPFIND', 'QUERY', 'X-MINE']) t.ok(find(method, 'h', '/a'), method)
  t.notOk(find('GET', 'h', '/a'))
  t.notOk(find('get', 'h', '/a'))
  for (const method of ['BREW', 'toString', '__proto__', '']) {
    t.notOk(find(method, 'h', '/a'), method)
    t.ok(find(method, 'h', '/b'), method)
  }
})

void test('hosts: a name over the longest suffix over every host', async (t) => {
  const names = ['- - /*', '- *.com /*', '- *.example.com /*', '- shop.example.com /*', '- example.com /*']
  for (const order of [names, names.toReversed()]) {
    const find = table(...order)
    for (let again = 0; again < 2; again += 1) {
      t.equal(find('GET', 'shop.example.com', '/'), '- shop.example.com /*')
      t.equal(find('GET', 'www.example.com', '/'), '- *.example.com /*')
      t.equal(find('GET', 'a.b.example.com', '/'), '- *.example.com /*')
      t.equal(find('GET', 'example.com', '/'), '- example.com /*')
      t.equal(find('GET', 'other.com', '/'), '- *.com /*')
      t.equal(find('GET', 'com', '/'), '- - /*')
      t.equal(find('GET', '.example.com', '/'), '- *.com /*', 'an empty label is no label')
      t.equal(find('GET', '', '/'), '- - /*')
      t.equal(find('GET', undefined, '/'), '- - /*')
    }
  }
})

void test('what a host has no path or method for goes to the next less specific host', async (t) => {
  const find = table('GET a.b.com /x', 'GET *.b.com /y', '- *.com /x', '- - /z')
  t.equal(find('GET', 'a.b.com', '/x'), 'GET a.b.com /x')
  t.equal(find('POST', 'a.b.com', '/x'), '- *.com /x')
  t.equal(find('GET', 'a.b.com', '/y'), 'GET *.b.com /y')
  t.equal(find('GET', 'a.b.com', '/z'), '- - /z')
  t.equal(find('POST', 'a.b.com', '/y'), undefined)
})

void test('a host is compared without case, port and one dot at its end', async (t) => {
  const find = table('- Shop.Example.com /*', '- [::1] /*', '- localhost. /*')
  for (const host of ['shop.example.com', 'SHOP.example.COM:8080', 'shop.example.com.', 'Shop.Example.com.:443']) {
    t.ok(find('GET', host, '/'), host)
  }
  for (const host of ['[::1]', '[::1]:80', 'localhost:1', 'localhost']) t.ok(find('GET', host, '/'), host)
  for (const host of ['shop.example.com..', 'xshop.example.com', '[::2]', 'shop.example.com:80:80', '.', ':', ':80']) {
    t.notOk(find('GET', host, '/'), host)
  }
})

void test('any number of hosts, of any length, does no harm', async (t) => {
  const find = table('- *.example.com /*', '- a.example.com /b', '- - /c')
  for (let n = 0; n < 5000; n += 1) {
    if (find('GET', `h${n}.example.com`, '/x') === undefined) t.fail(`h${n}`)
    if (find('GET', 'a.example.com', '/b') !== '- a.example.com /b') t.fail('the name')
  }
  const long = `${'a.'.repeat(8000)}example.com`
  t.equal(find('GET', long, '/x'), undefined, 'no such name can exist')
  t.equal(find('GET', long, '/c'), '- - /c')
  t.ok(find('GET', `${'a.'.repeat(121)}example.com:65535`, '/x'), 'the longest there can be')
})

void test('a path is compared decoded; what cannot be decoded matches nothing', async (t) => {
  const find = table('- - /admin', '- - /grüße/*', '- - /x/:y', '- - /100%')
  t.ok(find('GET', 'h', '/%61dmin'))
  t.ok(find('GET', 'h', '/gr%C3%BC%C3%9Fe/a'))
  t.ok(find('GET', 'h', '/100%25'))
  t.ok(find('GET', 'h', '/x/a%2Fb'), 'an encoded slash parts no segments')
  const all = table('- - /*')
  for (const path of ['/%', '/%zz', '/a%2', '/%ff', '/%C3', '/a/%E0%A4%A', '/%25%']) {
    t.equal(all('GET', 'h', path), undefined, path)
  }
})

void test('only what begins with a slash is a path', async (t) => {
  const find = table('- - /*', '- - /', '- - /a')
  for (const path of ['', '*', 'a', 'xa', '?', 'http://h/a', 'h:443']) t.equal(find('GET', 'h', path), undefined, path)
})

void test('case, slashes, dots and long segments are kept as they are', async (t) => {
  const find = table('- - /a/b', '- - /long/:id', '- - /pre/:a-:b', '- - /f/:name.json')
  t.notOk(find('GET', 'h', '/A/b'))
  t.notOk(find('GET', 'h', '//a/b'))
  t.notOk(find('GET', 'h', '/a//b'))
  t.notOk(find('GET', 'h', '/a/b/'))
  t.notOk(find('GET', 'h', '/x/../a/b'))
  const long = 'x'.repeat(15_000)
  t.ok(find('GET', 'h', `/long/${long}`))
  t.ok(find('GET', 'h', `/pre/${long}-${long}`))
  t.ok(find('GET', 'h', `/f/${long}.json`))
})

void test('names that every object has are names like others', async (t) => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
  const find = table(
    ...names.flatMap((name) => [`- - /${name}`, `- ${name.toLowerCase()} /h`, `- - /p/:${name}/${name}`]),
  )
  for (const name of names) {
    t.equal(find('GET', 'h', `/${name}`), `- - /${name}`)
    t.equal(find('GET', name, '/h'), `- ${name.toLowerCase()} /h`)
    t.equal(find('GET', 'h', `/p/__proto__/${name}`), `- - /p/:${name}/${name}`)
  }
  t.notOk(table('- - /a', '- a.com /b')('GET', 'constructor', '/valueOf'))
})

void test('of routes that match the same the first wins, and the table tells the others', async (t) => {
  const names = [
    '- - /a/:x',
    'GET - /a/:y',
    'GET - /a/:z',
    'GET,PUT - /a/:z',
    '- - /a/:w',
    '- - /*',
    '- - *',
    '- H.com /',
    '- h.com /',
  ]
  const routes = new RouteTable(names.map(route))
  t.same(
    routes.shadowed.map(({ name }) => name),
    ['GET - /a/:z', '- - /a/:w', '- - *', '- h.com /'],
  )
  t.equal(routes.find('GET', 'h', '/a/1')?.name, 'GET - /a/:y')
  t.equal(routes.find('PUT', 'h', '/a/1')?.name, 'GET,PUT - /a/:z')
  t.equal(routes.find('DELETE', 'h', '/a/1')?.name, '- - /a/:x')
})

void test('what cannot be a route is refused, with its words', async (t) => {
  for (const path of ['a', '', '/a/:b?', '/a?b', '/:id(^\\d+$)', '/a/*/b', '/**']) {
    t.throws(() => new RouteTable([{ path, host: undefined, methods: undefined }]), {
      message: `The route path "${path}"`,
    })
  }
  for (const host of ['', '*', '*.', 'a.*.com', '*a.com', '.com']) {
    t.throws(() => new RouteTable([{ path: '/', host, methods: undefined }]), { message: `The route host "${host}"` })
  }
  t.ok(table('- - /wiki/Foo_(bar)')('GET', 'h', '/wiki/Foo_(bar)'))
  t.ok(table('- - /a/::b')('GET', 'h', '/a/:b'), 'a doubled colon is a colon')
  t.notOk(table('- - /a/::b')('GET', 'h', '/a/b'))
})

void test('the work of building grows no faster than the number of routes: 10,000 against 2,000', async (t) => {
  const cost = (count: number): number => {
    const names = Array.from({ length: count }, (_, n) => `- - /service-${n}/*`)
    const before = process.cpuUsage()
    const find = table(...names)
    const { user, system } = process.cpuUsage(before)
    t.equal(find('GET', 'h', `/service-${count - 1}/x`), `- - /service-${count - 1}/*`)
    return user + system
  }
  cost(2000)
  const ratio = cost(10_000) / cost(2000)
  // Five times as many; each compared with every other would be 25.
  t.ok(ratio < 15, `${ratio.toFixed(1)} times the work`)
})

/** The rules of the table as plainly as they can be written: match all, sort by how specific they are, take the first. */
function reference(
  routes: readonly Route[],
  method: string,
  host: string | undefined,
  path: string,
): string | undefined {
  const matching = routes
    .filter((each) => each.methods === undefined || each.methods.includes(method))
    .filter((each) => hostRank(each.host, host) >= 0 && pathRank(each.path, path) !== undefined)
    .map((each) => ({
      name: each.name,
      host: hostRank(each.host, host),
      path: pathRank(each.path, path) ?? '',
      method: each.methods === undefined ? 0 : 1,
    }))
  return matching.toSorted((a, b) => b.host - a.host || byAlphabet(a.path, b.path) || b.method - a.method)[0]?.name
}

function byAlphabet(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

/** -1: no match; 0: every host; then the longer the better, and a name above all. */
function hostRank(pattern: string | undefined, host: string | undefined): number {
  if (pattern === undefined) return 0
  if (host === undefined) return -1
  if (pattern.startsWith('*.')) return host.endsWith(pattern.slice(1)) ? pattern.length : -1
  return host === pattern ? 1000 : -1
}

/** One letter a segment, the better the earlier in the alphabet; `undefined`: no match. */
function pathRank(pattern: string, path: string): string | undefined {
  const wanted = pattern.slice(1).split('/')
  const given = path.slice(1).split('/')
  let rank = ''
  for (const [index, part] of wanted.entries()) {
    const segment = given[index]
    if (segment === undefined) return undefined
    if (part === '*') return `${rank}c`
    if (!part.startsWith(':') && part !== segment) return undefined
    rank += part.startsWith(':') ? 'b' : 'a'
  }
  return wanted.length === given.length ? rank : undefined
}

void test('property: the same as the plain matcher, whatever the routes and their order', async () => {
  const segment = constantFrom('a', 'b', 'ab', '')
  const literals = array(constantFrom('a', 'b', 'ab', ':x', ':y'), { maxLength: 3 })
  const pattern = tuple(literals, constantFrom('', '/*', '/')).map(([parts, end]) => {
    const path = parts.map((part) => `/${part}`).join('')
    return path + (end === '' && path === '' ? '/' : end)
  })
  const routes = uniqueArray(
    record({
      methods: option(constantFrom(['GET'], ['POST'], ['PUT', 'PURGE']), { nil: undefined }),
      host: constantFrom(undefined, 'a.b.com', 'b.com', '*.b.com', '*.com'),
      path: pattern,
    }),
    {
      maxLength: 15,
      selector: ({ methods, host, path }) => `${methods?.join() ?? '-'} ${host} ${path.replaceAll(/:./g, ':')}`,
    },
  ).map((list) => list.map((each, index): Route => ({ ...each, name: `${index}` })))
  const wanted = record({
    method: constantFrom('GET', 'POST', 'PURGE', 'DELETE'),
    host: constantFrom(undefined, 'a.b.com', 'b.com', 'c.b.com', 'x.y.b.com', 'z.com', 'org'),
    path: array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
  })
  assert(
    property(
      routes,
      array(wanted, { minLength: 1, maxLength: 20 }),
      integer({ min: 0, max: 14 }),
      (list, asked, turn) => {
        const built = new RouteTable([...list.slice(turn), ...list.slice(0, turn)])
        return asked.every(
          ({ method, host, path }) => built.find(method, host, path)?.name === reference(list, method, host, path),
        )
      },
    ),
    { numRuns: 1000 },
  )
})
