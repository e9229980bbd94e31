import { describe, expect, it } from 'vitest'
import { createCache, type FeedRow, type Key } from '../../src/index.ts'
import {
  changeFeedContract,
  type OpenedChangeFeed,
  SimulatedClock,
  SimulatedFeed,
} from '../../src/testing/index.ts'
import { openedInMemory } from './change-feed-harness.ts'

/** A simulated feed of one table, as the contract suite wants it. */
async function openSimulated(): Promise<OpenedChangeFeed> {
  const clock = new SimulatedClock()
  const feed = new SimulatedFeed({ clock, tables: { spell: () => [] } })
  const commit = (table: string, rows?: readonly FeedRow[]) => feed.commit(table, rows)
  return openedInMemory(feed, clock, commit, () => expect(feed.openSessions).toBe(0))
}

describe('SimulatedFeed keeps the contract of a change feed', () => {
  changeFeedContract({ describe, it }, { open: openSimulated })
})

describe('SimulatedFeed', () => {
  const world = (options: { mayTakeBack?: boolean } = {}) => {
    const clock = new SimulatedClock()
    const table = new Map([
      [4, 'Fireball'],
      [5, 'Ice Shard'],
    ])
    const feed = new SimulatedFeed({ clock, tables: { spell: row => [spells.key(row.id)] }, ...options })
    const cache = createCache({ clock, feed, local: { maxEntries: 10 } })
    const spells = cache.keyspace('spell', { load: (id: number) => table.get(id) })
    return { clock, table, feed, cache, spells }
  }

  it('has the row that was committed read again when the relay has looked', async () => {
    const { clock, table, feed, cache, spells } = world()
    await clock.advance(1)
    await spells.get(4)
    table.set(4, 'Firestorm')
    feed.commit('spell', [{ id: 4 }])
    expect(await spells.get(4)).toBe('Fireball')
    await clock.advance(feed.pollMs)
    expect(await spells.get(4)).toBe('Firestorm')
    await cache.close()
    expect([feed.openSessions, clock.describeTimers()]).toEqual([0, 'no timers'])
  })

  it('takes maps that state the type of their rows', () => {
    const [clock, keyOf] = [new SimulatedClock(), (row: { id: string }) => [row.id as Key]]
    const feed = new SimulatedFeed({ clock, tables: { spell: keyOf, wizard: { keys: keyOf } } })
    expect([...feed.tables.values()].map(({ keys }) => keys({ id: '4' }))).toEqual([['4'], ['4']])
  })

  it('writes values as a database does', () => {
    const { feed } = world()
    feed.commit('spell', [{ id: 4n, wizard_id: null, level: undefined, name: 'x', at: 1.5 }])
    expect(feed.waiting[0]?.rows).toEqual([{ id: '4', wizard_id: null, level: null, name: 'x', at: '1.5' }])
  })

  it('counts the age of a change from when it was written', async () => {
    const { clock, feed } = world()
    feed.commit('spell', [{ id: 4 }], { writtenMsAgo: 70 })
    await clock.advance(30)
    expect(feed.waiting[0]?.ageMs).toBe(100)
  })

  it('hands out no more at a time than it is told, and says that there is more', async () => {
    const clock = new SimulatedClock()
    const feed = new SimulatedFeed({ clock, tables: { spell: { keys: () => [] } }, mostChanges: 2 })
    for (let id = 1; id <= 3; id++) feed.commit('spell', [{ id }])
    const session = await feed.open({
      clock,
      guardMs: 1,
      isPrivate: false,
      lost() {},
      warn() {},
      mended() {},
    })
    const batch = await session.take(undefined)
    expect([batch.changes.length, batch.more, batch.drained]).toEqual([2, true, false])
    await session.settle(batch.changes)
    expect(await session.take(undefined)).toMatchObject({
      changes: [{ id: '3' }],
      more: false,
      drained: true,
    })
  })

  it('endSessions has every relay open a new one', async () => {
    const { clock, feed, cache } = world()
    await clock.advance(1)
    feed.endSessions()
    expect(feed.openSessions).toBe(0)
    await clock.advance(200)
    expect(feed.openSessions).toBe(1)
    expect(cache.stats().feed.losses).toBe(1)
    await cache.close()
  })

  it('restart has every keyspace given a new generation, because a commit may have been taken back', async () => {
    const { clock, table, feed, cache, spells } = world()
    await clock.advance(1)
    await spells.get(4)
    table.set(4, 'Spark') // the row as it was before a commit that the origin has lost
    feed.restart()
    await clock.advance(200)
    expect(await spells.get(4)).toBe('Spark')
    await cache.close()
  })

  it('makes a session that has ended reject', async () => {
    const { clock, feed } = world()
    const session = await feed.open({
      clock,
      guardMs: 1,
      isPrivate: false,
      lost() {},
      warn() {},
      mended() {},
    })
    await session.close()
    await expect(session.take(undefined)).rejects.toThrow('the session has ended')
    await expect(session.settle([])).rejects.toThrow('the session has ended')
    await expect(session.remembered()).rejects.toThrow('the session has ended')
    await expect(session.remember([], '')).rejects.toThrow('the session has ended')
  })
})
