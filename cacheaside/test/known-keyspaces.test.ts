import { createCache, embeddedShared, type Key } from 'cacheaside'
import { describe, expect, test } from 'vitest'
import type * as EvaluatedTwice from '../../examples/shown/evaluated-twice.ts'
import { faultySharedStore, SimulatedClock, SimulatedFeed } from '../src/testing/index.ts'
import { notingLogger } from './heard-warnings.ts'

const load = (id: number) => `spell ${id}`
const stranger = 'stranger:4' as Key

describe('a key of a keyspace that nobody has defined', () => {
  test('is refused by write and by invalidate where all is in this process', async () => {
    const cache = createCache()
    cache.keyspace('spell', { load })
    let calls = 0
    const refused = { code: 'INVALID_KEY', message: expect.stringContaining('keyspace stranger') }
    await expect(cache.write([stranger], () => ++calls)).rejects.toMatchObject(refused)
    await expect(cache.invalidate([stranger])).rejects.toMatchObject(refused)
    expect(calls).toBe(0)
    await cache.close()
  })

  test('is refused by guard inside a write, and the write is not in doubt', async () => {
    const cache = createCache()
    const spells = cache.keyspace('spell', { load })
    await expect(spells.write(4, ({ guard }) => guard(stranger))).rejects.toMatchObject({
      code: 'INVALID_KEY',
    })
    expect((await spells.read(4)).why).toBe('missing')
    await cache.close()
  })

  test('is accepted where another cache on the same store has the keyspace', async () => {
    const shared = embeddedShared()
    const [one, other] = [createCache({ shared }), createCache({ shared })]
    one.keyspace('spell', { load })
    other.keyspace('stranger', { load })
    expect(await one.invalidate([stranger])).toBe('applied')
    await one.close()
    await other.close()
  })

  test('is warned of once where another process may have it', async () => {
    const clock = new SimulatedClock()
    const logger = notingLogger()
    const shared = faultySharedStore(embeddedShared({ clock }), { clock })
    const cache = createCache({ shared, clock, logger })
    cache.keyspace('spell', { load })
    await clock.drain()
    await cache.invalidate([stranger])
    await cache.write([stranger], () => {})
    expect(logger.heard).toEqual([
      ['warn', 'UNKNOWN_KEYSPACE', expect.stringMatching(/^the key stranger:4 is of the keyspace stranger/)],
    ])
    await cache.close()
  })

  test("is warned of once if the feed's map names it, alone or as a whole", async () => {
    const clock = new SimulatedClock()
    const logger = notingLogger()
    const elsewhere = createCache().keyspace('elsewhere', { load })
    const feed = new SimulatedFeed({
      clock,
      tables: { spell: { keys: ({ id }) => [`stranger:${id}` as Key, elsewhere.all] } },
    })
    const cache = createCache({ clock, logger, feed })
    cache.keyspace('spell', { load })
    await clock.advance(1_000)
    for (const id of ['4', '5']) feed.commit('spell', [{ id }])
    await clock.advance(1_000)
    const said = logger.heard.filter(([, code]) => code === 'UNKNOWN_KEYSPACE').map(([, , text]) => text)
    expect(said).toEqual([
      expect.stringContaining("the feed's map of table spell names the keyspace stranger"),
      expect.stringContaining("the feed's map of table spell names the keyspace elsewhere"),
    ])
    await cache.close()
  })
})

describe('two caches of one process, each on an embedded store of its own', () => {
  test('with a keyspace of the same name are warned of, once', async () => {
    const logger = notingLogger()
    const [one, other] = [createCache({ logger }), createCache({ logger })]
    for (const cache of [one, other]) cache.keyspace('twin-a', { load })
    expect(logger.heard).toEqual([
      ['warn', 'TWIN_CACHE', expect.stringMatching(/^two caches of this process have the keyspace twin-a/)],
    ])
    const third = createCache({ logger })
    third.keyspace('twin-a', { load })
    expect(logger.heard).toHaveLength(1)
    for (const cache of [one, other, third]) await cache.close()
  })

  test('are warned of too if the library itself was evaluated twice', async () => {
    const logger = notingLogger()
    const again = '../src/index.ts?again'
    const library = (await import(again)) as typeof import('../src/index.ts')
    const [one, other] = [createCache({ logger }), library.createCache({ logger })]
    expect(library.createCache).not.toBe(createCache)
    for (const cache of [one, other]) cache.keyspace('twin-b', { load })
    expect(logger.heard.map(([, code]) => code)).toEqual(['TWIN_CACHE'])
    for (const cache of [one, other]) await cache.close()
  })

  test('are one if the module keeps it with its keyspaces, as docs/warnings.md shows', async () => {
    const evaluated: (typeof EvaluatedTwice)[] = []
    for (const time of ['first', 'second'])
      evaluated.push(
        await import(new URL(`../../examples/shown/evaluated-twice.ts?${time}`, import.meta.url).href),
      )
    const [first, second] = evaluated as [typeof EvaluatedTwice, typeof EvaluatedTwice]
    expect(second).not.toBe(first)
    expect(second.spells).toBe(first.spells)
    await first.cache.close()
    // What is kept without its keyspaces is asked to make them again.
    const cache = createCache()
    cache.keyspace('spell', { load })
    expect(() => cache.keyspace('spell', { load })).toThrow(/make each once, and keep it/)
    await cache.close()
  })

  test('are not warned of if the first is closed, or if they were given their stores', async () => {
    const logger = notingLogger()
    const one = createCache({ logger })
    one.keyspace('twin-c', { load })
    await one.close()
    const other = createCache({ logger })
    other.keyspace('twin-c', { load })
    await other.close()
    const given = [embeddedShared(), embeddedShared()].map(shared => createCache({ shared, logger }))
    for (const cache of given) cache.keyspace('twin-d', { load })
    expect(logger.heard).toEqual([])
    for (const cache of given) await cache.close()
  })
})
