/**
 * The gateway as a whole, in a row of tiles.
 *
 * @import { Model } from './model.js'
 */
import { Curve, highest, latest, usuallyBelow } from './curve.js'
import { byId, element, setAttribute, setHidden, setText } from './elements.js'
import { sumOf } from './model.js'
import { bytes, count, duration, share, span, WORRYING_SHARE } from './words.js'

const WORRYING_LOOP = 0.9

/** In the order of the metrics. */
const CLASSES = ['2xx', '3xx', '4xx', '5xx', 'aborted']
/** Not worth their place while there are none. */
const SELDOM = new Set(['3xx', 'aborted'])

export class Overview {
  #requests = tile('Requests / s', 'Requests that ended in the last second, by the class of their status.', [
    'area rate',
  ])
  #failing = tile('Failing', 'The share of answers with a status of 500 and above.', ['area bad'])
  #latency = tile('Latency', 'Until the answer of a backend begins: half of them, and 99 of 100.', ['area p99', 'p50'])
  #inFlight = tile('In flight', 'Requests on their way to a backend and back, and open connections of clients.', [
    'area rate',
  ])
  #process = tile(
    'Event loop',
    'How busy the event loop is: near 100 % the gateway itself is the bottleneck. Heap and memory as the system sees it.',
    [],
  )
  #classes = CLASSES.map((name) => {
    const value = element('span', 'number')
    const node = element('span', `class class-${name}`, element('i', 'dot'), `${name} `, value)
    return { name, node, value }
  })

  constructor() {
    byId('overview', HTMLElement).append(
      ...[this.#requests, this.#failing, this.#latency, this.#inFlight, this.#process].map(({ node }) => node),
    )
    this.#requests.detail.append(...this.#classes.map(({ node }) => node))
    this.#requests.detail.classList.add('classes')
  }

  /** @param {Model} model */
  draw({ figures, layout, all, timeline: { place } }) {
    if (figures === undefined || layout === undefined) return
    const { perSecond, inFlight, connections, loop, heapBytes, rssBytes, upMs } = figures.gateway
    setText(this.#requests.value, count(perSecond === null ? null : sumOf(Object.values(perSecond))))
    for (const { name, node, value } of this.#classes) {
      setText(value, count(perSecond?.[name]))
      setHidden(node, SELDOM.has(name) && (perSecond?.[name] ?? 0) === 0)
    }
    const failing = latest(all.failing, place)
    setText(this.#failing.value, share(failing))
    setAttribute(this.#failing.value, 'data-worrying', String(failing >= WORRYING_SHARE))
    const worst = highest(all.failing)
    setText(this.#failing.detail, worst === 0 ? 'none in 2 minutes' : `at most ${share(worst)}`)
    setText(this.#latency.value, duration(latest(all.p50, place)))
    setText(this.#latency.detail, `p50 · p99 ${duration(latest(all.p99, place))}`)
    setText(this.#inFlight.value, count(inFlight))
    setText(this.#inFlight.detail, `${count(connections)} connections open`)
    setText(this.#process.value, share(loop))
    setAttribute(this.#process.value, 'data-worrying', String(loop >= WORRYING_LOOP))
    setText(this.#process.detail, `busy · ${bytes(rssBytes)}, heap ${bytes(heapBytes)}`)
    setText(byId('version', HTMLElement), `${layout.version} · up ${span(upMs)} · ${layout.hash}`)
    this.#curves(all, place)
  }

  /**
   * @param {Model['all']} all
   * @param {number} place
   */
  #curves(all, place) {
    this.#requests.curve?.draw([all.rate], place, highest(all.rate))
    // So that a single failure does not look like a catastrophe.
    this.#failing.curve?.draw([all.failing], place, Math.max(WORRYING_SHARE, highest(all.failing)))
    this.#latency.curve?.draw([all.p99, all.p50], place, usuallyBelow(all.p99))
    this.#inFlight.curve?.draw([all.inFlight], place, highest(all.inFlight))
  }
}

/**
 * @param {string} title
 * @param {string} meaning
 * @param {readonly string[]} lines
 */
function tile(title, meaning, lines) {
  const value = element('p', 'value number', '–')
  const detail = element('p', 'detail number')
  const node = element('div', 'tile card', element('h2', '', title), value, detail)
  node.title = meaning
  const curve = lines.length === 0 ? undefined : new Curve(lines)
  if (curve !== undefined) node.append(curve.node)
  return { node, value, detail, curve }
}
