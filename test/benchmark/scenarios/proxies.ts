/**
 * The contestants, each as people would set it up: the same timeouts, two attempts, retries after everything that may
 * be retried, and checks where it has them.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { installed, pinned, PROXY_CORE, type Peer } from '../processes.ts'

// Sluice's own defaults, given to the others in their words.
const CONNECT = '2s'
const ANSWER = '15s'
const CHECK = '2s'

const sluiceProgram = fileURLToPath(new URL('../../../bin/sluice.js', import.meta.url))

function start(command: string, args: readonly string[]): ChildProcess {
  return spawn(...pinned(PROXY_CORE, command, args), { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** With its defaults, but for what is asked for. */
function sluice(settings: object): Peer['start'] {
  return (port, backends, folder) => {
    const config = `${folder}/sluice.json`
    const pool = {
      ...settings,
      backends: backends.map((each) => `http://127.0.0.1:${each}`),
      health: { active: { path: '/health' } },
    }
    writeFileSync(config, JSON.stringify({ listen: { host: '127.0.0.1', port }, admin: false, pools: { all: pool } }))
    return start(process.execPath, [sluiceProgram, 'run', '--config', config])
  }
}

function nginx(port: number, backends: readonly number[], folder: string): ChildProcess | undefined {
  if (!installed('nginx')) return undefined
  const config = `${folder}/nginx.conf`
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log stderr emerg;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000; client_body_temp_path ${folder}; proxy_temp_path ${folder};
  fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream all {
    least_conn;
    ${backends.map((each) => `server 127.0.0.1:${each};`).join(' ')}
    keepalive 128; keepalive_requests 1000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://all; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_connect_timeout ${CONNECT}; proxy_send_timeout ${ANSWER}; proxy_read_timeout ${ANSWER};
      proxy_next_upstream error timeout http_500 http_502 http_503 http_504; proxy_next_upstream_tries 2;
    }
  }
}
`,
  )
  return start('nginx', ['-c', config, '-e', 'stderr'])
}

function haproxy(port: number, backends: readonly number[], folder: string): ChildProcess | undefined {
  if (!installed('haproxy')) return undefined
  const config = `${folder}/haproxy.cfg`
  writeFileSync(
    config,
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect ${CONNECT}
  timeout server ${ANSWER}
  timeout check ${CHECK}
  timeout client 60s
  timeout http-keep-alive 75s
  retries 1
  option redispatch
  retry-on conn-failure empty-response response-timeout 500 502 503 504
frontend clients
  bind 127.0.0.1:${port}
  default_backend all
backend all
  balance leastconn
  option httpchk GET /health
  default-server check inter 5s fall 3 rise 2
${backends.map((each, index) => `  server b${index + 1} 127.0.0.1:${each}`).join('\n')}
`,
  )
  return start('haproxy', ['-db', '-q', '-f', config])
}

export const PROXIES = ['sluice', 'nginx', 'haproxy'] as const

/**
 * By name; `sluice:ALGORITHM` is Sluice with another algorithm than its default, `sluice-500` asks again after a 500, as
 * the others do.
 */
export function proxyNamed(name: string): Peer {
  if (name === 'nginx') return { name, start: nginx }
  if (name === 'haproxy') return { name, start: haproxy }
  if (name === 'sluice-500') return { name, start: sluice({ retry: { on: ['connect', 'reset', 500, 502, 503, 504] } }) }
  const [program, algorithm] = name.split(':')
  if (program !== 'sluice')
    throw new Error(`there is no proxy ${name}; there are ${PROXIES.join(', ')}, sluice-500, sluice:ALGORITHM`)
  return { name, start: sluice(algorithm === undefined ? {} : { algorithm }) }
}
