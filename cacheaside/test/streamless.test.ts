/** A cache on a shared store that cannot tell it of invalidations. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { type CacheOptions, createCache, type SharedStore } from '../src/index.ts'
import { embeddedShared } from '../src/memory/embedded-shared.ts'
import {
  faultySharedStore,
  gate,
  plantableShared,
  SimulatedClock,
  SimulatedFeed,
  sharedIdentityContract,
  sharedRegistersContract,
} from '../src/testing/index.ts'
import { notingLogger } from './heard-warnings.ts'
import { withoutStream } from './without-stream.ts'

describe('a store without a stream keeps the contract of what it has', () => {
  sharedRegistersContract(
    { describe, it },
    {
      async open() {
        const clock = new SimulatedClock()
        const { store, plant } = plantableShared({ clock })
        const registers = withoutStream(store)
        return {
          registers,
          timeMs: async () => (await registers.heartbeat('', [])).timeMs,
          advance: ms => clock.advance(ms),
          raw: async key => store.inspect(key),
          plant: async (key, text, lifeMs) => plant(key, text, lifeMs),
          close: () => store.close(),
        }
      },
    },
  )
  sharedIdentityContract(
    { describe, it },
    {
      async open() {
        let inner = embeddedShared()
        return {
          identity: { identity: () => withoutStream(inner).identity() },
          lose: async () => {
            await inner.close()
            inner = embeddedShared()
          },
          close: () => inner.close(),
        }
      },
    },
  )
})

/** Two processes without a stream on one store, and the rows behind them. */
async function opened() {
  const clock = new SimulatedClock()
  const inner = embeddedShared({ clock })
  const rows = new Map([[4, 40]])
  const logger = notingLogger()
  const asked: number[] = []
  const start = () => {
    const link = faultySharedStore(withoutStream(inner), { clock })
    const cache = createCache({ clock, shared: link, logger })
    const load = async (id: number) => {
      asked.push(id)
      return rows.get(id)
    }
    return { cache, link, spells: cache.keyspace('spell', { load }) }
  }
  const one = start()
  const other = start()
  onTestFinished(async () => {
    const closing = [one.cache.close(), other.cache.close()]
    await clock.advance(20_000)
    await Promise.all(closing)
    expect(clock.describeTimers()).toBe('no timers')
  })
  await clock.advance(1)
  return { clock, rows, asked, logger, one, other }
}

describe('a cache without a stream', () => {
  it('get sees at once what another process has written or invalidated', async () => {
    const { clock, rows, asked, one, other } = await opened()
    expect(await one.spells.get(4)).toBe(40)
    await clock.drain()
    expect(await one.spells.get(4)).toBe(40)
    expect(asked).toEqual([4])
    await other.spells.write(4, () => void rows.set(4, 41))
    expect(await one.spells.get(4)).toBe(41)
    await clock.drain()
    rows.set(4, 42)
    await other.spells.invalidate(4)
    expect(await one.spells.get(4)).toBe(42)
    await clock.drain()
    rows.set(4, 43)
    await other.spells.invalidateAll()
    expect(await one.spells.get(4)).toBe(43)
  })

  it('get reads the generation for every default read, and never looks by a copy of it', async () => {
    const { clock, one } = await opened()
    for (let i = 0; i < 3; i++) {
      await one.spells.get(4)
      await clock.advance(500)
    }
    expect(one.link.calls.generation).toBe(3)
    expect(one.link.calls.lease).toBe(3)
    expect(one.link.calls.look ?? 0).toBe(0)
  })

  it('get loads by itself for a reader who comes later than localMaxStaleMs after a load began', async () => {
    const { clock, rows, asked, one, other } = await opened()
    const slow = gate()
    const cacheLoad = one.cache.keyspace('slow', {
      load: async (id: number) => {
        const seen = rows.get(id)
        asked.push(id)
        if (asked.length === 1) await slow.wait()
        return seen
      },
    })
    const early = cacheLoad.get(4)
    await slow.reached
    rows.set(4, 41)
    await other.cache.invalidate([cacheLoad.key(4)])
    await clock.advance(2_001)
    expect(await cacheLoad.get(4)).toBe(41)
    slow.open()
    expect(await early).toBe(40)
    await clock.drain()
    expect(await cacheLoad.get(4)).toBe(41)
  })

  it('get bypasses a store that is away, and uses it again when it is back', async () => {
    const { clock, rows, one } = await opened()
    await one.spells.get(4)
    await clock.drain()
    one.link.fail()
    rows.set(4, 41)
    expect(await one.spells.get(4)).toBe(41)
    one.link.restore()
    await clock.advance(2_000)
    rows.set(4, 40)
    expect(await one.spells.get(4)).toBe(40)
  })

  it('says nothing of a stream that is missing, however long it lives', async () => {
    const { clock, logger, one } = await opened()
    await clock.advance(600_000)
    expect(await one.spells.get(4)).toBe(40)
    expect(logger.heard).toEqual([])
  })

  const clock = new SimulatedClock()
  it.each<[option: string, options: CacheOptions]>([
    ['local', { local: { maxEntries: 10 } }],
    ['feed', { feed: new SimulatedFeed({ clock, tables: {} }) }],
  ])('createCache refuses %s by its name', (option, options) => {
    const shared = withoutStream(embeddedShared({ clock }))
    expect(() => createCache({ clock, ...options, shared })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        message: expect.stringContaining(
          `expected ${option} to be left out where the shared store (streamless) has no stream`,
        ),
      }),
    )
  })

  it.each<[stream: string, synchronous: boolean]>([
    ['some', false],
    ['none', true],
  ])('createCache refuses the stream %s of a store whose synchronous is %s', (stream, synchronous) => {
    const shared = Object.assign(embeddedShared(), { stream, synchronous }) as unknown as SharedStore
    expect(() => createCache({ shared })).toThrow(/expected shared.stream to be/)
  })
})
