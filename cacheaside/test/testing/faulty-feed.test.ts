import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Cache,
  createCache,
  embeddedShared,
  type FeedOpening,
  type FeedRow,
  type Keyspace,
  type SharedStore,
} from '../../src/index.ts'
import {
  changeFeedContract,
  type FaultyChangeFeed,
  FEED_OPERATIONS,
  faultyChangeFeed,
  faultySharedStore,
  SimulatedClock,
  SimulatedFeed,
} from '../../src/testing/index.ts'
import { openedInMemory } from './change-feed-harness.ts'

describe('faultyChangeFeed without faults keeps the contract of a change feed', () => {
  changeFeedContract(
    { describe, it },
    {
      async open() {
        const clock = new SimulatedClock()
        const feed = new SimulatedFeed({ clock, tables: { spell: () => [] } })
        const commit = (table: string, rows?: readonly FeedRow[]) => feed.commit(table, rows)
        const link = faultyChangeFeed(feed, { clock })
        return openedInMemory(link, clock, commit, () => expect(feed.openSessions).toBe(0))
      },
    },
  )
})

describe('faultyChangeFeed', () => {
  let clock: SimulatedClock
  let feed: SimulatedFeed
  let link: FaultyChangeFeed
  let store: SharedStore
  let cache: Cache
  let table: Map<number, string>
  let spells: Keyspace<number, string>
  let caches: Cache[]

  beforeEach(async () => {
    clock = new SimulatedClock()
    table = new Map([
      [4, 'Fireball'],
      [5, 'Ice Shard'],
    ])
    feed = new SimulatedFeed({ clock, tables: { spell: row => [spells.key(row.id)] } })
    link = faultyChangeFeed(feed, { clock })
    store = embeddedShared({ clock })
    // Over a network, so that several processes share it, and with it the work of the relays.
    cache = createCache({ clock, feed: link, shared: faultySharedStore(store, { clock }) })
    caches = [cache]
    spells = cache.keyspace<number, string>('spell', { load: id => table.get(id) })
    await clock.advance(1)
    await spells.get(4)
    await spells.get(5)
  })
  afterEach(async () => {
    const closing = Promise.all(caches.map(one => one.close()))
    await clock.advance(20_000)
    await closing
    expect([feed.openSessions, clock.describeTimers()]).toEqual([0, 'no timers'])
  })

  /** Somebody else changes a row. */
  function change(id: number, name: string): void {
    table.set(id, name)
    feed.commit('spell', [{ id }])
  }

  it('hang keeps a change back, and restore lets it come', async () => {
    link.hang('take')
    change(4, 'Firestorm')
    await clock.advance(2_000)
    expect(await spells.get(4)).toBe('Fireball')
    link.restore()
    await clock.advance(link.pollMs)
    expect(await spells.get(4)).toBe('Firestorm')
    expect(cache.stats().feed.losses).toBe(0)
  })

  it('hang for longer than timeoutMs loses the session', async () => {
    link.hang()
    change(4, 'Firestorm')
    await clock.advance(link.timeoutMs + link.pollMs)
    expect(cache.stats().feed).toMatchObject({ open: false, losses: 1 })
    link.restore()
    await clock.advance(20_000)
    expect(cache.stats().feed.open).toBe(true)
    expect(await spells.get(4)).toBe('Firestorm')
  })

  it.each(FEED_OPERATIONS)('fail of %s answers with the error', async operation => {
    const refused = new Error('not today')
    link.fail(operation, refused)
    feed.endSessions()
    const opening: FeedOpening = { clock, guardMs: 1, isPrivate: false, lost() {}, warn() {}, mended() {} }
    if (operation === 'open') return expect(link.open(opening)).rejects.toBe(refused)
    const session = await link.open(opening)
    const run = {
      take: () => session.take(undefined),
      settle: () => session.settle([]),
      remembered: () => session.remembered(),
      remember: () => session.remember(['spell'], 'store 1'),
    }
    await expect(run[operation]()).rejects.toBe(refused)
    session.abandon()
  })

  it('delay brings a change late', async () => {
    link.delay(400, 'take')
    change(4, 'Firestorm')
    // The relay looked a millisecond before this test began to count.
    await clock.advance(link.pollMs - 1 + 399)
    expect(await spells.get(4)).toBe('Fireball')
    await clock.advance(link.pollMs)
    expect(await spells.get(4)).toBe('Firestorm')
  })

  it('loseReplies settles a change, and the relay does not hear of it', async () => {
    link.loseReplies('settle')
    change(4, 'Firestorm')
    await clock.advance(link.pollMs)
    expect(feed.waiting).toEqual([])
    expect(cache.stats().feed).toMatchObject({ losses: 1, applied: 0 })
    expect(await spells.get(4)).toBe('Firestorm')
  })

  it('cut ends the session at once, and restore brings what was changed meanwhile', async () => {
    link.cut()
    await clock.advance(1)
    expect(cache.stats().feed).toMatchObject({ open: false, losses: 1 })
    change(4, 'Firestorm')
    await clock.advance(10_000)
    expect(await spells.get(4)).toBe('Fireball')
    link.restore()
    await clock.advance(5_000)
    expect(await spells.get(4)).toBe('Firestorm')
  })

  it('repeat hands out twice what was applied, until restore', async () => {
    link.repeat()
    change(4, 'Firestorm')
    await clock.advance(2 * link.pollMs)
    expect(cache.stats().feed.applied).toBe(2)
    expect(await spells.get(4)).toBe('Firestorm')
    await clock.advance(10_000)
    expect(cache.stats().feed.applied).toBe(2)
    link.restore()
    change(4, 'Meteor')
    await clock.advance(link.pollMs)
    expect(cache.stats().feed.applied).toBe(3)
  })

  it('lose hands the next changes to nobody, and only those', async () => {
    link.lose(1)
    change(4, 'Firestorm')
    change(5, 'Blizzard')
    await clock.advance(link.pollMs)
    expect([await spells.get(4), await spells.get(5)]).toEqual(['Fireball', 'Blizzard'])
    link.lose(Number.POSITIVE_INFINITY)
    change(5, 'Hail')
    await clock.advance(link.pollMs)
    expect(await spells.get(5)).toBe('Blizzard')
    link.restore()
    change(5, 'Snow')
    await clock.advance(link.pollMs)
    expect(await spells.get(5)).toBe('Snow')
    expect(() => link.lose(-1)).toThrow(RangeError)
  })

  it('counts and notes what is sent, by the clock', async () => {
    const before = link.calls.take
    await clock.advance(link.pollMs)
    expect(link.calls.take).toBe(before + 1)
    expect(link.log.at(-1)).toEqual({ operation: 'take', arguments: [undefined], atMs: clock.nowMs() - 1 })
    expect(link.name).toBe('faulty simulated')
  })

  it('breaks the feed of one process, and no other', async () => {
    const other = cacheOnItsOwnProcess()
    await clock.advance(1)
    link.cut()
    await clock.advance(10_000)
    expect([cache.stats().feed.open, other.stats().feed.open]).toEqual([false, true])
  })

  /** Another process over the same feed. */
  function cacheOnItsOwnProcess(): Cache {
    const other = createCache({
      clock,
      feed: faultyChangeFeed(feed, { clock }),
      shared: faultySharedStore(store, { clock }),
    })
    other.keyspace('spell', { load: (id: number) => table.get(id) })
    caches.push(other)
    return other
  }
})
