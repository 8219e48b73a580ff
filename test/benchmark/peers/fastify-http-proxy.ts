/** @fastify/http-proxy, with WebSocket, in turn over the backends. */
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'

import { bases, makeServer, nextBase, port } from './application.ts'

const app = Fastify({ serverFactory: (handler) => makeServer(handler) })
const [upstream = ''] = bases
await app.register(httpProxy, {
  upstream,
  websocket: true,
  disableRequestLogging: true,
  replyOptions: { getUpstream: () => nextBase() },
})
await app.listen({ port, host: '127.0.0.1', backlog: 4096 })
