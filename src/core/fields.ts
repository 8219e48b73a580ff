/**
 * Names of header fields: what one is, and which of them concern a single connection.
 */

/** A token (RFC 9110, section 5.6.2), which names of fields are, and of cookies. */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** By which a trusted sender asks why its request goes where it goes, and is told. Nobody's is ever passed on. */
export const EXPLAIN = 'x-sluice-explain'

/** By which a request is known on its whole way. */
export const REQUEST_ID = 'x-request-id'

/** Never passed on, in either direction (RFC 9110, section 7.6.1); in lower case. */
export const HOP_BY_HOP: readonly string[] = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Who may read what was asked is not who may act for who asked. In lower case. */
export const SECRET: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', EXPLAIN])

/** Names of up to 31 characters are told apart by their length and the letter they begin with. */
const BITS = 5
const MASK = (1 << BITS) - 1

/** A few names, for asking of many whether they are among them, in any case. */
export class FieldNames {
  readonly #names: ReadonlySet<string>
  /** For each length and first letter, whether one of the names has them: of what comes hardly anything has. */
  readonly #marks = new Uint8Array(1 << (2 * BITS))

  /** @param names in lower case */
  constructor(names: Iterable<string>) {
    this.#names = new Set(names)
    for (const name of this.#names) this.#marks[markOf(name.length, name.charCodeAt(0))] = 1
  }

  has(name: string): boolean {
    return this.mayHave(name.length, name.charCodeAt(0)) && this.#names.has(name.toLowerCase())
  }

  /** Whether a name of this length that begins with this character could be one of them. */
  mayHave(length: number, first: number): boolean {
    return this.#marks[markOf(length, first)] === 1
  }
}

/** Of a letter only what is the same in both cases counts. */
function markOf(length: number, first: number): number {
  return ((length & MASK) << BITS) | (first & MASK)
}
