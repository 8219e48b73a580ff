/**
 * What others make of the metrics: Prometheus' own tools, and the alert rules and the dashboard under config/.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { test, type Test } from 'tap'

import { startWithAdmin, type AdminGateway } from '../helpers/admin.ts'
import { backend, closedPort } from '../helpers/gateway.ts'
import { ended, scraped, type Scrape } from '../helpers/metrics.ts'
import { guarded, inTurn } from '../helpers/raw.ts'

const missing = (command: string): false | string =>
  spawnSync(command, ['--version']).error === undefined ? false : `there is no ${command} here`

/** A gateway in which everything has happened that is counted. */
async function eventful(t: Test): Promise<{ all: AdminGateway; found: Scrape }> {
  const one = await backend(t, (_request, response) => void response.end())
  const port = await closedPort()
  const web = {
    backends: [one.url, `http://127.0.0.1:${port}`],
    retry: { backoff: { base: 1, max: 1 } },
    health: { active: { interval: '1h' as const } },
  }
  const all = await startWithAdmin(t, { config: { pools: { web } } })
  await inTurn([1, 2, 3, 4], () => fetch(`http://127.0.0.1:${all.port}/`))
  await ended(all, 4)
  const found = await scraped(all, (each) => each.names.has('sluice_health_check_age_seconds'))
  return { all, found }
}

/** Whatever looks like a metric of Sluice's, Node's or the process's. */
function metricsIn(text: string): string[] {
  return [...new Set(text.match(/\b(?:sluice|nodejs|process)_[a-z0-9_]+\b/g))]
}

async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- until it is so
    const value = await ask()
    if (value !== undefined) return value
  }
}

void test('every metric that the alert rules and the dashboard name is there', async (t) => {
  const { found } = await eventful(t)
  for (const path of ['config/prometheus/alerts.yml', 'config/grafana/dashboard.json']) {
    const named = metricsIn(readFileSync(path, 'utf8'))
    t.ok(named.length > 5, `${path} names some`)
    for (const name of named) t.ok(found.names.has(name), `${path}: ${name}`)
  }
})

void test('every value of a label that the alert rules and the dashboard name is one', async (t) => {
  const { found } = await eventful(t)
  const text =
    readFileSync('config/prometheus/alerts.yml', 'utf8') + readFileSync('config/grafana/dashboard.json', 'utf8')
  const states = found.valuesOf('state')
  for (const [, , words = ''] of text.matchAll(/\bstate(=~|!=|=)\\?"([^"\\]+)\\?"/g))
    for (const word of words.split('|')) t.ok(states.has(word), `state ${word}`)
  for (const [, , word = ''] of text.matchAll(/\bstatus(=~|!=|=)\\?"([^"\\]+)\\?"/g))
    t.ok(found.valuesOf('status').has(word), `status ${word}`)
})

void test('all metrics of the contract are there, with its labels', async (t) => {
  const { found } = await eventful(t)
  const contract: Readonly<Record<string, readonly string[]>> = {
    sluice_requests_total: ['route', 'pool', 'status'],
    sluice_request_duration_seconds_bucket: ['route', 'le'],
    sluice_attempts_total: ['pool', 'backend', 'outcome'],
    sluice_attempt_duration_seconds_bucket: ['pool', 'le'],
    sluice_retries_total: ['pool', 'reason'],
    sluice_retry_budget_exhausted_total: ['pool'],
    sluice_backend_in_flight: ['pool', 'backend'],
    sluice_backend_state: ['pool', 'backend', 'state'],
    sluice_backend_weight: ['pool', 'backend'],
    sluice_breaker_state: ['pool', 'backend', 'state'],
    sluice_health_checks_total: ['pool', 'backend', 'result'],
    sluice_health_check_age_seconds: ['pool', 'backend'],
    sluice_config_reloads_total: ['result'],
    sluice_config_last_reload_success: [],
    sluice_open_connections: [],
  }
  for (const [name, labels] of Object.entries(contract)) t.same(found.labelsOf(name), labels.toSorted(), name)
})

void test('promtool finds nothing wrong with the metrics', { skip: missing('promtool') }, async (t) => {
  const { found } = await eventful(t)
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: found.text,
    encoding: 'utf8',
  })
  t.equal(stdout + stderr, '')
  t.equal(status, 0)
})

void test('promtool finds nothing wrong with the files', { skip: missing('promtool') }, async (t) => {
  const run = promisify(execFile)
  t.match(
    (await run('promtool', ['check', 'rules', 'config/prometheus/alerts.yml'])).stdout,
    /SUCCESS: \d+ rules found/,
  )
  t.match((await run('promtool', ['check', 'config', 'config/prometheus/prometheus.yml'])).stdout, /is valid/)
})

void test('Prometheus scrapes it, and can evaluate every rule', { skip: missing('prometheus') }, async (t) => {
  const { all } = await eventful(t)
  const folder = t.testdir({})
  const config = join(folder, 'prometheus.yml')
  writeFileSync(
    config,
    `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [${JSON.stringify(join(process.cwd(), 'config/prometheus/alerts.yml'))}]
scrape_configs: [{ job_name: sluice, static_configs: [{ targets: ['127.0.0.1:${all.adminPort}'] }] }]
`,
  )
  const port = await closedPort()
  const options = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  const prometheus = spawn('prometheus', options, { stdio: 'ignore' })
  t.teardown(async () => {
    prometheus.kill('SIGKILL')
    if (prometheus.exitCode === null && prometheus.signalCode === null) await once(prometheus, 'exit')
  })
  const answer = async (path: string): Promise<string> =>
    fetch(`http://127.0.0.1:${port}/api/v1/${path}`).then(
      (response) => response.text(),
      () => 'not yet',
    )
  const query = async (expression: string): Promise<string | undefined> =>
    /"value":\[[^,]+,"([^"]+)"/.exec(await answer(`query?query=${encodeURIComponent(expression)}`))?.[1]
  const scrapedSum = until(() => query('sum(sluice_requests_total)'))
  t.equal(await guarded(scrapedSum, () => 'a scrape by Prometheus'), '4')
  t.equal(await query('up{job="sluice"}'), '1')
  t.equal(await query('sum(sluice_request_duration_seconds_count)'), '4')
  const evaluated = until(async () => {
    const rules = await answer('rules')
    return rules.includes('"health":"unknown"') ? undefined : rules
  })
  const rules = await guarded(evaluated, () => 'an evaluation of every rule')
  t.match(rules, /"health":"ok"/)
  t.notMatch(rules, /"health":"err"/)
})
