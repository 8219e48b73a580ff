/**
 * A port of loopback where connecting takes for ever: its queue of connections is full, and nobody accepts.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'

import type { Test } from 'tap'

/** Listens, says where, and falls asleep: whoever is awake, Node lets accept. */
const SLEEPER = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer()
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`

/** How long a connection on loopback may take before its queue counts as full. */
const FULL_AFTER_MS = 200

export async function blackHole(t: Test): Promise<number> {
  const worker = new Worker(SLEEPER, { eval: true, execArgv: [] })
  t.teardown(async () => worker.terminate())
  const messages: unknown[] = await once(worker, 'message')
  const port = Number(messages[0])
  for (let room = true, n = 0; room && n < 50; n++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    // oxlint-disable-next-line no-await-in-loop -- until one of them is not answered
    room = await Promise.race([
      once(socket, 'connect').then(() => true),
      new Promise<boolean>((resolve) => void setTimeout(() => resolve(false), FULL_AFTER_MS)),
    ])
  }
  return port
}
