/** `${NAME}` in values: what is put in, what is refused, and that a value never becomes structure. */
import t from 'tap'
import { checkConfig, checkObject, formatProblem } from '../../src/config/check.ts'
import { substitute } from '../../src/config/environment.ts'
import { readText } from '../../src/config/text.ts'

const env = { A: 'x', EMPTY: '', PORT: '8081', OFF: 'false', EVIL: 'x }\nadmin: false # "' }

function check(text: string) {
  return checkConfig(readText(text, { kind: 'yaml', file: 'f.yaml', folder: '/', env }))
}

const POOLS = 'pools: { web: { backends: ["http://127.0.0.1:1"] } }\n'

void t.test('substitution', async (test) => {
  const results = [
    '${A}',
    'a-${A}-${A}',
    '${NONE:-d}',
    '${EMPTY:-d}',
    '${EMPTY}',
    '${NONE:-}',
    '$${A}',
    '$A',
    'a$b{c}',
    '${A:-${}',
  ]
  test.same(
    results.map((text) => substitute(text, env).text),
    ['x', 'a-x-x', 'd', 'd', '', '', '${A}', '$A', 'a$b{c}', ''],
  )
  test.equal(substitute('${A}', env).whole, true)
  test.equal(substitute('${A}${A}', env).whole, false)
})

void t.test('what is refused', async (test) => {
  for (const text of [
    '${NONE}',
    '${}',
    '${1A}',
    '${A',
    '${A-b}',
    '${a b}',
    '${A:-${B}}',
    '${toString}',
    '${__proto__}',
  ]) {
    test.equal(substitute(text, env).errors.length, 1, text)
  }
  test.equal(substitute('${NONE} and ${OTHER}', env).errors.length, 2, 'all of them')
})

void t.test(
  'a whole substitution can be a number or a boolean where one is called for, and only there',
  async (test) => {
    const { settings } = check(
      `${POOLS}listen: { port: "\${PORT}", headersTimeout: "\${PORT}" }\nlog: { access: "\${OFF}" }\nadmin: { token: "\${PORT}" }`,
    )
    test.equal(settings?.listen.port, 8081)
    test.equal(settings?.listen.headersTimeoutMs, 8081)
    test.equal(settings?.log.access, undefined)
    test.ok(settings !== undefined)
    test.equal(settings?.admin?.token, '8081')
    test.equal(check(`${POOLS}admin: \${OFF}`).settings?.admin, undefined)
    test.equal(
      check(`pools: { web: { backends: [{ url: "http://a", weight: "\${PORT}" }] } }`).settings?.pools.get('web')
        ?.backends[0]?.weight,
      8081,
    )
  },
)

void t.test('also in lists, and where text is as good as a boolean', async (test) => {
  const { settings } = checkObject(
    {
      listen: { via: '${OFF}' },
      pools: { web: { backends: ['http://a'], retry: { on: ['${STATUS}', '${NONE:-timeout}'] } } },
    },
    { env: { ...env, STATUS: '503' } },
  )
  test.equal(settings?.listen.via, false)
  test.same(settings?.pools.get('web')?.retry.on, new Set([503, 'timeout']))
})

void t.test('a part of a string stays text', async (test) => {
  const { problems } = check(`${POOLS}listen:\n  port: 1\${PORT}`)
  test.same(problems?.map(formatProblem), [
    'f.yaml:3:9: listen.port: expected a whole number from 0 to 65535, got "18081"',
  ])
})

void t.test('a missing variable is one error at its place, and nothing else is said about that value', async (test) => {
  const { problems } = check(`${POOLS}listen:\n  port: \${NONE}\n  headersTimeout: \${NONE:-soon}`)
  test.same(
    problems?.map((problem) => [problem.line, problem.column, problem.path]),
    [
      [3, 9, 'listen.port'],
      [4, 19, 'listen.headersTimeout'],
    ],
  )
  test.match(problems?.[0]?.message, /NONE is not set/)
})

void t.test('a value cannot bring keys along', async (test) => {
  const { settings } = check(`${POOLS}admin: { token: "\${EVIL}" }`)
  test.equal(settings?.admin?.token, env.EVIL)
})

void t.test('objects too, deep in the options of plugins and algorithms', async (test) => {
  const { settings } = checkObject(
    {
      pools: { web: { backends: ['http://${A}:1'], algorithm: { type: 'mine', list: [{ a: '${A}' }] } } },
      plugins: [{ path: 'package', options: { secret: '${A}', regular: '$${A}' } }],
    },
    { env },
  )
  test.equal(settings?.pools.get('web')?.backends[0]?.id, 'x:1')
  test.same(settings?.pools.get('web')?.algorithm, { type: 'mine', options: { list: [{ a: 'x' }] } })
  test.same(settings?.plugins[0]?.options, { secret: 'x', regular: '${A}' })
})
