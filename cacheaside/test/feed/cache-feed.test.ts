import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Cache,
  type CacheEvent,
  type CacheOptions,
  type ChangeFeed,
  createCache,
  embeddedShared,
  type Key,
  type Keyspace,
} from '../../src/index.ts'
import { StatsFold } from '../../src/stats-fold.ts'
import {
  type FaultyChangeFeed,
  type FaultySharedStore,
  faultyChangeFeed,
  faultySharedStore,
  SimulatedClock,
  SimulatedFeed,
} from '../../src/testing/index.ts'

describe('a cache with a change feed', () => {
  let clock: SimulatedClock
  let table: Map<number, string>
  let feed: SimulatedFeed
  let origin: FaultyChangeFeed
  let link: FaultySharedStore
  let events: CacheEvent[]
  let caches: Cache[]

  beforeEach(() => {
    clock = new SimulatedClock()
    table = new Map([
      [1, 'Fireball'],
      [2, 'Ice Shard'],
    ])
    feed = new SimulatedFeed({ clock, tables: { spell: row => [`spell:${row.id}` as Key] } })
    origin = faultyChangeFeed(feed, { clock })
    link = faultySharedStore(embeddedShared({ clock }), { clock })
    events = []
    caches = []
  })
  afterEach(async () => {
    const closing = Promise.all(caches.map(cache => cache.close()))
    await clock.advance(20_000)
    await closing
    expect(clock.pendingTimers, clock.describeTimers()).toBe(0)
    expect(feed.openSessions).toBe(0)
  })

  /** A cache that has proven its stream and opened its feed. */
  async function start(
    options: CacheOptions = {},
  ): Promise<{ cache: Cache; spells: Keyspace<number, string> }> {
    const cache = createCache({
      clock,
      shared: link,
      local: { maxEntries: 100 },
      feed: origin,
      onEvent: event => events.push(event),
      ...options,
    })
    caches.push(cache)
    const spells = cache.keyspace<number, string>('spell', { load: id => table.get(id) })
    await clock.advance(1_000)
    events.length = 0
    return { cache, spells }
  }

  /** A stranger changes a row. */
  function change(id: number, name: string): void {
    table.set(id, name)
    feed.commit('spell', [{ id: String(id) }])
  }

  it.each([true, false])(
    'loads every value of a keyspace again when its map names the keyspace for a row (shared: %s)',
    async isShared => {
      let rights = 'read'
      feed = new SimulatedFeed({ clock, tables: { role: () => [permissions.all] } })
      const cache = createCache({
        clock,
        feed,
        local: { maxEntries: 100 },
        shared: isShared ? link : embeddedShared({ clock }),
      })
      caches.push(cache)
      const permissions = cache.keyspace<string, string>('permissions', {
        load: user => `${user} may ${rights}`,
      })
      const spells = cache.keyspace<number, string>('spell', { load: id => table.get(id) })
      await clock.advance(1_000)
      const found = async () => [
        await permissions.get('ada'),
        await permissions.get('bob'),
        await spells.get(1),
      ]
      expect(await found()).toEqual(['ada may read', 'bob may read', 'Fireball'])
      rights = 'write'
      table.set(1, 'Meteor')
      feed.commit('role', [{ id: 'wizard' }])
      await clock.advance(feed.pollMs)
      expect(await found(), 'and no other keyspace').toEqual(['ada may write', 'bob may write', 'Fireball'])
    },
  )

  it('invalidates in every level what a stranger has changed', async () => {
    const { spells } = await start()
    expect(await spells.get(1)).toBe('Fireball')
    change(1, 'Meteor')
    expect(await spells.get(1), 'not polled yet').toBe('Fireball')
    await clock.advance(250)
    expect(await spells.get(1)).toBe('Meteor')
    const batch = events.find(event => event.type === 'feed-batch')
    expect(batch).toMatchObject({ outcome: 'applied', changes: 1, applied: 1, lagMs: 250, durationMs: 0 })
    expect(events).toContainEqual({
      type: 'invalidation',
      keyspace: 'spell',
      key: 'spell:1',
      outcome: 'applied',
      stored: false,
      cause: batch!.id,
      durationMs: 0,
    })
  })

  it('and without one keeps it until it expires', async () => {
    const cache = createCache({ clock, shared: link, local: { maxEntries: 100 } })
    caches.push(cache)
    const spells = cache.keyspace<number, string>('spell', { load: id => table.get(id), ttlJitter: 0 })
    await clock.advance(1_000)
    expect(await spells.get(1)).toBe('Fireball')
    change(1, 'Meteor')
    await clock.advance(599_000)
    expect(await spells.get(1)).toBe('Fireball')
    await clock.advance(1_000)
    expect(await spells.get(1)).toBe('Meteor')
  })

  it('looks at it at once after a write, also one of several keys, and one whose commit is in doubt', async () => {
    const { cache, spells } = await start()
    const commit = async () => change(1, 'Meteor')
    await spells.write(1, commit)
    await clock.advance(25)
    expect(feed.waiting).toEqual([])
    await cache.write([spells.key(1)], commit)
    await clock.advance(25)
    expect(feed.waiting).toEqual([])
    const lost = new Error('connection lost')
    const write = spells.write(1, async () => {
      await commit()
      throw lost
    })
    await expect(write).rejects.toBe(lost)
    await clock.advance(25)
    expect(feed.waiting).toEqual([])
  })

  it('keeps what the store does not confirm in the feed, not in the queue, and applies it when the store is back', async () => {
    const { cache, spells } = await start()
    await spells.get(1)
    link.fail()
    change(1, 'Meteor')
    await clock.advance(30_000)
    expect(feed.waiting).toHaveLength(1)
    expect(cache.stats().now.queuedInvalidations).toBe(0)
    expect(cache.stats().feed).toMatchObject({ open: true, applied: 0 })
    expect(cache.stats().feed.retained).toBeGreaterThan(5)
    link.restore()
    // The stream's next heartbeat finds it, and the relay does not wait for its own interval.
    await clock.advance(1_100)
    expect(feed.waiting).toEqual([])
    expect(await spells.get(1)).toBe('Meteor')
    expect(cache.stats().feed.lagMs).toBeGreaterThan(30_000)
  })

  it('does not hammer a store that refuses invalidations and nothing else', async () => {
    await start()
    link.fail('invalidate')
    change(1, 'Meteor')
    await clock.advance(10_000)
    expect(link.calls.invalidate).toBeGreaterThan(4)
    expect(link.calls.invalidate).toBeLessThan(12)
  })

  it('hung while it is told of a change keeps it, and tries again', async () => {
    const { spells } = await start()
    await spells.get(1)
    link.hang('invalidate')
    change(1, 'Meteor')
    await clock.advance(1_000)
    expect(feed.waiting).toHaveLength(1)
    link.restore()
    await clock.advance(2_000)
    expect(feed.waiting).toEqual([])
    expect(await spells.get(1)).toBe('Meteor')
  })

  it('whose answer is lost counts the change as not applied, and applies it again', async () => {
    await start()
    link.loseReplies('invalidate')
    change(1, 'Meteor')
    await clock.advance(250)
    expect(feed.waiting).toHaveLength(1)
    link.restore()
    await clock.advance(2_000)
    expect(feed.waiting).toEqual([])
    expect(link.calls.invalidate).toBeGreaterThan(1)
  })

  it('compares identities when the broadcast stream was interrupted', async () => {
    await start()
    const before = link.calls.identity
    link.interrupt('reconnected')
    await clock.advance(10)
    expect(link.calls.identity).toBe(before + 1)
  })

  it.each(['default', 'strong'])(
    'reads nothing of a store that was away until identities are compared (%s)',
    async consistency => {
      const { spells } = await start()
      const found = () => spells.get(1, consistency === 'strong' ? { consistency } : {})
      expect(await found()).toBe('Fireball')
      // As if the store had restarted from a snapshot: it has lost the invalidation.
      table.set(1, 'Meteor')
      link.hang('identity')
      link.interrupt('the store was restarted')
      expect(await found(), 'while it is not known what it holds').toBe('Meteor')
      link.restore()
      await clock.advance(1_000)
      expect(await found(), 'its identity is the same: it has lost nothing').toBe('Fireball')
    },
  )

  it('reads at once what a store has that was away, while the origin is away', async () => {
    const { spells } = await start()
    expect(await spells.get(1)).toBe('Fireball')
    origin.fail()
    feed.endSessions()
    await clock.advance(1)
    table.set(1, 'Meteor')
    link.interrupt('the store was restarted')
    await clock.drain()
    expect(await spells.get(1)).toBe('Fireball')
  })

  it('gives a keyspace that is defined later a new generation, because nothing is known of it', async () => {
    const { cache } = await start()
    cache.keyspace('late', { load: () => 1 })
    await clock.advance(10)
    const whole = { type: 'keyspace-invalidation', keyspace: 'late', outcome: 'applied', durationMs: 0 }
    expect(events).toContainEqual(whole)
    expect([...feed.remembered.keys()]).toEqual(['spell', 'late'])
  })

  it('with a store of its own asks for every change, and after each new session trusts nothing', async () => {
    const { spells } = await start({ shared: embeddedShared({ clock }) })
    const other = await start({ shared: embeddedShared({ clock }) })
    expect([await spells.get(1), await other.spells.get(1)]).toEqual(['Fireball', 'Fireball'])
    table.set(1, 'Meteor')
    feed.endSessions()
    await clock.advance(200)
    expect([await spells.get(1), await other.spells.get(1)]).toEqual(['Meteor', 'Meteor'])
    change(1, 'Comet')
    await clock.advance(250)
    expect([await spells.get(1), await other.spells.get(1)]).toEqual(['Comet', 'Comet'])
  })

  it.each([true, false])(
    'doubts also what other caches of the process have on the same store (shared: %s)',
    async isShared => {
      const shared = isShared ? link : embeddedShared({ clock })
      const other = createCache({ clock, shared })
      caches.push(other)
      const wizards = other.keyspace<number, string>('wizard', { load: id => table.get(id) })
      await start({ shared })
      expect(await wizards.get(1)).toBe('Fireball')
      table.set(1, 'Meteor')
      // Now the map does not know the rows, either.
      if (isShared) feed.commit('spell')
      else feed.endSessions()
      await clock.advance(250)
      expect(await wizards.get(1)).toBe('Meteor')
    },
  )

  it('counts what the feed has done', async () => {
    const { cache } = await start()
    change(1, 'Meteor')
    change(2, 'Comet')
    await clock.advance(250)
    origin.fail('open')
    feed.endSessions()
    await clock.advance(1_000)
    expect(cache.stats().feed).toEqual({
      open: false,
      losses: 2,
      applied: 2,
      retained: 0,
      lagMs: 250,
      maxLagMs: 250,
      distrusted: 1,
      warnings: 0,
    })
    const fold = new StatsFold()
    for (const event of events) fold.fold(event)
    expect(fold.snapshot().feed).toMatchObject({ losses: 2, applied: 2, lagMs: 250 })
  })

  it('close ends its session, and leaves nothing running', async () => {
    const { cache } = await start()
    const closing = cache.close()
    await clock.advance(100)
    await closing
    expect(feed.openSessions).toBe(0)
    feed.commit('spell', [{ id: '1' }])
    await clock.advance(10_000)
    expect(feed.waiting).toHaveLength(1)
  })

  it.each([{}, 'postgres', null, () => {}])('refuses %s as a feed', given => {
    expect(() => createCache({ feed: given as unknown as ChangeFeed })).toThrow(
      /expected feed to be a change feed/,
    )
  })
})
