/**
 * Buffers that go round: each has one user at a time, whatever becomes of what was read into it.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'

import { test } from 'tap'

import { ReadBuffer } from '../../src/transport/read-buffers.ts'
import { backend, gatewayTo } from '../helpers/gateway.ts'

void test('what is given back is taken again, once', (t) => {
  const first = ReadBuffer.take()
  t.not(ReadBuffer.take(), first, 'it is in use')
  first.release()
  first.release()
  t.equal(ReadBuffer.take(), first)
  t.not(ReadBuffer.take(), first, 'giving it back twice gives it back once')
  t.end()
})

const DOWNLOADS = 24
const BYTES = 3_000_000

/** Content of which every part tells where it belongs. */
function contentOf(name: string): Buffer {
  const line = `${createHash('sha256').update(name).digest('hex')}\n`
  return Buffer.from(line.repeat(Math.ceil(BYTES / line.length))).subarray(0, BYTES)
}

void test('many downloads at a time, some of them slow and some left: each gets its own bytes', async (t) => {
  const server = await backend(t, (asked, response) => {
    response.end(contentOf(asked.url ?? ''))
  })
  const { port } = await gatewayTo(t, [server])
  const download = async (index: number): Promise<void> => {
    const path = `/${index}`
    const sent = request({ port, host: '127.0.0.1', path, agent: false }).end()
    const [answer]: IncomingMessage[] = await once(sent, 'response')
    if (answer === undefined) throw new Error('no answer')
    const chunks: Buffer[] = []
    let read = 0
    for await (const chunk of answer) {
      if (!(chunk instanceof Buffer)) throw new TypeError('no bytes')
      chunks.push(chunk)
      read += chunk.length
      // Those that leave in the middle, and those that read a little at a time.
      if (index % 4 === 0 && read > BYTES / 3) return void answer.destroy()
      if (index % 4 === 1) await new Promise<void>((later) => void setImmediate(later))
    }
    t.ok(Buffer.concat(chunks).equals(contentOf(path)), path)
  }
  await Promise.all(Array.from({ length: DOWNLOADS }, async (_, index) => download(index)))
})
