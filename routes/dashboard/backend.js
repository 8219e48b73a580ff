/**
 * One backend, as a row of its pool's table; on a phone as a card.
 *
 * @import { Model, Seat } from './model.js'
 */
import { ByHand } from './by-hand.js'
import { Curve, latest } from './curve.js'
import { button, element, setAttribute, setHidden, setText } from './elements.js'
import { ago, BREAKER_MEANING, count, duration, NONE, share, STATE_MEANING, WORRYING_SHARE } from './words.js'

/** The columns; `narrow` is how a cell is called where there is no head. */
export const COLUMNS = [
  { key: 'name', title: 'Backend', meaning: 'The id of the backend' },
  { key: 'state', title: 'State', meaning: 'Whether it gets requests, and why not' },
  { key: 'rate', title: 'Req/s', meaning: 'Attempts begun in the last second' },
  { key: 'failing', title: 'Failing', meaning: 'The share of attempts that failed' },
  {
    key: 'latency',
    title: 'Latency p50 · p99',
    meaning: 'Until its answers begin, over two minutes; one scale for the whole pool',
  },
  { key: 'in-flight', title: 'In flight', meaning: 'Requests under way' },
  { key: 'weight', title: 'Weight', meaning: 'As configured → what it is worth now' },
  { key: 'breaker', title: 'Breaker', meaning: 'Its circuit breaker' },
  { key: 'check', title: 'Last check', meaning: 'When its health was checked last, and how long that took' },
]

let panels = 0

export class BackendRow {
  node = element('div', 'backend')
  seat
  #cells
  #curve = new Curve(['area p99', 'p50'])
  #latency = element('span', 'number')
  #state = element('span', 'pill')
  #breaker = element('span', 'pill small')
  #check = element('span')
  #took = element('span', 'took number')
  #why = element('p', 'why')
  #toggle
  #panel = element('div', 'panel')
  /** @type {ByHand | undefined} */
  #byHand

  /** @param {Seat} seat */
  constructor(seat) {
    this.seat = seat
    this.#cells = new Map(COLUMNS.map(({ key, title }) => [key, cell(key, title)]))
    this.node.setAttribute('role', 'row')
    this.node.dataset['backend'] = seat.id
    this.#panel.id = `panel-${++panels}`
    this.#panel.hidden = true
    this.#toggle = button('⋯', 'round', () => this.#open())
    this.#toggle.setAttribute('aria-expanded', 'false')
    this.#toggle.setAttribute('aria-controls', this.#panel.id)
    this.#toggle.setAttribute('aria-label', `Change ${seat.id} by hand`)
    this.#toggle.title = 'Drain, disable, weigh by hand'
    const name = element('span', 'id', seat.id)
    name.title = seat.url
    this.#put('name', name)
    this.#put('state', this.#state)
    this.#put('latency', this.#curve.node, this.#latency)
    this.#put('breaker', this.#breaker)
    this.#put('check', this.#check, this.#took)
    const actions = element('div', 'cell actions', this.#toggle)
    actions.setAttribute('role', 'cell')
    const more = element('div', 'more', this.#why, this.#panel)
    more.setAttribute('role', 'cell')
    this.node.append(...Array.from(this.#cells.values(), ({ node }) => node), actions, more)
  }

  /**
   * @param {Model} model
   * @param {number} top of the axis of latencies
   */
  draw({ layout, timeline: { place } }, top) {
    const { row, reasons, pool } = this.seat
    if (row === undefined || layout === undefined) return
    const [stateNumber, weight, effectiveWeight, inFlight, perSecond, failing, , , breakerNumber] = row
    const state = layout.states[stateNumber] ?? ''
    const breaker = pool.breaker ? (layout.breakers[breakerNumber] ?? '') : 'none'
    pill(this.#state, state, STATE_MEANING[state] ?? '')
    pill(this.#breaker, breaker, BREAKER_MEANING[breaker] ?? '')
    setAttribute(this.node, 'data-state', state)
    this.#write('rate', count(perSecond))
    this.#write('failing', share(failing), (failing ?? 0) >= WORRYING_SHARE)
    this.#write('in-flight', count(inFlight))
    this.#write('weight', effectiveWeight === weight ? count(weight) : `${count(weight)} → ${count(effectiveWeight)}`)
    this.#showCheck()
    const { p50, p99 } = this.seat
    setText(this.#latency, `${duration(latest(p50, place))} · ${duration(latest(p99, place))}`)
    this.#curve.draw([p99, p50], place, top)
    setText(this.#why, whyOf(state, breaker, row[11], reasons))
    setHidden(this.#why, this.#why.textContent === '')
    this.#byHand?.show(weight)
  }

  #showCheck() {
    const { row, pool } = this.seat
    if (row === undefined) return
    const [age, took, failed] = row.slice(9)
    const has = age !== null && age !== undefined
    const word = failed === 0 ? 'passed' : 'failed'
    setText(this.#check, !pool.checks ? 'none made' : has ? `${word} ${ago(age)}` : 'not yet')
    setAttribute(this.#check, 'data-worrying', String(failed !== 0))
    setText(this.#took, has ? `took ${duration(took)}` : '')
  }

  #open() {
    const opens = this.#panel.hidden
    if (this.#byHand === undefined) {
      this.#byHand = new ByHand(this.seat)
      const address = element('p', 'quiet', 'Address ', element('span', 'id', this.seat.url))
      this.#panel.append(address, this.#byHand.node)
    }
    this.#byHand.show(this.seat.row?.[1])
    this.#panel.hidden = !opens
    this.#toggle.setAttribute('aria-expanded', String(opens))
  }

  /**
   * @param {string} key
   * @param {...Node} content
   */
  #put(key, ...content) {
    this.#cells.get(key)?.value.replaceChildren(...content)
  }

  /**
   * @param {string} key
   * @param {string} text
   * @param {boolean} [worrying]
   */
  #write(key, text, worrying = false) {
    const value = this.#cells.get(key)?.value
    if (value === undefined) return
    setText(value, text)
    setAttribute(value, 'data-worrying', String(worrying))
  }
}

/**
 * @param {string} key
 * @param {string} title
 */
function cell(key, title) {
  const value = element('span', 'content', NONE)
  const node = element('div', `cell ${key}`, element('span', 'label', title), value)
  node.setAttribute('role', 'cell')
  if (!['name', 'state', 'breaker', 'check'].includes(key)) value.classList.add('number')
  return { node, value }
}

/**
 * @param {HTMLElement} target
 * @param {string} word
 * @param {string} meaning
 */
export function pill(target, word, meaning) {
  setText(target, word)
  setAttribute(target, 'data-word', word)
  setAttribute(target, 'title', meaning)
}

/**
 * @param {string} state
 * @param {string} breaker
 * @param {number} failedInRow
 * @param {Seat['reasons']} reasons
 */
function whyOf(state, breaker, failedInRow, { check, health, breaker: breakerReason }) {
  const parts = []
  if (state === 'draining' || state === 'disabled') parts.push(`${state} by hand`)
  else if (state !== 'healthy' && health !== '') parts.push(health)
  if ((breaker === 'open' || breaker === 'half-open') && breakerReason !== '') parts.push(`breaker: ${breakerReason}`)
  if (failedInRow > 0 && check !== '' && !parts.some((part) => part.includes(check))) parts.push(`last check: ${check}`)
  return parts.join(' · ')
}
