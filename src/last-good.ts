/**
 * A copy of the last configuration that worked, beside the file that it came from: for whoever finds the file broken, and
 * the gateway stopped.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { extname } from 'node:path'

import { hashOf } from './config/text.ts'

/** `gateway.last-good.yaml` for `gateway.yaml`. */
export function lastGoodName(file: string): string {
  const extension = extname(file)
  return `${file.slice(0, file.length - extension.length)}.last-good${extension}`
}

/** Nothing is written when the file has changed since it was read, or is another than what is in force. */
export async function saveLastGood(file: string, hash: string): Promise<void> {
  const content = await readFile(file)
  if (hashOf(content) !== hash) return
  const name = lastGoodName(file)
  // It may hold secrets, and whoever reads it must never find a half of it.
  await writeFile(`${name}.tmp`, content, { mode: 0o600 })
  await rename(`${name}.tmp`, name)
}
