/**
 * A backend that costs as little as one can: a bare socket server that answers each request head with ready-made bytes.
 * Prints its port.
 */
import { createServer } from 'node:net'

import { SIZES } from './cases.ts'

const answers = new Map<string, Buffer>()
for (const [path, size] of Object.entries(SIZES)) {
  const body = Buffer.alloc(size, 'x')
  const json = size < 1000 ? Buffer.from(JSON.stringify({ id: 1, name: 'y'.repeat(size - 20) })) : body
  const head =
    'HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-cache\r\n' +
    'Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n' +
    `Content-Length: ${json.length}\r\n\r\n`
  answers.set(path, Buffer.concat([Buffer.from(head), json]))
}

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  let rest = ''
  socket.on('data', (chunk) => {
    const text = rest + chunk.toString('latin1')
    let start = 0
    for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n', start)) {
      const path = text.slice(text.indexOf(' ', start) + 1, text.indexOf('/', text.indexOf('/', start) + 1) + 1)
      const answer = answers.get(path)
      if (answer === undefined) socket.destroy()
      else socket.write(answer)
      start = end + 4
    }
    rest = text.slice(start)
  })
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) console.log(address.port)
})
