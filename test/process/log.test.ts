/**
 * The log as a process writes it: whatever clients send, each line is JSON and UTF-8 and says one thing; and whatever
 * becomes of it, the gateway serves on.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type Test } from 'tap'

import { ask as askOnce, backend, BIN, freePorts, outsideFolder, startGateway } from '../helpers/process.ts'
import { ask, get, inTurn, RawClient } from '../helpers/raw.ts'

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x1f\x7f-\x9f\u2028\u2029]/
const ESCAPED = [
  '\r',
  '\n',
  '"',
  '\\',
  '\u001b[31m',
  '\u009b31m',
  '\u2028',
  '\u0000',
  "'",
  '</script>',
  '%0d%0a',
  '${x}',
]

async function running(t: Test, more: object = {}): ReturnType<typeof startGateway> {
  const url = await backend(t, 'ok')
  return startGateway(t, JSON.stringify({ pools: { web: { backends: [url] } }, ...more }))
}

void test('LI-01: nothing that a client sends ends a line, begins one, or is obeyed by a terminal', async (t) => {
  const gateway = await running(t, { log: { access: { headers: ['user-agent', 'x-any'] } } })
  const port = Number(new URL(gateway.url).port)
  await inTurn(ESCAPED, async (text) => {
    const bytes = Buffer.from(text)
    const parts = [
      ['GET /', bytes, ' HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
      ['GET /?', bytes, ' HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
      ['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: a', bytes, 'b\r\n\r\n'],
      ['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Any: a', bytes, 'b\r\n\r\n'],
      ['G', bytes, 'T / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
      ['GET / HTTP/1.1\r\nHost: a', bytes, 'b\r\nConnection: close\r\n\r\n'],
    ]
    await inTurn(parts, async (request) => {
      const client = await RawClient.open(t, port)
      client.socket.end(Buffer.concat(request.map((part) => Buffer.from(part))))
      await client.end()
    })
  })
  gateway.process.signal('SIGTERM')
  const { stdout } = await gateway.process.ended
  const lines = stdout.split('\n').slice(0, -1)
  t.ok(lines.length > ESCAPED.length * 2)
  for (const line of lines) {
    t.notMatch(line, CONTROL)
    t.match(JSON.parse(line), { level: Number, time: Number, msg: String })
  }
  const paths = new Set(lines.map((line) => String(Reflect.get(JSON.parse(line), 'path') ?? '')))
  t.ok(paths.has('/"'), 'what is allowed comes back as it was sent')
  t.ok(paths.has('/</script>'))
})

void test('LI-02: bytes that are no UTF-8 leave the log UTF-8', async (t) => {
  const gateway = await running(t, { log: { access: { headers: ['user-agent'] } } })
  const port = Number(new URL(gateway.url).port)
  const wrong = Buffer.from([0xff, 0xc3, 0x28, 0xe2, 0x82, 0xf0, 0x9f])
  const head = 'HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: '
  await ask(t, port, Buffer.concat([Buffer.from('GET /a '), Buffer.from(head), wrong, Buffer.from('\r\n\r\n')]))
  await ask(t, port, Buffer.concat([Buffer.from('GET /'), wrong, Buffer.from(` ${head}b\r\n\r\n`)]))
  const chunks: Buffer[] = []
  gateway.process.child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  gateway.process.signal('SIGTERM')
  const { stdout } = await gateway.process.ended
  t.notMatch(stdout, /\ufffd/, 'what was written was UTF-8: nothing had to be replaced to read it')
  t.doesNotThrow(() => new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)))
  const entries = stdout
    .split('\n')
    .slice(0, -1)
    .map((line): object => JSON.parse(line))
  const agents = new Set(entries.map((entry) => String(Reflect.get(Reflect.get(entry, 'headers') ?? {}, 'user-agent'))))
  t.ok(agents.has(wrong.toString('latin1')), 'each byte is there')
})

void test('LI-05: what is no request is told of with its reason and its sender, and a flood of it in few lines', async (t) => {
  const gateway = await running(t)
  const port = Number(new URL(gateway.url).port)
  const flood = 300
  await inTurn(Array.from({ length: flood }), async () => ask(t, port, 'no request at all\r\n\r\n'))
  await ask(t, port, get('/last'))
  gateway.process.signal('SIGTERM')
  const { stdout } = await gateway.process.ended
  const entries = stdout
    .split('\n')
    .slice(0, -1)
    .map((line): object => JSON.parse(line))
  const refused = entries.filter((entry) => String(Reflect.get(entry, 'msg')).startsWith('request refused'))
  t.match(refused[0], {
    client: /127\.0\.0\.1$/,
    status: 400,
    code: 'SLUICE_BAD_REQUEST',
    reason: 'HPE_INVALID_METHOD',
    requestId: String,
  })
  t.ok(refused.length < flood / 10, `${refused.length} lines`)
  t.ok(
    entries.some((entry) => Reflect.get(entry, 'path') === '/last'),
    'others have theirs',
  )
})

/** Starts one whose output nobody reads, unless the test does. */
async function unread(
  t: Test,
  output: string,
): Promise<{ readonly child: ChildProcess; readonly port: number; readonly adminPort: number }> {
  const [port = 0, adminPort = 0] = await freePorts(2)
  const file = join(outsideFolder(t), 'gateway.json')
  const pools = { web: { backends: [await backend(t, 'ok')] } }
  writeFileSync(file, JSON.stringify({ listen: { host: '127.0.0.1', port }, admin: { port: adminPort }, pools }))
  const child = spawn('/bin/sh', ['-c', `exec "$0" "$@" ${output}`, process.execPath, BIN, 'run', '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await listening(port)
  return { child, port, adminPort }
}

void test('when nobody reads the log, requests are served, and what was lost is counted and told', async (t) => {
  const { child, port, adminPort } = await unread(t, '')
  const client = await RawClient.open(t, port)
  const long = get(`/${'a'.repeat(12_000)}`)
  const enough = 17 * 1024 ** 2
  const statuses = new Set<number>()
  let sent = 0
  while (sent * long.length < enough) {
    client.send(long)
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    statuses.add((await client.answer()).status)
    sent++
  }
  t.same([...statuses], [200])
  const { body } = await askOnce(`http://127.0.0.1:${adminPort}/metrics`)
  const lost = Number(/^sluice_log_lines_lost_total (\d+)$/m.exec(body)?.[1])
  t.ok(lost > 0, `${lost} lines lost`)
  let logged = 0
  let told = 0
  if (child.stdout === null) throw new Error('it has no output')
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg, lines }: { readonly msg: string; readonly lines?: number } = JSON.parse(line)
    if (msg === 'request') logged++
    if (lines === undefined) continue
    told += lines
    child.kill('SIGTERM')
  }
  t.ok(told >= lost, 'what was gathered then may be lost, too')
  t.equal(logged + told, sent, 'every request has its line, or is counted as lost')
})

void test('what was on its way to the disk when the process ends is there once', async (t) => {
  const module = JSON.stringify(new URL('../../src/log/stream.ts', import.meta.url).href)
  const script = `
    const { LogStream } = await import(${module})
    const stream = new LogStream(1)
    for (let n = 0; n < 1000; n++) stream.writeClean(n + 'x'.repeat(100) + '\\n')
    await stream.drain()
    process.exit()`
  const file = join(outsideFolder(t), 'log')
  const child = spawn('sh', ['-c', 'exec "$0" --input-type=module -e "$1" > "$2"', process.execPath, script, file])
  t.equal(await new Promise((resolve) => void child.once('close', resolve)), 0)
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  t.same(
    lines.map((line) => Number.parseInt(line, 10)),
    Array.from({ length: 1000 }, (_, n) => n),
  )
})

const FULL = '/dev/full'
void test(
  'a full disk is told of once, and the gateway serves on and stops as it should',
  { skip: !existsSync(FULL) && `there is no ${FULL}` },
  async (t) => {
    const { child, port } = await unread(t, `> ${FULL}`)
    let complaints = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    const ended = new Promise((resolve) => void child.once('close', resolve))
    const statuses = new Set<number>()
    await inTurn(Array.from({ length: 50 }), async () => statuses.add((await ask(t, port, get('/a'))).status))
    t.same([...statuses], [200])
    child.kill('SIGTERM')
    t.equal(await ended, 0)
    t.match(complaints, /^the log cannot be written: ENOSPC[^\n]*\n$/)
  },
)

/** Waits until somebody does there. */
async function listening(port: number): Promise<void> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- until it does
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const trying = connect({ port, host: '127.0.0.1' }, () => resolve(trying))
      trying.once('error', () => void setTimeout(resolve, 20, undefined))
    })
    if (socket !== undefined) return void socket.destroy()
  }
}
