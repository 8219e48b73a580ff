/**
 * Lines of a screen: pieces of text with a style each, put together so that no line is wider than it may be, whatever is
 * in it.
 */
import { cut, widthOf } from './text.ts'

export type Style = 'good' | 'doubtful' | 'bad' | 'calm' | 'quiet' | 'strong' | 'heading'

export type Span = readonly [text: string, style?: Style | undefined]

/** ECMA-48, section 8.3.117; the colours are those that every theme defines. */
const SELECT_GRAPHIC_RENDITION: Readonly<Record<Style, string>> = {
  good: '32',
  doubtful: '33',
  bad: '1;31',
  calm: '36',
  quiet: '2',
  strong: '1',
  heading: '7',
}

/** Cut to so many columns. */
export function line(spans: readonly Span[], columns: number, colours: boolean): string {
  let left = columns
  let text = ''
  for (const [part, style] of spans) {
    if (left <= 0) break
    const fitting = cut(part, left)
    left -= widthOf(fitting)
    text += colours && style !== undefined ? `\x1b[${SELECT_GRAPHIC_RENDITION[style]}m${fitting}\x1b[0m` : fitting
  }
  return text
}

const BETWEEN = '  '

/** Pieces one after the other, those that have no more room in the next line. */
export function flow(pieces: ReadonlyArray<readonly Span[]>, columns: number): Array<readonly Span[]> {
  const lines: Span[][] = [[]]
  let left = columns
  for (const piece of pieces) {
    const width = piece.reduce((sum, [text]) => sum + widthOf(text), 0)
    const present = lines.at(-1) ?? []
    if (present.length > 0 && width + BETWEEN.length > left) {
      lines.push([...piece])
      left = columns - width
    } else {
      if (present.length > 0) present.push([BETWEEN])
      present.push(...piece)
      left -= width + (present.length > piece.length ? BETWEEN.length : 0)
    }
  }
  return lines
}
