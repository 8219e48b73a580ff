/** Large configurations, and hostile ones: what loading and looking up cost, and that no route is an expression. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { type Test, test } from 'tap'

import { checkObject } from '../../src/config/check.ts'
import { loadConfig } from '../../src/config/load.ts'
import { type Routable, RouteTable } from '../../src/routing/table.ts'
import { outsideFolder } from '../helpers/process.ts'

function write(t: Test, count: number): string {
  const routes = Array.from({ length: count }, (_, index) => {
    const host = index % 3 === 0 ? `, host: h${index % 100}.example.com` : ''
    return `  - { path: /area${index % 50}/service-${index}/:id/*, pool: web${host} }\n`
  })
  const file = join(outsideFolder(t), `${count}.yaml`)
  writeFileSync(file, `pools: { web: { backends: [http://127.0.0.1:9] } }\nroutes:\n${routes.join('')}`)
  return file
}

async function cost(act: () => Promise<void> | void): Promise<number> {
  const before = process.cpuUsage()
  await act()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

void test('BC-07: loading grows no faster than the configuration: 10,000 routes against 1,000', async (t) => {
  const files = { few: write(t, 1000), many: write(t, 10_000) }
  const load = (file: string) =>
    cost(async () => {
      const { settings } = await loadConfig(file, {})
      t.ok(new RouteTable(settings.routes).find('GET', 'h0.example.com', '/area0/service-0/1/x'))
    })
  await load(files.few)
  const few = await load(files.few)
  const ratio = (await load(files.many)) / few
  // Ten times as many; every one compared with every other would be 100.
  t.ok(ratio < 35, `${ratio.toFixed(1)} times the work`)
})

void test('BC-07: looking up among 10,000 routes costs what it costs among 1,000', async (t) => {
  const tables = await Promise.all(
    [1000, 10_000].map(async (count) => new RouteTable((await loadConfig(write(t, count), {})).settings.routes)),
  )
  const look = (table: RouteTable<Routable>) =>
    cost(() => {
      let found = 0
      for (let index = 0; index < 200_000; index++) {
        const service = index % 1000
        const path = `/area${service % 50}/service-${service}/42/rest`
        if (table.find('GET', `h${service % 100}.example.com`, path) !== undefined) found++
      }
      t.equal(found, 200_000)
    })
  const [few, many] = tables
  if (few === undefined || many === undefined) throw new Error('there are two')
  await look(few)
  await look(many)
  const base = await look(few)
  const ratio = (await look(many)) / base
  // One after the other would be ten times as much.
  t.ok(ratio < 4, `${ratio.toFixed(1)} times the work`)
})

const withPath = (path: string) => ({ pools: { web: { backends: ['http://a'] } }, routes: [{ path, pool: 'web' }] })

void test('BC-09: an expression in a route is refused by name, and whatever else is text', async (t) => {
  for (const path of [String.raw`/users/:id(\d+)`, '/:id((a+)+)', '/(?:a|a)+', String.raw`/a\d`, '/:a(^b$)']) {
    const { problems = [] } = checkObject(withPath(path), { env: {} })
    t.match(problems, [{ path: 'routes[0].path', message: /^expected a path without regular expressions.*got / }], path)
  }
  for (const path of ['/(a+)+$', '/wiki/Pool_(water)', '/[a-z]', '/a|b', '/a{1,99}', '/(a|a)+x']) {
    const { settings } = checkObject(withPath(path), { env: {} })
    const table = new RouteTable(settings?.routes ?? [])
    t.ok(table.find('GET', 'a', path), `${path} is that path`)
    for (const other of ['/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!', '/a', '/wiki/Pool_water', '/aax']) {
      t.notOk(table.find('GET', 'a', other), `${path} is not ${other}`)
    }
  }
})
