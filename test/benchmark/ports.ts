/** Ports for what a benchmark starts. */
import { createServer } from 'node:net'

// Below the ports that the system gives to outgoing connections: one of those could take the port of a backend that is
// just being restarted.
const FIRST_PORT = 21_000
const PORTS = 10_000

let given = 0

export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = []
  // Two harnesses at once look in different places.
  for (; found.length < count && given < PORTS; given++) {
    const port = FIRST_PORT + ((process.pid * 16 + given) % PORTS)
    // oxlint-disable-next-line no-await-in-loop -- the next one is tried when this one is taken
    if (await isFree(port)) found.push(port)
  }
  if (found.length < count) throw new Error(`there are no ${count} free ports from ${FIRST_PORT} on`)
  return found
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
