/**
 * Request targets: taken apart without change, refused where they are none, kept inside the prefix of their route.
 */
import { assert, constantFrom, array, property, string } from 'fast-check'
import { test } from 'tap'

import { leavesPrefix, parseTarget, rewritePath } from '../../src/transport/target.ts'
import { inTurn } from '../helpers/raw.ts'

void test('path and query are what came', async (t) => {
  t.same(parseTarget('/a%2Fb;c?d?e'), { path: '/a%2Fb;c', query: '?d?e', authority: undefined })
  t.same(parseTarget('/'), { path: '/', query: '', authority: undefined })
  t.same(parseTarget('//a?'), { path: '//a', query: '?', authority: undefined })
  t.same(parseTarget('http://a.example:80/x?y'), { path: '/x', query: '?y', authority: 'a.example:80' })
  t.same(parseTarget('HTTPS://a?y'), { path: '/', query: '?y', authority: 'a' })
})

void test('what is no target is refused', async (t) => {
  const targets = [
    '',
    '*',
    'a',
    'a:80',
    'ftp://a/',
    'http:/a',
    'http://',
    'http:///a',
    'http://u@a/',
    '/a#b',
    'http://a#b',
    ' /a',
  ]
  await inTurn(targets, async (target) => t.equal(parseTarget(target), undefined, target))
})

void test('property: the parts of a path add up to it', async () => {
  assert(
    property(string({ unit: 'binary-ascii' }), (rest) => {
      const target = parseTarget(`/${rest}`)
      return rest.includes('#')
        ? target === undefined
        : target !== undefined && target.path + target.query === `/${rest}`
    }),
  )
})

/** What a server makes of a path that takes slashes together before it resolves dot segments, or that does not. */
function resolved(path: string, merge: boolean): string {
  const segments = path.slice(1).split('/')
  const result: string[] = []
  for (const segment of merge ? segments.filter((each) => each !== '') : segments) {
    if (segment === '..') result.pop()
    else if (segment !== '.') result.push(segment)
  }
  return `/${result.join('/')}`
}

void test('property: what does not leave its prefix stays in it, in either reading', async () => {
  const path = array(constantFrom('a', '.', '..', '', '...', 'api'), { maxLength: 8 }).map(
    (parts) => `/api/${parts.join('/')}`,
  )
  assert(
    property(path, (each) => {
      if (leavesPrefix(each, '/api')) return true
      return [true, false].every((merge) => /^\/api(?:\/|$)/.test(resolved(each, merge)))
    }),
    { numRuns: 5000 },
  )
})

void test('every spelling of a dot segment counts', async (t) => {
  const leaving = [
    '/a/..',
    '/a/%2e%2E/b',
    '/a/..;x/b',
    '/a\\..',
    '/a/..%2fb',
    '/a%5c..%5c..',
    '/a//..',
    '/a/b/../../..',
  ]
  await inTurn(leaving, async (path) => t.ok(leavesPrefix(path, '/a'), path))
  const staying = ['/a/b/..', '/a/...', '/a/.', '/a/..b', '/a', '/a/b/..;x', '/a/%2e']
  await inTurn(staying, async (path) => t.notOk(leavesPrefix(path, '/a'), path))
})

void test('rewriting', async (t) => {
  t.equal(rewritePath('/old/x', { stripPrefix: '/old', addPrefix: '/v1' }), '/v1/x')
  t.equal(rewritePath('/old', { stripPrefix: '/old/', addPrefix: '' }), '/')
  t.equal(rewritePath('/older', { stripPrefix: '/old', addPrefix: '' }), undefined)
  t.equal(rewritePath('/x', { stripPrefix: '', addPrefix: '/v1/' }), '/v1/x')
})
