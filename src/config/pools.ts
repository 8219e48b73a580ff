/**
 * What pools mean: backends that can be told apart and reached, a Host that can be sent.
 */
import { hostAndPort, isHostField, isLinkLocal, readBackendUrl } from './addresses.ts'
import { judgeBreaker, judgeHealth } from './health.ts'
import { nearest } from './nearest.ts'
import type { PemReader } from './pem.ts'
import { type Path, show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'
import { judgeRetry } from './retry.ts'
import { DEFAULT_LINK_LOCAL, DEFAULT_WEIGHT } from './schema.ts'
import { judgePoolTls } from './tls.ts'

export function judgePools(pools: Readonly<Record<string, unknown>>, pems: PemReader, findings: Findings): void {
  for (const [name, value] of Object.entries(pools)) {
    const pool = record(value)
    if (pool === undefined) continue
    const path = ['pools', name]
    judgeBackends(pool, [...path, 'backends'], findings)
    judgeHostHeader(text(pool['hostHeader']), [...path, 'hostHeader'], findings)
    judgePoolTls(pool, path, pems, findings)
    judgeRetry(pool, path, findings)
    judgeHealth(pool, path, findings)
    judgeBreaker(pool, path, findings)
  }
}

function judgeBackends(pool: Readonly<Record<string, unknown>>, path: Path, findings: Findings): void {
  const backends = list(pool['backends'])
  const linkLocal = (pool['linkLocal'] ?? DEFAULT_LINK_LOCAL) !== false
  const seen = new Map<string, Path>()
  const weights: unknown[] = []
  for (const [index, backend] of backends.entries()) {
    const long = record(backend)
    const at = [...path, index]
    weights.push(long?.['weight'] ?? DEFAULT_WEIGHT)
    const written = text(backend) ?? text(long?.['url'])
    const id = judgeUrl(written, linkLocal, long === undefined ? at : [...at, 'url'], findings)
    const ownId = text(long?.['id'])
    judgeId(ownId ?? id, ownId === undefined ? at : [...at, 'id'], seen, findings)
  }
  if (weights.length > 0 && weights.every((weight) => weight === 0)) {
    findings.warn(path, 'the weights of all backends are 0, so no request can be served')
  }
}

/** The id that the URL gives, when it is a good one. */
function judgeUrl(written: string | undefined, linkLocal: boolean, path: Path, findings: Findings): string | undefined {
  // An empty text was already found too short.
  if (written === undefined || written === '') return undefined
  const url = readBackendUrl(written)
  if (typeof url === 'string') {
    findings.error(path, url)
    return undefined
  }
  if (!linkLocal && isLinkLocal(url.hostname)) findings.error(path, `${LINK_LOCAL}, got ${show(written)}`)
  return hostAndPort(url)
}

const LINK_LOCAL = 'expected no link-local address, which the pool allows only with linkLocal: true'

function judgeId(id: string | undefined, path: Path, seen: Map<string, Path>, findings: Findings): void {
  if (id === undefined) return
  const first = seen.get(id)
  if (first === undefined) {
    seen.set(id, path)
    return
  }
  const line = findings.line(first) || ` (backends[${String(first[3])}])`
  findings.error(path, `two backends of this pool have the id ${show(id)}${line}; give each an id of its own`)
}

function judgeHostHeader(value: string | undefined, path: Path, findings: Findings): void {
  if (value === undefined || value === 'preserve' || value === 'backend') return
  // It is sent as it is: in the form that DNS knows, not in that of people.
  if (!isHostField(value) || !/^[!-~]+$/.test(value)) {
    findings.error(path, `expected preserve, backend or a host such as internal.example.com, got ${show(value)}`)
    return
  }
  const meant = nearest(value, ['preserve', 'backend'])
  if (meant !== undefined) {
    findings.warn(path, `${show(value)} is sent to backends as it is; did you mean ${show(meant)}?`)
  }
}
