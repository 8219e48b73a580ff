/**
 * Calls of the admin listener with the token, and its stream of events, which is begun anew whenever it ends. By fetch,
 * since an EventSource sends no fields.
 */

const TOKEN = 'sluice-token'
const RETRY_MS = 500
const MOST_RETRY_MS = 8000
/** Figures come every second; who says nothing for so long is gone, even if the connection does not know. */
const SILENCE_MS = 10_000

export function storedToken() {
  return sessionStorage.getItem(TOKEN) ?? ''
}

/** @param {string} token '' for none */
export function storeToken(token) {
  if (token === '') sessionStorage.removeItem(TOKEN)
  else sessionStorage.setItem(TOKEN, token)
}

/** The gateway has answered, and not as asked. */
export class Refusal extends Error {
  status

  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers)
  const token = storedToken()
  if (token !== '') headers.set('authorization', `Bearer ${token}`)
  const answer = await fetch(path, { ...options, headers, cache: 'no-store' })
  if (answer.ok) return answer
  const text = await answer.text()
  throw new Refusal(answer.status, messageIn(text) || `The gateway answered ${answer.status}`)
}

/** @param {string} text */
function messageIn(text) {
  try {
    const { message } = Object(JSON.parse(text))
    return typeof message === 'string' ? message : ''
  } catch {
    return ''
  }
}

/** Server-sent events out of pieces of text that end anywhere (WHATWG HTML, section 9.2.6). */
export class EventReader {
  #text = ''
  #listener

  /** @param {(name: string, data: string) => void} listener */
  constructor(listener) {
    this.#listener = listener
  }

  /** @param {string} piece */
  read(piece) {
    this.#text += piece
    for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
      this.#take(this.#text.slice(0, end))
      this.#text = this.#text.slice(end + 2)
    }
  }

  /** @param {string} block */
  #take(block) {
    let name = 'message'
    const data = []
    for (const line of block.split('\n')) {
      if (line.startsWith('event: ')) name = line.slice(7)
      else if (line.startsWith('data: ')) data.push(line.slice(6))
    }
    if (data.length > 0) this.#listener(name, data.join('\n'))
  }
}

/**
 * @typedef {object} StreamOptions
 * @property {() => void} onOpen the stream begins; what comes now is all there is
 * @property {(name: string, data: string) => void} onEvent
 * @property {(reason: string) => void} onLost it has ended, and will be tried again
 * @property {() => void} onRefused the token is missing or wrong
 */

/** Goes on until it is stopped, or the token is refused. */
export class Stream {
  #path
  #options
  #stopped = false
  #attempts = 0
  #abort = new AbortController()
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer

  /**
   * @param {string} path
   * @param {StreamOptions} options
   */
  constructor(path, options) {
    this.#path = path
    this.#options = options
    void this.#run()
  }

  stop() {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#abort.abort()
  }

  async #run() {
    this.#abort = new AbortController()
    try {
      this.#expectMore()
      await this.#readAll()
      this.#lost('The gateway has ended the connection')
    } catch (error) {
      if (error instanceof Refusal && error.status === 401 && !this.#stopped) return this.#options.onRefused()
      this.#lost(error instanceof Refusal ? error.message : '')
    } finally {
      clearTimeout(this.#timer)
      if (!this.#stopped) this.#abort.abort()
    }
    return undefined
  }

  async #readAll() {
    const { signal } = this.#abort
    const answer = await call(this.#path, { headers: { accept: 'text/event-stream' }, signal })
    if (answer.body === null) return
    this.#attempts = 0
    this.#options.onOpen()
    const reader = new EventReader((name, data) => this.#options.onEvent(name, data))
    const text = answer.body.pipeThrough(new TextDecoderStream(), { signal }).getReader()
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- one piece after the other
      const { done, value } = await text.read()
      if (done) return
      this.#expectMore()
      reader.read(value)
    }
  }

  #expectMore() {
    clearTimeout(this.#timer)
    const { signal } = this.#abort
    const abort = this.#abort
    this.#timer = setTimeout(() => {
      if (!signal.aborted) abort.abort()
    }, SILENCE_MS)
  }

  /** @param {string} reason */
  #lost(reason) {
    if (this.#stopped) return
    this.#options.onLost(reason)
    const delayMs = Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** this.#attempts++)
    // Not all pages at once, when a gateway comes back.
    setTimeout(
      () => {
        if (!this.#stopped) void this.#run()
      },
      delayMs * (0.75 + Math.random() / 2),
    )
  }
}
