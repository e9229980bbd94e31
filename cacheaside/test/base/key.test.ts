import { expect, test } from 'vitest'
import { rememberingByKey } from '../../src/base/key.ts'

const IDS = Array.from({ length: 20_000 }, (_, id) => id)

/** How often something is made for so many ids, if each of them is asked for twice. */
function madeFor(count: number): number {
  let made = 0
  const keyOf = rememberingByKey('spell', key => {
    made++
    return key
  })
  const ids = IDS.slice(0, count)
  for (const id of [...ids, ...ids]) expect(keyOf(id)).toBe(`spell:${id}`)
  return made
}

test('rememberingByKey remembers 8,192 ids', () => {
  expect(madeFor(8_192)).toBe(8_192)
  expect(madeFor(20_000)).toBe(40_000)
})
