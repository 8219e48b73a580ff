/** nginx with one worker: its own defaults, but for connections to backends that are kept, and what is asked for. */
import { writeFileSync } from 'node:fs'

import { CERTIFICATE_FILE, KEY_FILE } from '../certificates.ts'
import { installed, startProxy, type Peer } from '../processes.ts'

export interface NginxOptions {
  readonly tls?: boolean
  /** Whether it takes in a whole answer of some size at once, as Sluice does: by default it reads 4 KiB at a time. */
  readonly buffers?: boolean
  /** Whether it writes an access log, in its own short form. */
  readonly access?: boolean
  /** Host and port each, instead of those that the benchmark has started. */
  readonly servers?: readonly string[]
}

export function nginx({ tls = false, access = false, buffers = false, servers }: NginxOptions): Peer['start'] {
  return (port, backends, folder) => {
    if (!installed('nginx')) return undefined
    const all = servers ?? backends.map((each) => `127.0.0.1:${each}`)
    const config = `${folder}/nginx.conf`
    writeFileSync(
      config,
      `worker_processes 1; worker_rlimit_nofile 20000; daemon off; pid ${folder}/nginx.pid; error_log stderr error;
events { worker_connections 16384; }
http {
  access_log ${access ? `${folder}/access.log` : 'off'}; keepalive_requests 100000000; client_max_body_size 16m;
  client_body_temp_path ${folder}; proxy_temp_path ${folder};
  fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  ${buffers ? 'proxy_buffer_size 64k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k;' : ''}
  map $http_upgrade $connection_field { default upgrade; '' ''; }
  upstream all { ${all.map((each) => `server ${each};`).join(' ')} keepalive 4096; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096${tls ? ' ssl http2' : ''};
    ${tls ? `ssl_certificate ${CERTIFICATE_FILE}; ssl_certificate_key ${KEY_FILE};` : ''}
    location / {
      proxy_pass http://all; proxy_http_version 1.1;
      proxy_set_header Connection $connection_field; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`,
    )
    return startProxy('nginx', ['-c', config, '-e', 'stderr'])
  }
}
