/**
 * A strict, total decoder of the chunked transfer coding (RFC 9112, section 7.1), fed with whatever pieces the socket
 * delivers. Extensions are read and dropped; line ends are CRLF and nothing else; sizes are hexadecimal digits and
 * nothing else; everything that is not data is bounded.
 */

// Generous for what real servers send, small against an endless line (CVE-2024-22019 was an unbounded extension).
const MAX_LINE = 4096
const MAX_TRAILERS = 16_384
/** Chunk sizes up to 2^44 - 1: above any real one, and far from where a double would lose a byte. */
const MAX_SIZE_DIGITS = 11

// Field lines as anywhere else (RFC 9112, section 7.1.2), between the line end before and the empty line behind them.
// oxlint-disable-next-line no-control-regex
const TRAILERS = /^\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\0-\x08\n-\x1f\x7f]*\r\n)*\r\n$/

const SIZE = 0
const SIZE_LF = 1
const DATA = 2
const DATA_CR = 3
const DATA_LF = 4
const TRAILER = 5
const DONE = 6
const EXTENSION = 7

const CR = 0x0d
const LF = 0x0a

export class ChunkedDecoder {
  #state = SIZE
  #size = 0
  #digits = 0
  #line = 0
  #trailers = ''
  #remaining = 0

  /** Set when the input is not a chunked body; nothing more may be fed then. */
  problem: string | undefined

  get done(): boolean {
    return this.#state === DONE
  }

  /** The raw trailer section, without the final empty line. */
  get trailers(): string {
    return this.#trailers.slice(0, -4)
  }

  /**
   * Reads from `data` at `start` up to `end` and hands each piece of content to `sink.onContent`.
   *
   * @returns where reading stopped: `end`, or just behind the body, or where a problem is
   */
  feed(
    data: Buffer,
    start: number,
    end: number,
    sink: { onContent(data: Buffer, start: number, end: number): void },
  ): number {
    let at = start
    while (at < end && this.#state !== DONE && this.problem === undefined) {
      if (this.#state === DATA) {
        const stop = Math.min(end, at + this.#remaining)
        this.#remaining -= stop - at
        if (this.#remaining === 0) this.#state = DATA_CR
        sink.onContent(data, at, stop)
        at = stop
      } else {
        this.#step(data.readUInt8(at))
        at++
      }
    }
    return at
  }

  #step(byte: number): void {
    switch (this.#state) {
      case SIZE:
        return this.#sizeByte(byte)
      case EXTENSION:
        if (byte === CR) this.#state = SIZE_LF
        else if (byte < 0x20 ? byte !== 0x09 : byte === 0x7f) this.problem = 'a control character in a chunk extension'
        else if (++this.#line > MAX_LINE) this.problem = 'a chunk extension without end'
        return
      case SIZE_LF:
        if (byte !== LF) this.problem = 'a bare CR in a chunk size'
        else if (this.#size === 0) {
          this.#state = TRAILER
          this.#trailers = '\r\n'
        } else {
          this.#remaining = this.#size
          this.#state = DATA
        }
        return
      case DATA_CR:
        if (byte === CR) this.#state = DATA_LF
        else this.problem = 'a chunk longer than its size'
        return
      case DATA_LF:
        if (byte === LF) this.#beginSize()
        else this.problem = 'a bare CR behind a chunk'
        return
      default:
        return this.#trailerByte(byte)
    }
  }

  #beginSize(): void {
    this.#state = SIZE
    this.#size = 0
    this.#digits = 0
    this.#line = 0
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte)
    if (digit !== -1) {
      this.#size = this.#size * 16 + digit
      // Leading zeros are legal, but not without end.
      if (this.#size > 0 || this.#digits > 0) this.#digits++
      if (this.#digits > MAX_SIZE_DIGITS || ++this.#line > MAX_LINE) this.problem = 'a chunk size too large'
    } else if (this.#line === 0) this.problem = 'an invalid chunk size'
    else if (byte === CR) this.#state = SIZE_LF
    else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#beginExtension(byte)
    else this.problem = 'an invalid chunk size'
  }

  /** White space may stand before a semicolon (RFC 9112, section 7.1.1: bad white space), but not instead of one. */
  #beginExtension(byte: number): void {
    if (byte === 0x3b) this.#state = EXTENSION
    else this.problem = 'white space behind a chunk size'
  }

  #trailerByte(byte: number): void {
    const trailers = this.#trailers
    if (byte === LF && trailers.charCodeAt(trailers.length - 1) !== CR) this.problem = 'a bare LF in the trailers'
    else if (byte !== LF && trailers.length > 2 && trailers.charCodeAt(trailers.length - 1) === CR) {
      this.problem = 'a bare CR in the trailers'
    } else if (trailers.length >= MAX_TRAILERS) this.problem = 'trailers without end'
    else {
      this.#trailers = trailers + String.fromCharCode(byte)
      if (byte === LF && this.#trailers.endsWith('\r\n\r\n')) this.#endTrailers()
    }
  }

  #endTrailers(): void {
    if (TRAILERS.test(this.#trailers)) this.#state = DONE
    else this.problem = 'an invalid trailer'
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
