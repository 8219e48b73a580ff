/**
 * `sluice top` as people run it: a process before a gateway that is another process, in a real pseudo terminal
 * under a shell with job control.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'

import { BIN, outsideFolder, run, startGateway, UNSET } from '../helpers/process.ts'
import { NO_TERMINAL, Shell } from '../helpers/shell.ts'

const CONFIG = 'pools: { web: { backends: [{ id: one, url: "http://127.0.0.1:9" }] } }\n'

/** Without what the test runner puts into whatever is spawned. */
function topCommand(admin: string, nodeOptions = ''): string {
  return `env ${UNSET.join(' ')} ${process.execPath} ${nodeOptions} ${BIN} top --url ${admin} --interval 250ms`
}

/** A defect of ours, whenever the test wants one. */
const DEFECT = 'process.once("SIGUSR2", () => { throw new Error("a defect") })'

void test('in a terminal: drawn, resized, suspended, taken up again, quit', { skip: NO_TERMINAL }, async (t) => {
  const { admin } = await startGateway(t, CONFIG)
  const shell = new Shell(t, [
    'stty rows 20 cols 100',
    'echo "terminal=$(tty) modes=$(stty -g)"',
    'set -m',
    topCommand(admin),
    'echo "stopped with $? modes=$(stty -g)"',
    // Until the test has looked.
    'read -r line',
    'fg',
    'echo "ended with $? modes=$(stty -g)"',
  ])
  await shell.shows(/^one +healthy/m)
  const [, terminal = '', modes = ''] = /terminal=(\S+) modes=(\S+)/.exec(shell.screen.shell) ?? []
  t.equal(shell.screen.lines.length, 20)
  t.equal(shell.screen.cursor, false)
  spawnSync('stty', ['-F', terminal, 'rows', '10', 'cols', '60'])
  // stty(1) tells of rows and columns one after the other, and each is drawn.
  await shell.until(() => {
    const { lines } = shell.screen
    return lines.length === 10 && lines.every((line) => line.length <= 60)
  }, 'ten lines of 60 columns')
  shell.type('?')
  await shell.shows(/^HELP/m)
  shell.type('\x1a')
  const [, stopped, between] = await shell.says(/stopped with (\d+) modes=(\S+)/)
  t.same([stopped, between, shell.screen.cursor, shell.screen.wraps], ['148', modes, true, true])
  shell.type('\n')
  await shell.shows(/^HELP/m)
  shell.type('?')
  await shell.shows(/^one +healthy/m)
  shell.type('q')
  const [, code, after] = await shell.says(/ended with (\d+) modes=(\S+)/)
  t.same([code, after, shell.screen.cursor, shell.screen.wraps], ['0', modes, true, true])
  t.same(shell.screen.unknown, [])
})

void test('ended by a signal, and by a defect: the terminal is given back', { skip: NO_TERMINAL }, async (t) => {
  const { admin } = await startGateway(t, CONFIG)
  const defect = join(outsideFolder(t), 'defect.mjs')
  writeFileSync(defect, DEFECT)
  const endings = [
    ['TERM', '0'],
    ['INT', '0'],
    ['HUP', '0'],
    ['USR2', '1'],
  ] as const
  const tried = endings.map(async ([signal, code]) => {
    const shell = new Shell(t, [
      'stty rows 20 cols 100',
      'echo "modes=$(stty -g)"',
      `sh -c 'echo pid=$$; exec ${topCommand(admin, `--import ${defect}`)}'`,
      'echo "ended with $? modes=$(stty -g)"',
    ])
    await shell.shows(/^one +healthy/m)
    const [, modes, pid] = /modes=(\S+)\s+pid=(\d+)/.exec(shell.screen.shell) ?? []
    process.kill(Number(pid), `SIG${signal}`)
    const ended = await shell.says(/ended with (\d+) modes=(\S+)/)
    t.same([ended[1], ended[2], shell.screen.cursor], [code, modes, true], signal)
    t.equal(/Error: a defect/.test(shell.screen.shell), signal === 'USR2', 'said where it can be read')
  })
  await Promise.all(tried)
})

void test('where there is no terminal: one table', async (t) => {
  const { admin } = await startGateway(t, `admin: { token: secret }\n${CONFIG}`)
  const refused = await run(t, ['top', '--url', admin], { env: { ...process.env, SLUICE_ADMIN_TOKEN: '' } })
  t.same([refused.code, refused.stdout], [1, ''])
  t.equal(
    refused.stderr,
    `sluice: no figures from ${admin}: it asks for a token; give it in SLUICE_ADMIN_TOKEN, with --token, or by --config FILE\n`,
  )
  const file = join(outsideFolder(t), 'gateway.yaml')
  writeFileSync(file, `admin: { host: 0.0.0.0, port: ${new URL(admin).port}, token: "\${TOKEN}" }\n${CONFIG}`)
  const ways = [
    run(t, ['top', '--url', admin], { env: { ...process.env, SLUICE_ADMIN_TOKEN: 'secret' } }),
    run(t, ['top', '--url', admin, '--token', 'secret', '--once', '--pool', 'web', '--interval', '250ms']),
    run(t, ['top', '--config', file], { env: { ...process.env, TOKEN: 'secret' } }),
  ]
  for (const { code, stdout, stderr } of await Promise.all(ways)) {
    t.same([code, stderr], [0, ''])
    t.match(stdout, /^web {2}1 of 1 well {2}0 req\/s .*\none +healthy +1 +0 +0 /m)
  }
})
