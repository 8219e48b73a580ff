/** What the harness and its processes say to each other. */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'

export function alive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** The next message of a process; fails when it ends instead of sending one. */
export function nextMessage<Message>(child: ChildProcess, name: string): Promise<Message> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error(`${name} ended without an answer`))
    if (!alive(child)) return ended()
    child.once('exit', ended)
    child.once('message', (message: Message) => {
      child.off('exit', ended)
      resolve(message)
    })
  })
}

/** Sends a signal, and waits for the end that it causes. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!alive(child)) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

const children = new Set<ChildProcess>()

/** Has a process killed with the harness, however that ends. */
export function tied(child: ChildProcess): ChildProcess {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** `process.exit` on a signal runs what follows; the default would not. */
export function tieToThisProcess(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  process.once('exit', () => {
    for (const child of children) {
      // First politely: a master takes its workers along, which it cannot when it is killed. A stopped one needs more.
      child.kill('SIGTERM')
      child.kill('SIGCONT')
    }
  })
}
