/**
 * Dockerfile and docker-compose.yml, read: every path they name is there, every command is one that exists.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'
import { parse } from 'yaml'

import { loadConfig } from '../../src/config/load.ts'
import { main } from '../../src/cli.ts'
import { ROOT, run } from '../helpers/process.ts'

interface Instruction {
  readonly name: string
  readonly text: string
  /** Which stage it belongs to: the number of its FROM. */
  readonly stage: number
}

function readDockerfile(): Instruction[] {
  const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').replaceAll(/^\s*#.*\n/gm, '')
  let stage = -1
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
      if (name === 'FROM') stage += 1
      return { name, text: rest, stage }
    })
}

function words(json: string): string[] {
  const value: unknown = JSON.parse(json)
  return Array.isArray(value) ? value.map(String) : []
}

const KNOWN = new Set(['FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK'])
KNOWN.add('ENTRYPOINT').add('CMD')

void test('every path that the Dockerfile copies is there and is not ignored', async (t) => {
  const instructions = readDockerfile()
  t.same(
    instructions.filter(({ name }) => !KNOWN.has(name)),
    [],
  )
  const ignored = new Set(readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n'))
  t.ok(ignored.has('*'))
  const froms = instructions.filter(({ name }) => name === 'FROM')
  const stages = new Set(froms.map(({ text }) => / AS (\w+)$/.exec(text)?.[1]))
  const copies = instructions.filter(({ name }) => name === 'COPY')
  t.ok(copies.length > 8)
  for (const { text } of copies) {
    const from = /^--from=(\w+) /.exec(text)?.[1]
    if (from !== undefined) {
      t.ok(stages.has(from), `there is a stage ${from}`)
      continue
    }
    for (const path of text.split(/\s+/).slice(0, -1)) {
      t.ok(existsSync(join(ROOT, path)), path)
      t.ok(ignored.has(`!${path.split('/')[0]}`), `${path} is in the build context`)
    }
  }
})

void test('the image runs what is there, without rights it does not need', async (t) => {
  const instructions = readDockerfile()
  const last = Math.max(...instructions.map(({ stage }) => stage))
  const final = new Map(instructions.filter(({ stage }) => stage === last).map(({ name, text }) => [name, text]))
  t.equal(final.get('USER'), 'node', 'not root')
  t.same(words(final.get('ENTRYPOINT') ?? ''), ['node', 'bin/sluice.js'])
  t.same(words(final.get('CMD') ?? ''), ['run', '--config', '/etc/sluice/gateway.yaml'])
  t.match(final.get('HEALTHCHECK'), /\/readyz/)
  for (const { name, text } of instructions.filter((each) => each.name === 'FROM')) {
    t.match(text, /^node:26-slim\b/, `${name} an official image`)
  }
  const runs = instructions.filter(({ name }) => name === 'RUN').map(({ text }) => text)
  t.ok(runs.some((command) => command.includes('--omit=dev')))
  for (const command of runs) {
    const [program, script = ''] = command.split(' ')
    if (program === 'node') t.ok(existsSync(join(ROOT, script)), script)
    else t.match(command, /^npm install --no-save /)
  }
})

interface Service {
  readonly image?: string
  readonly build?: string
  readonly command?: readonly string[]
  readonly hostname?: string
  readonly volumes?: readonly string[]
  readonly depends_on?: readonly string[]
  readonly ports?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
}

function readCompose(): Readonly<Record<string, Service>> {
  const file: { services: Record<string, Service> } = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), {
    merge: true,
  })
  return file.services
}

void test('docker-compose.yml: the gateway before three backends, all of it there', async (t) => {
  const services = readCompose()
  const { gateway, ...backends } = services
  t.equal(Object.keys(backends).length, 3)
  t.same(gateway?.depends_on, Object.keys(backends))
  t.ok(existsSync(join(ROOT, gateway?.build ?? 'nowhere', 'Dockerfile')))
  for (const [name, { volumes = [], hostname }] of Object.entries(services)) {
    if (name !== 'gateway') t.equal(hostname, name)
    for (const volume of volumes) {
      const [source = ''] = volume.split(':')
      t.ok(statSync(join(ROOT, source)).isFile(), source)
    }
  }
})

void test('what compose runs is valid, and its health check asks where the admin listener is', async (t) => {
  const { gateway, ...backends } = readCompose()
  const [mount = ''] = gateway?.volumes ?? []
  const [source = '', target = ''] = mount.split(':')
  const file = join(ROOT, source)
  t.equal((await run(t, ['check', '--strict', file])).code, 0)
  const { settings } = await loadConfig(file)
  t.same(
    [...(settings.pools.get('web')?.backends ?? [])].map(({ url }) => url.hostname),
    Object.keys(backends),
  )
  t.same(gateway?.ports, [`${settings.listen.port}:${settings.listen.port}`])
  const admin = `http://${settings.admin?.host}:${settings.admin?.port}/readyz`
  t.ok(gateway?.healthcheck?.test.join(' ').includes(admin), admin)
  // The command line as given, but for the file, which lies elsewhere on this machine.
  const command = (gateway?.command ?? []).map((word) => (word === target ? file : word))
  t.same(command, ['run', '--config', file])
  t.equal(await main(['check', ...command.slice(2)]), 0)
})

void test('the health checks are programs that run', async (t) => {
  const { gateway } = readCompose()
  const [, image = ''] = /CMD (.*)$/.exec(readDockerfile().find(({ name }) => name === 'HEALTHCHECK')?.text ?? '') ?? []
  for (const [program, flag, script] of [words(image), (gateway?.healthcheck?.test ?? []).slice(1)]) {
    t.same([program, flag], ['node', '-e'])
    // oxlint-disable-next-line no-new-func, typescript/no-implied-eval -- only whether it parses
    t.doesNotThrow(() => new Function(script ?? '('))
  }
})
