/**
 * The configuration in force, and how it came to be.
 *
 * @import { Model } from './model.js'
 */
import { call } from './connection.js'
import { byId, element, setHidden, setText } from './elements.js'
import { eventItem, tickTimes } from './events.js'
import { clockTime } from './words.js'

const SHOWN_RELOADS = 10

export class ConfigurationView {
  #model
  #isStale = true
  #reloads = byId('reloads', HTMLOListElement)

  /** @param {Model} model */
  constructor(model) {
    this.#model = model
  }

  /** It may be another one by now. */
  outdate() {
    this.#isStale = true
    this.fillReloads()
  }

  fillReloads() {
    const reloads = this.#model.events.filter(({ what }) => what === 'reload').slice(0, SHOWN_RELOADS)
    this.#reloads.replaceChildren(...reloads.map(eventItem))
    setHidden(byId('no-reloads', HTMLElement), reloads.length > 0)
    this.tick()
  }

  tick() {
    tickTimes(this.#reloads)
  }

  /** Asks for it, if somebody looks and it is not there yet. */
  async show() {
    if (!this.#isStale) return
    this.#isStale = false
    const state = byId('configuration-state', HTMLElement)
    try {
      const [config, status] = await Promise.all([call('config'), call('status')])
      byId('in-force', HTMLElement).replaceChildren(...groupsOf(Object(await config.json())))
      const { hash, loadedAt, lastReload } = Object(await status.json()).config
      const last = lastReload.ok
        ? ''
        : ` The last reload, ${clockTime(new Date(lastReload.at))}, was refused: ${lastReload.error}`
      state.classList.toggle('problem', !lastReload.ok)
      setText(state, `${hash}, in force since ${clockTime(new Date(loadedAt))}.${last}`)
    } catch (error) {
      this.#isStale = true
      setText(state, error instanceof Error ? error.message : '')
    }
  }
}

/** @param {Record<string, unknown>} config */
function groupsOf(config) {
  return Object.entries(config).map(([key, value]) => {
    const isPools = key === 'pools'
    const inside = isPools
      ? Object.entries(Object(value)).map(([name, pool]) => folded(name, text(pool), false))
      : [text(value)]
    return folded(key, element('div', 'inside', ...inside), isPools)
  })
}

/**
 * @param {string} title
 * @param {HTMLElement} content
 * @param {boolean} open
 */
function folded(title, content, open) {
  const node = element('details', 'folded', element('summary', '', title), content)
  node.open = open
  return node
}

/** @param {unknown} value */
function text(value) {
  const pre = element('pre', '', linesOf(value, '').join('\n'))
  pre.tabIndex = 0
  return pre
}

/**
 * As YAML has it, more or less.
 *
 * @param {unknown} value
 * @param {string} indent
 * @returns {string[]}
 */
function linesOf(value, indent) {
  if (Array.isArray(value) && isGroup(value)) {
    return value.map((item) => `${indent}- ${flow(item)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${indent}${flow(value)}`]
  /** @type {string[]} */
  const lines = []
  for (const [key, item] of Object.entries(value)) {
    if (isGroup(item)) lines.push(`${indent}${plain(key)}:`, ...linesOf(item, `${indent}  `))
    else lines.push(`${indent}${plain(key)}: ${flow(item)}`)
  }
  return lines
}

/**
 * What takes lines of its own.
 *
 * @param {unknown} value
 */
function isGroup(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    (!Array.isArray(value) || value.some((each) => typeof each === 'object'))
  )
}

/**
 * @param {unknown} value
 * @returns {string}
 */
function flow(value) {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (typeof value === 'object' && value !== null)
    return `{ ${Object.entries(value)
      .map(([key, item]) => `${plain(key)}: ${flow(item)}`)
      .join(', ')} }`
  return typeof value === 'string' ? plain(value) : String(value)
}

/** @param {string} value */
function plain(value) {
  return /^[\w/.][\w/.:@*-]*(?: [\w/.@*-]+)*$/.test(value) && !value.endsWith(':') ? value : JSON.stringify(value)
}
