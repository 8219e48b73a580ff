/**
 * What has changed, the latest first.
 *
 * @import { GatewayEvent } from '../../plugins/events.ts'
 * @import { Model } from './model.js'
 */
import { byId, element, setHidden, setText } from './elements.js'
import { ago, clockTime } from './words.js'

const AT_FIRST = 60
const MORE = 200

/** What an event is about, and how bad what it says is. */
/** @type {Readonly<Record<string, string>>} */
const TONES = {
  healthy: 'good',
  closed: 'good',
  enough: 'good',
  passed: 'good',
  degraded: 'doubt',
  'half-open': 'doubt',
  panic: 'doubt',
  overdue: 'doubt',
  warming: 'busy',
  draining: 'hand',
  disabled: 'hand',
  unhealthy: 'bad',
  open: 'bad',
  empty: 'bad',
  refused: 'bad',
}

export class EventList {
  #model
  #list = byId('event-list', HTMLOListElement)
  #pool = byId('event-pool', HTMLSelectElement)
  #kind = byId('event-kind', HTMLSelectElement)
  #more = byId('more-events', HTMLButtonElement)
  #most = AT_FIRST

  /** @param {Model} model */
  constructor(model) {
    this.#model = model
    for (const select of [this.#pool, this.#kind]) {
      select.addEventListener('change', () => {
        this.#most = AT_FIRST
        this.fill()
      })
    }
    this.#more.addEventListener('click', () => {
      this.#most += MORE
      this.fill()
    })
  }

  /** All of them anew. */
  fill() {
    this.#offer()
    const fitting = this.#model.events.filter((event) => this.#fits(event))
    this.#list.replaceChildren(...fitting.slice(0, this.#most).map(eventItem))
    setHidden(this.#more, fitting.length <= this.#most)
    setHidden(byId('no-events', HTMLElement), fitting.length > 0)
    const none = this.#model.events.length === 0 ? 'Nothing has changed since the gateway started.' : 'No event fits.'
    setText(byId('no-events', HTMLElement), none)
    this.tick()
  }

  /** @param {GatewayEvent} event that has just come */
  add(event) {
    this.#offer()
    if (!this.#fits(event)) return
    setHidden(byId('no-events', HTMLElement), true)
    const item = eventItem(event)
    item.classList.add('new')
    this.#list.prepend(item)
    while (this.#list.childElementCount > this.#most) {
      this.#list.lastElementChild?.remove()
      setHidden(this.#more, false)
    }
    this.tick()
  }

  tick() {
    tickTimes(this.#list)
  }

  /** @param {GatewayEvent} event */
  #fits({ pool, what }) {
    return (
      (this.#pool.value === '' || pool === this.#pool.value) && (this.#kind.value === '' || what === this.#kind.value)
    )
  }

  /** Choices for what there is. */
  #offer() {
    offer(this.#pool, [
      ...this.#model.pools.map(({ name }) => name),
      ...this.#model.events.flatMap(({ pool }) => pool ?? []),
    ])
    offer(
      this.#kind,
      this.#model.events.map(({ what }) => what),
    )
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {readonly string[]} values
 */
function offer(select, values) {
  const present = new Set(Array.from(select.options, ({ value }) => value))
  for (const value of new Set(values)) if (!present.has(value)) select.add(new Option(value, value))
}

/** @param {GatewayEvent} event */
export function eventItem(event) {
  const { at, what, pool, backend, from, to, cause } = event
  const item = element('li', 'event')
  item.dataset['tone'] = what === 'reload' && to !== 'refused' ? 'good' : (TONES[to] ?? 'plain')
  const time = element('time', 'relative')
  time.dateTime = at
  time.title = new Date(at).toLocaleString()
  const subject = element('span', 'subject')
  if (backend !== undefined) subject.append(element('b', '', backend), ' ')
  if (pool !== undefined) subject.append(element('span', 'quiet', backend === undefined ? 'pool ' : 'in '), pool)
  if (pool === undefined) subject.append(element('b', '', 'configuration'))
  const change = element('span', 'change', element('span', 'quiet', `${what}: ${from} → `), element('b', 'to', to))
  item.append(
    element('div', 'when', time, element('span', 'absolute number', clockTime(new Date(at)))),
    element('div', 'what', subject, change, element('p', 'cause', cause)),
  )
  return item
}

/** @param {ParentNode} list whose times are brought up to date */
export function tickTimes(list) {
  const now = Date.now()
  for (const time of list.querySelectorAll('time')) setText(time, ago(now - Date.parse(time.dateTime)))
}

/**
 * In a sentence, for those who do not see the list.
 *
 * @param {GatewayEvent} event
 */
export function sentenceOf({ what, pool, backend, to, cause }) {
  if (pool === undefined)
    return to === 'refused' ? `A configuration is refused: ${cause}` : `Another configuration is in force`
  const subject = backend === undefined ? `Pool ${pool}` : `Backend ${backend} of pool ${pool}`
  return what === 'weight' ? `${subject} has weight ${to}` : `${subject}: ${what} is ${to}`
}
