/** http-proxy (node-http-proxy), in turn over the backends, whose connections it keeps. It adds no X-Forwarded fields. */
import { Agent } from 'node:http'

import httpProxy from 'http-proxy'

import { listen, makeServer, nextBase } from './application.ts'

const proxy = httpProxy.createProxyServer({ agent: new Agent({ keepAlive: true }) })
proxy.on('error', (error) => console.error(error.message))
const server = makeServer((request, response) => proxy.web(request, response, { target: nextBase() }))
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head, { target: nextBase() }))
listen(server)
