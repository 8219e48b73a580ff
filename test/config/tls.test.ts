/** Certificates and keys: from files and from text, what becomes of them, and what is said of those that are no good. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkObject, ConfigError, formatProblem } from '../../src/config/check.ts'
import { PemReader } from '../../src/config/pem.ts'
import type { BackendTlsConfig, ListenTlsConfig } from '../../src/config/schema.ts'

const folder = join(import.meta.dirname, '../helpers/certificates')
const pem = (name: string) => readFileSync(join(folder, name), 'utf8')
const server = { cert: pem('server.pem'), key: pem('server.key') }
const NOWHERE = '/nowhere'

function check(tls: { listen?: unknown; pool?: unknown }, from: string, backend = 'https://127.0.0.1:1') {
  const pool = { backends: [backend], ...(tls.pool !== undefined && { tls: tls.pool }) }
  return checkObject({ listen: { tls: tls.listen }, pools: { web: pool } }, { folder: from, env: {} })
}

function poolTls(tls: BackendTlsConfig, from = folder) {
  const { settings, problems } = check({ pool: tls }, from)
  if (settings === undefined) throw new ConfigError(problems)
  return settings.pools.get('web')?.tls
}

function listenTls(tls: ListenTlsConfig, from = folder) {
  const { settings, problems } = check({ listen: tls }, from)
  if (settings === undefined) throw new ConfigError(problems)
  return settings.listen.tls
}

function poolLines(tls: unknown, from = folder): readonly string[] {
  return (check({ pool: tls }, from).problems ?? []).map(formatProblem)
}

void t.test('files and text become the same settings', async (test) => {
  const expected = { ...server, minVersion: 'TLSv1.2' }
  test.strictSame(listenTls({ cert: 'server.pem', key: 'server.key' }), expected)
  test.strictSame(listenTls({ cert: join(folder, 'server.pem'), key: './server.key' }), expected)
  test.strictSame(listenTls(server, NOWHERE), expected)
  test.strictSame(listenTls({ cert: server.cert, key: 'server.key', minVersion: 'TLSv1.3' })?.minVersion, 'TLSv1.3')
  test.strictSame(listenTls({ ...server, cert: `\n  ${server.cert}` }, NOWHERE)?.key, server.key, 'space in front')
})

void t.test('a pool: nothing, some and all of it', async (test) => {
  const none = { ca: undefined, cert: undefined, key: undefined, serverName: undefined, rejectUnauthorized: true }
  test.strictSame(poolTls({}), none)
  test.strictSame(poolTls({ ca: 'ca.pem' }), { ...none, ca: pem('ca.pem') })
  test.strictSame(poolTls({ serverName: 'Bücher.example' }), { ...none, serverName: 'xn--bcher-kva.example' })
  test.strictSame(poolTls({ ca: pem('ca.pem'), cert: 'client.pem', key: 'client.key', rejectUnauthorized: false }), {
    ...none,
    ca: pem('ca.pem'),
    cert: pem('client.pem'),
    key: pem('client.key'),
    rejectUnauthorized: false,
  })
})

void t.test('several certificates in one text, and a key beside its certificate', async (test) => {
  const both = server.cert + server.key
  test.equal(listenTls({ cert: server.cert + pem('ca.pem'), key: server.key })?.cert, server.cert + pem('ca.pem'))
  test.equal(listenTls({ cert: both, key: both })?.key, both)
  const bundle = `# ours\n${pem('ca.pem')}# theirs\r\n${pem('other.pem').replaceAll('\n', '\r\n')}`
  const from = test.testdir({ 'bundle.pem': bundle, 'marked.pem': `\uFEFF${pem('ca.pem')}` })
  test.equal(poolTls({ ca: 'bundle.pem' }, from)?.ca, bundle)
  test.equal(poolTls({ ca: 'marked.pem' }, from)?.ca, pem('ca.pem'))
})

void t.test('relative to the working directory where a configuration has no folder', async (test) => {
  const backends = ['https://127.0.0.1:1']
  const ca = 'test/helpers/certificates/ca.pem'
  const { settings } = checkObject({ pools: { web: { backends, tls: { ca } } } }, { env: {} })
  test.equal(settings?.pools.get('web')?.tls?.ca, pem('ca.pem'))
})

void t.test('text from the environment', async (test) => {
  const backends = ['https://127.0.0.1:1']
  const config = { pools: { web: { backends, tls: { cert: '${CERT}', key: '${KEY}' } } } }
  const { settings } = checkObject(config, { env: { CERT: server.cert, KEY: server.key } })
  test.equal(settings?.pools.get('web')?.tls?.key, server.key)
  const { problems } = checkObject(config, { env: { CERT: server.cert } })
  test.same(
    problems?.map(({ path, message }) => [path, message.slice(0, 28)]),
    [['pools.web.tls.key', 'the environment variable KEY']],
    'one error, and none about what goes together',
  )
})

function warningsOf(tls: object, backend?: string): readonly string[] {
  return check({ pool: tls }, folder, backend).warnings.map(formatProblem)
}

void t.test('what is wrong with texts', async (test) => {
  const two = pem('ca.pem') + pem('other.pem').replace('MII', 'IIM')
  const encrypted = createPrivateKey(server.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  })
  const old = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    type: 'pkcs1',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'secret',
  })
  const publicKey = createPublicKey(server.key).export({ type: 'spki', format: 'pem' })
  const needsPassphrase = 'pools.web.tls.key: the private key needs a passphrase; expected one that does not'
  const cases: ReadonlyArray<readonly [tls: object, line: string]> = [
    [{ ca: two }, 'pools.web.tls.ca: certificate 2 of 2 is damaged'],
    [{ ca: pem('ca.pem').slice(0, 300) }, 'pools.web.tls.ca: the certificate is damaged'],
    [{ ca: `-----BEGIN\n${server.key}` }, 'pools.web.tls.ca: expected a certificate, got a private key'],
    [{ ca: `-----BEGIN\n ${pem('ca.pem')}` }, 'pools.web.tls.ca: expected a certificate, got nothing in PEM form'],
    [{ ca: '-----BEGIN' }, 'pools.web.tls.ca: expected a certificate, got nothing in PEM form'],
    [{ ...server, key: publicKey }, 'pools.web.tls.key: expected a private key, got something else (PUBLIC KEY)'],
    [{ ...server, key: server.key.replace('MIG', 'GIM') }, 'pools.web.tls.key: the private key is damaged'],
    [{ ...server, key: encrypted }, needsPassphrase],
    [{ ...server, key: old }, needsPassphrase],
    [{ ...server, key: pem('other.key') }, 'pools.web.tls.key: the private key does not belong to the certificate'],
    [{ ...server, key: pem('weak.key') }, 'pools.web.tls.key: the private key does not belong to the certificate'],
    [
      { ...server, cert: pem('ca.pem') + server.cert },
      'pools.web.tls.cert: expected the certificate of the private key first, it is number 2',
    ],
    [
      { cert: pem('weak.pem'), key: pem('weak.key') },
      'pools.web.tls.cert: this certificate and its key cannot be used for TLS: the key is too short to be safe',
    ],
    [{ cert: server.cert }, 'pools.web.tls.key: missing, expected the private key of the certificate in cert'],
    [{ key: server.key }, 'pools.web.tls.cert: missing, expected the certificate of the private key in key'],
  ]
  for (const [tls, line] of cases) test.same(poolLines(tls, NOWHERE), [line], line)
})

void t.test('what is wrong with files', async (test) => {
  const from = test.testdir({
    folder: {},
    'large.pem': 'x'.repeat(1024 ** 2 + 1),
    'a.der': Buffer.from([0x30, 0x82, 0xff]),
  })
  const cases: ReadonlyArray<readonly [ca: string, message: string]> = [
    ['none.pem', 'cannot read "none.pem": no such file'],
    ['a.der/ca.pem', 'cannot read "a.der/ca.pem": a part of its path is not a folder'],
    ['folder', 'cannot read "folder": it is a folder'],
    ['/dev/null', 'cannot read "/dev/null": it is not an ordinary file'],
    ['large.pem', 'cannot read "large.pem": it is larger than 1 MiB'],
    ['a.der', 'expected a certificate in "a.der", got nothing in PEM form'],
    ['a\0', 'cannot read "a\\u0000": its name holds a character that no name of a file can hold'],
  ]
  for (const [ca, message] of cases) test.same(poolLines({ ca }, from), [`pools.web.tls.ca: ${message}`])
})

void t.test('no message repeats a secret, wherever it was put', async (test) => {
  const body = server.key.split('\n').slice(1, -2)
  const [line = ''] = body
  const spellings = [
    server.key,
    server.key.replaceAll('\n', ' '),
    server.key.replaceAll('\n', '\\n'),
    `${line}\n${server.key}`,
    body.join(''),
    body.join(' '),
    server.key.slice(0, 100),
    `- ${server.key}`,
  ]
  for (const secret of spellings) {
    for (const place of ['ca', 'cert', 'key']) {
      const lines = poolLines({ cert: server.cert, key: pem('other.key'), [place]: secret }).join('\n')
      test.notOk(lines.includes(line.slice(0, 8)), `${place}: ${lines}`)
    }
  }
})

void t.test('host names for the handshake', async (test) => {
  for (const serverName of ['', 'a b', 'a/b', 'a:1', 'https://a', '*.example.com', `${'a'.repeat(64)}.example`]) {
    test.match(poolLines({ serverName }), [/^pools\.web\.tls\.serverName: expected a host name such as/], serverName)
  }
  for (const serverName of ['127.0.0.1', '::1']) {
    test.match(poolLines({ serverName }), [/^pools\.web\.tls\.serverName: expected a host name, got the address/])
  }
})

void t.test('warnings', async (test) => {
  const noEffect = 'pools.web.tls: this has no effect: no backend of this pool has a URL that begins with https://'
  test.same(warningsOf({ rejectUnauthorized: true }), [])
  test.same(warningsOf({ rejectUnauthorized: false }), [
    "pools.web.tls.rejectUnauthorized: the backends' certificates are not verified",
  ])
  test.same(warningsOf({}, 'http://127.0.0.1:1'), [noEffect])
  test.same(warningsOf({}, 'HTTPS://127.0.0.1:1'), [])
  test.same(warningsOf({}, 'no url'), [], 'nothing is known of such a backend')
})

void t.test('a file is read once: what was checked is what is used', async (test) => {
  const from = test.testdir({ 'a.pem': pem('ca.pem') })
  const reader = new PemReader(from)
  const first = reader.read('a.pem')
  writeFileSync(join(from, 'a.pem'), 'something else')
  test.equal(reader.read('a.pem'), first)
  test.match(first, { value: { text: pem('ca.pem') } })
  test.match(new PemReader(from).read('a.pem'), { value: { text: 'something else' } }, 'afresh for the next one')
})
