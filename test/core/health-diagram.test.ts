/**
 * The diagram in README.md is the table of the machine.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { test } from 'tap'

import { TRANSITIONS } from '../../src/core/health.ts'

void test('the diagram in README.md shows every transition of the graded strategy, and no other', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
  const [, diagram = ''] = /^```mermaid\nstateDiagram-v2\n(.*?)^```$/ms.exec(page) ?? []
  const lines = diagram.split('\n').filter((line) => line !== '')
  t.same(
    lines.map((line) => line.trim()),
    TRANSITIONS.graded.map(({ from, to, when }) => `${from} --> ${to}: ${when}`),
  )
})
