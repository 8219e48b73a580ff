/**
 * A certificate is renewed on disk: the connections that come next get it, those there are go on, and one that is no
 * good changes nothing.
 */
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'

import { type Test, test } from 'tap'

import { backend, outsideFolder } from '../helpers/process.ts'
import { get, Inbox } from '../helpers/raw.ts'
import { type Live, liveWith, poolOf } from '../helpers/reload.ts'
import { OTHER, pem, SERVER } from '../helpers/secure.ts'

const TLS = 'listen: { tls: { cert: server.pem, key: server.key } }\n'

interface Pair {
  readonly cert: string
  readonly key: string
}

/** As tools for certificates do: each file renamed over the one before, one after the other. */
function renew(folder: string, pair: Pair): void {
  for (const [name, text] of [
    ['server.pem', pair.cert],
    ['server.key', pair.key],
  ] as const) {
    writeFileSync(join(folder, `${name}.new`), text)
    renameSync(join(folder, `${name}.new`), join(folder, name))
  }
}

async function started(t: Test): Promise<{ readonly gateway: Live; readonly renewWith: (pair: Pair) => void }> {
  const folder = outsideFolder(t)
  renew(folder, SERVER)
  writeFileSync(join(folder, 'gateway.yaml'), TLS + poolOf([await backend(t, 'here')]))
  const gateway = await liveWith(t, join(folder, 'gateway.yaml'))
  return { gateway, renewWith: (pair) => renew(dirname(gateway.file), pair) }
}

/** A connection whose handshake is done. */
async function secured(t: Test, gateway: Live, ...protocols: string[]): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port: Number(new URL(gateway.url).port),
    rejectUnauthorized: false,
    ALPNProtocols: protocols.length === 0 ? ['http/1.1'] : protocols,
  })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** Waits for the next answer, which is the only one under way. */
async function answered(inbox: Inbox): Promise<number> {
  await inbox.until(() => inbox.text.endsWith('\r\n\r\nhere') || undefined)
  const status = /^HTTP\/1\.1 (\d+) /.exec(inbox.text)?.[1]
  inbox.drop(inbox.length)
  return Number(status)
}

function serial(pair: Pair): string {
  return new X509Certificate(pair.cert).serialNumber
}

/** Which certificate the next connection gets. */
async function shown(t: Test, gateway: Live, ...protocols: string[]): Promise<string> {
  const socket = await secured(t, gateway, ...protocols)
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

void test('a renewed certificate is served from the next connection on, and the ones before go on', async (t) => {
  const { gateway, renewWith } = await started(t)
  const old = await secured(t, gateway)
  const inbox = new Inbox(old)
  old.write(get('/'))
  t.equal(await answered(inbox), 200)
  t.equal(await shown(t, gateway), serial(SERVER))

  renewWith(OTHER)
  const line = await gateway.next()
  t.match(line.msg, /^configuration \w+ is in force: the file has changed, in .*listen\.tls\.cert/)
  t.notMatch(line.msg, 'BEGIN', 'without the text of it')
  t.equal(await shown(t, gateway), serial(OTHER))
  const h2 = await secured(t, gateway, 'h2', 'http/1.1')
  t.equal(h2.alpnProtocol, 'h2', 'with the protocols as before')
  t.equal(h2.getPeerCertificate().serialNumber, serial(OTHER))
  old.write(get('/'))
  t.equal(await answered(inbox), 200, 'the old connection goes on')
  t.equal(old.getPeerCertificate().serialNumber, serial(SERVER))

  renewWith(SERVER)
  gateway.process.signal('SIGHUP')
  t.match((await gateway.next()).msg, /is in force: SIGHUP, in /)
  t.equal(await shown(t, gateway), serial(SERVER))
  renewWith(OTHER)
  t.match((await gateway.next()).msg, /is in force: the file has changed, .*listen\.tls/, 'once, whoever asked first')
  t.equal(gateway.told, 3)
})

void test('a certificate that is no good is refused, and changes nothing', async (t) => {
  const { gateway, renewWith } = await started(t)
  const before = await gateway.inForce()
  const old = await secured(t, gateway)
  const inbox = new Inbox(old)
  const bad: ReadonlyArray<readonly [name: string, pair: Pair, said: RegExp]> = [
    ['no certificate', { ...SERVER, cert: 'x' }, /gateway\.yaml:1:24: listen\.tls\.cert: expected a certificate in/],
    ['cut off', { ...SERVER, cert: SERVER.cert.slice(0, 200) }, /listen\.tls\.cert: the certificate.* is damaged/],
    ['of another key', { ...SERVER, key: OTHER.key }, /listen\.tls\.key: the private key.* does not belong/],
    ['too short a key', { cert: pem('weak.pem'), key: pem('weak.key') }, /listen\.tls\.cert: .* too short/],
  ]
  for (const [name, pair, said] of bad) {
    renewWith(pair)
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.match((await gateway.next()).msg, said, name)
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.match([await gateway.lastReload(), await gateway.inForce()], [{ ok: false, error: said }, before], name)
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    t.equal(await shown(t, gateway), serial(SERVER), name)
  }
  old.write(get('/'))
  t.equal(await answered(inbox), 200)

  renewWith(OTHER)
  t.match((await gateway.next()).msg, /is in force: the file has changed/, 'and a good one is taken then')
  t.equal(await shown(t, gateway), serial(OTHER))
  t.equal(gateway.told, bad.length + 1)
})

void test('a certificate that comes after the file that names it is waited for', async (t) => {
  const { gateway } = await started(t)
  const folder = dirname(gateway.file)
  const text = TLS.replaceAll('server.', 'next.') + poolOf(['http://127.0.0.1:9'])
  writeFileSync(gateway.file, text)
  t.match((await gateway.next()).msg, /refused: .*listen\.tls\.cert: cannot read "next\.pem": no such file/)
  writeFileSync(join(folder, 'next.pem'), OTHER.cert)
  writeFileSync(join(folder, 'next.key'), OTHER.key)
  t.match((await gateway.next()).msg, /is in force: the file has changed/)
  t.equal(await shown(t, gateway), serial(OTHER))
})
