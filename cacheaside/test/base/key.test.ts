import { expect, test } from 'vitest'
import { rememberingByKey } from '../../src/base/key.ts'

const IDS = Array.from({ length: 20_000 }, (_, id) => id)

/** How often something is made for the ids, if each of them is asked for twice. */
function madeFor(kept: () => number): number {
  let made = 0
  const keyOf = rememberingByKey(
    'spell',
    key => {
      made++
      return key
    },
    kept,
  )
  for (const id of [...IDS, ...IDS]) expect(keyOf(id)).toBe(`spell:${id}`)
  return made
}

test('rememberingByKey remembers as many ids as there are values kept, and 8,192 at least', () => {
  expect(madeFor(() => IDS.length)).toBe(IDS.length)
  expect(madeFor(() => 0)).toBe(2 * IDS.length)
})
