/** What is asked for in a benchmark run. */
export type Protocol = 'http/1.1' | 'http/2' | 'websocket'

export interface Case {
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly tls: boolean
  /** The path's beginning; a number that is new for each request follows. */
  readonly path: string
  /** Size of the request's body; 0 for a GET. */
  readonly bodyBytes: number
  readonly connections: number
  /** Of one round. */
  readonly requests: number
  /** As many as can be, unless it says so. */
  readonly perSecond?: number
}

/** Sizes that the backends answer with, by the path's beginning. */
export const SIZES: Readonly<Record<string, number>> = {
  '/small/': 120,
  '/1k/': 1024,
  '/64k/': 64 * 1024,
  '/1m/': 1024 ** 2,
}

/** Where the backends speak WebSocket, and how many bytes a message has there, either way. */
export const SOCKET_PATH = '/socket/'
export const MESSAGE_BYTES = 100

/** A path that the backends answer at once: for the checks of a proxy that makes some. */
export const CHECK_PATH = '/small/check'

export const SMALL: Case = {
  name: 'small',
  title: 'Small JSON answer, ten request headers, ever-new paths',
  protocol: 'http/1.1',
  tls: false,
  path: '/small/',
  bodyBytes: 0,
  connections: 64,
  requests: 20_000,
}

export const CASES: readonly Case[] = [
  SMALL,
  { ...SMALL, name: 'get-1k', title: 'GET, 1 KiB answer', path: '/1k/', requests: 10_000 },
  { ...SMALL, name: 'get-64k', title: 'GET, 64 KiB answer', path: '/64k/', requests: 10_000 },
  { ...SMALL, name: 'get-1m', title: 'GET, 1 MiB answer', path: '/1m/', requests: 1_000 },
  { ...SMALL, name: 'post-1k', title: 'POST of 1 KiB', bodyBytes: 1024, requests: 10_000 },
  { ...SMALL, name: 'post-1m', title: 'POST of 1 MiB', bodyBytes: 1024 ** 2, requests: 300 },
  { ...SMALL, name: 'connections-1', title: 'Small, one connection', connections: 1, requests: 3_000 },
  { ...SMALL, name: 'connections-10', title: 'Small, 10 connections', connections: 10, requests: 10_000 },
  { ...SMALL, name: 'connections-100', title: 'Small, 100 connections', connections: 100, requests: 10_000 },
  { ...SMALL, name: 'connections-1000', title: 'Small, 1,000 connections', connections: 1000, requests: 15_000 },
  {
    ...SMALL,
    name: 'websocket',
    title: 'WebSocket messages, there and back',
    protocol: 'websocket',
    path: SOCKET_PATH,
    requests: 10_000,
  },
  { ...SMALL, name: 'tls', title: 'Small, TLS from the client', tls: true, requests: 10_000 },
  {
    ...SMALL,
    name: 'http2',
    title: 'Small, HTTP/2 over TLS from the client',
    protocol: 'http/2',
    tls: true,
    requests: 8_000,
  },
  { ...SMALL, name: 'tls-64k', title: 'GET over TLS, 64 KiB answer', tls: true, path: '/64k/', requests: 4_000 },
  { ...SMALL, name: 'tls-1m', title: 'GET over TLS, 1 MiB answer', tls: true, path: '/1m/', requests: 300 },
  {
    ...SMALL,
    name: 'http2-64k',
    title: 'GET over HTTP/2, 64 KiB answer',
    protocol: 'http/2',
    tls: true,
    path: '/64k/',
    requests: 4_000,
  },
  {
    ...SMALL,
    name: 'http2-1m',
    title: 'GET over HTTP/2, 1 MiB answer',
    protocol: 'http/2',
    tls: true,
    path: '/1m/',
    requests: 300,
  },
]
