/**
 * As much of a terminal as it takes to see what somebody would see: what is written at which place of which screen. What
 * it does not know it notes, so that nothing unexpected is ever sent to a real one.
 */

/** A command (ECMA-48, section 5.4), with what follows, or what else a terminal would obey. */
// oxlint-disable-next-line no-control-regex
const COMMAND = /\x1b\[([?0-9;]*)([A-Za-z])|[\x00-\x1f\x7f-\x9f\u2028\u2029]/

/** One whose rest may come with the next piece. */
// oxlint-disable-next-line no-control-regex
const BEGINNING = /^\x1b(?:\[[?0-9;]*)?$/

export class TerminalScreen {
  /** The shell's, where lines are appended. */
  shell = ''
  /** Of the other screen. */
  lines: string[] = []
  /** Where it is in use. */
  alternate = false
  cursor = true
  wraps = true
  readonly unknown: string[] = []
  /** Where something was written that had a colour. */
  colours = 0
  #row = 0
  #unread = ''

  write(text: string): void {
    let rest = this.#unread + text
    this.#unread = ''
    for (;;) {
      const found = COMMAND.exec(rest)
      if (found === null) break
      if (found[0] === '\x1b' && BEGINNING.test(rest.slice(found.index))) break
      this.#print(rest.slice(0, found.index))
      this.#obey(found[0], found[1] ?? '', found[2] ?? '')
      rest = rest.slice(found.index + found[0].length)
    }
    const begins = rest.indexOf('\x1b')
    this.#print(begins < 0 ? rest : rest.slice(0, begins))
    this.#unread = begins < 0 ? '' : rest.slice(begins)
  }

  get text(): string {
    return this.lines.map((line) => line.trimEnd()).join('\n')
  }

  #print(text: string): void {
    if (text === '') return
    if (this.alternate) this.lines[this.#row] = (this.lines[this.#row] ?? '') + text
    else this.shell += text
  }

  #obey(command: string, parameters: string, final: string): void {
    if (!this.alternate && (command === '\r' || command === '\n')) this.#print(command)
    else if (final === 'H') this.#go(Number(parameters.split(';')[0]) - 1)
    else if (final === 'm') this.colours++
    else if (final === 'J') this.lines = []
    // The rest of the line: there is none, since lines are only ever written from their start.
    else if (final === 'K') return
    else if (final === 'h' || final === 'l') this.#mode(parameters, final === 'h')
    else this.unknown.push(command)
  }

  #go(row: number): void {
    for (let each = this.lines.length; each < row; each++) this.lines[each] = ''
    this.#row = row
    this.lines[row] = ''
  }

  #mode(mode: string, on: boolean): void {
    if (mode === '?1049') this.alternate = on
    else if (mode === '?25') this.cursor = on
    else if (mode === '?7') this.wraps = on
    else if (mode !== '?2026') this.unknown.push(mode)
  }
}
