/** Where figures come from: without it they say little. */
import { spawnSync } from 'node:child_process'
import { cpus, loadavg } from 'node:os'

/** Of programs, as they put it themselves. */
const VERSIONS: readonly (readonly [command: string, argument: string])[] = [
  ['nginx', '-v'],
  ['haproxy', '-v'],
  ['caddy', 'version'],
]

export function machine(): string {
  const versions = VERSIONS.flatMap(([command, argument]) => {
    const { stdout, stderr } = spawnSync(command, [argument], { encoding: 'utf8' })
    const version = /\d+\.\d+\.\d+/.exec(`${stdout ?? ''}${stderr ?? ''}`)?.[0]
    return version === undefined ? [] : [`${command} ${version}`]
  })
  const [cpu] = cpus()
  const load = loadavg()[0]?.toFixed(1)
  return `${cpus().length} × ${cpu?.model.trim()}, load average ${load} at the start; Node ${process.versions.node}, ${versions.join(', ')}`
}
