/**
 * Names of fields: the quick way to tell that a name is none of a few never differs from looking.
 */
import { assert, constantFrom, mixedCase, oneof, property, string } from 'fast-check'
import { test } from 'tap'

import { FieldNames, HOP_BY_HOP } from '../../src/core/fields.ts'

void test('property: a name is one of a few exactly when, in lower case, it is', async () => {
  const listed = [...HOP_BY_HOP, 'a', 'x-a-name-of-more-than-thirty-one-characters']
  const names = new FieldNames(listed)
  const one = oneof(
    constantFrom(...listed),
    string({ unit: 'binary', maxLength: 80 }),
    mixedCase(constantFrom(...listed)),
  )
  assert(
    property(one, (name) => names.has(name) === listed.includes(name.toLowerCase())),
    { numRuns: 5000 },
  )
})
