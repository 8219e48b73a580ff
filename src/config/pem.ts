/**
 * Certificates and keys in PEM form (RFC 7468), written into the configuration itself or kept in files that it names.
 * What is wrong with one is said without quoting it: any text here may be a secret in the wrong place.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { oneLine, show } from './problem.ts'
import { hashOf } from './text.ts'
import { whyUnreadable } from './unreadable.ts'

/** Something that was looked for, or why it is not to be had. */
export type Found<T> = { readonly value: T; readonly wrong?: undefined } | { readonly wrong: string }

export interface Pem {
  readonly text: string
  /** ` in "certs/ca.pem"`; '' when the text stands in the configuration itself. */
  readonly where: string
}

/** Of each file's content as it was read, by absolute path; `undefined` for one that has none. */
export type FileHashes = ReadonlyMap<string, string | undefined>

/** Bundles of all authorities that there are have a quarter of this. */
const LARGEST = 1024 ** 2

/** Reads each file once: what was checked is what is used, however the file changes in between. */
export class PemReader {
  readonly #folder: string
  readonly #files = new Map<string, string | undefined>()
  readonly #read = new Map<string, Found<Pem>>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The files that were looked at, whatever became of it, and the hash of each one's content. */
  get files(): FileHashes {
    return this.#files
  }

  read(written: string): Found<Pem> {
    const known = this.#read.get(written)
    if (known !== undefined) return known
    const found = this.#find(written)
    this.#read.set(written, found)
    return found
  }

  #find(written: string): Found<Pem> {
    const text = written.trimStart()
    if (text.startsWith('-----BEGIN')) return { value: { text, where: '' } }
    // Lines, or a long run of base64: a key without its first line rather than the name of a file.
    if (/[\r\n]|^[A-Za-z0-9+/= ]{60,}$/.test(written)) {
      return { wrong: 'expected the name of a PEM file, or PEM text that begins with "-----BEGIN"' }
    }
    const file = resolve(this.#folder, written)
    const found = contentOf(file)
    this.#files.set(file, found.wrong !== undefined || found.value.length === 0 ? undefined : hashOf(found.value))
    if (found.wrong !== undefined) return { wrong: `cannot read ${show(written)}: ${found.wrong}` }
    // Some editors begin a file with a mark that hides its first line.
    return { value: { text: found.value.toString().trimStart(), where: ` in ${show(written)}` } }
  }
}

function contentOf(path: string): Found<Buffer> {
  try {
    const about = statSync(path)
    if (about.isDirectory()) return { wrong: 'it is a folder' }
    // A pipe could be waited for without an end.
    if (!about.isFile()) return { wrong: 'it is not an ordinary file' }
    if (about.size > LARGEST) return { wrong: 'it is larger than 1 MiB' }
    return { value: readFileSync(path) }
  } catch (error) {
    return { wrong: oneLine(whyUnreadable(error)) }
  }
}

/** At least one, in the order of the text. */
export function certificatesOf({ text, where }: Pem): Found<readonly X509Certificate[]> {
  const blocks = blocksOf(text)
  const wanted = blocks.filter(({ label }) => label.endsWith('CERTIFICATE'))
  if (wanted.length === 0) return { wrong: `expected a certificate${where}, got ${contents(blocks)}` }
  const certificates: X509Certificate[] = []
  for (const [index, { text: block }] of wanted.entries()) {
    try {
      certificates.push(new X509Certificate(block))
    } catch {
      const which = wanted.length === 1 ? 'the certificate' : `certificate ${index + 1} of ${wanted.length}`
      return { wrong: `${which}${where} is damaged` }
    }
  }
  return { value: certificates }
}

export function privateKeyOf({ text, where }: Pem): Found<KeyObject> {
  const blocks = blocksOf(text)
  const block = blocks.find(({ label }) => label.endsWith('PRIVATE KEY'))
  if (block === undefined) return { wrong: `expected a private key${where}, got ${contents(blocks)}` }
  if (block.label.startsWith('ENCRYPTED') || block.text.includes('Proc-Type: 4,ENCRYPTED')) {
    return { wrong: `the private key${where} needs a passphrase; expected one that does not` }
  }
  try {
    return { value: createPrivateKey(block.text) }
  } catch {
    return { wrong: `the private key${where} is damaged` }
  }
}

interface Block {
  /** `CERTIFICATE`, `EC PRIVATE KEY`, ... */
  readonly label: string
  /** From its first line to its last; to the next block or the end where the last line is missing. */
  readonly text: string
}

function blocksOf(text: string): readonly Block[] {
  // Only at the beginning of a line, as for the TLS library, which says nothing of what it skips.
  const starts = [...text.matchAll(/^-----BEGIN ([A-Z0-9 ]{1,40})-----/gm)]
  return starts.map(({ index, 1: label = '' }, order) => {
    const within = text.slice(index, starts[order + 1]?.index)
    const lastLine = `-----END ${label}-----`
    const end = within.indexOf(lastLine)
    return { label, text: end < 0 ? within : within.slice(0, end + lastLine.length) }
  })
}

function contents(blocks: readonly Block[]): string {
  const label = blocks[0]?.label
  if (label === undefined) return 'nothing in PEM form'
  if (label.endsWith('PRIVATE KEY')) return 'a private key'
  return label.endsWith('CERTIFICATE') ? 'a certificate' : `something else (${label})`
}
