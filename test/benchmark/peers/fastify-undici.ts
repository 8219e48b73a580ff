/**
 * Fastify with undici's dispatch as directly as it goes: what Sluice's transport would cost if it ran on undici. No
 * features: headers are copied as they are.
 */
import Fastify from 'fastify'
import { Pool } from 'undici'

import { bases, makeServer, port } from './application.ts'

const pools = bases.map((base) => new Pool(base, { connections: 128, allowH2: false }))
const app = Fastify({ serverFactory: (handler) => makeServer(handler) })
let turn = 0
app.removeAllContentTypeParsers()
app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
app.all('/*', (request, reply) => {
  const { raw } = reply
  reply.hijack()
  const headers: string[] = []
  const { rawHeaders } = request.raw
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i] !== 'Connection') headers.push(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '')
  }
  pools[turn++ % pools.length]?.dispatch(
    {
      path: request.raw.url ?? '/',
      method: request.raw.method === 'POST' ? 'POST' : 'GET',
      headers,
      body: request.raw.method === 'POST' ? request.raw : null,
      reset: false,
    },
    {
      onRequestStart() {},
      onResponseStart(_controller, status, fields) {
        delete fields['connection']
        delete fields['keep-alive']
        raw.writeHead(status, fields)
      },
      onResponseData(controller, chunk) {
        if (raw.write(chunk)) return
        controller.pause()
        raw.once('drain', () => controller.resume())
      },
      onResponseEnd() {
        raw.end()
      },
      onResponseError() {
        raw.destroy()
      },
    },
  )
})
await app.listen({ port, host: '127.0.0.1', backlog: 4096 })
