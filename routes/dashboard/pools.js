/**
 * All pools, each with its backends. Only what can be seen is made and drawn: there may be thousands.
 *
 * @import { Model, Pool } from './model.js'
 */
import { BackendRow, COLUMNS } from './backend.js'
import { Curve, highest, latest, usuallyBelow } from './curve.js'
import { byId, element, setAttribute, setHidden, setText } from './elements.js'
import { count, counted, duration, share, STATE_MEANING, WORRYING_SHARE } from './words.js'

/** With more backends than this, pools are closed until somebody opens them. */
const FEW = 60
/** So much beyond the edge of the window is drawn, too, so that scrolling finds it ready. */
const BEYOND = '150px'

export class PoolList {
  #model
  #list = byId('pool-list', HTMLElement)
  #filter = byId('pool-filter', HTMLInputElement)
  #troubleOnly = byId('trouble-only', HTMLInputElement)
  /** @type {Map<string, PoolCard>} */
  #cards = new Map()
  /** What an operator has opened or closed, by name. */
  #openByHand = new Map()
  #observer

  /** @param {Model} model */
  constructor(model) {
    this.#model = model
    this.#observer = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: BEYOND })
    this.#filter.addEventListener('input', () => this.#choose())
    this.#troubleOnly.addEventListener('change', () => this.#choose())
  }

  /** Other pools or backends. */
  fill() {
    const { pools } = this.#model
    const many = pools.reduce((sum, { seats }) => sum + seats.length, 0) > FEW
    this.#observer.disconnect()
    this.#cards = new Map(
      pools.map((pool) => {
        const open = this.#openByHand.get(pool.name) ?? !many
        const card = new PoolCard(pool, this.#model, this.#observer, open)
        card.node.addEventListener('toggle', () => {
          if (card.node.open !== open || this.#openByHand.has(pool.name))
            this.#openByHand.set(pool.name, card.node.open)
        })
        return [pool.name, card]
      }),
    )
    this.#list.replaceChildren(...Array.from(this.#cards.values(), ({ node }) => node))
    for (const { node } of this.#cards.values()) this.#observer.observe(node)
    this.#choose()
  }

  draw() {
    for (const card of this.#cards.values()) card.draw()
    const { pools } = this.#model
    const backends = pools.reduce((sum, { seats }) => sum + seats.length, 0)
    const troubled = pools.filter((pool) => isTroubled(pool)).length
    const trouble = troubled === 0 ? 'all well' : `${troubled} with trouble`
    setText(
      byId('pools-summary', HTMLElement),
      `${counted(pools.length, 'pool')}, ${counted(backends, 'backend')}, ${trouble}`,
    )
    if (this.#troubleOnly.checked) this.#choose()
  }

  /** Shows those that fit. */
  #choose() {
    const wanted = this.#filter.value.trim().toLowerCase()
    let shown = 0
    for (const { node, pool } of this.#cards.values()) {
      const named =
        wanted === '' ||
        [pool.name, ...pool.seats.map(({ id }) => id)].some((name) => name.toLowerCase().includes(wanted))
      const fits = named && (!this.#troubleOnly.checked || isTroubled(pool))
      setHidden(node, !fits)
      if (fits) shown++
    }
    setHidden(byId('no-pools', HTMLElement), shown > 0)
  }

  /** @param {readonly IntersectionObserverEntry[]} entries */
  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const name = target.closest('.pool')?.getAttribute('data-pool') ?? ''
      this.#cards.get(name)?.seen(target, isIntersecting)
    }
  }
}

class PoolCard {
  node = element('details', 'pool card')
  pool
  #model
  #observer
  #visible = false
  #bar = element('span', 'bar')
  #states = element('span', 'states')
  #rate = element('span', 'number')
  #failing = element('span', 'number')
  #latency = element('span', 'number')
  #curve = new Curve(['area rate'])
  #table = element('div', 'table')
  /** @type {Map<Element, BackendRow>} */
  #rows = new Map()
  /** @type {Set<BackendRow>} */
  #seenRows = new Set()

  /**
   * @param {Pool} pool
   * @param {Model} model
   * @param {IntersectionObserver} observer
   * @param {boolean} open
   */
  constructor(pool, model, observer, open) {
    this.pool = pool
    this.#model = model
    this.#observer = observer
    this.node.dataset['pool'] = pool.name
    this.node.open = open
    const name = element('h3', '', pool.name)
    this.node.append(
      element(
        'summary',
        '',
        element('div', 'title', name, element('span', 'quiet', pool.algorithm)),
        element('div', 'standing', this.#bar, this.#states),
        figure('req/s', this.#rate),
        this.#curve.node,
        figure('failing', this.#failing),
        figure('p50 · p99', this.#latency),
      ),
      this.#table,
    )
    this.#table.setAttribute('role', 'table')
    this.#table.setAttribute('aria-label', `Backends of ${pool.name}`)
    this.node.addEventListener('toggle', () => this.draw())
  }

  /**
   * @param {Element} target the card itself or one of its rows
   * @param {boolean} visible
   */
  seen(target, visible) {
    if (target === this.node) {
      this.#visible = visible
      if (visible) this.draw()
      return
    }
    const row = this.#rows.get(target)
    if (row === undefined) return
    if (!visible) {
      this.#seenRows.delete(row)
      return
    }
    this.#seenRows.add(row)
    row.draw(this.#model, this.#top)
  }

  draw() {
    if (!this.#visible) return
    this.#summarize()
    if (!this.node.open) return
    if (this.#rows.size === 0) this.#makeRows()
    const top = this.#top
    for (const row of this.#seenRows) row.draw(this.#model, top)
  }

  /** Of the axis of latencies: one for all, so that the eye may compare. */
  get #top() {
    return Math.max(1, ...this.pool.seats.map(({ p99 }) => usuallyBelow(p99)))
  }

  #makeRows() {
    const head = element('div', 'head', ...COLUMNS.map(headCell))
    head.setAttribute('role', 'row')
    for (const seat of this.pool.seats) {
      const row = new BackendRow(seat)
      this.#rows.set(row.node, row)
    }
    this.#table.append(head, ...this.#rows.keys())
    for (const node of this.#rows.keys()) this.#observer.observe(node)
  }

  #summarize() {
    const { row, rate } = this.pool
    const { timeline, layout } = this.#model
    if (row === undefined || layout === undefined) return
    const [supplyNumber, perSecond, failing] = row
    const supply = layout.supplies[supplyNumber]
    this.#showStates(supply === 'enough' ? '' : supply === 'panic' ? 'in need: all are used' : 'nobody can be chosen')
    setText(this.#rate, count(perSecond))
    setText(this.#failing, share(failing))
    setAttribute(this.#failing, 'data-worrying', String((failing ?? 0) >= WORRYING_SHARE))
    const { place } = timeline
    setText(this.#latency, `${duration(latest(this.pool.p50, place))} · ${duration(latest(this.pool.p99, place))}`)
    this.#curve.draw([rate], place, Math.max(1, highest(rate)))
  }

  /** @param {string} need */
  #showStates(need) {
    const states = this.#model.layout?.states ?? []
    const counts = states.map((state, number) => ({
      state,
      amount: this.pool.seats.filter(({ row }) => row?.[0] === number).length,
    }))
    const present = counts.filter(({ amount }) => amount > 0)
    const words = present.map(({ state, amount }) => `${amount} ${state}`)
    const text = [...words, ...(need === '' ? [] : [need])].join(' · ')
    if (this.#states.textContent === text) return
    setText(this.#states, text)
    this.#bar.replaceChildren(
      ...present.map(({ state, amount }) => {
        const part = element('i', 'part')
        part.dataset['word'] = state
        part.title = `${amount} ${state}: ${STATE_MEANING[state] ?? ''}`
        part.style.flexGrow = String(amount)
        return part
      }),
    )
    setAttribute(this.node, 'data-trouble', String(isTroubled(this.pool)))
  }
}

/** @param {Pool} pool some of whose backends do not get what they should, or that has none to choose */
function isTroubled({ seats, row }) {
  return (
    row !== undefined &&
    (row[0] !== 0 ||
      seats.some(({ row: each }) => each !== undefined && (each[0] === 1 || each[0] === 2 || each[8] !== 0)))
  )
}

/** @param {(typeof COLUMNS)[number]} column */
function headCell({ key, title, meaning }) {
  const node = element('div', `cell ${key}`, title)
  node.setAttribute('role', 'columnheader')
  node.title = meaning
  return node
}

/**
 * @param {string} label
 * @param {HTMLElement} value
 */
function figure(label, value) {
  return element('div', 'figure', value, element('span', 'quiet', ` ${label}`))
}
