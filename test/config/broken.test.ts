/**
 * Every broken file in `broken/` and exactly the lines that are said about it. To add one: write the file, read what
 * `node test/config/broken.test.ts --update` made of it, and keep that only if a user would understand it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import t from 'tap'
import { checkConfig, ConfigError, formatProblem } from '../../src/config/check.ts'
import { loadConfig, readConfig } from '../../src/config/load.ts'

const folder = join(import.meta.dirname, 'broken')
const inputs = readdirSync(folder).filter((name) => /^\d\d-.*\.(yaml|json|ts|mjs)$/.test(name))

/** File names as a user would type them from inside the folder. */
async function linesFor(name: string): Promise<string> {
  const file = join(folder, name)
  let lines: string
  try {
    const { problems = [], warnings } = checkConfig(await readConfig(file, {}))
    const warned = warnings.map((warning) => `warning: ${formatProblem(warning)}`)
    lines = [...problems.map(formatProblem), ...warned].join('\n')
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    lines = error.message
  }
  return `${lines.replaceAll(`${dirname(file)}/`, '')}\n`
}

t.ok(inputs.length >= 20, 'there are at least twenty broken files')
for (const name of inputs) {
  const expected = join(folder, `${basename(name, extname(name))}.expected`)
  void t.test(name, async (test) => {
    const lines = await linesFor(name)
    if (process.argv.includes('--update')) writeFileSync(expected, lines)
    test.equal(lines, readFileSync(expected, 'utf8'))
    await test.rejects(loadConfig(join(folder, name), {}), { name: 'ConfigError', code: 'SLUICE_CONFIG' })
  })
}
