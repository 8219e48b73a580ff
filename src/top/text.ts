/**
 * Text of others in a terminal: nothing in it is obeyed, and how many columns it takes is known. Names and reasons come
 * from configurations, backends and clients.
 */

/** No name and no reason is longer than this for a good reason. */
const LONGEST = 1000
/** What terminals obey, the ends of lines, and halves of characters. */
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/gu
/**
 * What is not seen but changes what is: the order of letters (CVE-2021-42574), or the width of the one before it, about
 * which terminals disagree (joiners, variation selectors, shades of skin).
 */
const INVISIBLE = /[\p{Cf}\ufe00-\ufe0f\u{e0100}-\u{e01ef}\p{Emoji_Modifier}]/gu
/** More marks on one letter than any language has climb into other lines. */
const PILED_MARKS = /(\p{M}{2})\p{M}+/gu

const PLAIN = /^[ -~]*$/
/** Characters of two columns: Wide and Fullwidth of Unicode's Standard Annex 11, and what is shown as an emoji. */
const WIDE =
  /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
/** Flags are made of two of these, which together take two columns. */
const HALF_A_FLAG = /\p{Regional_Indicator}/u
const MARK = /\p{M}/u

const ELLIPSIS = '…'

/** What may be shown of a text, in one line. */
export function clean(text: string): string {
  if (text.length <= LONGEST && PLAIN.test(text)) return text
  const short = text.slice(0, LONGEST).normalize('NFC')
  return short.replace(CONTROL, '·').replace(INVISIBLE, '').replace(PILED_MARKS, '$1')
}

/** How many columns a clean text takes. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length
  let width = 0
  for (const character of text) width += widthOfOne(character)
  return width
}

/** Cut to so many columns, with a sign that it is. */
export function cut(text: string, columns: number): string {
  if (columns <= 0) return ''
  if (widthOf(text) <= columns) return text
  let width = 0
  let kept = ''
  for (const character of text) {
    width += widthOfOne(character)
    if (width > columns - 1) break
    kept += character
  }
  return kept + ELLIPSIS
}

/** Cut or filled to exactly so many columns. */
export function fill(text: string, columns: number, side: 'left' | 'right'): string {
  const fitting = cut(text, columns)
  const rest = ' '.repeat(Math.max(0, columns - widthOf(fitting)))
  return side === 'left' ? fitting + rest : rest + fitting
}

function widthOfOne(character: string): number {
  if (MARK.test(character)) return 0
  return WIDE.test(character) && !HALF_A_FLAG.test(character) ? 2 : 1
}
