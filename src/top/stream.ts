/**
 * A client of the admin listener: one connection to its stream of events and figures, told as messages until it ends, and
 * why it did.
 */
import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as requestHttps } from 'node:https'

import { formatDuration } from '../config/units.ts'
import { fieldsOf } from './picture.ts'
import { clean } from './text.ts'

export interface Address {
  /** Of the admin listener; its path ends in a slash. */
  readonly url: URL
  /** '' for none. */
  readonly token: string
}

export interface StreamOptions {
  readonly everyMs: number
  readonly signal: AbortSignal
}

export type Take = (name: string, data: unknown) => void

/** Figures that are late by this are not coming. */
const PATIENCE_MS = 10_000
/** No message is as long as this, by far; whatever sends it is no gateway. */
const MOST_UNREAD = 64 * 1024 ** 2
/** What an answer that is an error may say. */
const MOST_ERROR = 64 * 1024

/** Ends without a reason when the signal says so. @returns why it ended, in a clean text */
export async function follow(address: Address, options: StreamOptions, take: Take): Promise<string> {
  const { everyMs, signal } = options
  // Whatever says nothing for so long is gone, whether or not the connection knows.
  const timeout = everyMs + PATIENCE_MS
  try {
    const answer = await open(address, `events?figures=${everyMs}ms`, { signal, timeout }, 'text/event-stream')
    if (answer.statusCode !== 200) return await whyRefused(address, answer)
    if (answer.headers['content-type']?.startsWith('text/event-stream') !== true) return NO_GATEWAY
    await readMessages(answer, take)
    return 'it has closed the connection'
  } catch (error) {
    return signal.aborted ? '' : whyFailed(error, timeout)
  }
}

/** GET /status; undefined when there is none to be had. */
export async function statusOf(address: Address, signal: AbortSignal): Promise<unknown> {
  try {
    const answer = await open(address, 'status', { signal, timeout: PATIENCE_MS }, 'application/json')
    const text = await textOf(answer, MOST_UNREAD)
    return answer.statusCode === 200 ? JSON.parse(text) : undefined
  } catch {
    return undefined
  }
}

const NO_GATEWAY = 'what answers there is not the admin listener of a gateway that tells figures'

class Silence extends Error {}

async function open(
  { url, token }: Address,
  path: string,
  { signal, timeout }: Required<Pick<RequestOptions, 'signal' | 'timeout'>>,
  accept: string,
): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  const headers = { accept, ...(token === '' ? {} : { authorization: `Bearer ${token}` }) }
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, url), { headers, agent: false, signal, timeout }, resolve)
    sent.on('timeout', () => sent.destroy(new Silence()))
    sent.on('error', reject)
    sent.end()
  })
}

/** Server-sent events as our gateway writes them: lines end with LF, and there is one line of data. */
async function readMessages(answer: IncomingMessage, take: Take): Promise<void> {
  let unread = ''
  for await (const piece of answer.setEncoding('utf8')) {
    const blocks = (unread + String(piece)).split('\n\n')
    unread = blocks.pop() ?? ''
    if (unread.length > MOST_UNREAD) throw new SyntaxError('a message without end')
    for (const block of blocks) {
      const [, name = ''] = /^event: (.*)$/m.exec(block) ?? []
      const [, data] = /^data: (.*)$/m.exec(block) ?? []
      if (data !== undefined) take(name, JSON.parse(data))
    }
  }
}

async function whyRefused({ token }: Address, answer: IncomingMessage): Promise<string> {
  if (answer.statusCode === 401) {
    answer.destroy()
    const problem = token === '' ? 'it asks for a token' : 'the token is not the one it expects'
    return `${problem}; give it in SLUICE_ADMIN_TOKEN, with --token, or by --config FILE`
  }
  const text = await textOf(answer, MOST_ERROR)
  const said = text.startsWith('{') ? fieldsOf(JSON.parse(text))['message'] : undefined
  return answer.statusCode === 404 || typeof said !== 'string'
    ? `${NO_GATEWAY} (it says ${answer.statusCode})`
    : clean(`it answers ${answer.statusCode}: ${said}`)
}

async function textOf(answer: IncomingMessage, most: number): Promise<string> {
  let text = ''
  for await (const piece of answer.setEncoding('utf8')) {
    text += String(piece)
    if (text.length > most) throw new SyntaxError('too much')
  }
  return text
}

function whyFailed(error: unknown, timeout: number): string {
  if (error instanceof Silence) return `it has said nothing for ${formatDuration(timeout)}`
  if (error instanceof SyntaxError) return NO_GATEWAY
  const { code } = fieldsOf(error)
  // All errors of connections have one; others are of whoever takes the messages.
  if (typeof code !== 'string') throw error
  return code === 'ECONNREFUSED' ? 'nothing listens there' : clean(code)
}
