/**
 * The dashboard: what the stream of the gateway tells goes into the model, and once a frame into what can be seen.
 *
 * @import { GatewayEvent } from '../../plugins/events.ts'
 */
import { ConfigurationView } from './configuration.js'
import { storedToken, storeToken, Stream } from './connection.js'
import { byId, element, setAttribute, setHidden, setText } from './elements.js'
import { EventList, sentenceOf } from './events.js'
import { prepareExplain } from './explain.js'
import { Model } from './model.js'
import { Overview } from './overview.js'
import { PoolList } from './pools.js'
import { clockTime, MEANINGS } from './words.js'

const VIEWS = new Set(['pools', 'events', 'explain', 'configuration'])

const model = new Model()
const overview = new Overview()
const poolList = new PoolList(model)
const eventList = new EventList(model)
const configuration = new ConfigurationView(model)
/** @type {Stream | undefined} */
let stream
/** @type {Date | undefined} */
let lostAt
/** Whether the stream is past what it begins with. */
let isCaughtUp = false
let isDrawing = false

prepareExplain()
prepareToken()
prepareHelp()
addEventListener('hashchange', showView)
showView()
connect()

function connect() {
  // The visit itself was answered so: there is no need to be refused once more.
  if (storedToken() === '' && wasRefused()) {
    onRefused()
    return
  }
  setHidden(byId('ask', HTMLElement), true)
  setHidden(byId('forget', HTMLElement), storedToken() === '')
  stream?.stop()
  stream = new Stream('events?figures=1s', { onOpen, onEvent, onLost, onRefused })
}

function wasRefused() {
  const [visit] = performance.getEntriesByType('navigation')
  return visit instanceof PerformanceNavigationTiming && visit.responseStatus === 401
}

function onOpen() {
  lostAt = undefined
  isCaughtUp = false
  model.restart()
  tellConnection('live', 'Live')
}

/**
 * @param {string} name
 * @param {string} data
 */
function onEvent(name, data) {
  if (name === 'figures') {
    model.setFigures(JSON.parse(data))
    catchUp()
    draw()
  } else if (name === 'layout') {
    if (model.setLayout(JSON.parse(data))) poolList.fill()
    configuration.outdate()
  } else if (name === 'reasons') model.setReasons(JSON.parse(data))
  else happened(JSON.parse(data))
}

/** What the stream begins with has all come. */
function catchUp() {
  if (isCaughtUp) return
  isCaughtUp = true
  setHidden(byId('content', HTMLElement), false)
  eventList.fill()
  configuration.outdate()
  void showConfiguration()
}

/** @param {GatewayEvent} event */
function happened(event) {
  model.addEvent(event)
  if (!isCaughtUp) return
  eventList.add(event)
  setText(byId('announcements', HTMLElement), sentenceOf(event))
  if (event.what !== 'reload') return
  configuration.outdate()
  void showConfiguration()
}

/** @param {string} reason */
function onLost(reason) {
  lostAt ??= new Date()
  const why = reason === '' ? '' : ` (${reason})`
  tellConnection('lost', `Not connected since ${clockTime(lostAt)}${why}; trying again`)
}

function onRefused() {
  stream?.stop()
  const problem = byId('token-problem', HTMLElement)
  setText(problem, storedToken() === '' ? '' : 'This is not the token of this gateway.')
  storeToken('')
  setHidden(byId('content', HTMLElement), true)
  setHidden(byId('forget', HTMLElement), true)
  setHidden(byId('ask', HTMLElement), false)
  tellConnection('refused', 'Needs a token')
  byId('token', HTMLInputElement).focus()
}

/**
 * @param {string} state
 * @param {string} text
 */
function tellConnection(state, text) {
  const told = byId('connection', HTMLElement)
  setAttribute(told, 'data-state', state)
  setText(told, text)
  document.body.classList.toggle('stale', state === 'lost')
}

/** Once a frame, and not at all while nobody sees the page. */
function draw() {
  if (isDrawing) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    overview.draw(model)
    poolList.draw()
    eventList.tick()
    configuration.tick()
  })
}

function showView() {
  const wanted = location.hash.slice(1)
  const view = VIEWS.has(wanted) ? wanted : 'pools'
  document.body.dataset['view'] = view
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#${view}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  void showConfiguration()
}

async function showConfiguration() {
  if (isCaughtUp && document.body.dataset['view'] === 'configuration') await configuration.show()
}

function prepareToken() {
  byId('token-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault()
    const field = byId('token', HTMLInputElement)
    storeToken(field.value)
    field.value = ''
    connect()
  })
  byId('forget', HTMLButtonElement).addEventListener('click', () => {
    storeToken('')
    connect()
  })
}

function prepareHelp() {
  const dialog = byId('help', HTMLDialogElement)
  for (const [title, words] of MEANINGS) {
    const list = element('dl')
    for (const [word, meaning] of Object.entries(words)) {
      const term = element('span', 'pill plain-word', word)
      term.dataset['word'] = word
      list.append(element('dt', '', term), element('dd', '', meaning))
    }
    byId('help-words', HTMLElement).append(element('h3', '', title), list)
  }
  byId('open-help', HTMLButtonElement).addEventListener('click', () => dialog.showModal())
}
