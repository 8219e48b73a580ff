/**
 * The form that asks where a request would go, and the answer.
 */
import { pill } from './backend.js'
import { call } from './connection.js'
import { byId, element } from './elements.js'
import { count, STATE_MEANING } from './words.js'

/**
 * What GET /explain answers.
 *
 * @typedef {object} Explanation
 * @property {{ method: string, path: string, host: string | null }} request
 * @property {{ path: string, host: string | null, methods: string[] | null } | null} route
 * @property {string | null} pool
 * @property {string | null} algorithm
 * @property {string | null} score
 * @property {boolean} panic
 * @property {Candidate[]} candidates
 * @property {Array<{ id: string, state: string, reason: string }>} leftOut
 * @property {{ id: string, why: string } | null} chosen
 * @property {string | null} reason
 * @property {{ statusCode: number, code: string } | null} answer
 */

/**
 * @typedef {{ id: string, state: string, weight: number, effectiveWeight: number, inFlight: number, score: number | null, notes: string[] }} Candidate
 */

export function prepareExplain() {
  const answer = byId('explained', HTMLElement)
  byId('explain-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault()
    void ask(answer)
  })
}

/** @param {HTMLElement} answer */
async function ask(answer) {
  const parameters = new URLSearchParams()
  for (const name of ['method', 'path', 'host', 'ip', 'header']) {
    const value = byId(`explain-${name}`, HTMLInputElement).value.trim()
    if (value !== '') parameters.set(name, value)
  }
  try {
    /** @type {Explanation} */
    const explanation = await (await call(`explain?${parameters}`)).json()
    answer.replaceChildren(...shown(explanation))
  } catch (error) {
    answer.replaceChildren(element('p', 'problem', error instanceof Error ? error.message : 'It could not be asked'))
  }
}

/** @param {Explanation} explanation */
function shown({ route, pool, algorithm, score, panic, candidates, leftOut, chosen, reason, answer }) {
  const steps = element('ol', 'steps')
  if (route === null) steps.append(step('Route', element('b', 'none', 'none')))
  else {
    const methods = route.methods === null ? 'any method' : route.methods.join(', ')
    steps.append(step('Route', element('b', '', (route.host ?? '') + route.path), ` (${methods})`))
    steps.append(step('Pool', element('b', '', pool ?? ''), ` by ${algorithm ?? ''}`))
  }
  if (chosen !== null) steps.append(step('Backend', element('b', 'chosen', chosen.id), `: ${chosen.why}`))
  else if (answer === null) steps.append(step('Backend', reason ?? ''))
  else steps.append(step('Answer', element('b', 'refused', `${answer.statusCode} ${answer.code}`), `: ${reason ?? ''}`))
  const parts = [element('div', 'card outcome', steps)]
  if (panic) parts.push(element('p', 'problem', 'So few backends can be used that all of them are.'))
  if (candidates.length > 0) parts.push(candidateTable(candidates, chosen?.id, score))
  if (leftOut.length > 0) parts.push(leftOutList(leftOut))
  return parts
}

/**
 * @param {string} label
 * @param {...(Node | string)} content
 */
function step(label, ...content) {
  return element('li', '', element('span', 'quiet', label), element('p', '', ...content))
}

/**
 * @param {Candidate[]} candidates
 * @param {string | undefined} chosen
 * @param {string | null} score what it means
 */
function candidateTable(candidates, chosen, score) {
  const list = element('ul', 'candidates')
  for (const { id, state, weight, effectiveWeight, inFlight, score: own, notes } of candidates) {
    const stands = element('span', 'pill')
    pill(stands, state, STATE_MEANING[state] ?? '')
    const worth = weight === effectiveWeight ? count(weight) : `${count(weight)} → ${count(effectiveWeight)}`
    const facts = [`weight ${worth}`, `${inFlight} in flight`, ...(own === null ? [] : [`score ${own}`])]
    const item = element('li', '', element('b', 'id', id), stands, element('span', 'number', facts.join(' · ')))
    if (id === chosen) item.append(element('span', 'chosen', 'chosen'))
    item.classList.toggle('is-chosen', id === chosen)
    for (const note of notes) item.append(element('p', 'cause', note))
    list.append(item)
  }
  const title = element('h3', '', `Candidates`)
  const means = element(
    'p',
    'quiet',
    score === null ? 'Those that may be chosen now.' : `Those that may be chosen now. Score: ${score}`,
  )
  return element('div', 'card', title, means, list)
}

/** @param {Explanation['leftOut']} leftOut */
function leftOutList(leftOut) {
  const list = element('ul', 'candidates')
  for (const { id, state, reason } of leftOut) {
    const stands = element('span', 'pill')
    pill(stands, state, STATE_MEANING[state] ?? '')
    list.append(element('li', '', element('b', 'id', id), stands, element('p', 'cause', reason)))
  }
  return element('div', 'card', element('h3', '', 'Left out'), list)
}
