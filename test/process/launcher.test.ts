/**
 * The launcher, under a Node that is too old to run Sluice: it hands over to the one that is installed beside it, and
 * passes signals and exit codes on.
 */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'

import { ask, backend, oldNode, outsideFolder, ROOT, run, startGateway } from '../helpers/process.ts'

const node = oldNode()
const skip = node === undefined && 'this machine has no Node older than 24'

void test('it serves, and stops on a signal with exit code 0', { skip }, async (t) => {
  const url = await backend(t, 'here')
  const config = `pools: { web: { backends: ["${url}"] } }\n`
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one process after the other
    const gateway = await startGateway(t, config, { ...(node && { node }), plain: true })
    // oxlint-disable-next-line no-await-in-loop
    t.equal((await ask(gateway.url)).body, 'here')
    gateway.process.signal('SIGHUP')
    // oxlint-disable-next-line no-await-in-loop
    await gateway.process.logged(/: SIGHUP, in /)
    gateway.process.signal(signal)
    // oxlint-disable-next-line no-await-in-loop
    const { code, stderr } = await gateway.process.ended
    t.same({ code, stderr }, { code: 0, stderr: '' })
    // oxlint-disable-next-line no-await-in-loop
    t.ok(await gateway.process.logged(/^stopped$/))
  }
})

void test('exit codes come through', { skip }, async (t) => {
  const options = { ...(node && { node }), plain: true }
  t.equal((await run(t, ['schema'], options)).code, 0)
  t.equal((await run(t, ['serve'], options)).code, 1)
  t.equal((await run(t, ['check', '/nowhere.yaml'], options)).code, 1)
})

void test('without a newer Node beside it: one line, exit code 2', { skip }, async (t) => {
  const folder = t.testdir({ 'package.json': '{ "type": "module" }' })
  mkdirSync(join(folder, 'bin'))
  cpSync(join(ROOT, 'bin/sluice.js'), join(folder, 'bin/sluice.js'))
  const bin = join(folder, 'bin/sluice.js')
  const { code, stdout, stderr } = await run(t, ['schema'], { ...(node && { node }), plain: true, bin })
  t.same([code, stdout], [2, ''])
  t.match(stderr, /^sluice: needs Node 24 or newer, this is v\d[^\n]*; run: npm install\n$/)
})

void test('under a Node that is new enough, without what it needs: one line, exit code 2', async (t) => {
  const folder = outsideFolder(t)
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  for (const part of ['bin', 'src', 'plugins', 'routes']) {
    cpSync(join(ROOT, part), join(folder, part), { recursive: true })
  }
  const bin = join(folder, 'bin/sluice.js')
  const { code, stderr } = await run(t, ['schema'], { bin, plain: true })
  t.equal(code, 2)
  t.match(stderr, /^sluice: not everything is installed \(Cannot find package [^\n]*\); run: npm install\n$/)
})
