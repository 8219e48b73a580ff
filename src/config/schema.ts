/**
 * The configuration file: every name, type, default, bound and explanation in it has its only home here. The checks,
 * the types users write against, the defaults and the schema for editors are all made from this one description.
 */
import { Type, type Static, type TObject, type TProperties, type TSchema } from 'typebox'
import { SECRET } from '../core/fields.ts'
import type { RetryCondition } from '../core/retry.ts'
import { DURATION_PATTERN, LONGEST_MS, SIZE_PATTERN } from './units.ts'

/** Beside the words of JSON Schema: what a quantity is measured in, in plain numbers, and what to say when it is not. */
export interface Unit {
  readonly kind: 'duration' | 'size'
  readonly minimum: number
  readonly maximum: number
}

export const ALGORITHM_NAMES = [
  'round-robin',
  'weighted-round-robin',
  'random',
  'least-connections',
  'power-of-two',
  'peak-ewma',
  'consistent-hash',
] as const

type AlgorithmName = (typeof ALGORITHM_NAMES)[number] | (string & {})

const RETRY_CONDITIONS: readonly RetryCondition[] = ['connect', 'reset', 'timeout', 429, 500, 502, 503, 504]
const RETRIED_BY_DEFAULT: readonly RetryCondition[] = ['connect', 'reset', 502, 503, 504]

function duration(byDefault: string | undefined, minimum: number, description: string) {
  const unit: Unit = { kind: 'duration', minimum, maximum: LONGEST_MS }
  const given = byDefault === undefined ? {} : { default: byDefault }
  const options = { ...given, description, examples: ['250ms', '5s', '1m'], 'x-unit': unit }
  return Type.Optional(
    Type.Unsafe<number | string>({ type: ['string', 'number'], pattern: DURATION_PATTERN, minimum, ...options }),
  )
}

function size(byDefault: string | number, minimum: number, maximum: number, description: string) {
  const unit: Unit = { kind: 'size', minimum, maximum }
  const options = { default: byDefault, description, examples: ['64KiB', '1MiB'], 'x-unit': unit }
  return Type.Optional(
    Type.Unsafe<number | string>({ type: ['string', 'number'], pattern: SIZE_PATTERN, minimum, ...options }),
  )
}

function whole(byDefault: number, minimum: number, maximum: number, description: string) {
  return Type.Optional(Type.Integer({ default: byDefault, minimum, maximum, description }))
}

function share(byDefault: number, description: string) {
  const expected = `a number from 0 to 1, such as ${byDefault}`
  return Type.Optional(Type.Number({ default: byDefault, minimum: 0, maximum: 1, description, 'x-expected': expected }))
}

/** A share that would mean "always" if it were 0. */
function rate(byDefault: number, description: string) {
  const expected = `a number above 0 and up to 1, such as ${byDefault}`
  const bounds = { exclusiveMinimum: 0, maximum: 1 }
  return Type.Optional(Type.Number({ default: byDefault, ...bounds, description, 'x-expected': expected }))
}

const PEM_FORM = 'A PEM file, relative to the folder of the configuration file, or the PEM text itself.'

/** A certificate or key: a file, or what would be in it. */
function pem(description: string, example: string, secret = false) {
  const options = { minLength: 1, description: `${description} ${PEM_FORM}`, examples: [example] }
  const expected = `a PEM file such as ${example}, or the PEM text itself`
  return Type.String({ ...options, ...(secret && { writeOnly: true }), 'x-expected': expected })
}

function group<P extends TProperties>(description: string, properties: P) {
  return Type.Object(properties, { additionalProperties: false, default: {}, description })
}

/** Either a short form in text or the long one with keys; told apart by type, so that errors are about the one meant. */
function shortOrLong<Short extends string, Long extends TObject>(long: Long, expected: string, description: string) {
  return Type.Unsafe<Short | Static<Long>>({
    ...long,
    type: ['string', 'object'],
    minLength: 1,
    description,
    'x-expected': expected,
  })
}

/** A group that can be switched off. */
function orFalse<G extends TObject>(schema: G) {
  return Type.Unsafe<false | Static<G>>({
    ...schema,
    type: ['object', 'boolean'],
    not: { const: true },
    'x-expected': `false, or keys such as ${Object.keys(schema.properties).slice(0, 2).join(' and ')}`,
  })
}

/** A name that appears in paths of the admin API and in labels of metrics. */
const NAME = { pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]{1,128}$' }
const NAME_EXPECTED = 'a name of 1 to 128 characters, none of them a control character'

const Port = { minimum: 0, maximum: 65_535 }

export const ListenTls = Type.Object(
  {
    cert: pem('The certificate that clients are shown, then those between it and its authority.', 'certs/server.pem'),
    key: pem('The private key of the certificate.', 'certs/server.key', true),
    minVersion: Type.Optional(
      Type.Enum(['TLSv1.2', 'TLSv1.3'], {
        default: 'TLSv1.2',
        description: 'The oldest version of TLS that clients may use.',
      }),
    ),
  },
  { additionalProperties: false, description: 'Serves https instead of http.' },
)

/** What people write in YAML when they mean true or false, and what would be a pseudonym to anybody else. */
const NO_PSEUDONYM = '^([Tt]rue|TRUE|[Ff]alse|FALSE|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$'

export const Listen = group('Where clients connect.', {
  host: Type.Optional(Type.String({ default: '0.0.0.0', description: 'Address or host name to listen on.' })),
  port: Type.Optional(Type.Integer({ default: 8080, ...Port, description: 'Port to listen on. 0: any free one.' })),
  trustedProxies: Type.Optional(
    Type.Array(Type.String(), {
      default: [],
      description: 'Addresses or CIDRs of the proxies whose Forwarded and X-Forwarded-* fields are believed.',
      examples: [['10.0.0.0/8', '::1']],
    }),
  ),
  headersTimeout: duration('15s', 0, 'How long a client may take to send its request head. 0s: no limit.'),
  bodyTimeout: duration('30s', 0, "The longest pause between two pieces of a client's body. 0s: no limit."),
  keepAlive: duration('75s', 1, 'How long an idle connection of a client is kept open.'),
  maxHeaderSize: size('16KiB', 1024, 16 * 1024 ** 2, 'The largest request head that is read.'),
  maxConnections: whole(0, 0, 10_000_000, 'How many connections clients may have open at once. 0: no limit.'),
  tls: Type.Optional(ListenTls),
  via: Type.Optional(
    Type.Unsafe<string | boolean>({
      type: ['string', 'boolean'],
      default: true,
      // RFC 9110 section 7.6.3: received-by, with a pseudonym for the host.
      pattern: "^[!#$%&'*+\\-.^_`|~0-9A-Za-z]{1,128}(:[0-9]{1,5})?$",
      not: { type: 'string', pattern: NO_PSEUDONYM },
      examples: ['edge-1', 'edge.example.com:8080'],
      description:
        'The name that this gateway gives itself in the Via field of requests, and by which it finds out ' +
        'that a request has come round in a loop. `true`: a name made when it starts. `false`: no Via and no detection ' +
        'of loops.',
      'x-expected': 'true, false or a name such as edge-1 or edge.example.com:8080',
    }),
  ),
})

export const Admin = group('The admin listener: status, metrics, reload and changes. `false` switches it off.', {
  host: Type.Optional(Type.String({ default: '127.0.0.1', description: 'Address or host name to listen on.' })),
  port: Type.Optional(Type.Integer({ default: 9090, ...Port, description: 'Port to listen on. 0: any free one.' })),
  token: Type.Optional(
    Type.String({
      default: '',
      writeOnly: true,
      description: 'When set, every call but /healthz and /readyz needs `Authorization: Bearer TOKEN`.',
      examples: ['${SLUICE_ADMIN_TOKEN:-}'],
    }),
  ),
  hosts: Type.Optional(
    Type.Array(Type.String(), {
      default: [],
      description:
        'Other names, without a port, under which it may be called: those of proxies and services in front of it. Under ' +
        'names that are not listed it answers 421, so that no web page can reach it by a name of its own (DNS rebinding).',
      examples: [['gateway-admin.internal']],
    }),
  ),
})

export const Access = group('Which exchanges have a line in the log, and what is in it.', {
  sample: share(
    1,
    'The share of exchanges that are logged, drawn at random. Those that failed, were answered with 500 or above, or were slow are logged in any case.',
  ),
  slow: duration('0s', 0, 'Exchanges that took at least this long are logged in any case. 0s: however long they took.'),
  query: Type.Optional(
    Type.Enum(['keep', 'mask', 'drop'], {
      default: 'keep',
      description: 'The query behind a path: as it is, with `*` for the values of its parameters, or not at all.',
    }),
  ),
  headers: Type.Optional(
    Type.Array(Type.String(), {
      default: [],
      maxItems: 32,
      description: `Request fields that are logged, too. Those with secrets cannot be: ${[...SECRET].join(', ')}.`,
      examples: [['user-agent', 'referer']],
    }),
  ),
})

export const Log = group('What is logged, as JSON on standard output.', {
  level: Type.Optional(
    Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      default: 'info',
      description: 'The least important messages that are still logged.',
    }),
  ),
  access: Type.Optional(
    Type.Unsafe<boolean | Static<typeof Access>>({
      ...Access,
      type: ['object', 'boolean'],
      default: true,
      description:
        'A line for every exchange, with what is in it; false: only for those that the gateway itself had to answer with 500 or above, or that broke off.',
      'x-expected': 'true, false, or keys such as sample and slow',
    }),
  ),
})

export const TracingExport = Type.Object(
  {
    url: Type.String({
      examples: ['http://localhost:4318/v1/traces'],
      description: 'Where the collector takes traces by OTLP over HTTP, as JSON.',
      'x-expected': 'a URL such as http://localhost:4318/v1/traces',
    }),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ writeOnly: true, 'x-expected': 'text (put numbers in quotes)' }), {
        default: {},
        writeOnly: true,
        description: 'Further fields of each request to it, such as an API key.',
        examples: [{ authorization: 'Bearer ${COLLECTOR_TOKEN}' }],
      }),
    ),
    service: Type.Optional(
      Type.String({
        default: 'sluice',
        minLength: 1,
        maxLength: 256,
        description: 'What this gateway is called in traces.',
        'x-expected': 'a name of 1 to 256 characters',
      }),
    ),
    timeout: duration('5s', 1, 'How long it may take to take in some spans; then they are lost.'),
    queue: whole(2048, 1, 1_000_000, 'How many spans may wait to be sent. More are lost, and counted.'),
  },
  {
    additionalProperties: false,
    description: 'Sends the spans of recorded traces to a collector (OpenTelemetry): one an exchange, one an attempt.',
    'x-expected': 'keys such as url and service',
  },
)

export const Tracing = group('What is done about traces that go through (W3C Trace Context).', {
  propagate: Type.Optional(
    Type.Boolean({
      default: true,
      description:
        'Whether backends get a traceparent with a span id of the attempt, in the trace of the client or in a new one. ' +
        '`false`: traceparent and tracestate go on as they came.',
    }),
  ),
  accept: Type.Optional(
    Type.Enum(['everyone', 'trusted'], {
      default: 'everyone',
      description:
        "Whose traces are continued: everyone's, or only those of the proxies in `listen.trustedProxies`. For others a new " +
        'one begins.',
    }),
  ),
  sample: share(
    1,
    'The share of the new traces that is marked to be recorded. What a trusted proxy has decided is kept; what anybody ' +
      'else wants recorded is so in this share of cases, what they do not want is not.',
  ),
  export: Type.Optional(TracingExport),
})

export const Shutdown = group('How the gateway stops on SIGTERM and SIGINT.', {
  delay: duration('0s', 0, 'How long it goes on serving while it already says that it is not ready.'),
  grace: duration('30s', 0, 'How long requests in flight may take to end before they are cut off.'),
})

export const Guard = group('When a reload is undone by itself, because requests fail that did not before.', {
  window: duration('30s', 1000, 'How long after a reload it is watched, and how far back it is compared with.'),
  errorRate: Type.Optional(
    Type.Number({
      default: 0.1,
      minimum: 0.001,
      maximum: 1,
      description: 'By how much the share of failed requests (5xx, or broken off) has to grow.',
      'x-expected': 'a share from 0.001 to 1, such as 0.1',
    }),
  ),
  minimum: Type.Optional(
    Type.Integer({
      default: 50,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Requests that have to come before they are judged.',
      'x-expected': 'a whole number from 1 to 1000000',
    }),
  ),
})

export const Reload = group('How the configuration is changed while the gateway runs.', {
  watch: Type.Optional(
    Type.Boolean({
      default: true,
      description: 'Whether a change of the file takes effect by itself. SIGHUP always works.',
    }),
  ),
  drain: duration(
    '5m',
    0,
    'How long a backend that was taken out may take to end what it has, tunnels and streams included.',
  ),
  keep: Type.Optional(
    Type.Integer({
      default: 10,
      minimum: 0,
      maximum: 1000,
      description: 'How many of the last configurations that worked are kept in memory, to roll back to.',
      'x-expected': 'a whole number from 0 to 1000',
    }),
  ),
  save: Type.Optional(
    Type.Boolean({
      default: false,
      description:
        'Whether the last file that worked is copied beside it, as gateway.last-good.yaml for gateway.yaml. A configuration ' +
        'that came by PUT is in no file, and not saved.',
    }),
  ),
  guard: Type.Optional(Guard),
})

export const Overload = group(
  'When the gateway itself has too much to do: requests are answered 503 (SLUICE_OVERLOADED) before it breaks down. ' +
    '`false` switches it off.',
  {
    // With 1000 clients that never pause, one turn of the loop takes a tenth of this on a slow processor.
    eventLoopDelay: duration(
      '1s',
      0,
      'How late the event loop may be, on average over a quarter of a second, twice in a row. 0s: any time.',
    ),
    eventLoopUtilization: rate(
      1,
      'The share of the time in which the event loop may be busy. 1: all of it, since a gateway that is just busy ' +
        'serves well.',
    ),
    // V8 lets garbage pile up to half of what is left: this is passed when four fifths are in use for good.
    heap: rate(0.9, 'The share of what the JavaScript heap may take. 1: not looked at.'),
    // What is left is for the buffers of the kernel, which count for a container, too.
    rss: rate(0.9, 'The share of the memory of the container, or else of the machine. 1: not looked at.'),
    retryAfter: duration('1s', 1, 'When refused clients are told to come back, in whole seconds.'),
  },
)

const Algorithm = Type.Unsafe<AlgorithmName | ({ readonly type: AlgorithmName } & Readonly<Record<string, unknown>>)>({
  type: ['string', 'object'],
  minLength: 1,
  required: ['type'],
  properties: {
    type: {
      type: 'string',
      minLength: 1,
      description: 'Name of the algorithm.',
      examples: [...ALGORITHM_NAMES],
      'x-expected': 'the name of an algorithm',
    },
  },
  default: 'least-connections',
  examples: [...ALGORITHM_NAMES],
  description:
    'How a backend is chosen: a name, or `{ type: NAME, ... }` with options of that algorithm. Where nobody has more to ' +
    'do than the others, least-connections is weighted round robin; its option `slow` (3) says how many times as long as ' +
    'is typical makes a backend slow, 0 for never. Plugins can register more algorithms.',
  'x-expected': 'the name of an algorithm, or its options with a type, as in { type: least-connections }',
})

export const Backend = Type.Object(
  {
    url: Type.String({
      description: 'http or https, host and port; no path.',
      examples: ['http://127.0.0.1:9001'],
      'x-expected': 'a URL such as http://127.0.0.1:9001',
    }),
    id: Type.Optional(
      Type.String({
        ...NAME,
        description: 'Name of the backend in logs, metrics and the admin API. Without it: host:port of the URL.',
        'x-expected': NAME_EXPECTED,
      }),
    ),
    weight: Type.Optional(
      Type.Number({
        default: 1,
        minimum: 0,
        maximum: 1_000_000,
        description: 'Its share of the requests in proportion to the other weights. 0: none.',
        'x-expected': 'a number from 0 to 1000000, such as 1 or 2.5',
      }),
    ),
  },
  { additionalProperties: false },
)

export const Timeouts = group(
  'How long each part of an exchange with a backend may take; the first to run out ends it.',
  {
    connect: duration('2s', 1, 'For a new connection to a backend, without its TLS handshake.'),
    tls: duration('2s', 1, 'From the connection to the end of the TLS handshake, with https backends.'),
    headers: duration('15s', 0, "From the end of the request to the head of a backend's answer. 0s: no limit."),
    body: duration('30s', 0, "The longest pause between two pieces of a backend's answer. 0s: no limit."),
    total: duration(
      '60s',
      0,
      "From the request's arrival to the answer's head, over waiting and all attempts; a body that is still flowing is " +
        'never cut by it. 0s: none.',
    ),
    tunnel: duration(
      '1h',
      0,
      'The longest silence, in both directions at once, in an upgraded connection such as a WebSocket. 0s: no limit.',
    ),
  },
)

export const Connections = group('Connections to each backend of the pool.', {
  max: whole(128, 1, 1_000_000, 'How many may be open to one backend.'),
  pending: whole(256, 0, 1_000_000, 'How many requests may wait for a connection to one backend. 0: none waits.'),
  queue: duration('1s', 0, 'How long a request may wait for a connection. 0s: it does not wait.'),
  idle: duration('4s', 1, 'How long an idle connection is kept. Keep it under what the backend itself allows.'),
})

export const BackendTls = Type.Object(
  {
    ca: Type.Optional(
      pem(
        "Authorities that backends' certificates are checked against, in place of the well-known ones.",
        'certs/ca.pem',
      ),
    ),
    cert: Type.Optional(
      pem('The certificate that backends are shown, where they ask for one; needs `key`.', 'certs/client.pem'),
    ),
    key: Type.Optional(pem('The private key of `cert`.', 'certs/client.key', true)),
    serverName: Type.Optional(
      Type.String({
        examples: ['internal.example.com'],
        description:
          "The host name that is asked for in the handshake (SNI) and expected in backends' certificates. Without it: " +
          'the host of the URL.',
      }),
    ),
    rejectUnauthorized: Type.Optional(
      Type.Boolean({
        default: true,
        description:
          'Whether a backend whose certificate does not prove who it is gets no request. With `false`, whoever is on ' +
          'the way to it can read and change everything.',
      }),
    ),
  },
  { additionalProperties: false, description: 'How connections to https backends are made.' },
)

export const RetryBudget = group('How many retries there may be at a time, so that they do not become an avalanche.', {
  ratio: share(0.2, 'Retries in flight, as a share of all requests of the pool in flight.'),
  minimum: whole(3, 0, 10_000, 'Retries in flight that are allowed however few requests there are.'),
})

export const RetryBackoff = group('How long to wait before another attempt: a time between 0 and a limit, by chance.', {
  base: duration('25ms', 0, 'The limit before the second attempt; it doubles with each further one.'),
  max: duration('250ms', 0, 'What the limit never grows beyond.'),
})

export const Retry = group(
  'When a request that failed is sent to another backend: only while no byte of an answer has reached the client, and ' +
    'only what can safely be sent twice.',
  {
    attempts: whole(2, 1, 10, 'How many attempts are made in all. 1 switches retries off.'),
    on: Type.Optional(
      Type.Array(
        Type.Unsafe<RetryCondition>({
          type: ['string', 'integer'],
          enum: [...RETRY_CONDITIONS],
          description: 'A way in which an attempt fails: `connect`, `reset`, `timeout`, or the status of an answer.',
        }),
        {
          default: [...RETRIED_BY_DEFAULT],
          description:
            'After what another attempt is made. `connect`: no connection was made. `reset`: it broke before an answer. ' +
            '`timeout`: no answer in time. Numbers: answers with this status.',
          'x-expected': 'a list such as [connect, reset, 503]',
        },
      ),
    ),
    budget: Type.Optional(RetryBudget),
    backoff: Type.Optional(RetryBackoff),
    bufferBody: size(
      '64KiB',
      0,
      1024 ** 3,
      'How much of a request body is kept, to be sent again. A request with a larger one is not sent twice. 0: none.',
    ),
  },
)

const STATUS = {
  type: ['string', 'integer'],
  minimum: 100,
  maximum: 599,
  pattern: '^[1-5][0-9]{2}(-[1-5][0-9]{2})?$',
  'x-expected': 'a status from 100 to 599, or a range such as 200-399',
}

export const Active = Type.Object(
  {
    type: Type.Optional(
      Type.Enum(['http', 'tcp'], {
        default: 'http',
        description:
          '`http`: a request, over TLS with https backends. `tcp`: a connection that is made is all that is asked for.',
      }),
    ),
    path: Type.Optional(
      Type.String({
        default: '/health',
        description: 'What is asked for; it may have a query.',
        examples: ['/health'],
      }),
    ),
    method: Type.Optional(Type.String({ default: 'GET', description: 'The method of the request.' })),
    host: Type.Optional(
      Type.String({
        examples: ['internal.example.com'],
        description: "The Host of the request. Without it: the backend's own.",
      }),
    ),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ 'x-expected': 'text (put numbers in quotes)' }), {
        default: {},
        description: 'Further fields of the request.',
        examples: [{ 'user-agent': 'sluice' }],
      }),
    ),
    expect: Type.Optional(
      Type.Unsafe<number | string | ReadonlyArray<number | string>>({
        ...STATUS,
        type: ['string', 'integer', 'array'],
        items: { ...STATUS, description: 'A status, or a range of them.' },
        minItems: 1,
        default: '200-399',
        examples: ['200-399', 200, [200, 204, '300-399']],
        description: 'The status that the answer must have: one, a range, or a list of them.',
        'x-expected': 'a status from 100 to 599, a range such as 200-399, or a list of them',
      }),
    ),
    body: Type.Optional(
      Type.String({
        minLength: 1,
        examples: ['"status":"up"'],
        description: 'Text that the body of the answer must contain. Without it, the body is not looked at.',
        'x-expected': 'text that is not empty (put numbers in quotes)',
      }),
    ),
    interval: duration('5s', 1, 'From the beginning of a check of a backend to that of the next.'),
    timeout: duration('2s', 1, 'How long a check may take in all; then it has failed.'),
    fall: whole(3, 1, 1000, 'How many checks in a row must fail to take a backend out.'),
    rise: whole(2, 1, 1000, 'How many checks in a row must pass to bring it back.'),
  },
  {
    additionalProperties: false,
    description: 'Checks of every backend, whether it has requests or not. Off unless given; `{}` for all defaults.',
    'x-expected': 'keys such as type and path; {} for all defaults',
  },
)

export const Passive = group(
  'What becomes of the requests that a backend gets anyway: the latest outcomes tell how it is. `false` switches it off.',
  {
    window: whole(100, 1, 100_000, 'How many of the latest outcomes count.'),
    over: duration(
      undefined,
      1,
      'When given, the outcomes of so long ago and less count, in place of the last `window`.',
    ),
    minimum: whole(20, 1, 100_000, 'How many outcomes there must be before any of them are judged.'),
    degrade: share(0.3, 'With a share of failures above this, a backend gets half of its share of the requests.'),
    eject: share(0.5, 'With a share of failures above this, it gets none for a time.'),
    recover: share(0.1, 'With a share of failures below this, it gets its whole share again.'),
    ejection: duration('30s', 1, 'How long it gets none: this the first time, longer each time it is repeated.'),
    maxEjected: share(
      0.5,
      'The largest share of the pool that is taken out for this reason alone; never the last one.',
    ),
  },
)

export const Health = group('How it is found out which backends can be used.', {
  strategy: Type.Optional(
    Type.Enum(['graded', 'any', 'all'], {
      default: 'graded',
      description:
        'How the judgements of checks and of requests are put together. `graded`: the first doubt of either halves the ' +
        "backend's share, more of it takes the rest. `any`: either takes it out. `all`: only both together do.",
    }),
  ),
  active: Type.Optional(Active),
  passive: Type.Optional(orFalse(Passive)),
  warmup: duration(
    '0s',
    0,
    'How long a backend that joins others, or comes back to them, takes to get its whole share: 10, 30, 50, then 100 % ' +
      'of it. 0s: all of it at once.',
  ),
})

export const Breaker = group(
  'Leaves a backend alone as soon as too many of its requests fail or are slow, and tries it again with a few. `false` ' +
    'switches it off.',
  {
    mode: Type.Optional(
      Type.Enum(['enforce', 'observe'], {
        default: 'enforce',
        description: '`observe`: it counts and tells what it would have done, and touches nothing.',
      }),
    ),
    window: duration('10s', 1, 'How far back requests count.'),
    minimum: whole(20, 1, 100_000, 'How many requests there must be in the window before it opens.'),
    failureRate: rate(0.5, 'The share of failures from which on it opens.'),
    slowCall: duration(
      '0s',
      0,
      'A request that takes longer than this to the head of its answer is slow. 0s: none is.',
    ),
    slowCallRate: rate(0.8, 'The share of slow requests from which on it opens.'),
    open: duration('5s', 1, 'How long it is open at first; the time doubles with every trial that fails.'),
    maxOpen: duration('60s', 1, 'What the time never grows beyond.'),
    halfOpen: whole(3, 1, 1000, 'How many requests are let through as trials at a time, and must go well to close it.'),
  },
)

const Pool = Type.Object(
  {
    algorithm: Type.Optional(Algorithm),
    backends: Type.Array(
      shortOrLong<string, typeof Backend>(
        Backend,
        'a URL such as http://127.0.0.1:9001, or { url, id, weight }',
        'A backend: its URL, or `{ url, id, weight }`.',
      ),
      { minItems: 1, description: 'The servers of this pool.', 'x-expected': 'a list of at least one backend' },
    ),
    hostHeader: Type.Optional(
      Type.String({
        default: 'preserve',
        examples: ['preserve', 'backend', 'internal.example.com'],
        description:
          "The Host that backends see: the client's (`preserve`), the backend's own (`backend`), or this text.",
      }),
    ),
    forwarded: Type.Optional(
      Type.Boolean({
        default: false,
        description: 'Whether backends also get the Forwarded field of RFC 7239, beside the X-Forwarded-* fields.',
      }),
    ),
    timeouts: Type.Optional(Timeouts),
    connections: Type.Optional(Connections),
    tls: Type.Optional(BackendTls),
    linkLocal: Type.Optional(
      Type.Boolean({
        default: false,
        description:
          'Whether backends may have link-local addresses (169.254.0.0/16, fe80::/10). In clouds these give credentials ' +
          'to whoever asks, so they are refused unless this is true.',
      }),
    ),
    maxBodySize: size(0, 0, Number.MAX_SAFE_INTEGER, 'The largest request body; more is answered 413. 0: no limit.'),
    retry: Type.Optional(Retry),
    health: Type.Optional(Health),
    breaker: Type.Optional(orFalse(Breaker)),
    panic: share(
      0,
      'When less than this share of the backends can be used, all of them are: some answers are better than none. 0: never.',
    ),
  },
  {
    additionalProperties: false,
    description: 'Backends that can stand in for each other, and how they are used.',
    'x-expected': 'a pool, as in { backends: [http://127.0.0.1:9001] }',
  },
)

const headerRules = (whose: string) =>
  Type.Object(
    {
      set: Type.Optional(
        Type.Record(Type.String(), Type.String({ 'x-expected': 'text (put numbers in quotes)' }), {
          default: {},
          description: 'Fields to add, in place of what is there under the same name.',
        }),
      ),
      remove: Type.Optional(Type.Array(Type.String(), { default: [], description: 'Names of fields to drop.' })),
    },
    { additionalProperties: false, description: `Changes to the header of ${whose}.` },
  )

export const Rewrite = group('Changes to the path on its way to the backend.', {
  stripPrefix: Type.Optional(Type.String({ default: '', description: 'Taken off the front of the path, first.' })),
  addPrefix: Type.Optional(Type.String({ default: '', description: 'Put in front of the path, then.' })),
})

const Route = Type.Object(
  {
    path: Type.String({
      examples: ['/*', '/orders/*', '/users/:id'],
      description: '`/exact`, `/prefix/*`, or with `:parameters` for whole segments. The most specific route wins.',
      'x-expected': 'a path such as /orders, /orders/* or /users/:id',
    }),
    host: Type.Optional(
      Type.String({
        examples: ['shop.example.com', '*.example.com'],
        description: 'Only requests for this host; `*.` in front stands for any name below. Without it: every host.',
      }),
    ),
    methods: Type.Optional(
      Type.Array(Type.String(), {
        minItems: 1,
        examples: [['GET', 'HEAD']],
        description: 'Only requests with one of these methods. Without it: every method.',
        'x-expected': 'a list of at least one method, such as [GET, HEAD]',
      }),
    ),
    pool: Type.String({ description: 'Name of the pool that takes the requests.', 'x-expected': 'the name of a pool' }),
    rewrite: Type.Optional(Rewrite),
    requestHeaders: Type.Optional(headerRules('the request, before a backend sees it')),
    responseHeaders: Type.Optional(headerRules('the answer, before the client sees it')),
  },
  {
    additionalProperties: false,
    description: 'Which requests go to which pool.',
    'x-expected': 'a route, as in { path: /orders/*, pool: orders }',
  },
)

const Plugin = Type.Object(
  {
    path: Type.String({
      minLength: 1,
      description: 'A file, relative to the configuration file (`./my-plugin.ts`), or the name of a package.',
      'x-expected': 'a file such as ./my-plugin.ts, or the name of an installed package',
    }),
    options: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { default: {}, description: 'Handed to the plugin as they are.' }),
    ),
  },
  { additionalProperties: false },
)

export const ConfigSchema = Type.Object(
  {
    listen: Type.Optional(Listen),
    admin: Type.Optional(orFalse(Admin)),
    log: Type.Optional(Log),
    tracing: Type.Optional(Tracing),
    shutdown: Type.Optional(Shutdown),
    reload: Type.Optional(Reload),
    overload: Type.Optional(orFalse(Overload)),
    pools: Type.Record(Type.String(), Pool, {
      minProperties: 1,
      propertyNames: { ...NAME, 'x-expected': NAME_EXPECTED },
      description: 'The pools of backends, by name.',
      'x-expected': 'at least one pool, as in { web: { backends: [http://127.0.0.1:9001] } }',
    }),
    routes: Type.Optional(
      Type.Array(Route, {
        default: [],
        description:
          'Which requests go to which pool; their order does not matter. Without routes, a single pool takes everything.',
      }),
    ),
    plugins: Type.Optional(
      Type.Array(
        shortOrLong<string, typeof Plugin>(
          Plugin,
          'a file such as ./my-plugin.ts, the name of an installed package, or { path, options }',
          'A Fastify plugin: a file or package, or `{ path, options }`.',
        ),
        { default: [], description: 'Your own Fastify plugins, registered in this order.' },
      ),
    ),
  },
  { additionalProperties: false },
)

type DeepReadonly<T> = T extends string | number | boolean
  ? T
  : T extends ReadonlyArray<infer Item>
    ? ReadonlyArray<DeepReadonly<Item>>
    : { readonly [Key in keyof T]: DeepReadonly<T[Key]> }

/** A configuration as people write it. */
export type Config = DeepReadonly<Static<typeof ConfigSchema>>
export type PoolConfig = Config['pools'][string]
export type RouteConfig = NonNullable<Config['routes']>[number]
export type BackendConfig = PoolConfig['backends'][number]
export type PluginConfig = NonNullable<Config['plugins']>[number]
export type RetryConfig = NonNullable<PoolConfig['retry']>
export type HealthConfig = NonNullable<PoolConfig['health']>
export type ActiveConfig = NonNullable<HealthConfig['active']>
export type PassiveConfig = Exclude<NonNullable<HealthConfig['passive']>, false>
export type BreakerConfig = NonNullable<PoolConfig['breaker']>
export type TracingConfig = NonNullable<Config['tracing']>
export type ReloadConfig = NonNullable<Config['reload']>
export type BackendTlsConfig = NonNullable<PoolConfig['tls']>
export type ListenTlsConfig = NonNullable<NonNullable<Config['listen']>['tls']>
export type HeaderRulesConfig = NonNullable<RouteConfig['requestHeaders']>

type Filled<P extends TProperties> = Required<Static<TObject<P>>>

/** A group in which every key has a default, completed by them. */
export function filled<P extends TProperties>(schema: TObject<P>, value: object | undefined): Filled<P> {
  const given = new Map<string, unknown>(Object.entries(value ?? {}))
  const entries = Object.entries<TSchema>(schema.properties).map(([key, property]) => {
    return [key, given.get(key) ?? defaultOf(property)] as const
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys are the schema's own
  return Object.fromEntries(entries) as Filled<P>
}

export function defaultOf(schema: TSchema): unknown {
  return 'default' in schema ? schema.default : undefined
}

export const DEFAULT_ALGORITHM = String(defaultOf(Pool.properties.algorithm))
export const DEFAULT_HOST_HEADER = String(defaultOf(Pool.properties.hostHeader))
export const DEFAULT_FORWARDED = defaultOf(Pool.properties.forwarded) === true
export const DEFAULT_LINK_LOCAL = defaultOf(Pool.properties.linkLocal) === true
export const DEFAULT_MAX_BODY_SIZE = defaultOf(Pool.properties.maxBodySize)
export const DEFAULT_PANIC = Number(defaultOf(Pool.properties.panic))
export const DEFAULT_WEIGHT = Number(defaultOf(Backend.properties.weight))

/** The JSON Schema of the configuration file, for editors. */
export function configSchema(): Record<string, unknown> {
  // Our own words in it mean nothing to an editor.
  const text = JSON.stringify(ConfigSchema, (key, value: unknown) => (key.startsWith('x-') ? undefined : value))
  const schema: object = JSON.parse(text)
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Sluice configuration',
    description: 'Configuration of the Sluice load balancer and API gateway.',
    ...schema,
  }
}
