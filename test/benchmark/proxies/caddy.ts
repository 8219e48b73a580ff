/** Caddy on one core, with as many kept connections to backends as there may be clients. */
import { writeFileSync } from 'node:fs'

import { CERTIFICATE_FILE, KEY_FILE } from '../certificates.ts'
import { installed, startProxy, type Peer } from '../processes.ts'

export function caddy({ tls = false }: { readonly tls?: boolean }): Peer['start'] {
  return (port, backends, folder) => {
    if (!installed('caddy')) return undefined
    const config = `${folder}/Caddyfile`
    writeFileSync(
      config,
      `{
  admin off
  auto_https off
}
${tls ? 'https' : 'http'}://:${port} {
  bind 127.0.0.1
  ${tls ? `tls ${CERTIFICATE_FILE} ${KEY_FILE}` : ''}
  reverse_proxy ${backends.map((each) => `127.0.0.1:${each}`).join(' ')} {
    lb_policy round_robin
    transport http {
      keepalive_idle_conns_per_host 1024
    }
  }
}
`,
    )
    const environment = { GOMAXPROCS: '1', HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder }
    return startProxy('caddy', ['run', '--config', config, '--adapter', 'caddyfile'], { environment, quiet: true })
  }
}
