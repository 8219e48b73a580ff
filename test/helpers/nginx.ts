/**
 * A real nginx in a folder of its own, in the foreground, on a free port.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Test } from 'tap'

import { closedPort } from './gateway.ts'

/** Why tests that need nginx cannot run here; false where they can. */
export const NGINX_MISSING: string | false =
  spawnSync('nginx', ['-v'], { stdio: 'ignore' }).error === undefined ? false : 'nginx is not installed'

export interface Nginx {
  readonly port: number
  readonly url: string
}

/** Starts one with this in its server block. */
export async function startNginx(t: Test, block: string): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-nginx-'))
  const port = await closedPort()
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, configuration(folder, port, block))
  const child = spawn('nginx', ['-p', folder, '-c', file, '-e', join(folder, 'error.log')], { stdio: 'ignore' })
  t.teardown(async () => {
    if (child.exitCode === null && child.kill('SIGQUIT')) await once(child, 'exit')
    rmSync(folder, { recursive: true, force: true })
  })
  await answers(port, () => child.exitCode !== null)
  return { port, url: `http://127.0.0.1:${port}` }
}

function configuration(folder: string, port: number, block: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  return `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off;
    worker_processes 1;
    pid ${folder}/nginx.pid;
    events { worker_connections 4096; }
    http {
      access_log off;
      keepalive_requests 1000000;
      client_max_body_size 0;
      ${temporary.join('\n')}
      server {
        listen 127.0.0.1:${port} backlog=2048;
        ${block}
      }
    }`
}

async function answers(port: number, gone: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !gone(); tries++) {
    const socket = connect(port, '127.0.0.1')
    // oxlint-disable-next-line no-await-in-loop -- until it listens: it tells nobody
    const up = await new Promise<boolean>((resolve) => {
      socket.on('connect', () => resolve(true))
      socket.on('error', () => void setTimeout(() => resolve(false), 20))
    })
    socket.destroy()
    if (up) return
  }
  throw new Error('nginx did not start')
}
