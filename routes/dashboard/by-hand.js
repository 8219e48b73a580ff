/**
 * An operator's hand on one backend: its weight and state. What takes traffic away asks first.
 *
 * @import { Seat } from './model.js'
 */
import { call } from './connection.js'
import { button, byId, element, setHidden, setText } from './elements.js'
import { counted } from './words.js'

const MOST_WEIGHT = 1_000_000

let controls = 0

export class ByHand {
  node = element('div', 'by-hand')
  #seat
  #answer = element('p', 'answer')
  #weight = element('input', 'number')

  /** @param {Seat} seat */
  constructor(seat) {
    this.#seat = seat
    const number = ++controls
    this.#weight.type = 'number'
    this.#weight.id = `weight-${number}`
    Object.assign(this.#weight, { min: '0', max: String(MOST_WEIGHT), step: 'any', required: true })
    const label = element('label', '', 'Weight')
    label.htmlFor = this.#weight.id
    const set = element('button', '', 'Set')
    const form = element('form', 'weigh', label, this.#weight, set)
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      void this.#setWeight(this.#weight.valueAsNumber)
    })
    this.#answer.setAttribute('role', 'status')
    this.node.append(
      element(
        'div',
        'buttons',
        button('Drain', '', () => void this.#takeAway('draining', 'Drain')),
        button('Disable', '', () => void this.#takeAway('disabled', 'Disable')),
        button('Automatic', '', () => void this.#change({ state: 'auto' })),
      ),
      form,
      this.#answer,
    )
  }

  /** @param {number | undefined} weight in force */
  show(weight) {
    if (document.activeElement !== this.#weight) this.#weight.value = String(weight ?? '')
  }

  /** @param {number} weight */
  async #setWeight(weight) {
    const { id, pool } = this.#seat
    if (weight === 0) {
      const text = `${id} of pool ${pool.name} will get nothing new. ${this.#others()}`
      if (!(await confirmed('Set the weight to 0?', text, 'Set to 0'))) return
    }
    await this.#change({ weight })
  }

  /**
   * @param {'draining' | 'disabled'} state
   * @param {string} verb
   */
  async #takeAway(state, verb) {
    const { id, pool, row } = this.#seat
    const under = row === undefined || row[3] === 0 ? '' : ` What it has under way, ${row[3]} now, may end.`
    const text = `${id} of pool ${pool.name} will get nothing new, until it is set back to automatic.${under} ${this.#others()}`
    if (await confirmed(`${verb} ${id}?`, text, verb)) await this.#change({ state })
  }

  /** Who is left to take the traffic. */
  #others() {
    const left = this.#seat.pool.seats.filter(({ row }) => row !== undefined && row[2] > 0 && isAvailable(row[0]))
    const others = left.filter((seat) => seat !== this.#seat).length
    if (others === 0) return 'No other backend of this pool gets requests now: clients will be answered 503.'
    return `${counted(others, 'other backend takes', 'other backends take')} over.`
  }

  /** @param {{ weight?: number, state?: string }} change */
  async #change(change) {
    const { id, pool } = this.#seat
    this.#tell('…', 'plain')
    try {
      const answer = await call(`pools/${encodeURIComponent(pool.name)}/backends/${encodeURIComponent(id)}`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(change),
      })
      const { state, weight, effectiveWeight } = Object(await answer.json())
      this.#tell(`Done: it is ${state}, with weight ${weight} (${effectiveWeight} now).`, 'good')
    } catch (error) {
      this.#tell(error instanceof Error ? `Not done: ${error.message}` : 'Not done', 'bad')
    }
  }

  /**
   * @param {string} text
   * @param {string} tone
   */
  #tell(text, tone) {
    this.#answer.dataset['tone'] = tone
    setText(this.#answer, text)
    setHidden(this.#answer, false)
  }
}

/**
 * healthy, degraded and warming ones get requests.
 *
 * @param {number} state
 */
function isAvailable(state) {
  return state === 0 || state === 1 || state === 3
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 * @returns {Promise<boolean>}
 */
async function confirmed(title, text, yes) {
  const dialog = byId('confirm', HTMLDialogElement)
  setText(byId('confirm-title', HTMLElement), title)
  setText(byId('confirm-text', HTMLElement), text)
  setText(byId('confirm-yes', HTMLElement), yes)
  dialog.returnValue = ''
  dialog.showModal()
  await new Promise((closed) => {
    dialog.addEventListener('close', closed, { once: true })
  })
  return dialog.returnValue === 'yes'
}
