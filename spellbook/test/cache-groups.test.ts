import { createCache } from 'cacheaside'
import { parseList } from 'structured-headers'
import { expect, test } from 'vitest'
import type { Wizard } from '../src/api.ts'
import { endedGroups, groupList, groupsOf } from '../src/cache-groups.ts'
import { endsOf, tagsIn } from '../src/spells.ts'

const LARGEST = Number.MAX_SAFE_INTEGER
const wizardWith = (spells: number): Wizard =>
  ({
    id: LARGEST,
    spells: Array.from({ length: spells }, (_, i) => ({ id: LARGEST - i })),
  }) as unknown as Wizard
const groupsIn = (field: string) => parseList(field).map(([group]) => group as string)

test('groups are named as the cache names its keys and tags', async () => {
  const cache = createCache({})
  const load = async (id: string) => ({ id })
  const [spells, wizards] = [cache.keyspace('spell', { load }), cache.keyspace('wizard', { load })]
  const ends = endsOf({ spells, wizards }, tagsIn(cache))
  expect(groupsIn(endedGroups.spell('4'))).toEqual(ends.spell('4'))
  expect(groupsIn(endedGroups.wizard('4'))).toEqual(ends.wizard('4'))
  expect(groupsIn(endedGroups.book('4'))).toEqual(ends.book('4'))
  await cache.close()
})

test('a wizard has a group for each spell, or one for all where they are more than every cache takes', () => {
  expect(groupsIn(groupsOf.wizard(wizardWith(2)))).toEqual([
    `wizard:${LARGEST}`,
    `shown:${LARGEST}`,
    `shown:${LARGEST - 1}`,
  ])
  expect(groupsIn(groupsOf.wizard(wizardWith(31)))).toHaveLength(32)
  const [own, ...others] = groupsIn(groupsOf.wizard(wizardWith(32)))
  expect([own, ...others]).toEqual([`wizard:${LARGEST}`, 'list:spells'])
  // Every change of any spell ends that one.
  expect(groupsIn(endedGroups.spell('1'))).toContain('list:spells')
})

test('a list is written so that what a name holds is no part of the syntax, and refused if it is too long', () => {
  const strange = 'a"b\\c, d;e'
  expect(groupList([strange])).toBe('"a\\"b\\\\c, d;e"')
  expect(groupsIn(groupList([strange, 'x']))).toEqual([strange, 'x'])
  expect(() => groupList(['é'])).toThrow()
  expect(() => groupList(['a\r\nb'])).toThrow()
  expect(() => groupList(['x'.repeat(33)])).toThrow(TypeError)
  expect(() => groupList(Array.from({ length: 33 }, (_, i) => `${i}`))).toThrow(TypeError)
})
