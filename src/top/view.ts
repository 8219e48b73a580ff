/**
 * How somebody looks at the picture: from where on, in which order, at what; and what the keys do to that.
 */
export type Order = 'as configured' | 'state' | 'requests' | 'failures' | 'latency'

export const ORDERS: readonly Order[] = ['as configured', 'state', 'requests', 'failures', 'latency']

export interface View {
  /** The first line of the tables that is shown. */
  readonly offset: number
  readonly order: Order
  readonly troubleOnly: boolean
  readonly paused: boolean
  readonly help: boolean
}

export const FIRST_VIEW: View = { offset: 0, order: 'as configured', troubleOnly: false, paused: false, help: false }

export type Key =
  | ('up' | 'down' | 'page-up' | 'page-down' | 'home' | 'end')
  | ('order' | 'trouble' | 'pause' | 'help' | 'back')
  | ('quit' | 'suspend' | 'redraw')

const KEYS: ReadonlyMap<string, Key> = new Map<string, Key>([
  ['\x1b[A', 'up'],
  ['\x1bOA', 'up'],
  ['k', 'up'],
  ['\x1b[B', 'down'],
  ['\x1bOB', 'down'],
  ['j', 'down'],
  ['\x1b[5~', 'page-up'],
  ['\x1b[6~', 'page-down'],
  [' ', 'page-down'],
  ['\x1b[H', 'home'],
  ['\x1bOH', 'home'],
  ['\x1b[1~', 'home'],
  ['g', 'home'],
  ['\x1b[F', 'end'],
  ['\x1bOF', 'end'],
  ['\x1b[4~', 'end'],
  ['G', 'end'],
  ['s', 'order'],
  ['f', 'trouble'],
  ['p', 'pause'],
  ['?', 'help'],
  ['h', 'help'],
  ['\x1b', 'back'],
  ['q', 'quit'],
  // Ctrl-C, Ctrl-Z and Ctrl-L, which are keys like others while the terminal is raw.
  ['\x03', 'quit'],
  ['\x1a', 'suspend'],
  ['\x0c', 'redraw'],
])

/** A sequence that a terminal sends for one key, or a character. */
// oxlint-disable-next-line no-control-regex
const ONE_KEY = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[ -~])|[\s\S]/g

/** Those of the keys pressed that mean something. */
export function keysIn(input: string): Key[] {
  return Array.from(input.matchAll(ONE_KEY), ([sequence]) => KEYS.get(sequence)).filter((key) => key !== undefined)
}

const EFFECTS: Readonly<Record<Key, (view: View, page: number) => Partial<View>>> = {
  up: ({ offset }) => ({ offset: Math.max(0, offset - 1) }),
  down: ({ offset }) => ({ offset: offset + 1 }),
  'page-up': ({ offset }, page) => ({ offset: Math.max(0, offset - page) }),
  'page-down': ({ offset }, page) => ({ offset: offset + page }),
  home: () => ({ offset: 0 }),
  // What is too far is put right when it is drawn.
  end: () => ({ offset: Number.MAX_SAFE_INTEGER }),
  order: ({ order }) => ({ offset: 0, order: ORDERS[(ORDERS.indexOf(order) + 1) % ORDERS.length] ?? order }),
  trouble: ({ troubleOnly }) => ({ offset: 0, troubleOnly: !troubleOnly }),
  pause: ({ paused }) => ({ paused: !paused }),
  help: ({ help }) => ({ help: !help }),
  back: () => ({ help: false }),
  quit: () => ({}),
  suspend: () => ({}),
  redraw: () => ({}),
}

/** @param page how many lines of the tables the screen shows */
export function press(view: View, key: Key, page: number): View {
  return { ...view, ...EFFECTS[key](view, page) }
}
