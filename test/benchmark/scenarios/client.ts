/**
 * The clients: connections that are kept and used again, and a new one whenever none is idle, so that nobody waits for
 * anybody else's answer. Bare sockets, so that they cost little.
 */
import { connect, type Socket } from 'node:net'

export interface Answer {
  readonly backend: number | undefined
  readonly failure: string | undefined
}

type Done = (answer: Answer) => void

export class Clients {
  readonly #port: number
  readonly #timeoutMs: number
  readonly #idle: Connection[] = []

  constructor(port: number, timeoutMs: number) {
    this.#port = port
    this.#timeoutMs = timeoutMs
  }

  get(path: string, done: Done): void {
    let connection = this.#idle.pop()
    while (connection?.closed === true) connection = this.#idle.pop()
    connection ??= new Connection(this.#port, (free) => this.#idle.push(free))
    connection.get(path, this.#timeoutMs, done)
  }

  close(): void {
    for (const connection of this.#idle) connection.close()
  }
}

class Connection {
  readonly #socket: Socket
  readonly #free: (connection: Connection) => void
  #timer: NodeJS.Timeout | undefined
  #done: Done | undefined
  #text = ''

  constructor(port: number, free: (connection: Connection) => void) {
    this.#free = free
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#read(text))
    // An error is followed by the close, which tells whoever waits.
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#end({ backend: undefined, failure: 'broken off' }))
  }

  get closed(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded
  }

  get(path: string, timeoutMs: number, done: Done): void {
    this.#done = done
    this.#text = ''
    this.#timer = setTimeout(() => {
      this.#end({ backend: undefined, failure: 'timeout' })
      this.close()
    }, timeoutMs)
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: scenarios\r\nAccept: application/json\r\n\r\n`,
      'latin1',
    )
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#text += text
    const head = this.#text.slice(0, this.#text.indexOf('\r\n\r\n') + 2)
    // Every answer here has a length; without one, the end of the connection would be the end of the answer.
    const length = head === '\r' ? undefined : /\r\ncontent-length: (\d+)\r/i.exec(head)?.[1]
    if (length === undefined || this.#text.length < head.length + 2 + Number(length)) return
    const answer = understand(head, this.#text.slice(head.length + 2))
    if (/^HTTP\/1\.0|\r\nconnection: close\r/i.test(head)) this.close()
    this.#end(answer)
    if (!this.closed) this.#free(this)
  }

  #end(answer: Answer): void {
    clearTimeout(this.#timer)
    const done = this.#done
    this.#done = undefined
    done?.(answer)
  }
}

function understand(head: string, body: string): Answer {
  const status = head.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)
  const backend = /\r\nx-backend: (\d+)\r/i.exec(head)?.[1]
  const code = /"code":"(\w+)"/.exec(body)?.[1]
  return {
    backend: backend === undefined ? undefined : Number(backend),
    failure: status === '200' ? undefined : code === undefined ? status : `${status} ${code}`,
  }
}
