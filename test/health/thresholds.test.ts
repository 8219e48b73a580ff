/**
 * How many checks it takes to take a backend out and to bring it back: exactly as many as configured, none less.
 */
import { test, type Test } from 'tap'

import type { PoolConfig } from '../../src/index.ts'
import { backend, type Backend, type Handler } from '../helpers/gateway.ts'
import { type Chronicle, named, watched, type Watched } from '../helpers/moody-backend.ts'
import { rawBackend } from '../helpers/raw.ts'

type Active = NonNullable<NonNullable<PoolConfig['health']>['active']>

const ACTIVE = { interval: 20, timeout: 10_000 } as const

/** Passes and fails its checks as this says, and passes all that come later. */
function planned(plan: string): Handler {
  let checks = 0
  return (request, response) => {
    request.resume()
    const bad = request.url === '/health' && plan[checks++] === '-'
    response.writeHead(bad ? 503 : 200).end('planned')
  }
}

interface Course {
  readonly planned: Backend
  readonly gateway: Watched
  /** What happened, with the number of the check that made it happen. */
  readonly steps: readonly string[]
}

/** A backend with a plan beside a good one. */
async function course(t: Test, plan: string, health: PoolConfig['health']): Promise<Course> {
  const checked = await backend(t, planned(plan))
  const backends = { planned: checked, good: await backend(t, named('good')) }
  const steps: string[] = []
  const gateway = await watched(t, backends, { health: { ...health } }, {}, (app) => {
    app.events.listen(({ what, backend: id, from, to }) => {
      if (what === 'health' && id === 'planned') steps.push(`${checked.requests.length}: ${from} > ${to}`)
    })
  })
  return { planned: checked, gateway, steps }
}

async function flips(seen: Chronicle, count: number): Promise<void> {
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  for (let n = 0; n < count; n++) await seen.next({ what: 'health', backend: 'planned' })
}

void test('HC-01: graded: degraded by one, out after three, back after two, healthy after three', async (t) => {
  const { gateway, steps, planned: checked } = await course(t, '++---++++', { active: ACTIVE })
  await flips(gateway.seen, 4)
  t.same(steps, [
    '3: healthy > degraded',
    '5: degraded > unhealthy',
    '7: unhealthy > degraded',
    '8: degraded > healthy',
  ])
  await checked.request(15)
  t.equal(steps.length, 4, 'and stays it')
  const story = gateway.seen.story('planned', 'health').join('\n')
  t.match(story, '1 check failed: answered 503')
  t.match(story, '3 checks failed: answered 503')
  t.match(story, '2 checks passed')
  t.match((await gateway.status()).get('planned'), { state: 'healthy', health: { active: { failedInRow: 0 } } })
})

void test('HC-01: graded: two failed checks take nobody out, one good one brings nobody back', async (t) => {
  const { gateway, steps } = await course(t, '+--+--+-+++---+-+-++', { active: ACTIVE })
  await flips(gateway.seen, 6)
  t.same(steps, [
    '2: healthy > degraded',
    '11: degraded > healthy',
    '12: healthy > degraded',
    '14: degraded > unhealthy',
    '20: unhealthy > degraded',
    '21: degraded > healthy',
  ])
})

void test('HC-01: any: out after exactly `fall`, back after exactly `rise`', async (t) => {
  for (const [fall, rise] of [
    [1, 1],
    [3, 2],
    [5, 4],
  ] as const) {
    const down = '-'.repeat(fall)
    const almost = `${'-'.repeat(fall - 1)}+`
    const notYet = `${'+'.repeat(rise - 1)}-`
    const plan = `+${almost}${down}${notYet}${'+'.repeat(rise)}`
    // oxlint-disable-next-line no-await-in-loop
    const { gateway, steps } = await course(t, plan, { strategy: 'any', active: { ...ACTIVE, fall, rise } })
    // oxlint-disable-next-line no-await-in-loop
    await flips(gateway.seen, 2)
    const out = 1 + fall + fall
    t.same(steps, [`${out}: healthy > unhealthy`, `${out + 2 * rise}: unhealthy > healthy`], `${fall} and ${rise}`)
    // oxlint-disable-next-line no-await-in-loop -- two gateways are enough for the machine
    await gateway.close()
  }
})

void test('HC-01: all: checks alone take out who has no other judge', async (t) => {
  const health = { strategy: 'all', active: ACTIVE, passive: false } as const
  const { gateway, steps } = await course(t, '+---++', health)
  await flips(gateway.seen, 2)
  t.same(steps, ['4: healthy > unhealthy', '6: unhealthy > healthy'])
})

void test('HC-01: all: as long as requests go well, checks may fail', async (t) => {
  const { gateway, steps, planned: checked } = await course(t, '-'.repeat(12), { strategy: 'all', active: ACTIVE })
  await checked.request(14)
  t.same(steps, [])
  t.match((await gateway.status()).get('planned'), { state: 'healthy', effectiveWeight: 1 })
})

void test('flapping with nine good checks of ten takes no backend out', async (t) => {
  const { steps, planned: checked } = await course(t, '+++++++++-'.repeat(3), { strategy: 'any', active: ACTIVE })
  await checked.request(32)
  t.same(steps, [])
})

void test('the first check decides, whatever the threshold', async (t) => {
  const { gateway, steps } = await course(t, '-', { active: { ...ACTIVE, fall: 100 } })
  await flips(gateway.seen, 3)
  t.same(steps, ['1: healthy > unhealthy', '3: unhealthy > degraded', '4: degraded > healthy'])
  t.match(gateway.seen.story('planned', 'health')[0], 'the first check failed: answered 503')
})

/** What never comes to an end, each in its own way. */
const ENDLESS: Readonly<Record<string, string>> = {
  'never answers': '',
  'never ends its head': 'HTTP/1.1 200 OK\r\nx-a: b\r\n',
  'never ends its content': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwell',
  'never goes on after an interim answer': 'HTTP/1.1 102 Processing\r\n\r\n',
}

for (const [name, bytes] of Object.entries(ENDLESS)) {
  void test(`HC-02: a backend that ${name} has failed its check at its timeout, not at the interval`, async (t) => {
    const hanging = await rawBackend(t, { onRequest: (connection) => connection.send(bytes) })
    // Longer than any test waits.
    const active: Active = { interval: '1h', timeout: 50 }
    const { seen } = await watched(t, { hanging }, { health: { active } })
    const { cause } = await seen.next({ what: 'health', to: 'unhealthy' })
    t.equal(cause, 'the first check failed: no answer within 50 ms')
    const connection = await hanging.connection(0)
    await connection.inbox.end()
  })
}

void test('HC-02: a backend that answers byte by byte has no more time than any other', async (t) => {
  const dripping = await rawBackend(t, {
    onRequest: (connection) => {
      const timer = setInterval(() => connection.send('x'), 10)
      connection.socket.on('close', () => clearInterval(timer))
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n')
    },
  })
  const { seen } = await watched(t, { dripping }, { health: { active: { interval: '1h', timeout: 100 } } })
  const { cause } = await seen.next({ what: 'health', to: 'unhealthy' })
  t.equal(cause, 'the first check failed: no answer within 100 ms')
})
