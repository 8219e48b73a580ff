// Three small backends for a first look, as a plugin: what a user's own plugin looks like. Each says who it is.
import { createServer } from 'node:http'

const PORTS = [9001, 9002, 9003]

const PAGE = (name) => `Hello from ${name}.

This is Sluice, a load balancer and API gateway. Three demo backends take turns: ask again.

Try next:
  curl -i localhost:8080/any/path?q=1    every path goes to the pool "demo"
  curl localhost:8080/echo -d hello      what a backend sees of your request
  curl localhost:8080/slow               an answer that takes a second
  curl localhost:9090/status             how backends and pools stand
  curl localhost:9090/readyz             what an orchestrator asks
  curl localhost:9090/explain?path=/     where a request would go, and why
  edit config/gateway.yaml               and it takes effect at once

Your own gateway, in five lines of YAML:
  pools:
    web:
      backends: [http://127.0.0.1:3000, http://127.0.0.1:3001]
then: npm start -- --config my-gateway.yaml
`

function backend(name) {
  return createServer((request, response) => {
    response.setHeader('x-backend', name)
    const path = (request.url ?? '').split('?')[0]
    if (path === '/echo') return echo(request, response)
    if (path === '/slow') return void setTimeout(() => response.end(`${name} took its time\n`), 1000)
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end(PAGE(name))
  })
}

function echo(request, response) {
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
  response.write(`${request.method} ${request.url}\n`)
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    response.write(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\n`)
  }
  response.write('\n')
  request.pipe(response)
}

export default async function demoBackends(app) {
  const servers = PORTS.map((port) => ({ port, server: backend(`demo-${port}`) }))
  app.addHook('onClose', () => Promise.all(servers.map(({ server }) => stop(server))))
  await Promise.all(servers.map(({ server, port }) => start(server, port)))
}

function start(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const reason = error.code === 'EADDRINUSE' ? 'the port is taken' : error.message
      reject(new Error(`the demo backend on 127.0.0.1:${port} cannot listen: ${reason}`))
    })
    server.listen(port, '127.0.0.1', resolve)
  })
}

function stop(server) {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
