/** HAProxy with one thread. */
import { readFileSync, writeFileSync } from 'node:fs'

import { CERTIFICATE_FILE, KEY_FILE } from '../certificates.ts'
import { installed, startProxy, type Peer } from '../processes.ts'

export function haproxy({ tls = false }: { readonly tls?: boolean }): Peer['start'] {
  return (port, backends, folder) => {
    if (!installed('haproxy')) return undefined
    const config = `${folder}/haproxy.cfg`
    // It wants both in one file.
    const pem = `${folder}/server.pem`
    writeFileSync(pem, `${readFileSync(CERTIFICATE_FILE, 'utf8')}${readFileSync(KEY_FILE, 'utf8')}`)
    writeFileSync(
      config,
      `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option forwardfor
  timeout connect 2s
  timeout server 15s
  timeout client 60s
  timeout tunnel 60s
  timeout http-keep-alive 75s
frontend clients
  bind 127.0.0.1:${port} backlog 4096${tls ? ` ssl crt ${pem} alpn h2,http/1.1` : ''}
  default_backend all
backend all
  balance roundrobin
${backends.map((each, index) => `  server b${index + 1} 127.0.0.1:${each}`).join('\n')}
`,
    )
    return startProxy('haproxy', ['-db', '-q', '-f', config])
  }
}
