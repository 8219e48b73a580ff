/** Figures of several rounds. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? NaN
}

export function spread(numbers: readonly number[], digits: number): string {
  return `${Math.min(...numbers).toFixed(digits)}–${Math.max(...numbers).toFixed(digits)}`
}

/**
 * How many times as much, round by round: what slows a machine down slows neighbours in time down alike. A round that
 * one of them has not is left out.
 */
export function ratio(numbers: readonly number[], base: readonly number[]): number {
  return median(numbers.slice(0, base.length).map((number, round) => number / (base[round] ?? NaN)))
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

/** As Markdown has it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}
