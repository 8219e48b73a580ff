/**
 * Reads large configurations in a thread of their own: a thousand pools in YAML take most of a second, in which no
 * request would move. Small ones are read at once, which is over before a thread has started.
 */
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'

import { algorithmCheck } from './algorithm-check.ts'
import type { AlgorithmCheck } from './config/algorithms.ts'
import { checkConfig, type Checked } from './config/check.ts'
import type { BackendSettings, PoolSettings, Settings } from './config/settings.ts'
import type { CheckedContent } from './config/load.ts'
import { readBytes, type TextOptions } from './config/text.ts'

/** From this size on a thread is worth it: such a text takes about 100 ms. */
export const LARGE_BYTES = 100_000

/** @param algorithms what there are, those of plugins included */
export async function checkBytes(
  content: Buffer,
  options: TextOptions,
  algorithms: AlgorithmCheck,
): Promise<CheckedContent> {
  if (content.length < LARGE_BYTES) return checkHere(content, options, algorithms)
  const { names } = algorithms
  const data: Job = { content, options: { ...options, env: { ...options.env } }, names }
  const answer = await inThread(data)
  if (answer.settings === undefined) return answer
  const { pools, ...rest } = answer.settings
  return judged({ ...answer, settings: { ...rest, pools: withUrls(pools, (url) => new URL(url)) } }, algorithms)
}

interface Job {
  readonly content: Uint8Array
  readonly options: TextOptions
  /** Of all algorithms: what options those of plugins take cannot be told in the thread. */
  readonly names: readonly string[]
}

/** URLs cannot be sent from thread to thread: they go as text. */
type SendableSettings = Omit<Settings, 'pools'> & { readonly pools: ReadonlyMap<string, PoolOf<string>> }
type PoolOf<Url> = Omit<PoolSettings, 'backends'> & { readonly backends: ReadonlyArray<BackendOf<Url>> }
type BackendOf<Url> = Omit<BackendSettings, 'url'> & { readonly url: Url }
type Answer = Omit<CheckedContent, 'settings' | 'problems'> &
  (
    | { readonly settings: SendableSettings; readonly problems?: undefined }
    | { readonly settings?: undefined; readonly problems: NonNullable<Checked['problems']> }
  )

function withUrls<From, To>(
  pools: ReadonlyMap<string, PoolOf<From>>,
  convert: (url: From) => To,
): ReadonlyMap<string, PoolOf<To>> {
  return new Map(
    [...pools].map(([name, { backends, ...pool }]) => {
      return [name, { ...pool, backends: backends.map(({ url, ...rest }) => ({ ...rest, url: convert(url) })) }]
    }),
  )
}

function checkHere(content: Buffer, options: TextOptions, algorithms: AlgorithmCheck): CheckedContent {
  const source = readBytes(content, options)
  return { ...checkConfig(source, { algorithms }), hash: source.hash }
}

function inThread(data: Job): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data })
    worker.once('message', (answer: Answer) => {
      resolve(answer)
      void worker.terminate()
    })
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('the thread that reads the configuration ended without an answer')))
  })
}

/** What only this thread knows: whether the algorithms of plugins accept their options. */
function judged(checked: CheckedContent, { whyNot }: AlgorithmCheck): CheckedContent {
  if (checked.settings === undefined) return checked
  const known = new Set(algorithmCheck().names)
  const problems = [...checked.settings.pools.values()].flatMap(({ name, algorithm: { type, options } }) => {
    const wrong = known.has(type) ? undefined : whyNot(type, options)
    return wrong === undefined ? [] : [{ path: `pools.${name}.algorithm`, message: wrong }]
  })
  if (problems.length === 0) return checked
  const { warnings, files, hash } = checked
  return { problems, warnings, files, hash }
}

function answerJob({ content, options, names }: Job): Answer {
  const builtIn = algorithmCheck()
  const own = new Set(builtIn.names)
  const algorithms: AlgorithmCheck = {
    names,
    whyNot: (name, given) => (own.has(name) ? builtIn.whyNot(name, given) : undefined),
  }
  const checked = checkHere(Buffer.from(content), options, algorithms)
  if (checked.settings === undefined) return checked
  const { pools, ...rest } = checked.settings
  return { ...checked, settings: { ...rest, pools: withUrls(pools, ({ href }) => href) } }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
if (!isMainThread && isJob(workerData)) parentPort?.postMessage(answerJob(workerData))

function isJob(data: unknown): data is Job {
  return typeof data === 'object' && data !== null && 'content' in data && 'names' in data && 'options' in data
}
