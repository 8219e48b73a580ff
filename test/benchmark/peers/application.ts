/**
 * What the applications among the peers have in common: how they are started, and their backends in turn.
 *
 *   FILE PORT http|https BACKEND...    ports, all on 127.0.0.1; the floor also takes addresses with ports
 */
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'

import { CERTIFICATE_FILE, KEY_FILE } from '../certificates.ts'

// Some are older than what they use.
process.noDeprecation = true

const [portText = '', scheme = 'http', ...backends] = process.argv.slice(2)

export const port = Number(portText)
export const ports = backends.map(Number)
export const servers = backends.map((each) => {
  const { hostname, port: at } = new URL(`tcp://${each.includes(':') ? each : `127.0.0.1:${each}`}`)
  return { host: hostname, port: Number(at) }
})
export const bases = ports.map((each) => `http://127.0.0.1:${each}`)
export const secure =
  scheme === 'https' ? { cert: readFileSync(CERTIFICATE_FILE), key: readFileSync(KEY_FILE) } : undefined

let turn = 0

export function nextBase(): string {
  return bases[turn++ % bases.length] ?? ''
}

/** Keeps idle connections of clients as long as Sluice and nginx do. */
const OPTIONS = { keepAliveTimeout: 75_000 }

export function makeServer(listener: RequestListener): Server {
  if (secure === undefined) return createServer(OPTIONS, listener)
  return createSecureServer({ ...OPTIONS, ...secure }, listener)
}

export function listen(server: Server): void {
  server.listen({ port, host: '127.0.0.1', backlog: 4096 })
}
