/**
 * Names of header fields: what one is, and which of them concern a single connection.
 */

/** A token (RFC 9110, section 5.6.2), which names of fields are, and of cookies. */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** By which a trusted sender asks why its request goes where it goes, and is told. Nobody's is ever passed on. */
export const EXPLAIN = 'x-sluice-explain'

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
