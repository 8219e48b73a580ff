/** A shell in a real pseudo terminal, where script(1) of util-linux makes one. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Test } from 'tap'

import { outsideFolder, ROOT } from './process.ts'
import { guarded } from './raw.ts'
import { TerminalScreen } from './screen.ts'

/** Other systems have a script(1) of another kind. */
const FOUND = spawnSync('script', ['--version'], { encoding: 'utf8' })
const IS_THERE = FOUND.status === 0 && FOUND.stdout.includes('util-linux')
export const NO_TERMINAL: string | false = !IS_THERE && 'script of util-linux is not installed'

/** A shell in a pseudo terminal, in which it runs some commands. */
export class Shell {
  readonly screen = new TerminalScreen()
  readonly child: ChildProcessWithoutNullStreams
  #waiting: Array<() => void> = []

  constructor(t: Test, commands: readonly string[]) {
    const file = join(outsideFolder(t), 'commands.sh')
    writeFileSync(file, commands.map((command) => `${command}\n`).join(''))
    const env = { ...process.env, TERM: 'xterm-256color', SHELL: '/bin/sh' }
    this.child = spawn('script', ['-q', '-f', '-e', '-c', `/bin/sh ${file}`, '/dev/null'], { cwd: ROOT, env })
    t.teardown(() => this.child.kill('SIGKILL'))
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.screen.write(text)
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  type(keys: string): void {
    this.child.stdin.write(keys)
  }

  async until(holds: () => boolean, what: string): Promise<void> {
    const wait = async (): Promise<void> => {
      // oxlint-disable-next-line no-await-in-loop -- until it does
      while (!holds()) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    }
    await guarded(wait(), () => `${what} in\n${this.screen.shell}\n---\n${this.screen.text}`)
  }

  /** Waits for what is on the screen of its own. */
  async shows(what: RegExp): Promise<void> {
    await this.until(() => this.screen.alternate && what.test(this.screen.text), String(what))
  }

  /** Waits for what is on the screen of the shell. @returns what was found there */
  async says(what: RegExp): Promise<RegExpExecArray> {
    await this.until(() => !this.screen.alternate && what.test(this.screen.shell), String(what))
    const found = what.exec(this.screen.shell)
    if (found === null) throw new Error('it is gone')
    return found
  }
}
