/** Messages of WebSocket, one there for one back, of one size. */
import type { Socket } from 'node:net'

import { MESSAGE_BYTES } from '../cases.ts'
import { HOST, newPath, SocketClient } from './client.ts'

const UPGRADE =
  `Host: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
const TEXT = 0x81
/** A mask of zeros changes nothing, but has to be there (RFC 6455, section 5.3). */
const MESSAGE = Buffer.concat([Buffer.from([TEXT, 0x80 | MESSAGE_BYTES, 0, 0, 0, 0]), Buffer.alloc(MESSAGE_BYTES, 'm')])
const ANSWER_BYTES = 2 + MESSAGE_BYTES

export class WebSocketClient extends SocketClient {
  #switched = false
  #head = ''
  #left = ANSWER_BYTES

  protected override send(socket: Socket): void {
    if (this.#switched) socket.write(MESSAGE)
    else socket.write(`GET ${newPath(this.job.path)} HTTP/1.1\r\n${UPGRADE}`)
  }

  protected override read(bytes: Buffer): boolean {
    if (!this.#switched) return this.#switch(bytes)
    if (this.#left === ANSWER_BYTES && bytes[0] !== TEXT) throw new Error(`a frame that begins with ${bytes[0]}`)
    this.#left -= bytes.length
    if (this.#left > 0) return false
    this.#left = ANSWER_BYTES
    return true
  }

  #switch(bytes: Buffer): boolean {
    this.#head += bytes.toString('latin1')
    if (!this.#head.includes('\r\n\r\n')) return false
    if (!this.#head.startsWith('HTTP/1.1 101')) throw new Error(`answered ${this.#head.slice(0, 80)}`)
    this.#switched = true
    return true
  }
}
