/**
 * A process of its own that asks much of a gateway: PORT CLIENTS REQUESTS PATHS. Every client has one connection and
 * sends one request after the other; every answer is compared with its request. Prints what it counted as JSON.
 */
import { connect } from 'node:net'

const [port = '', clients = '', requests = '', paths = ''] = process.argv.slice(2)
const PATHS = paths.split(',')

const counted = { answered: 0, wrong: 0, broken: 0, example: '' }
let asked = 0
let running = 0

function client(id: number): void {
  const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
  let expected = ''
  let received = ''
  const next = (): void => {
    if (asked === Number(requests)) {
      expected = ''
      socket.end()
      return
    }
    const n = asked++
    const path = `${PATHS[n % PATHS.length]}/${id}/${n}`
    expected = `${path} ${id}-${n}`
    received = ''
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nX-Unique: ${id}-${n}\r\n\r\n`)
  }
  running++
  socket.setEncoding('latin1')
  socket.on('connect', next)
  socket.on('data', (text: string) => {
    received += text
    const end = received.indexOf('\r\n\r\n')
    if (end === -1) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(received)?.[1] ?? 0)
    if (received.length < end + 4 + length) return
    const body = received.slice(end + 4)
    counted.answered++
    // The gateway strips the first segment.
    if (!received.startsWith('HTTP/1.1 200 ') || body !== expected.replace(/^\/\w+/, '')) {
      counted.wrong++
      counted.example ||= `${expected} got ${received.slice(0, 500)}`
    }
    next()
  })
  socket.on('error', (error) => {
    counted.example ||= error.message
  })
  socket.on('close', () => {
    if (expected !== '') counted.broken++
    running--
    if (running === 0) console.log(JSON.stringify(counted))
  })
}

for (let id = 0; id < Number(clients); id++) client(id)
