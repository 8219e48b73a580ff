// What a page does with the network, each as a function that the test calls. Everything that follows another thing is
// caused by it: the backend goes on only when the page has told it that the last piece has come.

/* oxlint-disable no-await-in-loop -- one thing after the other is what it is about */

globalThis.probe = { events, socket, download, upload, uploadStream, many, revalidate, leave, protocols }

/** Reads events until the one with this number, over as many connections as it takes; tells of each. */
function events(last) {
  return new Promise((resolve) => {
    const seen = []
    const source = new EventSource('events')
    source.addEventListener('tick', (event) => {
      seen.push([event.lastEventId, event.data])
      if (event.lastEventId === String(last)) {
        source.close()
        resolve(seen)
      } else void ask(`seen?event=${event.lastEventId}`, { method: 'POST' })
    })
  })
}

/** Says something in text and in bytes, hears it back, and closes; or waits to be closed. */
function socket(closes) {
  return new Promise((resolve) => {
    const heard = []
    const bytes = random(200_000)
    const connection = new WebSocket(new URL('socket', location.href.replace('http', 'ws')), ['v1.test', 'v2.test'])
    connection.binaryType = 'arraybuffer'
    connection.addEventListener('open', () => connection.send('naïve ☃'))
    connection.addEventListener('message', ({ data }) => {
      heard.push(typeof data === 'string' ? data : equal(new Uint8Array(data), bytes))
      if (heard.length === 1) connection.send(bytes)
      else if (closes) connection.close(4321, 'bye ☃')
      else connection.send('close it')
    })
    connection.addEventListener('close', ({ code, reason, wasClean }) => {
      resolve({ heard, code, reason, wasClean, protocol: connection.protocol })
    })
  })
}

/** Reads an answer piece by piece; the backend sends the next one only when it is told of the last. */
async function download(pieces) {
  const answer = await fetch('pieces')
  const reader = answer.body.getReader()
  const lengths = []
  while (lengths.length < pieces) {
    const piece = await take(reader, 10_000)
    lengths.push(piece)
    await ask('seen', { method: 'POST' })
  }
  const { done } = await reader.read()
  return { lengths, done }
}

/** Sends a blob, and gets the digest of what arrived; with the digest of what was sent. */
async function upload(length) {
  const bytes = random(length)
  const answer = await fetch('digest', { method: 'PUT', body: new Blob([bytes]) })
  return { status: answer.status, arrived: await answer.text(), sent: await digest(bytes) }
}

/** Sends a body of which each piece is made only when the one before has arrived. Browsers do that on HTTP/2 only. */
async function uploadStream(pieces) {
  let made = 0
  const body = new ReadableStream({
    async pull(controller) {
      if (made > 0) await ask(`arrived?bytes=${made * 1000}`)
      if (made++ === pieces) controller.close()
      else controller.enqueue(new Uint8Array(1000))
    },
  })
  return ask('length', { method: 'POST', body, duplex: 'half' })
}

/** Asks for many things at once; whether each got what it asked for. */
async function many(count) {
  const answers = await Promise.all(Array.from({ length: count }, (_, index) => ask(`echo?${index}`)))
  return answers.filter((answer, index) => answer.endsWith(`/echo?${index}`)).length
}

/** Asks twice for what has not changed. */
async function revalidate() {
  const texts = []
  for (let round = 0; round < 2; round++) {
    const answer = await fetch('tagged', { cache: 'no-cache' })
    texts.push([answer.status, await answer.text()])
  }
  return texts
}

/** Leaves an answer in its middle. */
async function leave() {
  const controller = new AbortController()
  const answer = await fetch('endless', { signal: controller.signal })
  const reader = answer.body.getReader()
  await reader.read()
  controller.abort()
  return reader.read().catch(({ name }) => name)
}

/** By which protocols all came so far; what was in the browser's own store came by none. */
function protocols() {
  const entries = ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
  return [...new Set(entries.map(({ nextHopProtocol }) => nextHopProtocol))]
}

async function ask(url, options) {
  return (await fetch(url, options)).text()
}

async function take(reader, length) {
  let taken = 0
  while (taken < length) {
    const { value, done } = await reader.read()
    if (done) break
    taken += value.length
  }
  return taken
}

function random(length) {
  const bytes = new Uint8Array(length)
  // It gives no more at a time.
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

async function digest(bytes) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).toHex()
}

function equal(one, other) {
  return one.length === other.length && one.every((byte, index) => byte === other[index])
}
