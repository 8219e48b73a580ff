/**
 * Reads GET /metrics as Prometheus does, and more strictly: every line must be one, no series may be there twice.
 */
import type { Test } from 'tap'

import type { AdminGateway } from './admin.ts'
import { guarded } from './raw.ts'

export type Labels = Readonly<Record<string, string>>

const LINE =
  /^([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (Na[Nn]|[+-]?(?:Inf|[\d.]+(?:e[+-]?\d+)?))$/
const ESCAPED: Readonly<Record<string, string>> = { '\\n': '\n', '\\"': '"', '\\\\': '\\' }

export class Scrape {
  readonly text: string
  readonly #series = new Map<string, { readonly name: string; readonly labels: Labels; readonly value: number }>()

  constructor(text: string) {
    this.text = text
    for (const line of text.split('\n')) if (line !== '' && !line.startsWith('#')) this.#add(line)
  }

  get size(): number {
    return this.#series.size
  }

  get names(): ReadonlySet<string> {
    return new Set(Array.from(this.#series.values(), ({ name }) => name))
  }

  /** All samples of a metric whose labels include these, added up; undefined when there is none. */
  sum(name: string, labels: Labels = {}): number | undefined {
    const found = this.values(name, labels)
    return found.length === 0 ? undefined : found.reduce((sum, value) => sum + value, 0)
  }

  values(name: string, labels: Labels = {}): number[] {
    return [...this.#series.values()]
      .filter(
        (each) => each.name === name && Object.entries(labels).every(([key, value]) => each.labels[key] === value),
      )
      .map(({ value }) => value)
  }

  /** What a label can be, in the samples of a metric that are not 0. */
  counts(name: string, label: string, labels: Labels = {}): Record<string, number> {
    const found: Record<string, number> = {}
    for (const each of this.#series.values()) {
      const fits = Object.entries(labels).every(([key, value]) => each.labels[key] === value)
      const word = each.labels[label]
      if (each.name === name && fits && word !== undefined && each.value > 0) found[word] = each.value
    }
    return found
  }

  /** Every value that a label has anywhere. */
  valuesOf(label: string): Set<string> {
    return new Set([...this.#series.values()].flatMap(({ labels }) => labels[label] ?? []))
  }

  /** The labels that a metric has, if all its samples have the same. */
  labelsOf(name: string): string[] | undefined {
    const all = [...this.#series.values()]
      .filter((each) => each.name === name)
      .map(({ labels }) => Object.keys(labels).toSorted((a, b) => (a < b ? -1 : 1)))
    return all.every((labels) => labels.join() === all[0]?.join()) ? all[0] : undefined
  }

  /** Names and labels of all series, without their values. */
  get keys(): string[] {
    return [...this.#series.keys()].toSorted((a, b) => (a < b ? -1 : 1))
  }

  #add(line: string): void {
    const [, name, pairs = '', value] = LINE.exec(line) ?? []
    if (name === undefined) throw new Error(`no line of Prometheus': ${line}`)
    const labels: Record<string, string> = {}
    for (const [, label = '', text = ''] of pairs.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[label] = text.replaceAll(/\\./g, (escape) => ESCAPED[escape] ?? escape)
    const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))
    const key = `${name}${JSON.stringify(sorted)}`
    if (this.#series.has(key)) throw new Error(`twice: ${line}`)
    this.#series.set(key, { name, labels, value: Number(value) })
  }
}

export async function scrape({ adminPort }: Pick<AdminGateway, 'adminPort'>): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  if (response.status !== 200) throw new Error(`status ${response.status}`)
  return new Scrape(await response.text())
}

/** The first scrape that is as asked: what a client has seen the end of may not be counted yet. */
export async function scraped(
  all: Pick<AdminGateway, 'adminPort'>,
  fits: (scrape: Scrape) => boolean,
): Promise<Scrape> {
  let latest: Scrape | undefined
  const find = async (): Promise<Scrape> => {
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- until it is so
      latest = await scrape(all)
      if (fits(latest)) return latest
    }
  }
  const shown = (): string =>
    latest?.text
      .split('\n')
      .filter((line) => /^sluice_(?!.*_bucket).* [^0]/.test(line))
      .join('\n') ?? ''
  return guarded(find(), () => `a scrape as asked; the last one is\n${shown()}`)
}

/** The first scrape by which so many requests have ended. */
export async function ended(all: Pick<AdminGateway, 'adminPort'>, requests: number): Promise<Scrape> {
  return scraped(all, (found) => (found.sum('sluice_requests_total') ?? 0) >= requests)
}

/** A gauge that has one sample for each state: the one that is 1. */
export function stateIn(t: Test, found: Scrape, name: string, labels: Labels): string | undefined {
  const states = Object.keys(found.counts(name, 'state', labels))
  t.equal(states.length, 1, `${name}: in one state`)
  t.equal(found.sum(name, labels), 1, `${name}: 1 for it`)
  return states[0]
}
