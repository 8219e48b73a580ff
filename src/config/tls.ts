/**
 * What TLS settings mean: certificates and keys that can be read, belong together and can be used.
 */
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import { hostName, readBackendUrl } from './addresses.ts'
import { certificatesOf, type Found, type Pem, type PemReader, privateKeyOf } from './pem.ts'
import { type Path, show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'

type Raw = Readonly<Record<string, unknown>>

export function judgeListenTls(listen: Raw, path: Path, pems: PemReader, findings: Findings): void {
  const tls = record(listen['tls'])
  if (tls !== undefined) judgeIdentity(tls, [...path, 'tls'], pems, findings)
}

export function judgePoolTls(pool: Raw, path: Path, pems: PemReader, findings: Findings): void {
  const tls = record(pool['tls'])
  if (tls === undefined) return
  const at = [...path, 'tls']
  look(tls['ca'], certificatesOf, [...at, 'ca'], pems, findings)
  judgePair(tls, at, findings)
  judgeIdentity(tls, at, pems, findings)
  judgeServerName(text(tls['serverName']), [...at, 'serverName'], findings)
  if (tls['rejectUnauthorized'] === false) {
    findings.warn([...at, 'rejectUnauthorized'], "the backends' certificates are not verified")
  }
  if (isPlain(list(pool['backends']))) {
    findings.warn(at, 'this has no effect: no backend of this pool has a URL that begins with https://', 'key')
  }
}

/** The schema says this for the listener, where neither may be left out. */
function judgePair(tls: Raw, path: Path, findings: Findings): void {
  const [cert, key] = [Object.hasOwn(tls, 'cert'), Object.hasOwn(tls, 'key')]
  if (cert && !key) findings.error([...path, 'key'], 'missing, expected the private key of the certificate in cert')
  if (key && !cert) findings.error([...path, 'cert'], 'missing, expected the certificate of the private key in key')
}

/** A certificate and its key. */
function judgeIdentity(tls: Raw, path: Path, pems: PemReader, findings: Findings): void {
  const certPath = [...path, 'cert']
  const keyPath = [...path, 'key']
  const cert = look(tls['cert'], certificatesOf, certPath, pems, findings)
  const key = look(tls['key'], privateKeyOf, keyPath, pems, findings)
  if (cert === undefined || key === undefined) return
  const owner = cert.value.findIndex((certificate) => certificate.checkPrivateKey(key.value))
  if (owner < 0) {
    findings.error(keyPath, `the private key${key.pem.where} does not belong to the certificate${cert.pem.where}`)
    return
  }
  if (owner > 0) {
    findings.error(certPath, `expected the certificate of the private key first, it is number ${owner + 1}`)
    return
  }
  const wrong = whyRefused(cert.pem.text, key.pem.text)
  if (wrong !== undefined) findings.error(certPath, `this certificate and its key cannot be used for TLS: ${wrong}`)
}

interface Seen<T> {
  readonly pem: Pem
  readonly value: T
}

/** What is in a PEM, with whatever is wrong with it reported. */
function look<T>(
  value: unknown,
  contents: (pem: Pem) => Found<T>,
  path: Path,
  pems: PemReader,
  findings: Findings,
): Seen<T> | undefined {
  const written = text(value)
  // An empty text was already found too short.
  if (written === undefined || written === '') return undefined
  const pem = pems.read(written)
  const found = pem.wrong === undefined ? contents(pem.value) : pem
  if (found.wrong !== undefined) findings.error(path, found.wrong)
  return pem.wrong === undefined && found.wrong === undefined ? { pem: pem.value, value: found.value } : undefined
}

/** What only the TLS library knows; in its own words, where it is not the one thing that is common. */
function whyRefused(cert: string, key: string): string | undefined {
  try {
    createSecureContext({ cert, key })
    return undefined
  } catch (error) {
    const reason = error instanceof Error && 'reason' in error ? error.reason : undefined
    if (reason === 'ee key too small') return 'the key is too short to be safe'
    return typeof reason === 'string' ? reason : 'they are refused'
  }
}

function judgeServerName(name: string | undefined, path: Path, findings: Findings): void {
  if (name === undefined) return
  if (isIP(name) !== 0) {
    // RFC 6066 section 3.
    findings.error(path, `expected a host name, got the address ${show(name)}; a handshake cannot ask for an address`)
  } else if (hostName(name) === undefined) {
    findings.error(path, `expected a host name such as internal.example.com, got ${show(name)}`)
  }
}

/** Whether no backend is reached by TLS; a URL that cannot be read says nothing about that. */
function isPlain(backends: readonly unknown[]): boolean {
  const urls = backends.map((backend) => readBackendUrl(text(backend) ?? text(record(backend)?.['url']) ?? ''))
  return urls.length > 0 && urls.every((url) => typeof url !== 'string' && url.protocol === 'http:')
}
