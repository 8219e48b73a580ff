#!/usr/bin/env node
// The launcher: plain JavaScript without dependencies, so that it starts under any Node from 20 on. It finds a Node
// that is new enough - the running one, or the one this repository brings along - and hands over to the command line.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const OLDEST = 24

const root = new URL('..', import.meta.url)
// A clone runs its sources, a published package what was built from them.
const source = new URL('src/cli.ts', root)
const entry = existsSync(source) ? source : new URL('dist/src/cli.js', root)

if (Number(process.versions.node.split('.')[0]) >= OLDEST) await runHere()
else runElsewhere()

async function runHere() {
  let cli
  try {
    cli = await import(entry.href)
  } catch (error) {
    if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error
    console.error(`sluice: not everything is installed (${String(error.message).split('\n')[0]}); run: npm install`)
    process.exit(2)
  }
  const code = await cli.main(process.argv.slice(2))
  // After a failed start, what plugins have opened would keep the process alive.
  if (code > 0) process.exit(code)
}

function runElsewhere() {
  const name = process.platform === 'win32' ? 'node_modules/.bin/node.cmd' : 'node_modules/.bin/node'
  const node = fileURLToPath(new URL(name, root))
  if (!existsSync(node)) {
    console.error(
      `sluice: needs Node ${OLDEST} or newer, this is ${process.version}, and none is installed beside it; run: npm install`,
    )
    process.exit(2)
  }
  const shell = process.platform === 'win32'
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit', shell })
  // A signal to this process is meant for the gateway. One from the terminal reaches both by itself, and the second of
  // two would cut the gateway off: so those are not passed on.
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT')
  })
  child.on('error', (error) => {
    console.error(`sluice: cannot start ${node}: ${error.message}`)
    process.exit(2)
  })
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal ?? 'SIGTERM'] ?? 0)))
}
