/**
 * Whether a browser makes a call because a page of another site told it to. Browsers can reach what is only meant for
 * their users' own machine or network, and any page can have them try: a form that posts, an image, an EventSource or
 * a WebSocket, to which the rule that a page may not read the answers of others does not apply at all. Clients that
 * are no browsers say nothing of this kind, and pass.
 *
 * - Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/, sections 2.3 and 5) says where a request comes from, over all
 *   redirects, and no page can set it. Browsers send it over https, and over http to loopback addresses and localhost.
 * - Origin is what they send elsewhere (https://fetch.spec.whatwg.org/#origin-header): with everything but GET and HEAD,
 *   and with those if the page wants to read the answer or opens a WebSocket.
 *
 * OWASP's Cross-Site Request Forgery Prevention Cheat Sheet names this order: the first where there is one, else the
 * second. What is left is a GET over http whose answer no page can read. No call that is a GET changes anything.
 */
import type { FastifyRequest } from 'fastify'

/**
 * For every answer. It is data, whatever it looks like; not to be kept, also not by proxies, since it may need a token;
 * in no frame, where a page could lay something else over it; and no part of another site's page, not even unread.
 */
export const BROWSER_FIELDS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'content-security-policy': "frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
}

export function isCrossSite(request: Pick<FastifyRequest, 'method' | 'headers' | 'protocol'>): boolean {
  const { origin, host = '', 'sec-fetch-site': site } = request.headers
  // It is the browser that has compared, with what it knows: behind a proxy that ends TLS the origin's scheme is another
  // one, and under our own referrer policy the Origin of a form is `null`.
  if (site === 'same-origin') return false
  if (origin !== undefined && origin.toLowerCase() !== `${request.protocol}://${host.toLowerCase()}`) return true
  // None: typed, or from a bookmark.
  if (site === undefined || site === 'none') return false
  return !isVisit(request)
}

/**
 * Whether a person has followed a link, from wherever. Nobody but that person sees what comes. Frames and embedded
 * objects navigate, too, but are a part of the other page; data is never fetched like this.
 */
function isVisit({ method, headers }: Pick<FastifyRequest, 'method' | 'headers'>): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}
