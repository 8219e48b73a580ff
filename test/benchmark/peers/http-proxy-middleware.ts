/** http-proxy-middleware on a bare server, in turn over the backends, whose connections it keeps. */
import { Agent } from 'node:http'

import { createProxyMiddleware } from 'http-proxy-middleware'

import { bases, listen, makeServer, nextBase } from './application.ts'

const [target = ''] = bases
const forward = createProxyMiddleware({ target, router: () => nextBase(), agent: new Agent({ keepAlive: true }) })
const server = makeServer((request, response) => {
  void forward(request, response, (error: unknown) => {
    console.error(error)
    response.destroy()
  })
})
server.on('upgrade', forward.upgrade)
listen(server)
