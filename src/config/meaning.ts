/**
 * What a schema cannot say: whether the parts of a configuration fit together and can work. Every rule looks at as much
 * as it needs and no more, so that one mistake does not hide the next.
 */
import { existsSync, statSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { isAddressOrRange, isBindable, isLoopback } from './addresses.ts'
import { SECRET } from '../core/fields.ts'
import { isToken, judgeFields } from './headers.ts'
import type { PemReader } from './pem.ts'
import { judgePools } from './pools.ts'
import { type Path, show } from './problem.ts'
import { type Findings, list, record, text } from './raw.ts'
import { judgeRoutes } from './routes.ts'
import { Admin, filled, Listen } from './schema.ts'
import { judgeListenTls } from './tls.ts'

export function judge(value: unknown, folder: string, pems: PemReader, findings: Findings): void {
  const config = record(value)
  if (config === undefined) return
  judgeListeners(config, findings)
  judgeListenTls(record(config['listen']) ?? {}, ['listen'], pems, findings)
  judgeLog(record(record(config['log'])?.['access']) ?? {}, findings)
  judgeTracing(record(config['tracing']) ?? {}, findings)
  judgeReload(record(config['reload']) ?? {}, findings)
  judgePools(record(config['pools']) ?? {}, pems, findings)
  judgeRoutes(config, findings)
  judgePlugins(list(config['plugins']), folder, findings)
}

function judgeListeners(config: Readonly<Record<string, unknown>>, findings: Findings): void {
  const listen = filled(Listen, record(config['listen']))
  judgeBindable(listen.host, ['listen', 'host'], findings)
  for (const [index, entry] of list(listen.trustedProxies).entries()) {
    if (typeof entry !== 'string' || isAddressOrRange(entry)) continue
    const path = ['listen', 'trustedProxies', index]
    findings.error(path, `expected an address or a range such as 10.0.0.0/8, got ${show(entry)}`)
  }
  if (config['admin'] === false) return
  const admin = filled(Admin, record(config['admin']))
  judgeBindable(admin.host, ['admin', 'host'], findings)
  for (const [index, name] of list(admin.hosts).entries()) judgeBindable(name, ['admin', 'hosts', index], findings)
  if (admin.port === listen.port && admin.port !== 0 && overlap(admin.host, listen.host)) {
    findings.error(['admin', 'port'], `expected another port than listen.port, got ${show(admin.port)} for both`)
  }
  if (isBindable(admin.host) && !isLoopback(admin.host) && admin.token === '') {
    findings.warn(['admin', 'host'], 'the admin listener can be reached from other machines and asks for no token')
  }
}

function judgeBindable(host: unknown, path: Path, findings: Findings): void {
  if (typeof host === 'string' && !isBindable(host)) {
    findings.error(path, `expected an address or a host name, got ${show(host)}`)
  }
}

const EVERY_ADDRESS: ReadonlySet<unknown> = new Set(['0.0.0.0', '::'])

/** A socket on every address leaves no room for another one on the same port. */
function overlap(a: unknown, b: unknown): boolean {
  return a === b || EVERY_ADDRESS.has(a) || EVERY_ADDRESS.has(b) || [a, b].every((host) => isLoopback(text(host) ?? ''))
}

function judgeLog(access: Readonly<Record<string, unknown>>, findings: Findings): void {
  for (const [index, name] of list(access['headers']).entries()) {
    const written = text(name)
    if (written === undefined) continue
    const path = ['log', 'access', 'headers', index]
    if (!isToken(written)) findings.error(path, `expected the name of a header field, got ${show(written)}`)
    else if (SECRET.has(written.toLowerCase())) findings.error(path, `the field ${show(written)} is never logged`)
  }
}

function judgeReload(reload: Readonly<Record<string, unknown>>, findings: Findings): void {
  if (reload['keep'] !== 0 || record(reload['guard']) === undefined) return
  findings.error(['reload', 'keep'], 'expected at least 1 with reload.guard, which goes back to what is kept, got 0')
}

/** Whether what is loaded only for this is there. */
const EXPORT_PACKAGES = [
  '@opentelemetry/api',
  '@opentelemetry/exporter-trace-otlp-http',
  '@opentelemetry/resources',
] as const

function judgeTracing(tracing: Readonly<Record<string, unknown>>, findings: Findings): void {
  const settings = record(tracing['export'])
  if (settings === undefined) return
  const at = ['tracing', 'export']
  if (tracing['propagate'] === false) {
    findings.error(['tracing', 'propagate'], 'expected true with tracing.export, whose spans backends are told of')
  }
  const url = text(settings['url'])
  const wrong = url === undefined ? undefined : whyNoCollector(url)
  if (wrong !== undefined) findings.error([...at, 'url'], wrong)
  judgeFields(record(settings['headers']) ?? {}, [...at, 'headers'], 'the host of its url', findings)
  const missing = EXPORT_PACKAGES.filter((name) => !isInstalled(name))
  if (missing.length > 0) {
    findings.error(at, `needs what is not installed: npm install ${missing.join(' ')}`, 'key')
  }
}

function whyNoCollector(written: string): string | undefined {
  const url = URL.parse(written)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return `expected a URL such as http://localhost:4318/v1/traces, got ${show(written)}`
  }
  // It is shown to whoever may see the configuration.
  return url.username + url.password === '' ? undefined : 'expected no user or password in it; put them into headers'
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

function judgePlugins(plugins: readonly unknown[], folder: string, findings: Findings): void {
  for (const [index, plugin] of plugins.entries()) {
    const long = record(plugin)
    const written = text(plugin) ?? text(long?.['path'])
    if (written === undefined || written === '') continue
    const wrong = whyNoPlugin(written, folder)
    if (wrong !== undefined) findings.error(['plugins', index, ...(long === undefined ? [] : ['path'])], wrong)
  }
}

function whyNoPlugin(written: string, folder: string): string | undefined {
  const path = pluginPath(written, folder)
  if (isAbsolute(path)) return isFile(path) ? undefined : `there is no file ${show(written)}`
  if (/\.[cm]?[jt]s$/.test(written) && isFile(resolve(folder, written))) {
    return `expected "./" before the path of a file, got ${show(written)}`
  }
  const isPackage = /^(@[\w.~-]+\/)?[\w~][\w.~-]*(\/[\w.~-]+)*$/.test(written)
  return isPackage ? undefined : `expected a file such as ./my-plugin.ts or the name of a package, got ${show(written)}`
}

function isFile(path: string): boolean {
  return !path.includes('\0') && existsSync(path) && statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** Files become absolute; the names of packages stay as they are. */
export function pluginPath(written: string, folder: string): string {
  return isAbsolute(written) || /^\.\.?([/\\]|$)/.test(written) ? resolve(folder, written) : written
}
