/**
 * Under which names the admin listener may be called. Whoever owns a name can let it point to any address, this
 * listener's too; to a browser, what it answers under that name then belongs to the pages of that name (DNS rebinding).
 * Only the Host field tells. An address in it is no danger: nobody can let an address point elsewhere.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

import { isLoopback } from '../config/addresses.ts'
import type { AdminSettings } from '../config/settings.ts'
import { targetOf } from '../transport/target.ts'

export class Hosts {
  readonly #own: ReadonlySet<string>

  constructor({ host, hosts }: Pick<AdminSettings, 'host' | 'hosts'>) {
    this.#own = new Set([host.toLowerCase(), ...hosts])
  }

  /** @param local whether only this machine can connect: then only what means this machine is a name of its own */
  accepts(raw: IncomingMessage, local: boolean): boolean {
    const names = hostsOf(raw)
    return (
      names.length > 0 && names.every((name) => this.#own.has(name) || isLoopback(name) || (!local && isIP(name) > 0))
    )
  }
}

/** Whether only this machine can connect to what is bound to these. The address of a Unix socket is its path. */
export function isLocal(bound: ReadonlyArray<string | { readonly address: string }>): boolean {
  return bound.every((each) => typeof each === 'string' || isLoopback(each.address))
}

/**
 * What a request says it is for: the Host field and, in a target of absolute form, the authority, which routes would not
 * see (RFC 9112, section 3.2.2). None when that is not said, not once only, or not in its form: Node lets all that pass.
 */
function hostsOf(raw: IncomingMessage): readonly string[] {
  const { host: fields = [] } = raw.headersDistinct
  const target = targetOf(raw)
  if (fields.length !== 1 || target === undefined) return []
  const given = target.authority === undefined ? fields : [...fields, target.authority]
  const names = given.map(nameOf).filter((name) => name !== undefined)
  return names.length === given.length ? names : []
}

/** Without the port, the brackets of an IPv6 address, and the dot that may end a name. */
function nameOf(authority: string): string | undefined {
  const [, address, name] = /^(?:\[([\d.:a-f]+)\]|([^\s:[\]]+?)\.?)(?::\d*)?$/i.exec(authority) ?? []
  return (address ?? name)?.toLowerCase()
}
