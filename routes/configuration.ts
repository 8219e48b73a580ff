/**
 * The configuration through the admin listener: what is in force, reading it again, another one, what that would change,
 * and back. What is wrong with one is answered 422, with every problem, and changes nothing.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { CONFIGURATION_BYTES } from '../src/admin/calls.ts'
import { Withdrawn, type Candidate } from '../src/config/configuration.ts'
import { inWords } from '../src/config/difference-words.ts'
import type { Difference } from '../src/config/difference.ts'
import { ConfigError } from '../src/config/problem.ts'
import { writtenSettings } from '../src/config/written.ts'
import { errorBody } from '../src/errors.ts'

export interface ConfigurationRoutesOptions {
  readonly gateway: FastifyInstance
  /** @throws {ConfigError} when it is none */
  readonly read: (content: Buffer, kind: 'yaml' | 'json') => Promise<Candidate>
}

interface Put {
  readonly Querystring: Readonly<Record<string, unknown>>
  readonly Headers: { readonly 'if-match'?: string }
  readonly Body: Buffer
}

const TYPES: ReadonlyMap<string, 'yaml' | 'json'> = new Map([
  ['application/json', 'json'],
  ['application/yaml', 'yaml'],
  ['application/x-yaml', 'yaml'],
  ['text/yaml', 'yaml'],
  ['text/x-yaml', 'yaml'],
])

export default function configuration(
  app: FastifyInstance,
  { gateway, read }: ConfigurationRoutesOptions,
  done: () => void,
): void {
  // As it is, whatever its form: problems name lines and columns of it.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser([...TYPES.keys()], { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body))
  // POST takes none, and whoever sends an empty one with some type means none.
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, parsed) => parsed(null, body))

  app.get('/config', (_request, reply) => {
    const { settings, hash } = gateway.configuration.inForce
    return reply.header('etag', `"${hash}"`).send(writtenSettings(settings))
  })
  app.post('/reload', async (request, reply) => {
    const { configuration: current } = gateway
    if (current.read === undefined) return reply.code(409).send(problem(request, 409, 'SLUICE_NO_FILE', NO_FILE))
    return answer(request, reply, () => current.reload('POST /reload'))
  })
  app.post('/rollback', async (request, reply) => {
    const { configuration: current } = gateway
    if (current.before.length === 0) {
      return reply.code(409).send(problem(request, 409, 'SLUICE_NO_ROLLBACK', NO_ROLLBACK))
    }
    return answer(request, reply, () => current.rollback('POST /rollback'))
  })
  app.put<Put>('/config', { bodyLimit: CONFIGURATION_BYTES }, async (request, reply) => {
    const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
    const kind = TYPES.get(type)
    if (kind === undefined) return reply.code(415).send(problem(request, 415, 'SLUICE_BAD_REQUEST', WRONG_TYPE))
    const match = request.headers['if-match']
    if (!isMatch(match, gateway.configuration.inForce.hash)) return isOutdated(request, reply)
    const dryRun = dryRunOf(request.query)
    if (dryRun === undefined) return reply.code(400).send(problem(request, 400, 'SLUICE_BAD_REQUEST', WRONG_QUERY))
    if (dryRun) {
      return answer(request, reply, async () => gateway.configuration.differenceTo(await read(request.body, kind)))
    }
    return answer(request, reply, () =>
      gateway.configuration.replace('PUT /config', () => {
        // Once more: others may have had their turn before.
        if (!isMatch(match, gateway.configuration.inForce.hash)) throw new Withdrawn()
        return read(request.body, kind)
      }),
    )
  })
  done()

  async function answer(
    request: FastifyRequest,
    reply: FastifyReply,
    change: () => Promise<Difference>,
  ): Promise<FastifyReply> {
    try {
      const difference = await change()
      const { hash } = gateway.configuration.inForce
      return reply.header('etag', `"${hash}"`).send({ hash, words: inWords(difference), difference })
    } catch (error) {
      if (error instanceof Withdrawn) return isOutdated(request, reply)
      if (!(error instanceof ConfigError)) throw error
      const body = problem(request, 422, 'SLUICE_CONFIG_INVALID', error.message)
      return reply.code(422).send({ ...body, errors: error.problems })
    }
  }
}

const NO_FILE = 'This gateway was not configured by a file'
const NO_ROLLBACK = 'There is no configuration to go back to'
const WRONG_TYPE = 'Expected a Content-Type of application/json or application/yaml'
const WRONG_QUERY = 'Expected no other query than dryRun=true or dryRun=false'
const OUTDATED = 'The configuration in force is another one than If-Match names'

/** What is no answer to the question may have been meant as yes: `undefined`, for nothing may be changed then. */
function dryRunOf(query: Put['Querystring']): boolean | undefined {
  const { dryRun = 'false', ...others } = query
  if (Object.keys(others).length > 0) return undefined
  return dryRun === 'true' ? true : dryRun === 'false' ? false : undefined
}

function isOutdated(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return reply.code(412).send(problem(request, 412, 'SLUICE_PRECONDITION_FAILED', OUTDATED))
}

function problem(request: FastifyRequest, status: number, code: string, message: string): object {
  return errorBody(status, code, message, request.id)
}

/** RFC 9110, section 13.1.1: a list of entity tags, compared strongly, or `*`, which any configuration matches. */
function isMatch(ifMatch: string | undefined, hash: string): boolean {
  if (ifMatch === undefined || ifMatch.trim() === '*') return true
  return ifMatch.split(',').some((tag) => tag.trim() === `"${hash}"`)
}
