/** Ctrl-C in a terminal, where npm runs the gateway: it passes on what the terminal has told to both of them. */
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'

import { test } from 'tap'

import { backend, BIN, outsideFolder, UNSET } from '../helpers/process.ts'
import { NO_TERMINAL, Shell } from '../helpers/shell.ts'

/** What npm does with what it runs (@npmcli/run-script, signal-manager.js). */
const NPM = `
import { spawn } from 'node:child_process'
const child = spawn(process.execPath, process.argv.slice(2), { stdio: 'inherit' })
process.on('SIGINT', () => {
  child.kill('SIGINT')
  console.log('passed on')
})
child.on('exit', (code) => console.log('ended with ' + code))
`

void test('Ctrl-C below npm is one signal: what is under way is finished', { skip: NO_TERMINAL }, async (t) => {
  const { promise: held, resolve } = Promise.withResolvers<ServerResponse>()
  const url = await backend(t, (_request, answer) => resolve(answer))
  const folder = outsideFolder(t)
  const [npm, config] = [join(folder, 'npm.mjs'), join(folder, 'gateway.yaml')]
  writeFileSync(npm, NPM)
  writeFileSync(
    config,
    `listen: { host: 127.0.0.1, port: 0 }\nadmin: false\nlog: { access: false }\npools: { web: { backends: ["${url}"] } }\n`,
  )
  const environment = [...UNSET, 'npm_lifecycle_event=start'].join(' ')
  const shell = new Shell(t, [`env ${environment} ${process.execPath} ${npm} ${BIN} run --config ${config}`])
  const [, front = ''] = await shell.says(/ on (http:\S+:\d+)/)
  const answer = fetch(front)
  const response = await held
  shell.type('\x03')
  await shell.says(/stopping on SIGINT/)
  await shell.says(/passed on/)
  response.end('here')
  t.equal(await (await answer).text(), 'here')
  const [, code] = await shell.says(/ended with (\S+)/)
  t.equal(code, '0')
})
