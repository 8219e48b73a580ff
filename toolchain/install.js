// Installs what package-lock.json names, once: `npm start` and `npm test` run this first. Plain JavaScript without
// dependencies, because it runs before anything is installed and under whatever Node the machine has.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamp = `${root}node_modules/.sluice-installed`
// A package of another platform's Node is no use here: a folder that moved to another machine is installed anew.
const wanted = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .update(`${process.platform}-${process.arch}`)
  .digest('hex')

let installed
try {
  installed = readFileSync(stamp, 'utf8')
} catch {
  // Nothing is installed yet.
}

if (installed !== wanted) {
  console.error('sluice: installing dependencies (only when package-lock.json has changed) ...')
  // Under npm run, npm_execpath is the very npm that is running, wherever it was installed.
  const npm = process.env.npm_execpath
  // Not `npm ci`: that refuses a lockfile without the packages of platforms whose binaries a registry does not have.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const run = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
    : spawnSync('npm', args, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (run.status !== 0) {
    console.error(`sluice: the installation failed (npm install, exit code ${run.status ?? run.signal})`)
    process.exit(2)
  }
  // `npm start` replaces its shell by the gateway (exec), so that signals reach it. Windows has no such word.
  if (process.platform === 'win32') writeFileSync(`${root}node_modules/.bin/exec.cmd`, '@%*\r\n')
  writeFileSync(stamp, wanted)
}
