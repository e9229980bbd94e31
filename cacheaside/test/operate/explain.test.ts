import { describe, expect, onTestFinished, test } from 'vitest'
import type { Change, ChangeFeed } from '../../src/feed/change-feed.ts'
import { createCache, embeddedShared } from '../../src/index.ts'
import { type Explanation, explain, explanationText } from '../../src/operate/index.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import { valueText } from '../../src/shared/register.ts'
import { plantableShared, SimulatedClock } from '../../src/testing/index.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { within } from '../world.ts'
import { explainSuite } from './explain-suite.ts'

describe('on the embedded store', () => {
  explainSuite(() => {
    const { store: shared, plant } = plantableShared()
    return {
      shared,
      plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
      async dump() {
        const view = await shared.view!()
        const keys: string[] = []
        for await (const page of view.keys()) keys.push(...page)
        return [keys, await view.peek(keys), await view.generations(['spell'])]
      },
    }
  })

  test('explain says that a value was stored under a clock that was ahead', async () => {
    const clock = new SimulatedClock()
    const { store: shared, plant } = plantableShared({ clock })
    const generation = await shared.generation('spell', 'g'.repeat(16))
    const fill = { generation, shape: 1, freshMs: 60_000, staleMs: 0, costMs: 1, text: '4' }
    plant('spell:4', valueText(markedToken('spell:4', clock.token()), fill, clock.epochMs() + 3_600_000))
    const found = await within(clock, 10_000, explain({ shared, keyspaces: [spells], clock }, 'spell', ['4']))
    expect(explanationText(found)).toContain("stored 60 min ahead of the store's clock, which was set back ")
  })

  test('explain says that other processes are not seen', async () => {
    const found = await explain({ shared: embeddedShared(), keyspaces: [spells] }, 'spell', ['4'])
    expect(found.notes).toEqual([expect.stringContaining('this store is embedded')])
    expect(found).not.toHaveProperty('generation')
    expect(explanationText(found)).toMatch(/generation +none: the keyspace was never read/)
  })
})

const spells = auditedKeyspace('spell', { load: async (id: number) => id, idFromKey: ([id]) => Number(id) })

/** A feed whose outbox holds these changes. */
function feedOf(changes: () => Promise<readonly Change[]>): ChangeFeed {
  return {
    name: 'fake',
    tables: new Map([['spell', { keys: row => [spells.key(row.id)], keyspaces: ['spell'] }]]),
    pollMs: 100,
    timeoutMs: 100,
    open: () => Promise.reject(new Error('nobody opens it')),
    pending: changes,
  }
}

async function explained(changes: () => Promise<readonly Change[]>): Promise<Explanation> {
  const shared = embeddedShared()
  const cache = createCache({ shared })
  await cache.keyspace('spell', { load: async (id: number) => id }).get(4)
  await cache.close()
  return explain({ shared, keyspaces: [spells], feed: feedOf(changes) }, 'spell', ['4'])
}

const change = (id: string, ageMs: number, rows?: { id: string }[]): Change => ({
  id,
  table: 'spell',
  rows,
  ageMs,
})

describe('of the change feed, explain', () => {
  test('tells which changes wait that end this key, the oldest first', async () => {
    const found = await explained(async () => [
      change('7', 400, [{ id: '5' }]),
      change('8', 300, [{ id: '4' }]),
      change('9', 4_000),
    ])
    expect(found.feed).toEqual({
      name: 'fake',
      count: 2,
      waiting: [
        { id: '9', table: 'spell', ageMs: 4_000 },
        { id: '8', table: 'spell', ageMs: 300 },
      ],
    })
    expect(explanationText(found)).toContain('change 9 of spell has waited in the outbox for 4.0 s')
  })

  test('tells ten of them at most, and how many there are', async () => {
    const found = await explained(async () =>
      Array.from({ length: 25 }, (_, i) => change(String(i), 1_000 - i, [{ id: '4' }])),
    )
    expect(found.feed).toMatchObject({ count: 25, waiting: { length: 10 } })
    expect(explanationText(found)).toContain('and 15 more')
  })

  test('says that what was applied is not recorded, and what a stored value proves', async () => {
    const found = await explained(async () => [])
    expect(explanationText(found)).toContain(
      'no change of this key waits. Applied changes are not recorded; none was applied since this value was stored',
    )
  })

  test('says why the outbox cannot be read, without a password, and tells the rest', async () => {
    const found = await explained(() => Promise.reject(new Error('no postgres://me:secret@host/db\nat all')))
    expect(found.register.state).toBe('value')
    expect(explanationText(found)).toContain('its outbox cannot be read: no postgres://***@host/db')
  })
})

describe('of a keyspace with tags, explain', () => {
  const FEED_TABLE = 'author'

  /** A value that a cache has stored under one tag of its id and one of its value. */
  async function tagged() {
    const shared = embeddedShared()
    const cache = createCache({ shared })
    onTestFinished(() => cache.close())
    const author = cache.tags<number>('author')
    const place = cache.tags<number>('place')
    const options = {
      load: async (id: number) => id,
      tags: (id: number) => [author.key(id)],
      tagsOf: (value: number | undefined) => [place.key(value ?? 0)],
    }
    const pages = cache.keyspace('page', options)
    for (let i = 0; i < 2; i++) await pages.get(4)
    const audited = auditedKeyspace('page', { ...options, idFromKey: ([id]) => Number(id) })
    const feed: ChangeFeed = {
      ...feedOf(async () => ['5', '4'].map(id => ({ ...change(id, 300, [{ id }]), table: FEED_TABLE }))),
      tables: new Map([[FEED_TABLE, { keys: row => [author.key(Number(row.id))], keyspaces: ['author'] }]]),
    }
    const ask = () => explain({ shared, keyspaces: [audited], feed }, 'page', ['4'])
    return { shared, author, place, ask }
  }

  test('tells what readers get while its tags stand, and when one has fallen', async () => {
    const { author, place, ask } = await tagged()
    expect(await ask()).toMatchObject({
      register: { tags: [{ name: 'author:4' }, { name: 'place:4' }] },
      readers: {
        plain: { from: 'shared', why: 'fresh' },
        strong: { from: 'shared', why: 'fresh' },
        originDown: { from: 'shared', why: 'fresh' },
      },
    })
    await author.invalidate(5)
    await place.invalidate(4)
    const fallen = await ask()
    expect(fallen.readers).toMatchObject({
      plain: { from: 'origin', why: 'tag', kept: true },
      strong: { from: 'origin', why: 'tag', kept: true },
    })
    expect(fallen.readers.originDown).toBeUndefined()
    expect(explanationText(fallen)).toContain('a tag of the value was invalidated since it was stored')
  })

  test('tells which changes wait that end it by a tag', async () => {
    const { ask } = await tagged()
    const { feed } = await ask()
    expect(feed).toMatchObject({ count: 1, waiting: [{ id: '4', table: FEED_TABLE }] })
  })
})

describe('explain refuses', () => {
  const shared = embeddedShared()
  test.each<[string, string, string[], string, string]>([
    [
      'an unknown keyspace',
      'wizard',
      ['4'],
      'INVALID_OPTIONS',
      'expected the keyspace to be one of spell, got "wizard"',
    ],
    ['what is no id', 'spell', ['four'], 'INVALID_KEY', '"four" is no id of spell'],
    ['two ids at once', 'spell', ['4', '5'], 'INVALID_KEY', '"4 5" is no id of spell'],
    ['no id', 'spell', [], 'INVALID_KEY', '"" is no id of spell'],
    ['an empty text, and not as the number 0', 'spell', [''], 'INVALID_KEY', '"" is no id of spell'],
    ['a space', 'spell', [' '], 'INVALID_KEY', '" " is no id of spell'],
  ])('%s', async (_name, keyspace, id, code, message) => {
    await expect(explain({ shared, keyspaces: [spells] }, keyspace, id)).rejects.toMatchObject({
      code,
      message,
    })
  })

  test('a store that cannot be looked at', async () => {
    const { view: _, ...blind } = plantableShared().store
    await expect(explain({ shared: blind as never, keyspaces: [spells] }, 'spell', ['4'])).rejects.toThrow(
      /by view\(\)|a shared store/,
    )
  })
})

test('explain takes an id by any text that leads to it, and composite ids by their parts', async () => {
  const shared = embeddedShared()
  const pages = auditedKeyspace('page', {
    load: async (_id: readonly [string, number]) => 1,
    idFromKey: ([version, limit]) => [version!, Number(limit)] as const,
  })
  const keyspaces = [spells, pages]
  expect((await explain({ shared, keyspaces }, 'spell', ['04'])).key).toBe('spell:4')
  expect((await explain({ shared, keyspaces }, 'page', ['a:b', '20'])).key).toBe('page:a%3Ab:20')
})
