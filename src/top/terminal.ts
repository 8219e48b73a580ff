/**
 * A terminal that is drawn upon as a whole, and given back as it was: the shell's screen comes back as if nothing had been.
 */
import type { Size } from './screen.ts'

export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  readonly writableNeedDrain: boolean
  write(text: string): unknown
  hasColors?(): boolean
  on(event: 'resize' | 'drain' | 'error', listener: () => void): unknown
  off(event: 'resize' | 'drain' | 'error', listener: () => void): unknown
}

export interface Input {
  readonly isTTY?: boolean
  setRawMode?(raw: boolean): unknown
  setEncoding(encoding: 'utf8'): unknown
  resume(): unknown
  pause(): unknown
  on(event: 'data', listener: (text: string) => void): unknown
  off(event: 'data', listener: (text: string) => void): unknown
}

// Private modes of xterm (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html): 1049, a screen of one's own, and the
// cursor's place kept; 25, the cursor; 7, no wrapping, should a terminal find a character wider than we do. Terminals
// that know 2026 show all between its two ends at once; the others ignore it.
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J'
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'
const BEGIN_UPDATE = '\x1b[?2026h'
const END_UPDATE = '\x1b[?2026l'

/** What a terminal has that does not say. */
const USUAL = { columns: 80, rows: 24 } as const

export function sizeOf(output: Output, env: NodeJS.ProcessEnv): Size {
  // Some terminals say 0 until they are shown.
  const { columns = 0, rows = 0 } = output
  const wanted = (env['NO_COLOR'] ?? '') === ''
  return {
    columns: columns > 0 ? columns : USUAL.columns,
    rows: rows > 0 ? rows : USUAL.rows,
    colours: wanted && output.isTTY === true && output.hasColors?.() === true,
  }
}

/** Whether it can be drawn upon. */
export function isScreen(output: Output, env: NodeJS.ProcessEnv): boolean {
  return output.isTTY === true && env['TERM'] !== 'dumb'
}

/** What to write so that a screen with these lines before has those: only the lines that differ. */
export function changeOf(before: readonly string[], lines: readonly string[]): string {
  let text = ''
  for (let row = 0; row < Math.max(before.length, lines.length); row++) {
    const wanted = lines[row] ?? ''
    if (wanted !== before[row]) text += `\x1b[${row + 1};1H${wanted}\x1b[K`
  }
  return text === '' ? '' : `${BEGIN_UPDATE}${text}${END_UPDATE}`
}

export class Terminal {
  readonly #input: Input
  readonly #output: Output
  #lines: readonly string[] = []
  #entered = false

  constructor(input: Input, output: Output) {
    this.#input = input
    this.#output = output
  }

  enter(): void {
    if (this.#entered) return
    this.#entered = true
    this.#lines = []
    this.#setRaw(true)
    this.#input.resume()
    this.#output.write(ENTER)
  }

  /** May be called at any time and again; writes at once. */
  leave(): void {
    if (!this.#entered) return
    this.#entered = false
    this.#output.write(LEAVE)
    this.#setRaw(false)
    this.#input.pause()
  }

  /** The next drawing is of everything. */
  forget(): void {
    if (!this.#entered) return
    this.#lines = []
    this.#output.write('\x1b[2J')
  }

  /** One that cannot keep up misses what is between: the next drawing has it all. */
  draw(lines: readonly string[]): void {
    if (!this.#entered || this.#output.writableNeedDrain) return
    const change = changeOf(this.#lines, lines)
    this.#lines = lines
    if (change !== '') this.#output.write(change)
  }

  #setRaw(raw: boolean): void {
    if (this.#input.isTTY === true) this.#input.setRawMode?.(raw)
  }
}
