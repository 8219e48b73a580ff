/**
 * The key of consistent hashing: what it is read from, and which descriptions of one are refused.
 */
import { test } from 'tap'

import type { RequestInfo } from '../../src/core/algorithms/algorithm.ts'
import { keyReader } from '../../src/core/algorithms/hash-key.ts'

function requestWith(fields: Record<string, string>, query = ''): RequestInfo {
  return { method: 'GET', path: '/a/b', query, ip: '192.0.2.7', header: (name) => fields[name] }
}

function sid(cookie: string): string | undefined {
  return keyReader({ cookie: 'sid' })(requestWith({ cookie }))
}

function parameter(query: string, name = 'user'): string | undefined {
  return keyReader({ query: name })(requestWith({}, query))
}

void test('address, path, header field and function', async (t) => {
  const request = requestWith({ 'x-user': 'ann' })
  t.equal(keyReader({ ip: true })(request), '192.0.2.7')
  t.equal(keyReader({ path: true })(request), '/a/b')
  t.equal(keyReader({ header: 'X-User' })(request), 'ann', 'whatever the case of its name')
  t.equal(keyReader({ header: 'x-none' })(request), undefined)
  t.equal(keyReader(({ method, ip }: RequestInfo) => method + ip)(request), 'GET192.0.2.7')
  t.equal(keyReader(() => 7)(request), undefined, 'what is no text is no key')
})

void test('cookie', async (t) => {
  t.equal(sid('sid=1'), '1')
  t.equal(sid('a=b; sid=a=b ; c=d'), 'a=b')
  t.equal(sid('a=b;sid=2'), '2')
  t.equal(sid('xsid=1; sidx=2; sid'), undefined)
  t.equal(sid('a=sid=1'), undefined)
  t.equal(sid('sid=first; sid=second'), 'first')
  t.equal(sid('SID=1'), undefined, 'names of cookies differ by case')
  t.equal(sid('sid='), '')
  t.equal(keyReader({ cookie: 'sid' })(requestWith({})), undefined)
})

void test('query', async (t) => {
  t.equal(parameter('?user=ann'), 'ann')
  t.equal(parameter('user=ann'), 'ann')
  t.equal(parameter('?a=1&user=ann&user=bob'), 'ann')
  t.equal(parameter('?user=%61nn'), 'ann', 'escaped or not')
  t.equal(parameter('?us%65r=ann'), 'ann')
  t.equal(parameter('?user=a+b'), parameter('?user=a%20b'))
  t.equal(parameter('?user=%'), '%', 'wrongly escaped')
  t.equal(parameter('?xuser=1&userx=2&user'), undefined)
  t.equal(parameter('?xuser=1&userx=%20'), undefined)
  t.equal(parameter(''), undefined)
  t.equal(parameter('?a%20b=1', 'a b'), '1')
})

void test('what is no key is refused, and it is said what is one', async (t) => {
  const wrong = [
    undefined,
    null,
    'ip',
    {},
    [],
    { ip: false },
    { ip: 'x' },
    { path: 1 },
    { ip: true, path: true },
    { header: '' },
    { header: 'a b' },
    { header: true },
    { cookie: 'a=b' },
    { query: '' },
    { query: 1 },
    { body: 'x' },
  ]
  for (const key of wrong) t.throws(() => keyReader(key), /key must be|must be the name of/, JSON.stringify(key))
})
