/**
 * The schema's part of the check: ajv finds what does not fit, this file says it in plain words.
 */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import type { TSchema } from 'typebox'
import { listing, nearest } from './nearest.ts'
import { kind, type Path, show } from './problem.ts'
import { type Config, ConfigSchema, type Unit } from './schema.ts'
import type { Finding } from './source.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts'

/** A schema as far as the messages need to know it. */
interface Described {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly properties?: Readonly<Record<string, Described>>
  readonly patternProperties?: Readonly<Record<string, Described>>
  readonly items?: Described
  readonly writeOnly?: boolean
  readonly 'x-expected'?: string
  readonly 'x-unit'?: Unit
}

const ROOT: Described = ConfigSchema as TSchema

let compiled: ValidateFunction<Config> | undefined

function validator(): ValidateFunction<Config> {
  if (compiled !== undefined) return compiled
  const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true, ownProperties: true })
  ajv.addKeyword('x-expected')
  ajv.addKeyword({ keyword: 'x-unit', schemaType: 'object', errors: false, validate: isWithin })
  return (compiled = ajv.compile<Config>(ConfigSchema))
}

/** Whether a value has the form of a configuration; what does not goes to `findings`. */
export function validate(value: unknown, findings: Finding[]): value is Config {
  const check = validator()
  if (check(value)) return true
  // Several rules can fail on one value; what was expected is said once.
  const said = new Set<string>()
  for (const error of check.errors ?? []) {
    const path = pathOf(error.instancePath, value)
    const own = error.propertyName ?? propertyOf(error)
    const identity = JSON.stringify([error.instancePath, own])
    if (error.keyword === 'propertyNames' || said.has(identity)) continue
    said.add(identity)
    findings.push(toFinding(error, path))
  }
  return false
}

function propertyOf({ keyword, params }: ErrorObject): unknown {
  return keyword === 'additionalProperties' ? params['additionalProperty'] : params['missingProperty']
}

function toFinding(error: ErrorObject, path: Path): Finding {
  const schema = describedBy(error)
  const property = String(propertyOf(error))
  switch (error.keyword) {
    case 'additionalProperties':
      return { path: [...path, property], message: unknownKey(property, schema), on: 'key' }
    case 'required':
      return {
        path: [...path, property],
        message: `missing, expected ${expected(schema.properties?.[property] ?? {})}`,
      }
    default:
      break
  }
  if (error.propertyName !== undefined) {
    const message = `expected ${expected(schema)}, got ${show(error.propertyName)}`
    return { path: [...path, error.propertyName], message, on: 'key' }
  }
  return { path, message: mismatch(schema, error.data, path) }
}

/** ajv keeps the schema that failed as an object of any shape; it is a part of ours. */
function describedBy(error: ErrorObject): Described {
  const schema: object = error.parentSchema ?? {}
  return schema
}

function mismatch(schema: Described, value: unknown, path: Path): string {
  const got = schema.writeOnly === true ? kind(value) : show(value)
  if (path.length > 0) return `expected ${expected(schema, value)}, got ${got}${suggestion(schema, value)}`
  const whole = value === null || value === undefined ? 'nothing: it is empty' : got
  return `expected keys such as pools and routes, got ${whole}`
}

/** What a text was probably meant to be, where only a few values are possible. */
function suggestion({ enum: possible }: Described, value: unknown): string {
  if (possible === undefined || typeof value !== 'string') return ''
  if (possible.some((each) => typeof each === 'number' && String(each) === value)) return '; write it without quotes'
  const words = possible.filter((each) => typeof each === 'string')
  const meant = nearest(value, words)
  return meant === undefined ? '' : `; did you mean ${JSON.stringify(meant)}?`
}

function unknownKey(key: string, schema: Described): string {
  const known = Object.keys(schema.properties ?? {})
  const meant = nearest(key, known)
  const hint = meant === undefined ? `expected one of ${listing(known, 20)}` : `did you mean ${JSON.stringify(meant)}?`
  return `unknown key ${JSON.stringify(key)}, ${hint}`
}

function expected(schema: Described, value?: unknown): string {
  if (schema['x-expected'] !== undefined) return schema['x-expected']
  if (schema['x-unit'] !== undefined) return quantity(schema['x-unit'], value)
  if (schema.enum !== undefined) return `one of ${listing(schema.enum.map(String), 20)}`
  switch (schema.type) {
    case 'integer':
      return `a whole number from ${schema.minimum ?? 0} to ${schema.maximum ?? 'any'}`
    case 'boolean':
      return 'true or false'
    case 'array':
      return 'a list'
    case 'object':
      return schema.properties === undefined ? 'keys and values' : `keys such as ${someKeys(schema.properties)}`
    case undefined:
    default:
      return 'text'
  }
}

function someKeys(properties: Readonly<Record<string, Described>>): string {
  return Object.keys(properties).slice(0, 2).join(' and ')
}

function quantity(unit: Unit, value: unknown): string {
  const duration = unit.kind === 'duration'
  const readable = (duration ? parseDuration(value) : parseSize(value)) !== undefined
  const examples = duration ? 'a duration such as 250ms, 5s or 1m' : 'a size such as 64KiB, 1MiB or a number of bytes'
  if (!readable) return examples
  const [least, most] = [unit.minimum, unit.maximum].map(duration ? formatDuration : formatSize)
  // The longest duration is no round number in any unit that people use.
  return duration ? `a duration of at least ${least} and less than 597h` : `a size from ${least} to ${most}`
}

function isWithin(unit: Unit, value: unknown): boolean {
  const number = unit.kind === 'duration' ? parseDuration(value) : parseSize(value)
  return number !== undefined && number >= unit.minimum && number <= unit.maximum
}

/** A JSON pointer as steps: those into lists are numbers. */
function pathOf(pointer: string, root: unknown): Path {
  let value = root
  return pointer
    .split('/')
    .slice(1)
    .map((escaped) => {
      const step = escaped.replaceAll('~1', '/').replaceAll('~0', '~')
      const inList = Array.isArray(value)
      value = child(value, step)
      return inList ? Number(step) : step
    })
}

function child(value: unknown, step: string | number): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
  const inside: unknown = Reflect.get(value, step)
  return inside
}

/** Turns a string that an environment variable filled into the number or boolean that its place calls for. */
export function coerce(root: unknown, path: Path): void {
  const last = path.at(-1)
  if (last === undefined) return
  const parent = path.slice(0, -1).reduce(child, root)
  const text = child(parent, last)
  const schema = path.reduce<Described | undefined>(schemaWithin, ROOT)
  if (typeof text !== 'string' || typeof parent !== 'object' || parent === null || schema === undefined) return
  const types = new Set([schema.type].flat())
  const isNumber = types.has('number') || types.has('integer')
  if (isNumber && /^-?\d+(\.\d+)?$/.test(text)) Reflect.set(parent, last, Number(text))
  else if (types.has('boolean') && /^(true|false)$/.test(text)) Reflect.set(parent, last, text === 'true')
}

function schemaWithin(schema: Described | undefined, step: string | number): Described | undefined {
  if (schema === undefined || typeof step === 'number') return schema?.items
  const { properties, patternProperties } = schema
  if (properties !== undefined && Object.hasOwn(properties, step)) return properties[step]
  return patternProperties === undefined ? undefined : Object.values(patternProperties)[0]
}
