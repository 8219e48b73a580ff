/** What can be asked of a comparison on the command line. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

import type { Case } from './cases.ts'

export interface Options {
  readonly rounds: number
  /** How many times the proxies are started anew; those that are compared beside each other only. */
  readonly starts: number
  readonly quick: boolean
  /** Names of proxies; empty for all. */
  readonly only: readonly string[]
  /** Names of cases or sections; empty for all. */
  readonly cases: readonly string[]
  readonly connections: number | undefined
  /** Requests a second. */
  readonly rate: number | undefined
  readonly json: string | undefined
  readonly markdown: string | undefined
}

export function options(args: readonly string[], rounds: number): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      starts: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      case: { type: 'string', default: '' },
      connections: { type: 'string' },
      rate: { type: 'string' },
      json: { type: 'string' },
      markdown: { type: 'string' },
    },
  })
  return {
    rounds: values.rounds === undefined ? (values.quick ? 1 : rounds) : whole('rounds', values.rounds),
    starts: whole('starts', values.starts),
    quick: values.quick,
    only: names(values.only),
    cases: names(values.case),
    connections: values.connections === undefined ? undefined : whole('connections', values.connections),
    rate: values.rate === undefined ? undefined : whole('rate', values.rate),
    json: values.json,
    markdown: values.markdown,
  }
}

function names(list: string): string[] {
  return list === '' ? [] : list.split(',')
}

function whole(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} takes a number from 1 on, not ${text}`)
  return number
}

/** Those of `all` that are wanted, in their order. */
export function chosen<Named extends { readonly name: string }>(
  option: string,
  all: readonly Named[],
  wanted: readonly string[],
): readonly Named[] {
  const unknown = wanted.find((name) => all.every((each) => each.name !== name))
  if (unknown !== undefined) {
    throw new Error(`--${option}: there is no ${unknown}; there are ${all.map(({ name }) => name).join(', ')}`)
  }
  return wanted.length === 0 ? all : all.filter(({ name }) => wanted.includes(name))
}

/** A case as it is asked for. */
export function sized(each: Case, { quick, rate, connections = each.connections }: Options): Case {
  const requests = quick ? Math.ceil(each.requests / 10) : each.requests
  return { ...each, connections, requests, ...(rate !== undefined && { perSecond: rate }) }
}

/** Prints as it goes, and writes all of it where it is wanted. */
export class Report {
  readonly #options: Options
  #text = ''

  constructor(wanted: Options) {
    this.#options = wanted
  }

  add(text: string): void {
    console.log(`\n${text}`)
    this.#text += `${this.#text === '' ? '' : '\n'}${text}\n`
    if (this.#options.markdown !== undefined) writeFileSync(this.#options.markdown, this.#text)
  }

  data(value: unknown): void {
    if (this.#options.json !== undefined) {
      writeFileSync(this.#options.json, `${JSON.stringify(value, undefined, 2)}\n`)
    }
  }
}
