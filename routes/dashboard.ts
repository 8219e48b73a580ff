/**
 * GET / of the admin listener: the dashboard, one document that needs nothing from elsewhere. It holds no data; what it
 * shows it asks for, with the token that it is told.
 */
import { readdirSync, readFileSync } from 'node:fs'

import type { FastifyInstance, FastifyReply } from 'fastify'

import { assemble } from '../src/admin/page.ts'
import { SluiceError } from '../src/errors.ts'

const FOLDER = new URL('dashboard/', import.meta.url)

export default function dashboard(app: FastifyInstance, _options: object, done: () => void): void {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith('.js'))
  const modules = new Map(names.map((name) => [name, textOf(name)]))
  const { html, policy } = assemble(textOf('page.html'), textOf('style.css'), modules, 'main.js')

  app.get(
    '/',
    {
      errorHandler: (error, request, reply) => {
        const isTokenMissing = error instanceof SluiceError && error.code === 'SLUICE_UNAUTHORIZED'
        // A browser cannot send a token with a visit: what it shows instead asks for one.
        if (isTokenMissing && request.headers.accept?.includes('text/html') === true) show(reply.code(401))
        else app.errorHandler(error, request, reply)
      },
    },
    (_request, reply) => show(reply),
  )
  done()

  function show(reply: FastifyReply): FastifyReply {
    return reply.header('content-security-policy', policy).type('text/html; charset=utf-8').send(html)
  }
}

function textOf(name: string): string {
  return readFileSync(new URL(name, FOLDER), 'utf8')
}
