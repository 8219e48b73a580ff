/**
 * The token of the admin listener, compared in a time that says nothing about it.
 */
import { createHash, timingSafeEqual } from 'node:crypto'

/** @param token '' when none is asked for */
export function isAuthorized(authorization: string | undefined, token: string): boolean {
  if (token === '') return true
  const [, given] = /^bearer +(.+)$/i.exec(authorization ?? '') ?? []
  return isToken(given, token)
}

/** @param token '' when there is none, which nothing is */
export function isToken(given: string | undefined, token: string): boolean {
  if (given === undefined || token === '') return false
  // Digests are of one length, so that the time of comparing says nothing about the token's.
  return timingSafeEqual(digest(given), digest(token))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
