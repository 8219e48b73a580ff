/** What is asked for in a benchmark run. */
export interface Case {
  readonly name: string
  readonly title: string
  /** The path's beginning; a number that is new for each request follows. */
  readonly path: string
  readonly requests: number
}

/** Sizes that the backends answer with, by the path's beginning. */
export const SIZES: Readonly<Record<string, number>> = { '/small/': 120, '/large/': 1024 ** 2 }

export const CASES: readonly Case[] = [
  { name: 'small', title: 'Small JSON answer, ten request headers, ever-new paths', path: '/small/', requests: 40_000 },
  { name: 'large', title: '1 MiB answer', path: '/large/', requests: 600 },
]
