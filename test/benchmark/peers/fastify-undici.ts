/**
 * Fastify with undici's dispatch as directly as it goes: what Sluice's transport would cost if it ran on undici. No
 * features: headers are copied as they are.
 */
import Fastify from 'fastify'
import { Pool } from 'undici'

const [port = 0, ...backends] = process.argv.slice(2).map(Number)
const pools = backends.map((each) => new Pool(`http://127.0.0.1:${each}`, { connections: 128, allowH2: false }))
const app = Fastify()
let turn = 0
app.all('/*', (request, reply) => {
  const { raw } = reply
  reply.hijack()
  const headers: string[] = []
  const { rawHeaders } = request.raw
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i] !== 'Connection') headers.push(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '')
  }
  pools[turn++ % pools.length]?.dispatch(
    { path: request.raw.url ?? '/', method: 'GET', headers, reset: false },
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
await app.listen({ port, host: '127.0.0.1' })
