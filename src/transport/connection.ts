/**
 * One HTTP/1.1 connection to a backend and the call it serves: writes the request, reads the answer strictly, keeps
 * the time. It knows nothing of pools, routes or clients; a call is whatever implements `Call`.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'

import { ChunkedDecoder } from './chunked.ts'
import { AttemptError, isOurOwn, type FailureKind } from './failure.ts'
import { READ_SIZE, ReadBuffer } from './read-buffers.ts'
import { parseResponseHead, type ResponseHead } from './response-head.ts'

/** One request to be made on a connection, and who hears of its answer. */
export interface Call {
  /** The connection that serves it, or served it last; the connection's to set. */
  connection: Connection | undefined
  /**
   * When, on the clock of `performance.now()`, it was written as far as it is: how long a client takes to send its body
   * is no time of the backend's. The connection's to set.
   */
  sentAt: number
  /** When a connection, new or kept, began to serve it; 0 before. The connection's to set. */
  servedAt: number
  /** When it began to be written, once connected; 0 before. The connection's to set. */
  writtenAt: number
  readonly method: string
  /** The request head as latin1, ready to be written, with the empty line. */
  readonly head: string
  /** The request's body, or undefined; it begins to flow when the connection says so. */
  readonly body: CallBody | undefined
  /** Whether it may be sent once more on a fresh connection when a reused one turns out to be dead. */
  readonly repeatable: boolean
  /** The protocol to which the backend may switch, in lower case; '' for none. */
  readonly upgrade: string
  readonly limits: CallLimits
  /** When, on the clock of `performance.now()`, the answer's head must be there at the latest. */
  readonly headBy: number
  /** All of the request is written, at `now` on the clock of `performance.now()`. */
  onSent(now: number): void
  /** An interim answer; the final one is still to come. */
  onInformation(head: ResponseHead): void
  /**
   * The backend has switched protocols: from here on bytes pass as they are, the backend's to onData until onEnd, and
   * those of the body that this returns to the backend; undefined when the call has ended instead.
   */
  onUpgrade(head: ResponseHead): CallBody | undefined
  /** `alone` when nothing of the content came with it. */
  onHead(head: ResponseHead, alone: boolean): void
  /**
   * A piece of content. False asks for a pause until `resume()` of the connection is called.
   *
   * @param release to be called when the piece is no longer needed, if ever: its memory is then used again
   */
  onData(chunk: Buffer, release?: () => void): boolean
  /**
   * The content is complete; `trailers` is the raw trailer section.
   *
   * @param last its last piece: written together with the end, it costs a client's connection one write less
   * @param release as for onData
   */
  onEnd(trailers: string, last?: Buffer, release?: () => void): void
  /** Instead of onHead, onData and onEnd when a short answer came in one piece; `content` is latin1. */
  onWhole(head: ResponseHead, content: string): void
  onFailure(error: AttemptError): void
  /** Whether it calls `release` for what it was given: only then is there more for it than a copy. */
  readonly recycles: boolean
  /** Whether its client has left, which nobody notices while its body is not read. */
  readonly abandoned: boolean
}

/** Milliseconds; Infinity for none. */
export interface CallLimits {
  /** From the end of the request to the answer's head, and between two pieces of a request that a backend takes in. */
  readonly headersMs: number
  /** Between two pieces of the answer's content. */
  readonly bodyMs: number
  /** Between two pieces of the client's body. */
  readonly clientMs: number
  /** Without a byte either way, once protocols are switched. */
  readonly tunnelMs: number
}

/** A request body that is written to a connection piece by piece. */
export interface CallBody {
  readonly chunked: boolean
  /** Starts to hand its pieces to `sink`. */
  start(sink: BodySink): void
  pause(): void
  resume(): void
}

export interface BodySink {
  write(chunk: Buffer): void
  /** @param trailers field lines, each with its line end; only a chunked body can have them */
  end(trailers: string): void
}

/** How a backend proves who it is, and who we are to it. */
export interface SecureOptions {
  readonly secureContext: SecureContext
  readonly rejectUnauthorized: boolean
  /** The name that is asked for and verified; undefined for the URL's. */
  readonly serverName: string | undefined
}

export interface ConnectionOwner {
  readonly url: URL
  readonly connectMs: number
  readonly tlsMs: number
  /** For https only. */
  readonly secure: SecureOptions | undefined
  /** What the last handshake left behind, so that the next one is short. */
  session: Buffer | undefined
  /** The connection is free for another call. */
  onFree(connection: Connection, keepAliveMs: number | undefined): void
  /** The connection is gone; `call` should be tried once more on a fresh one. */
  onClosed(connection: Connection, repeat: Call | undefined): void
}

const MAX_HEAD = 65_536
const HEAD_END = '\r\n\r\n'
/** A 100, a 103 or a few 102: more of them before one answer only keep us busy. */
const MAX_INTERIM = 16
/** Answers up to this size that come in one piece are handed over as a string: one write instead of two. */
const SHORT_CONTENT = 16_384
/** From this size on a read is not copied: where much flows, a buffer of its own is worth its memory. */
const LARGE_READ = 16_384
/** How long a tunnel is silent before the system asks whether the other end is still there. */
export const PROBE_AFTER_MS = 60_000
/** How long an answer may take that a backend sent before it closed. */
const LAST_WORDS_MS = 1000
/** How often a client is looked after that nobody reads from. */
const LOOK_EVERY_MS = 5000
/** How long a tunnel whose client has closed its side may stay silent. */
const HALF_CLOSED_MS = 5000

// All connections read into one buffer: what is read is consumed or copied before the next read can happen. Only a
// connection that streams a long answer has a buffer of its own, whose pieces need not be copied; a thousand quiet
// event streams or tunnels have none.
const SHARED = Buffer.allocUnsafeSlow(READ_SIZE)

const TOTAL = 'the time for the whole request is up'

const CONNECTING = 0
const SECURING = 1
const WAIT_HEAD = 2
const CONTENT = 3
const TUNNEL = 4

export class Connection {
  readonly #owner: ConnectionOwner
  readonly #socket: Socket
  #call: Call | undefined
  #served = 0
  #state = CONNECTING
  #gotBytes = false
  /** The beginning of a head that has not wholly arrived. */
  #partial = ''
  #head: ResponseHead | undefined
  #remaining = 0
  #decoder: ChunkedDecoder | undefined
  /** The content found in the present read of a chunked answer. */
  #pieceStart = 0
  #pieceEnd = 0
  #interim = 0
  #lastRead = 0
  /** What a long answer is read into; handed on with what is in it. */
  #own: ReadBuffer | undefined
  #headBy = Infinity
  #paused = false
  #sending = false
  #waitingForClient = false
  #activity = 0
  #timer: NodeJS.Timeout | undefined
  #timerAt = Infinity
  #closed = false
  /** Why it can no longer be written to, while an answer may still come. */
  #lastWords: Error | undefined

  /** Until when, on the clock of `performance.now()`, it may lie idle. The owner's to set and read. */
  idleUntil = 0
  /** Its neighbours in the owner's stack of idle ones. The owner's to set and read. */
  above: Connection | undefined
  below: Connection | undefined

  constructor(owner: ConnectionOwner, call: Call) {
    this.#owner = owner
    this.#call = call
    call.connection = this
    const { hostname, port, protocol } = owner.url
    const secure = protocol === 'https:'
    // A URL's IPv6 host stands in brackets; a socket wants it without.
    const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
    const target = {
      host,
      port: port === '' ? (secure ? 443 : 80) : Number(port),
      noDelay: true,
      // A side that a tunnel has ended must not end the other; everywhere else an end closes all.
      allowHalfOpen: true,
    }
    if (secure) {
      const { serverName, ...options } = owner.secure ?? { serverName: undefined }
      this.#socket = connectTls({
        ...target,
        ...options,
        // An address is no name to ask for (RFC 6066, section 3).
        servername: serverName ?? (isIP(host) === 0 ? host : ''),
        ALPNProtocols: ['http/1.1'],
        ...(owner.session === undefined ? {} : { session: owner.session }),
      })
      this.#socket.on('connect', () => this.#onSecuring())
      this.#socket.on('secureConnect', () => this.#onConnected())
      this.#socket.on('session', (session: Buffer) => (owner.session = session))
      this.#socket.on('data', (chunk: Buffer) => this.#onRead(chunk.length, chunk))
    } else {
      this.#socket = connectTcp({
        ...target,
        onread: { buffer: () => this.#buffer(), callback: (length, bytes) => this.#onRead(length, bytes) },
      })
      this.#socket.on('connect', () => this.#onConnected())
    }
    this.#socket.on('drain', () => this.#onDrain())
    this.#socket.on('end', () => this.#onEnd())
    this.#socket.on('error', (error) => this.#onError(error))
    this.#socket.on('close', () => this.#onError(undefined))
    this.#activity = performance.now()
    call.servedAt = this.#activity
    this.#arm(this.#deadline(call))
  }

  get idle(): boolean {
    return this.#call === undefined && !this.#closed
  }

  /** Serves another call on a connection that is idle. */
  serve(call: Call): void {
    this.#call = call
    call.connection = this
    this.#gotBytes = false
    this.#interim = 0
    this.#send()
  }

  /** Fails the call and closes: the gateway will wait no longer. */
  abandon(reason: string): void {
    const call = this.#call
    this.destroy()
    call?.onFailure(new AttemptError('reset', reason))
  }

  /** Gives up `call`, if it is the one that is served: it hears nothing more. */
  cancel(call: Call): void {
    if (this.#call === call) this.destroy()
  }

  /** Closes at once, idle or not. */
  destroy(): void {
    this.#call = undefined
    this.#close(undefined)
  }

  /** Goes on with an answer after `onData` asked for a pause. */
  resume(call: Call): void {
    if (!this.#paused || this.#call !== call) return
    this.#paused = false
    this.#activity = performance.now()
    this.#socket.resume()
  }

  // --- the request ---

  #onSecuring(): void {
    this.#state = SECURING
    this.#activity = performance.now()
    if (this.#call !== undefined) this.#arm(this.#deadline(this.#call))
  }

  #onConnected(): void {
    this.#state = WAIT_HEAD
    this.#send()
  }

  #send(): void {
    const call = this.#call
    if (call === undefined) return
    const { body } = call
    this.#activity = performance.now()
    call.sentAt = this.#activity
    call.writtenAt = this.#activity
    if (this.#served > 0) call.servedAt = this.#activity
    this.#headBy = call.headBy
    this.#socket.write(call.head, 'latin1')
    if (body === undefined) {
      call.onSent(this.#activity)
      this.#arm(this.#deadline(call))
    } else {
      this.#sending = true
      this.#waitingForClient = true
      surviveFailedWrites(this.#socket)
      this.#arm(this.#deadline(call))
      body.start(new Sender(this, call, body.chunked))
    }
  }

  /** Writes a piece of the request's body; for the sender only. */
  sendPiece(call: Call, chunk: Buffer, chunked: boolean): void {
    if (this.#call !== call || this.#lastWords !== undefined) return
    // What comes while the backend takes nothing in is no sign of life of its.
    if (this.#waitingForClient) this.#activity = call.sentAt = performance.now()
    const socket = this.#socket
    let more: boolean
    if (chunked) {
      socket.cork()
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(chunk)
      more = socket.write('\r\n', 'latin1')
      socket.uncork()
    } else more = socket.write(chunk)
    if (!more && call.body !== undefined) {
      this.#waitingForClient = false
      call.body.pause()
      if (this.#state === TUNNEL) this.#arm(this.#deadline(call))
    }
  }

  /** The request's body is complete; for the sender only. */
  sendEnd(call: Call, chunked: boolean, trailers: string): void {
    if (this.#call !== call) return
    this.#sending = false
    this.#waitingForClient = false
    this.#activity = performance.now()
    if (this.#state === TUNNEL) {
      this.#socket.end()
      return this.#arm(this.#deadline(call))
    }
    // A body that was still flowing when the time for the whole was up is not cut for having been long.
    if (this.#activity >= this.#headBy) this.#headBy = Infinity
    if (chunked) this.#socket.write(`0\r\n${trailers}\r\n`, 'latin1')
    if (this.#state !== WAIT_HEAD) return
    call.sentAt = this.#activity
    call.onSent(this.#activity)
    this.#arm(this.#deadline(call))
  }

  #onDrain(): void {
    const call = this.#call
    if (call?.body === undefined || !this.#sending) return
    this.#activity = performance.now()
    this.#waitingForClient = true
    call.body.resume()
  }

  // --- the answer ---

  /** Where the next read goes. Asked for right behind each read. */
  #buffer(): Buffer {
    // A tunnel may be silent for an hour behind a message: only one that fills the buffer is worth one of its own.
    const large = this.#state === TUNNEL ? READ_SIZE : LARGE_READ
    if (this.#state < CONTENT || this.#lastRead < large || this.#call?.recycles !== true) {
      this.#dropOwn()
      return SHARED
    }
    this.#own ??= ReadBuffer.take()
    return this.#own.bytes
  }

  #dropOwn(): void {
    this.#own?.release()
    this.#own = undefined
  }

  /** Takes what the socket read. Returns false to stop reading, as `onread` wants it. */
  #onRead(length: number, bytes: Uint8Array): boolean {
    const call = this.#call
    if (call === undefined) {
      // Bytes that nobody asked for: whoever used this connection next would take them for his answer.
      this.destroy()
      return false
    }
    // What the generator of buffers gave, comes back: a Buffer.
    const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#gotBytes = true
    this.#lastRead = length
    if (this.#state >= CONTENT) {
      this.#activity = performance.now()
      this.#content(buffer, 0, length)
    } else this.#headBytes(call, buffer, 0, length)
    if (this.#paused) this.#socket.pause()
    return !this.#paused
  }

  #headBytes(call: Call, buffer: Buffer, start: number, length: number): void {
    const text = this.#partial + buffer.toString('latin1', start, this.#textEnd(buffer, start, length))
    const end = text.indexOf(HEAD_END)
    if (end === -1 || end > MAX_HEAD) {
      if (text.length > MAX_HEAD) return this.#fail('bad-response', 'a response head without end')
      this.#partial = text
      return
    }
    const head = parseResponseHead(text.slice(0, end + 2), call.method)
    if (typeof head === 'string') return this.#fail('bad-response', head)
    const bodyStart = start + end + 4 - this.#partial.length
    this.#partial = ''
    if (head.status === 101) return this.#beginTunnel(call, head, buffer, bodyStart, length)
    if (head.status < 200) {
      if (++this.#interim > MAX_INTERIM) return this.#fail('bad-response', 'interim answers without end')
      call.onInformation(head)
      if (this.#call === call && bodyStart < length) this.#headBytes(call, buffer, bodyStart, length)
      return
    }
    this.#beginContent(call, head, text, end + 4, buffer, bodyStart, length)
  }

  /** How far what came is made text: a head, and short content, but not the beginning of long content. */
  #textEnd(buffer: Buffer, start: number, length: number): number {
    if (length - start <= SHORT_CONTENT || this.#partial !== '') return length
    const end = buffer.indexOf(HEAD_END, start, 'latin1') + HEAD_END.length
    // Behind what came lies what came before it.
    const isThere = end >= HEAD_END.length && end <= length
    return isThere && length - end > SHORT_CONTENT ? end : length
  }

  #beginTunnel(call: Call, head: ResponseHead, buffer: Buffer, start: number, end: number): void {
    // RFC 9110, section 15.2.2: only to what was asked for; else a client's bytes would go to who does not expect them.
    if (call.upgrade === '' || head.upgrade.toLowerCase() !== call.upgrade) {
      return this.#fail('bad-response', 'a protocol switch that nobody asked for')
    }
    this.#state = TUNNEL
    this.#remaining = Infinity
    this.#activity = performance.now()
    // Silence is legal for long in here: only the system can tell a quiet peer from one that is gone.
    this.#socket.setKeepAlive(true, PROBE_AFTER_MS)
    const body = call.onUpgrade(head)
    if (body === undefined || this.#call !== call) return
    this.#sending = true
    this.#waitingForClient = true
    this.#arm(this.#deadline(call))
    body.start(new Sender(this, call, false))
    if (start < end && this.#call === call) this.#content(buffer, start, end)
  }

  #beginContent(
    call: Call,
    head: ResponseHead,
    text: string,
    textStart: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const { framing, length } = head
    if (framing === 'none' || (framing === 'length' && length <= SHORT_CONTENT && end - start === length)) {
      if (framing === 'none' && start < end) return this.#wholeThenClose(call, head)
      this.#finish(head.reusable, head.keepAliveMs)
      call.onWhole(head, text.slice(textStart))
      return
    }
    this.#state = CONTENT
    this.#head = head
    this.#activity = performance.now()
    this.#remaining = framing === 'length' ? length : Infinity
    if (framing === 'chunked') this.#decoder = new ChunkedDecoder()
    this.#arm(this.#deadline(call))
    call.onHead(head, start === end)
    if (start < end && this.#call === call) this.#content(buffer, start, end)
  }

  /** An answer without a body that is followed by bytes: it counts, its connection does not. */
  #wholeThenClose(call: Call, head: ResponseHead): void {
    this.#finish(false, undefined)
    call.onWhole(head, '')
  }

  #content(buffer: Buffer, start: number, end: number): void {
    const decoder = this.#decoder
    if (decoder !== undefined) return this.#chunkedContent(decoder, buffer, start, end)
    const stop = Math.min(end, start + this.#remaining)
    this.#remaining -= stop - start
    // More than was announced: the answer is whole, but what follows belongs to nobody.
    if (this.#remaining === 0) this.#complete('', stop < end, buffer, start, stop)
    else this.#handOn(buffer, start, stop)
  }

  #chunkedContent(decoder: ChunkedDecoder, buffer: Buffer, start: number, end: number): void {
    this.#pieceStart = this.#pieceEnd = start
    const stop = decoder.feed(buffer, start, end, this)
    if (decoder.done) return this.#complete(decoder.trailers, stop < end, buffer, this.#pieceStart, this.#pieceEnd)
    this.#handOn(buffer, this.#pieceStart, this.#pieceEnd)
    if (this.#call !== undefined && decoder.problem !== undefined) this.#fail('bad-response', decoder.problem)
  }

  /**
   * Takes what a chunk holds; public for the decoder only. The chunks of one read are moved together in its buffer, so
   * that a thousand small ones are handed on at once.
   */
  onContent(buffer: Buffer, start: number, end: number): void {
    if (this.#pieceStart === this.#pieceEnd) this.#pieceStart = start
    else if (this.#pieceEnd !== start) buffer.copyWithin(this.#pieceEnd, start, end)
    this.#pieceEnd = this.#pieceStart === start ? end : this.#pieceEnd + end - start
  }

  #handOn(buffer: Buffer, start: number, end: number): void {
    const call = this.#call
    if (call === undefined || start === end) return
    const holder = this.#holderOf(call, buffer, end - start)
    const more = call.onData(this.#keep(buffer, start, end, holder), holder?.release)
    if (!more && this.#call === call) this.#paused = true
  }

  /** What a large piece is kept in: the buffer that it was read into, where that is no other's, or another one. */
  #holderOf(call: Call, buffer: Buffer, length: number): ReadBuffer | undefined {
    const own = this.#own
    if (length < LARGE_READ || !call.recycles) return undefined
    if (buffer === SHARED) return ReadBuffer.take()
    if (buffer !== own?.bytes) return undefined
    this.#own = undefined
    return own
  }

  /** A piece that nothing will be read over. */
  #keep(buffer: Buffer, start: number, end: number, holder: ReadBuffer | undefined): Buffer {
    const piece = buffer.subarray(start, end)
    if (holder === undefined) return buffer === SHARED || buffer === this.#own?.bytes ? Buffer.from(piece) : piece
    if (holder.bytes === buffer) return piece
    piece.copy(holder.bytes)
    return holder.bytes.subarray(0, piece.length)
  }

  #complete(trailers: string, surplus: boolean, buffer: Buffer, start: number, end: number): void {
    const call = this.#call
    const head = this.#head
    if (call === undefined || head === undefined) return
    const holder = this.#holderOf(call, buffer, end - start)
    const last = start === end ? undefined : this.#keep(buffer, start, end, holder)
    this.#finish(head.reusable && !surplus, head.keepAliveMs)
    call.onEnd(trailers, last, holder?.release)
  }

  /** The answer is complete: free for the next call, or closed. */
  #finish(reusable: boolean, keepAliveMs: number | undefined): void {
    this.#call = undefined
    this.#state = WAIT_HEAD
    this.#head = undefined
    this.#decoder = undefined
    if (this.#paused) {
      this.#paused = false
      this.#socket.resume()
    }
    this.#served++
    // A request that is still being sent would be read by the backend as the next one.
    if (!reusable || this.#sending) this.#close(undefined)
    else this.#owner.onFree(this, keepAliveMs)
  }

  // --- endings ---

  #onEnd(): void {
    const call = this.#call
    const ends = this.#state === TUNNEL || (this.#state === CONTENT && this.#head?.framing === 'close')
    if (call !== undefined && ends) {
      this.#finish(false, undefined)
      call.onEnd('')
    } else this.#onError(new Error('the backend closed the connection'))
  }

  /**
   * A backend that refuses an upload answers and closes: the next write fails while its answer may already be here, or
   * on its way (RFC 9112, section 9.5). It gets a moment to be read.
   */
  #awaitsLastWords(error: Error | undefined): boolean {
    const call = this.#call
    if (error === undefined || Reflect.get(error, 'syscall') !== 'write') return false
    if (call?.body === undefined || this.#state !== WAIT_HEAD) return false
    if (this.#lastWords !== undefined) return true
    this.#lastWords = error
    call.body.pause()
    setTimeout(() => {
      if (this.#call === call && this.#state === WAIT_HEAD) this.#fail('reset', error.message, error)
    }, LAST_WORDS_MS).unref()
    return true
  }

  #onError(error: Error | undefined): void {
    if (this.#awaitsLastWords(error)) return
    // An AggregateError (every address of a name refused) has no message of its own.
    const cause = this.#lastWords ?? error
    const message = cause === undefined ? 'the connection closed' : cause.message || String(Reflect.get(cause, 'code'))
    if (this.#state === CONNECTING) this.#fail(isOurOwn(error) ? 'no-means' : 'refused', message, error)
    else if (this.#state === SECURING) this.#fail('tls-failed', message, error)
    else this.#fail('reset', message, error)
  }

  #fail(kind: FailureKind, message: string, cause?: Error): void {
    const call = this.#call
    this.#call = undefined
    if (call === undefined) return this.#close(undefined)
    // A kept connection that dies before the first byte of an answer was most likely closed by the backend for being
    // idle, at the same moment (RFC 9112, section 9.3.1): that says nothing about the backend.
    if (kind === 'reset' && this.#served > 0 && !this.#gotBytes && call.repeatable) return this.#close(call)
    this.#close(undefined)
    call.onFailure(new AttemptError(kind, message, cause))
  }

  #close(repeat: Call | undefined): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#socket.destroy()
    this.#owner.onClosed(this, repeat)
  }

  // --- time ---

  /** When the present stage of the call has lasted too long. */
  #deadline(call: Call): number {
    const { limits } = call
    switch (this.#state) {
      // The time for the whole request runs while it connects, too.
      case CONNECTING:
        return Math.min(this.#activity + this.#owner.connectMs, call.headBy)
      case SECURING:
        return Math.min(this.#activity + this.#owner.tlsMs, call.headBy)
      case CONTENT:
        return this.#activity + limits.bodyMs
      case TUNNEL:
        return Math.min(this.#activity + this.#silenceMs(call), this.#lookAgainBy())
      default:
        if (this.#sending) return this.#activity + (this.#waitingForClient ? limits.clientMs : limits.headersMs)
        return Math.min(this.#activity + limits.headersMs, this.#headBy)
    }
  }

  /** While a backend takes nothing in, nobody reads from the client, and nobody would notice that it has gone. */
  #lookAgainBy(): number {
    return this.#sending && !this.#waitingForClient ? performance.now() + LOOK_EVERY_MS : Infinity
  }

  /** How long a tunnel may be silent. One that the client has closed, and reads from, has only an end to wait for. */
  #silenceMs({ limits }: Call): number {
    return this.#sending || this.#paused ? limits.tunnelMs : Math.min(limits.tunnelMs, HALF_CLOSED_MS)
  }

  /**
   * Sees to it that the timer fires at `deadline` or before. One that fires early looks again: so a connection sets
   * a timer once in a while, not once a request.
   */
  #arm(deadline: number): void {
    if (deadline >= this.#timerAt || deadline === Infinity) return
    clearTimeout(this.#timer)
    this.#timerAt = deadline
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(1, Math.ceil(deadline - performance.now())))
    this.#timer.unref()
  }

  #onTimer(): void {
    this.#timerAt = Infinity
    const call = this.#call
    if (call === undefined) return
    if (this.#state === TUNNEL && !this.#waitingForClient && call.abandoned) {
      return this.#fail('client-gone', 'the client left while the backend took nothing in')
    }
    const deadline = this.#deadline(call)
    if (performance.now() < deadline) this.#arm(deadline)
    else setImmediate(() => this.#expireUnlessHeard(call))
  }

  /**
   * When this process itself stood still, timers come first, and only then what has arrived meanwhile: a backend must
   * not be blamed for what it has long since sent.
   */
  #expireUnlessHeard(call: Call): void {
    if (this.#call !== call) return
    const deadline = this.#deadline(call)
    if (performance.now() < deadline) this.#arm(deadline)
    else this.#expire(call)
  }

  #expire(call: Call): void {
    const { limits } = call
    const late = performance.now() >= (this.#state < WAIT_HEAD ? call.headBy : this.#headBy)
    switch (this.#state) {
      case CONNECTING:
        if (late) return this.#fail('total-timeout', TOTAL)
        return this.#fail('connect-timeout', `no connection within ${this.#owner.connectMs} ms`)
      case SECURING:
        if (late) return this.#fail('total-timeout', TOTAL)
        return this.#fail('tls-timeout', `no TLS handshake within ${this.#owner.tlsMs} ms`)
      case CONTENT:
        if (this.#paused) return this.#fail('client-gone', `the client took nothing for ${limits.bodyMs} ms`)
        return this.#fail('body-timeout', `no content for ${limits.bodyMs} ms`)
      case TUNNEL:
        return this.#fail('tunnel-timeout', `a tunnel was silent for ${this.#silenceMs(call)} ms`)
      default:
        if (this.#sending) return this.#expireSending(call)
        if (late) return this.#fail('total-timeout', TOTAL)
        return this.#fail('headers-timeout', `no answer for ${limits.headersMs} ms`)
    }
  }

  #expireSending(call: Call): void {
    const { limits } = call
    if (this.#waitingForClient) this.#fail('client-timeout', `the client sent nothing for ${limits.clientMs} ms`)
    else if (call.abandoned) this.#fail('client-gone', 'the client left while the backend took nothing in')
    else this.#fail('headers-timeout', `the backend took nothing in for ${limits.headersMs} ms`)
  }
}

/**
 * A socket that fails to write destroys itself, with what is still to be read from it. There is no public way to tell it
 * not to; where this one should go one day, an early answer is lost now and then, and nothing else.
 */
function surviveFailedWrites(socket: Socket): void {
  for (const name of ['_writableState', '_readableState']) {
    const state: unknown = Reflect.get(socket, name)
    if (typeof state === 'object' && state !== null) Reflect.set(state, 'autoDestroy', false)
  }
}

/** Ties a request's body to the connection that sends it, so that a late piece cannot reach a later call. */
class Sender implements BodySink {
  readonly #connection: Connection
  readonly #call: Call
  readonly #chunked: boolean

  constructor(connection: Connection, call: Call, chunked: boolean) {
    this.#connection = connection
    this.#call = call
    this.#chunked = chunked
  }

  write(chunk: Buffer): void {
    this.#connection.sendPiece(this.#call, chunk, this.#chunked)
  }

  end(trailers: string): void {
    this.#connection.sendEnd(this.#call, this.#chunked, trailers)
  }
}
